//! How a request is run.

use std::ffi::{c_char, c_void};
use std::time::{Duration, Instant};

use florence2::{CancelToken, Compat, EarlyStopping, GenerationOverrides, RunOptions};

use crate::boundary::{self, Handle, Options, Outcome, first_size};
use crate::error::{Failure, florence2_error, florence2_status};
use crate::result::florence2_token;

/// Ends calls early, from any thread.
///
/// Made by florence2_cancel_new, owned by the caller, to be freed with florence2_cancel_free when no
/// call that was given it is running. A fired token stays fired.
pub struct florence2_cancel {
    pub(crate) token: CancelToken,
}

impl Handle for florence2_cancel {
    const NAME: &'static str = "cancel";
}

/// Makes a cancel token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_new(
    cancel: *mut *mut florence2_cancel,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for writable outputs.
    unsafe {
        boundary::create(cancel, error, || {
            let token = CancelToken::default();
            Ok(florence2_cancel { token })
        })
    }
}

/// Ends every call that was given this token, soon: before its next token, stage of the vision
/// tower or tensor that is loaded. Those calls fail with FLORENCE2_STATUS_CANCELLED. Callable from any thread, any number of
/// times, also while calls run. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_fire(cancel: *const florence2_cancel) {
    // SAFETY: the header asks for a living token or NULL.
    unsafe { boundary::read(cancel, (), |cancel| cancel.token.cancel()) }
}

/// Whether the token was fired. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_is_fired(cancel: *const florence2_cancel) -> bool {
    // SAFETY: the header asks for a living token or NULL.
    unsafe { boundary::read(cancel, false, |cancel| cancel.token.is_cancelled()) }
}

/// Frees a cancel token. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_free(cancel: *mut florence2_cancel) {
    // SAFETY: the header asks for a token that nobody uses any more, or NULL.
    unsafe { boundary::free(cancel) };
}

/// A choice that the model's files make when the caller does not.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_switch {
    /// As the model's files say.
    Model = 0,
    /// On.
    On = 1,
    /// Off.
    Off = 2,
}

/// When a beam search stops.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_early_stopping {
    /// As the model's files say.
    Model = 0,
    /// As soon as there are `num_beams` finished answers.
    True = 1,
    /// When a better answer has become unlikely.
    False = 2,
    /// When there can be no better answer.
    Never = 3,
}

/// Whose conventions a result follows where they differ.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_compat {
    /// Coordinates are the centres of the model's bins, as Microsoft's code gives them.
    Centers = 0,
    /// As Hugging Face's transformers: the centres cut to whole numbers.
    Hf = 1,
}

/// How far a run is.
///
/// Borrowed for the callback's call. Later versions may add fields at the end.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_progress {
    /// Tokens that every unfinished answer has by now.
    pub new_tokens: usize,
    /// Tokens that an answer can have at most; most end long before.
    pub max_new_tokens: usize,
}

/// Hears of every token of an answer, `<s>` and `</s>` included, once and in order: as it is chosen
/// when `num_beams` and `num_return_sequences` are 1, else when the search has ended and the best
/// answer is known. Called on the thread that made the call; `token` is borrowed for this call.
/// Gives 0 to go on; any other number ends the run, which then fails with
/// FLORENCE2_STATUS_CANCELLED. Must not unwind: no exception may leave it, nor may longjmp.
pub type florence2_token_callback =
    Option<unsafe extern "C" fn(token: *const florence2_token, user: *mut c_void) -> i32>;

/// Hears of every step of the search. Otherwise as florence2_token_callback.
pub type florence2_progress_callback =
    Option<unsafe extern "C" fn(progress: *const florence2_progress, user: *mut c_void) -> i32>;

/// How to run. To be cleared with florence2_run_options_init; zero is what the model's files say in
/// every field. All is read during the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_run_options {
    /// The size of this struct, as florence2_run_options_init sets it.
    pub struct_size: usize,
    /// Beams of the beam search; 1 for greedy search or sampling.
    pub num_beams: u32,
    /// Answers per request, at most `num_beams` without sampling.
    pub num_return_sequences: u32,
    /// Tokens of an answer at most, the end token included.
    pub max_new_tokens: u32,
    /// Tokens of an answer at least.
    pub min_new_tokens: u32,
    /// A florence2_switch: whether tokens are drawn by their probability.
    pub do_sample: i32,
    /// Draws are among this many most likely tokens; -1 for all.
    pub top_k: i32,
    /// Draws are among the most likely tokens that together reach this probability.
    pub top_p: f32,
    /// Divides the scores before drawing.
    pub temperature: f32,
    /// Divides the scores of tokens already written.
    pub repetition_penalty: f32,
    /// Exponent of the length by which a beam's score is divided.
    pub length_penalty: f32,
    /// No sequence of this many tokens occurs twice; -1 allows all.
    pub no_repeat_ngram_size: i32,
    /// A florence2_early_stopping.
    pub early_stopping: i32,
    /// A florence2_compat.
    pub compat: i32,
    /// Must be 0.
    pub reserved: u32,
    /// Seed of the draws: the same seed draws the same tokens.
    pub seed: u64,
    /// Tokens that end an answer, instead of the model's own.
    pub eos_token_ids: *const u32,
    /// How many there are at `eos_token_ids`.
    pub eos_token_ids_len: usize,
    /// Options that have no field here, and values that a zero cannot say: a JSON object with keys
    /// of generation_config.json, such as {"length_penalty": 0, "suppress_tokens": [4, 7]}. A field
    /// of this struct that is set wins.
    pub generation_config: *const c_char,
    /// Milliseconds from the call's beginning after which it fails with
    /// FLORENCE2_STATUS_DEADLINE_EXCEEDED; 0 for none.
    pub deadline_ms: u64,
    /// Ends the call early; NULL for nothing.
    pub cancel: *const florence2_cancel,
    /// Hears of every token; NULL for nobody.
    pub on_token: florence2_token_callback,
    /// Hears of every step; NULL for nobody.
    pub on_progress: florence2_progress_callback,
    /// Passed to both callbacks as it is.
    pub user: *mut c_void,
}

// SAFETY: `repr(C)`, `struct_size` first, numbers, pointers and nullable functions alone.
unsafe impl Options for florence2_run_options {
    const NAME: &'static str = "options";
    #[cfg(not(target_arch = "x86"))]
    const FIRST_SIZE: usize = first_size(136, 112);
    /// 64-bit integers have an alignment of 4 bytes there.
    #[cfg(target_arch = "x86")]
    const FIRST_SIZE: usize = 104;
}

/// Clears `options` and sets its struct_size: `size` is sizeof(florence2_run_options). NULL is
/// allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_run_options_init(
    options: *mut florence2_run_options,
    size: usize,
) {
    // SAFETY: the header asks for room for `size` bytes.
    unsafe { boundary::init_options(options, size) };
}

/// Who hears of a run.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks {
    pub(crate) on_token: florence2_token_callback,
    pub(crate) on_progress: florence2_progress_callback,
    pub(crate) user: *mut c_void,
}

/// Options in Rust's types.
pub(crate) struct ReadOptions {
    pub(crate) run: RunOptions,
    pub(crate) callbacks: Callbacks,
}

/// # Safety
/// As the header asks for options.
pub(crate) unsafe fn read(options: *const florence2_run_options) -> Outcome<ReadOptions> {
    // SAFETY: as this function's.
    let options = unsafe { boundary::options(options)? };
    let Some(options) = options else {
        return Ok(ReadOptions {
            run: RunOptions::default(),
            callbacks: Callbacks {
                on_token: None,
                on_progress: None,
                user: std::ptr::null_mut(),
            },
        });
    };
    boundary::reserved("options.reserved", options.reserved)?;
    Ok(ReadOptions {
        run: RunOptions {
            // SAFETY: as this function's.
            generation: unsafe { generation(&options)? },
            compat: compat(options.compat)?,
            // SAFETY: as this function's.
            cancel: unsafe { cancel(&options)? },
        },
        callbacks: Callbacks {
            on_token: options.on_token,
            on_progress: options.on_progress,
            user: options.user,
        },
    })
}

/// # Safety
/// As the header asks for options.
unsafe fn generation(options: &florence2_run_options) -> Outcome<GenerationOverrides> {
    // SAFETY: as this function's.
    let (json, eos_token_ids) = unsafe {
        (
            boundary::optional_text("options.generation_config", options.generation_config)?,
            boundary::array(
                "options.eos_token_ids",
                options.eos_token_ids,
                options.eos_token_ids_len,
            )?,
        )
    };
    let others = match json {
        None => GenerationOverrides::default(),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| Failure::argument("options.generation_config", error, "its keys"))?,
    };
    Ok(GenerationOverrides {
        num_beams: count(options.num_beams).or(others.num_beams),
        num_return_sequences: count(options.num_return_sequences).or(others.num_return_sequences),
        max_new_tokens: count(options.max_new_tokens).or(others.max_new_tokens),
        min_new_tokens: count(options.min_new_tokens).or(others.min_new_tokens),
        do_sample: switch(options.do_sample)?.or(others.do_sample),
        top_k: count_or_off("options.top_k", options.top_k)?
            .map(|k| k as i64)
            .or(others.top_k),
        top_p: number(options.top_p).or(others.top_p),
        temperature: number(options.temperature).or(others.temperature),
        repetition_penalty: number(options.repetition_penalty).or(others.repetition_penalty),
        length_penalty: number(options.length_penalty).or(others.length_penalty),
        no_repeat_ngram_size: count_or_off(
            "options.no_repeat_ngram_size",
            options.no_repeat_ngram_size,
        )?
        .or(others.no_repeat_ngram_size),
        early_stopping: early_stopping(options.early_stopping)?.or(others.early_stopping),
        seed: (options.seed != 0).then_some(options.seed).or(others.seed),
        eos_token_id: (!eos_token_ids.is_empty())
            .then(|| eos_token_ids.to_vec())
            .or(others.eos_token_id),
        ..others
    })
}

fn count(value: u32) -> Option<usize> {
    (value != 0).then_some(value as usize)
}

fn number(value: f32) -> Option<f32> {
    (value != 0.0).then_some(value)
}

/// Options of which zero, "off", is a value too: C says it as -1.
fn count_or_off(argument: &str, value: i32) -> Outcome<Option<usize>> {
    match value {
        0 => Ok(None),
        -1 => Ok(Some(0)),
        value if value > 0 => Ok(Some(value as usize)),
        other => Err(Failure::argument(argument, other, "-1, 0 or more")),
    }
}

fn switch(number: i32) -> Outcome<Option<bool>> {
    const MODEL: i32 = florence2_switch::Model as i32;
    const ON: i32 = florence2_switch::On as i32;
    const OFF: i32 = florence2_switch::Off as i32;
    match number {
        MODEL => Ok(None),
        ON => Ok(Some(true)),
        OFF => Ok(Some(false)),
        other => Err(Failure::argument(
            "options.do_sample",
            other,
            "a florence2_switch",
        )),
    }
}

fn early_stopping(number: i32) -> Outcome<Option<EarlyStopping>> {
    const MODEL: i32 = florence2_early_stopping::Model as i32;
    const TRUE: i32 = florence2_early_stopping::True as i32;
    const FALSE: i32 = florence2_early_stopping::False as i32;
    const NEVER: i32 = florence2_early_stopping::Never as i32;
    match number {
        MODEL => Ok(None),
        TRUE => Ok(Some(EarlyStopping::True)),
        FALSE => Ok(Some(EarlyStopping::False)),
        NEVER => Ok(Some(EarlyStopping::Never)),
        other => {
            let expected = "a florence2_early_stopping";
            Err(Failure::argument("options.early_stopping", other, expected))
        }
    }
}

fn compat(number: i32) -> Outcome<Compat> {
    const CENTERS: i32 = florence2_compat::Centers as i32;
    const HF: i32 = florence2_compat::Hf as i32;
    match number {
        CENTERS => Ok(Compat::Centers),
        HF => Ok(Compat::Hf),
        other => Err(Failure::argument(
            "options.compat",
            other,
            "a florence2_compat",
        )),
    }
}

/// # Safety
/// As the header asks for options.
unsafe fn cancel(options: &florence2_run_options) -> Outcome<CancelToken> {
    // SAFETY: as this function's.
    let cancel = unsafe { boundary::borrow_optional(options.cancel)? };
    let token = cancel.map_or_else(CancelToken::default, |cancel| cancel.token.clone());
    let deadline = match options.deadline_ms {
        0 => None,
        // A deadline beyond what the clock can tell is none.
        milliseconds => Instant::now().checked_add(Duration::from_millis(milliseconds)),
    };
    Ok(deadline.map_or(token.clone(), |deadline| token.until(deadline)))
}
