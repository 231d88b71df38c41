//! How likely the model finds a given answer.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use florence2::{Prompt, TargetScore};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::handle::{self, Handle};
use crate::model::florence2_model;
use crate::options::{florence2_run_options, read as read_options};
use crate::request::{florence2_request, read};
use crate::result::florence2_token;
use crate::status::florence2_status;
use crate::text::c_string;

/// How likely the model finds a given answer.
///
/// Made by florence2_model_score, owned by the caller, to be freed with florence2_score_free;
/// everything read from it is borrowed until then. Immutable: any number of threads may read it at
/// once.
pub struct florence2_score {
    score: TargetScore,
    prompt: Prompt,
    target: String,
    image_name: String,
    /// What `tokens` points to.
    _texts: Vec<CString>,
    tokens: Vec<florence2_token>,
    json: OnceLock<CString>,
}

impl Handle for florence2_score {
    const NAME: &'static str = "score";
}

/// Computes the log-probability of `target` as the answer to a request: the loss of `forward` with
/// labels, and the log-probability of each token.
///
/// `target`: UTF-8, as the model would write it, without `<s>` and `</s>`. `options`: its
/// `deadline_ms` and `cancel` hold; NULL is allowed. `score`: where the score goes, to be freed with
/// florence2_score_free. Otherwise as florence2_model_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_score(
    model: *const florence2_model,
    request: *const florence2_request,
    target: *const c_char,
    options: *const florence2_run_options,
    score: *mut *mut florence2_score,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires live handles, structs of their own size and writable outputs.
    unsafe {
        boundary::create(score, error, || {
            let model = handle::borrow(model)?;
            let request = read(request)?;
            let target = arguments::text("target", target)?;
            let cancel = read_options(options)?.run.cancel;
            let score = model
                .model
                .score_request(&request.request, target, &cancel)?;
            let texts: Vec<CString> = score
                .tokens
                .iter()
                .map(|token| c_string(&token.text))
                .collect();
            let tokens = score.tokens.iter().zip(&texts);
            let tokens = tokens.map(|(token, text)| florence2_token {
                request: 0,
                text: text.as_ptr(),
                token_id: token.token_id,
                log_prob: token.log_prob,
            });
            Ok(florence2_score {
                tokens: tokens.collect(),
                _texts: texts,
                score,
                prompt: request.request.prompt,
                target: target.to_owned(),
                image_name: request.image_name.to_owned(),
                json: OnceLock::new(),
            })
        })
    }
}

/// The loss: the mean of the tokens' negative log-probabilities. NaN for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_loss(score: *const florence2_score) -> f32 {
    // SAFETY: the header requires a live score or NULL.
    unsafe { boundary::read(score, f32::NAN, |score| score.score.loss) }
}

/// The number of tokens of the target, `<s>` and `</s>` included. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_token_count(score: *const florence2_score) -> usize {
    // SAFETY: the header requires a live score or NULL.
    unsafe { boundary::read(score, 0, |score| score.tokens.len()) }
}

/// One of the target's tokens with its log-probability: borrowed from the score. NULL when there is
/// no such index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_token(
    score: *const florence2_score,
    index: usize,
) -> *const florence2_token {
    // SAFETY: the header requires a live score or NULL.
    unsafe {
        boundary::read(score, std::ptr::null(), |score| {
            let token = score.tokens.get(index);
            token.map_or(std::ptr::null(), std::ptr::from_ref)
        })
    }
}

/// Everything as a JSON object; its key "schema" is the version of its layout. UTF-8, borrowed from
/// the score, made at the first call. The empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_json(score: *const florence2_score) -> *const c_char {
    // SAFETY: the header requires a live score or NULL.
    unsafe {
        boundary::read(score, c"".as_ptr(), |score| {
            let florence2_score {
                prompt,
                target,
                image_name,
                ..
            } = score;
            let make = || c_string(&score.score.to_json(image_name, prompt, target).to_string());
            score.json.get_or_init(make).as_ptr()
        })
    }
}

/// Frees a score and all that was borrowed from it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_free(score: *mut florence2_score) {
    // SAFETY: the header requires a score that no other thread uses, or NULL.
    unsafe { boundary::free(score) };
}
