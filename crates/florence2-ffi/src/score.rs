//! The likelihood of a given answer.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use florence2::{Prompt, TargetScore};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::handle::{self, Handle};
use crate::model::florence2_model;
use crate::options::florence2_run_options;
use crate::request::{self, florence2_request};
use crate::result::florence2_token;
use crate::run_options;
use crate::status::florence2_status;
use crate::text::c_string;

/// The likelihood of a given answer (the target) to a request.
///
/// - Ownership: florence2_model_score creates it. The caller frees it with florence2_score_free.
///   Everything that is read from it is borrowed from it.
/// - Threads: it is immutable. Any number of threads may read it at the same time.
pub struct florence2_score {
    score: TargetScore,
    prompt: Prompt,
    target: String,
    image_name: String,
    /// The texts to which `tokens` points.
    _texts: Vec<CString>,
    tokens: Vec<florence2_token>,
    json: OnceLock<CString>,
}

impl Handle for florence2_score {
    const NAME: &'static str = "score";
}

/// Computes the likelihood of a given answer to a request: the loss of Hugging Face's `forward`
/// with labels, and the log-probability of each token.
///
/// - `model`: the model. Required.
/// - `request`: the request. Required.
/// - `target`: the answer as the model would generate it, without `<s>` and `</s>`. Required.
/// - `options`: only `deadline_ms` and `cancel` have an effect. They are checked before each stage
///   of the vision tower and before the encoder. NULL for the defaults.
/// - `score`: receives the score. Required. Free it with florence2_score_free.
///
/// Returns the statuses of florence2_model_run, except FLORENCE2_STATUS_NOT_FINITE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_score(
    model: *const florence2_model,
    request: *const florence2_request,
    target: *const c_char,
    options: *const florence2_run_options,
    score: *mut *mut florence2_score,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
    unsafe {
        boundary::create(score, error, || {
            let model = handle::borrow(model)?;
            let request = request::read(request)?;
            let target = arguments::text("target", target)?;
            let cancel = run_options::read(options)?.run.cancel;
            let (image, prompt) = (request.request.image, request.request.prompt);
            let scored = model.model.request(image, prompt.clone()).cancel(&cancel);
            let score = scored.score(target)?;
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
                prompt,
                target: target.to_owned(),
                image_name: request.image_name.to_owned(),
                json: OnceLock::new(),
            })
        })
    }
}

/// Returns the loss: the mean of the tokens' negative log-probabilities; NaN for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_loss(score: *const florence2_score) -> f32 {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(score, f32::NAN, |score| score.score.loss) }
}

/// Returns the number of tokens of the target, including `<s>` and `</s>`; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_token_count(score: *const florence2_score) -> usize {
    // SAFETY: rule 1 of lib.rs.
    unsafe { boundary::read(score, 0, |score| score.tokens.len()) }
}

/// Returns a token of the target with its log-probability.
///
/// - `score`: the score.
/// - `index`: 0 to florence2_score_token_count() - 1.
///
/// Returns a pointer that is borrowed from the score; NULL if `score` is NULL or `index` is out of
/// range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_token(
    score: *const florence2_score,
    index: usize,
) -> *const florence2_token {
    // SAFETY: rule 1 of lib.rs.
    unsafe {
        boundary::read(score, std::ptr::null(), |score| {
            let token = score.tokens.get(index);
            token.map_or(std::ptr::null(), std::ptr::from_ref)
        })
    }
}

/// Returns the score as a JSON object, borrowed from the score; the empty string for NULL. The
/// first call creates it.
///
/// The keys are "schema" (the version of this structure, a number), "image" (the path of its file,
/// or ""), "task", "target", "loss" and "tokens".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_json(score: *const florence2_score) -> *const c_char {
    // SAFETY: rule 1 of lib.rs.
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

/// Frees a score and everything that is borrowed from it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_score_free(score: *mut florence2_score) {
    // SAFETY: rules 1 and 2 of lib.rs.
    unsafe { boundary::free(score) };
}
