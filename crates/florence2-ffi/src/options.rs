//! How a request is run.

use std::ffi::{c_char, c_void};
use std::time::{Duration, Instant};

use florence2::{CancelToken, Compat, EarlyStopping, GenerationOverrides, RunOptions};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::handle::{self, Handle};
use crate::option_struct::{self, Options, first_size};
use crate::result::florence2_token;
use crate::status::florence2_status;

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
    // SAFETY: the header requires writable outputs.
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
    // SAFETY: the header requires a live token or NULL.
    unsafe { boundary::read(cancel, (), |cancel| cancel.token.cancel()) }
}

/// Whether the token was fired. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_is_fired(cancel: *const florence2_cancel) -> bool {
    // SAFETY: the header requires a live token or NULL.
    unsafe { boundary::read(cancel, false, |cancel| cancel.token.is_cancelled()) }
}

/// Frees a cancel token. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_cancel_free(cancel: *mut florence2_cancel) {
    // SAFETY: the header requires a token that no other thread uses, or NULL.
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

/// Called once per token of an answer, `<s>` and `</s>` included, in order: during the search when
/// `num_beams` and `num_return_sequences` are 1, else after the search, for the best answer. Called
/// on the thread that made the call; `token` is borrowed for this call.
/// Return 0 to continue. Any other number ends the run, which then fails with
/// FLORENCE2_STATUS_CANCELLED. Must not unwind: no exception may leave it, nor may longjmp.
pub type florence2_token_callback =
    Option<unsafe extern "C" fn(token: *const florence2_token, user: *mut c_void) -> i32>;

/// Called once per step of the search. Otherwise as florence2_token_callback.
pub type florence2_progress_callback =
    Option<unsafe extern "C" fn(progress: *const florence2_progress, user: *mut c_void) -> i32>;

/// In `set` of florence2_run_options: `num_beams` counts, also when it is zero.
pub const FLORENCE2_SET_NUM_BEAMS: u64 = 1;
/// In `set` of florence2_run_options: `num_return_sequences` counts, also when it is zero.
pub const FLORENCE2_SET_NUM_RETURN_SEQUENCES: u64 = 2;
/// In `set` of florence2_run_options: `max_new_tokens` counts, also when it is zero.
pub const FLORENCE2_SET_MAX_NEW_TOKENS: u64 = 4;
/// In `set` of florence2_run_options: `min_new_tokens` counts, also when it is zero.
pub const FLORENCE2_SET_MIN_NEW_TOKENS: u64 = 8;
/// In `set` of florence2_run_options: `top_k` counts, also when it is zero.
pub const FLORENCE2_SET_TOP_K: u64 = 16;
/// In `set` of florence2_run_options: `top_p` counts, also when it is zero.
pub const FLORENCE2_SET_TOP_P: u64 = 32;
/// In `set` of florence2_run_options: `temperature` counts, also when it is zero.
pub const FLORENCE2_SET_TEMPERATURE: u64 = 64;
/// In `set` of florence2_run_options: `repetition_penalty` counts, also when it is zero.
pub const FLORENCE2_SET_REPETITION_PENALTY: u64 = 128;
/// In `set` of florence2_run_options: `length_penalty` counts, also when it is zero.
pub const FLORENCE2_SET_LENGTH_PENALTY: u64 = 256;
/// In `set` of florence2_run_options: `no_repeat_ngram_size` counts, also when it is zero.
pub const FLORENCE2_SET_NO_REPEAT_NGRAM_SIZE: u64 = 512;
/// In `set` of florence2_run_options: `seed` counts, also when it is zero.
pub const FLORENCE2_SET_SEED: u64 = 1024;
/// In `set` of florence2_run_options: `eos_token_ids` counts, also when it is zero or empty.
pub const FLORENCE2_SET_EOS_TOKEN_IDS: u64 = 2048;
/// In `set` of florence2_run_options: `max_length` counts, also when it is zero.
pub const FLORENCE2_SET_MAX_LENGTH: u64 = 4096;
/// In `set` of florence2_run_options: `min_length` counts, also when it is zero.
pub const FLORENCE2_SET_MIN_LENGTH: u64 = 8192;
/// In `set` of florence2_run_options: `encoder_no_repeat_ngram_size` counts, also when it is zero.
pub const FLORENCE2_SET_ENCODER_NO_REPEAT_NGRAM_SIZE: u64 = 16_384;
/// In `set` of florence2_run_options: `min_p` counts, also when it is zero.
pub const FLORENCE2_SET_MIN_P: u64 = 32_768;
/// In `set` of florence2_run_options: `top_h` counts, also when it is zero.
pub const FLORENCE2_SET_TOP_H: u64 = 65_536;
/// In `set` of florence2_run_options: `typical_p` counts, also when it is zero.
pub const FLORENCE2_SET_TYPICAL_P: u64 = 131_072;
/// In `set` of florence2_run_options: `epsilon_cutoff` counts, also when it is zero.
pub const FLORENCE2_SET_EPSILON_CUTOFF: u64 = 262_144;
/// In `set` of florence2_run_options: `eta_cutoff` counts, also when it is zero.
pub const FLORENCE2_SET_ETA_CUTOFF: u64 = 524_288;
/// In `set` of florence2_run_options: `encoder_repetition_penalty` counts, also when it is zero.
pub const FLORENCE2_SET_ENCODER_REPETITION_PENALTY: u64 = 1_048_576;
/// In `set` of florence2_run_options: `exponential_decay_start` and
/// `exponential_decay_factor` count, also when they are zero.
pub const FLORENCE2_SET_EXPONENTIAL_DECAY_LENGTH_PENALTY: u64 = 2_097_152;
/// In `set` of florence2_run_options: `max_time_s` counts, also when it is zero.
pub const FLORENCE2_SET_MAX_TIME: u64 = 4_194_304;
/// In `set` of florence2_run_options: `forced_bos_token_ids` counts, also when it is zero or empty.
pub const FLORENCE2_SET_FORCED_BOS_TOKEN_IDS: u64 = 8_388_608;
/// In `set` of florence2_run_options: `forced_eos_token_ids` counts, also when it is zero or empty.
pub const FLORENCE2_SET_FORCED_EOS_TOKEN_IDS: u64 = 16_777_216;
/// In `set` of florence2_run_options: `decoder_start_token_ids` counts, also when it is zero or empty.
pub const FLORENCE2_SET_DECODER_START_TOKEN_IDS: u64 = 33_554_432;
/// In `set` of florence2_run_options: `suppress_tokens` counts, also when it is zero or empty.
pub const FLORENCE2_SET_SUPPRESS_TOKENS: u64 = 67_108_864;
/// In `set` of florence2_run_options: `begin_suppress_tokens` counts, also when it is zero or empty.
pub const FLORENCE2_SET_BEGIN_SUPPRESS_TOKENS: u64 = 134_217_728;
/// In `set` of florence2_run_options: `bad_words_ids` counts, also when it is zero or empty.
pub const FLORENCE2_SET_BAD_WORDS_IDS: u64 = 268_435_456;
/// In `set` of florence2_run_options: `sequence_bias` counts, also when it is zero or empty.
pub const FLORENCE2_SET_SEQUENCE_BIAS: u64 = 536_870_912;
/// In `set` of florence2_run_options: `stop_strings` counts, also when it is zero or empty.
pub const FLORENCE2_SET_STOP_STRINGS: u64 = 1_073_741_824;

/// A sequence of tokens.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_token_sequence {
    /// The ids.
    pub token_ids: *const u32,
    /// The number of ids at `token_ids`.
    pub token_ids_len: usize,
}

/// A sequence of tokens, and the bias that is added to the score of its last token after the others.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_sequence_bias {
    /// The ids.
    pub token_ids: *const u32,
    /// The number of ids at `token_ids`.
    pub token_ids_len: usize,
    /// The bias.
    pub bias: f32,
    /// Must be 0.
    pub reserved: u32,
}

/// Options of a run. To be cleared with florence2_run_options_init; a field that is zero keeps the
/// value of the model's files. All is read during the call only. A field whose zero is a value too, such as a length
/// penalty of 0, counts when its bit in `set` is 1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_run_options {
    /// The size of this struct, as florence2_run_options_init sets it.
    pub struct_size: usize,
    /// Beams of the beam search; 1 for greedy search or sampling.
    pub num_beams: u32,
    /// Answers per request, at most `num_beams`; with sampling and one beam, any number.
    pub num_return_sequences: u32,
    /// Tokens of an answer at most, the end token included.
    pub max_new_tokens: u32,
    /// Tokens of an answer at least.
    pub min_new_tokens: u32,
    /// A florence2_switch: whether tokens are sampled.
    pub do_sample: i32,
    /// Sample from the k most likely tokens; -1 disables the limit.
    pub top_k: i32,
    /// Sample from the most likely tokens that together reach this probability.
    pub top_p: f32,
    /// Divides the scores before sampling.
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
    /// Seed of the sampling: the same seed gives the same tokens.
    pub seed: u64,
    /// Tokens that end an answer, instead of the model's own.
    pub eos_token_ids: *const u32,
    /// The number of elements at `eos_token_ids`.
    pub eos_token_ids_len: usize,
    /// Options as a JSON object with keys of generation_config.json, such as
    /// {"length_penalty": 0, "suppress_tokens": [4, 7]}. A field of this struct that counts wins.
    pub generation_config: *const c_char,
    /// Milliseconds from the call's beginning after which it fails with
    /// FLORENCE2_STATUS_DEADLINE_EXCEEDED; 0 for none.
    pub deadline_ms: u64,
    /// Ends the call early; NULL for nothing.
    pub cancel: *const florence2_cancel,
    /// Called once per token; may be NULL.
    pub on_token: florence2_token_callback,
    /// Called once per step; may be NULL.
    pub on_progress: florence2_progress_callback,
    /// Passed to both callbacks as it is.
    pub user: *mut c_void,
    /// FLORENCE2_SET_* of the fields that count though they are zero or empty.
    pub set: u64,
    /// Length of the decoder's sequence at most, its start token included; `max_new_tokens` wins.
    pub max_length: u32,
    /// Length of the decoder's sequence at least, its start token included.
    pub min_length: u32,
    /// No sequence of this many tokens of the prompt occurs in the answer.
    pub encoder_no_repeat_ngram_size: u32,
    /// Sample from the tokens with at least this share of the most likely token's probability.
    pub min_p: f32,
    /// Sample from the most likely tokens up to this share of the distribution's entropy.
    pub top_h: f32,
    /// Sample from the locally typical tokens that together reach this probability.
    pub typical_p: f32,
    /// Sample from the tokens of at least this probability.
    pub epsilon_cutoff: f32,
    /// The cutoff of eta sampling.
    pub eta_cutoff: f32,
    /// Above 1, raises the scores of the prompt's tokens, of the first beam or sample alone.
    pub encoder_repetition_penalty: f32,
    /// A florence2_switch: whether scores that are not finite are replaced.
    pub remove_invalid_values: i32,
    /// A florence2_switch: whether scores are normalised again after all processors.
    pub renormalize_logits: i32,
    /// The number of tokens after which the exponential decay of the length penalty begins.
    pub exponential_decay_start: u32,
    /// The base of its exponential growth; 1 for none.
    pub exponential_decay_factor: f64,
    /// Seconds after which generation ends with the tokens that it has.
    pub max_time_s: f64,
    /// The first generated token; set and empty for none, against the model's.
    pub forced_bos_token_ids: *const u32,
    /// The number of elements at `forced_bos_token_ids`.
    pub forced_bos_token_ids_len: usize,
    /// The token at the greatest length; set and empty for none, against the model's.
    pub forced_eos_token_ids: *const u32,
    /// The number of elements at `forced_eos_token_ids`.
    pub forced_eos_token_ids_len: usize,
    /// The decoder's start token: one, or one for each request.
    pub decoder_start_token_ids: *const u32,
    /// The number of elements at `decoder_start_token_ids`.
    pub decoder_start_token_ids_len: usize,
    /// Tokens that are never generated.
    pub suppress_tokens: *const u32,
    /// The number of elements at `suppress_tokens`.
    pub suppress_tokens_len: usize,
    /// Tokens that are not generated first.
    pub begin_suppress_tokens: *const u32,
    /// The number of elements at `begin_suppress_tokens`.
    pub begin_suppress_tokens_len: usize,
    /// Sequences that are never generated.
    pub bad_words_ids: *const florence2_token_sequence,
    /// The number of elements at `bad_words_ids`.
    pub bad_words_ids_len: usize,
    /// Sequences that are more or less likely.
    pub sequence_bias: *const florence2_sequence_bias,
    /// The number of elements at `sequence_bias`.
    pub sequence_bias_len: usize,
    /// Texts that end an answer: UTF-8.
    pub stop_strings: *const *const c_char,
    /// The number of elements at `stop_strings`.
    pub stop_strings_len: usize,
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
    // SAFETY: the header requires room for `size` bytes.
    unsafe { boundary::init_struct(options, size) };
}

/// The callbacks of a run.
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
/// As the header requires options.
pub(crate) unsafe fn read(options: *const florence2_run_options) -> Outcome<ReadOptions> {
    // SAFETY: the caller guarantees it.
    let options = unsafe { option_struct::read_struct(options)? };
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
    option_struct::check_reserved("options.reserved", options.reserved)?;
    Ok(ReadOptions {
        run: RunOptions {
            // SAFETY: the caller guarantees it.
            generation: unsafe { generation(&options)? },
            compat: compat(options.compat)?,
            // SAFETY: the caller guarantees it.
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
/// As the header requires options.
unsafe fn generation(options: &florence2_run_options) -> Outcome<GenerationOverrides> {
    // SAFETY: the caller guarantees it.
    let (json, lists) = unsafe {
        let json =
            arguments::optional_text("options.generation_config", options.generation_config)?;
        (json, Lists::read(options)?)
    };
    let others = match json {
        None => GenerationOverrides::default(),
        Some(json) => serde_json::from_str(json)
            .map_err(|error| Failure::argument("options.generation_config", error, "its keys"))?,
    };
    let set = options.set;
    if set & !ALL_BITS != 0 {
        let found = set & !ALL_BITS;
        return Err(Failure::argument("options.set", found, "FLORENCE2_SET_*"));
    }
    let count = |value: u32, bit: u64| (value != 0 || set & bit != 0).then_some(value as usize);
    let number = |value: f32, bit: u64| (value != 0.0 || set & bit != 0).then_some(value);
    let decay = (
        options.exponential_decay_start as usize,
        options.exponential_decay_factor,
    );
    let has_decay = decay.1 != 0.0 || set & FLORENCE2_SET_EXPONENTIAL_DECAY_LENGTH_PENALTY != 0;
    let has_seed = options.seed != 0 || set & FLORENCE2_SET_SEED != 0;
    let has_time = options.max_time_s != 0.0 || set & FLORENCE2_SET_MAX_TIME != 0;
    let fields = GenerationOverrides {
        num_beams: count(options.num_beams, FLORENCE2_SET_NUM_BEAMS),
        num_return_sequences: count(
            options.num_return_sequences,
            FLORENCE2_SET_NUM_RETURN_SEQUENCES,
        ),
        max_new_tokens: count(options.max_new_tokens, FLORENCE2_SET_MAX_NEW_TOKENS),
        max_length: count(options.max_length, FLORENCE2_SET_MAX_LENGTH),
        min_new_tokens: count(options.min_new_tokens, FLORENCE2_SET_MIN_NEW_TOKENS),
        min_length: count(options.min_length, FLORENCE2_SET_MIN_LENGTH),
        do_sample: switch("options.do_sample", options.do_sample)?,
        temperature: number(options.temperature, FLORENCE2_SET_TEMPERATURE),
        top_k: count_or_off("options.top_k", options.top_k, set & FLORENCE2_SET_TOP_K)?
            .map(|k| k as i64),
        top_p: number(options.top_p, FLORENCE2_SET_TOP_P),
        min_p: number(options.min_p, FLORENCE2_SET_MIN_P),
        top_h: number(options.top_h, FLORENCE2_SET_TOP_H),
        typical_p: number(options.typical_p, FLORENCE2_SET_TYPICAL_P),
        epsilon_cutoff: number(options.epsilon_cutoff, FLORENCE2_SET_EPSILON_CUTOFF),
        eta_cutoff: number(options.eta_cutoff, FLORENCE2_SET_ETA_CUTOFF),
        seed: has_seed.then_some(options.seed),
        no_repeat_ngram_size: count_or_off(
            "options.no_repeat_ngram_size",
            options.no_repeat_ngram_size,
            set & FLORENCE2_SET_NO_REPEAT_NGRAM_SIZE,
        )?,
        encoder_no_repeat_ngram_size: count(
            options.encoder_no_repeat_ngram_size,
            FLORENCE2_SET_ENCODER_NO_REPEAT_NGRAM_SIZE,
        ),
        repetition_penalty: number(options.repetition_penalty, FLORENCE2_SET_REPETITION_PENALTY),
        encoder_repetition_penalty: number(
            options.encoder_repetition_penalty,
            FLORENCE2_SET_ENCODER_REPETITION_PENALTY,
        ),
        length_penalty: number(options.length_penalty, FLORENCE2_SET_LENGTH_PENALTY),
        early_stopping: early_stopping(options.early_stopping)?,
        exponential_decay_length_penalty: has_decay.then_some(decay),
        max_time: has_time.then_some(options.max_time_s),
        remove_invalid_values: switch(
            "options.remove_invalid_values",
            options.remove_invalid_values,
        )?,
        renormalize_logits: switch("options.renormalize_logits", options.renormalize_logits)?,
        ..lists.into_overrides(set)
    };
    Ok(fields.or(others))
}

/// All bits of `set`.
const ALL_BITS: u64 = 2_147_483_647;

/// The lists of the run options, as Rust's.
struct Lists {
    forced_bos_token_id: Vec<u32>,
    forced_eos_token_id: Vec<u32>,
    decoder_start_token_id: Vec<u32>,
    suppress_tokens: Vec<u32>,
    begin_suppress_tokens: Vec<u32>,
    bad_words_ids: Vec<Vec<u32>>,
    sequence_bias: Vec<(Vec<u32>, f32)>,
    eos_token_id: Vec<u32>,
    stop_strings: Vec<String>,
}

impl Lists {
    /// # Safety
    /// As the header requires options.
    unsafe fn read(options: &florence2_run_options) -> Outcome<Self> {
        // SAFETY: the caller guarantees it.
        let ids = |name: &str, data: *const u32, len: usize| unsafe {
            let argument = format!("options.{name}");
            arguments::array(&argument, data, len).map(<[u32]>::to_vec)
        };
        // SAFETY: the caller guarantees it.
        let (words, biases, strings) = unsafe {
            (
                arguments::array(
                    "options.bad_words_ids",
                    options.bad_words_ids,
                    options.bad_words_ids_len,
                )?,
                arguments::array(
                    "options.sequence_bias",
                    options.sequence_bias,
                    options.sequence_bias_len,
                )?,
                arguments::array(
                    "options.stop_strings",
                    options.stop_strings,
                    options.stop_strings_len,
                )?,
            )
        };
        let words = words.iter().enumerate().map(|(index, word)| {
            ids(
                &format!("bad_words_ids[{index}].token_ids"),
                word.token_ids,
                word.token_ids_len,
            )
        });
        let biases = biases.iter().enumerate().map(|(index, bias)| {
            option_struct::check_reserved(
                &format!("options.sequence_bias[{index}].reserved"),
                bias.reserved,
            )?;
            let name = format!("sequence_bias[{index}].token_ids");
            Ok((ids(&name, bias.token_ids, bias.token_ids_len)?, bias.bias))
        });
        let strings = strings.iter().enumerate().map(|(index, string)| {
            // SAFETY: the caller guarantees it.
            let text =
                unsafe { arguments::text(&format!("options.stop_strings[{index}]"), *string) };
            text.map(ToOwned::to_owned)
        });
        Ok(Self {
            bad_words_ids: words.collect::<Outcome<_>>()?,
            sequence_bias: biases.collect::<Outcome<_>>()?,
            stop_strings: strings.collect::<Outcome<_>>()?,
            forced_bos_token_id: ids(
                "forced_bos_token_ids",
                options.forced_bos_token_ids,
                options.forced_bos_token_ids_len,
            )?,
            forced_eos_token_id: ids(
                "forced_eos_token_ids",
                options.forced_eos_token_ids,
                options.forced_eos_token_ids_len,
            )?,
            decoder_start_token_id: ids(
                "decoder_start_token_ids",
                options.decoder_start_token_ids,
                options.decoder_start_token_ids_len,
            )?,
            suppress_tokens: ids(
                "suppress_tokens",
                options.suppress_tokens,
                options.suppress_tokens_len,
            )?,
            begin_suppress_tokens: ids(
                "begin_suppress_tokens",
                options.begin_suppress_tokens,
                options.begin_suppress_tokens_len,
            )?,
            eos_token_id: ids(
                "eos_token_ids",
                options.eos_token_ids,
                options.eos_token_ids_len,
            )?,
        })
    }

    /// The lists that are not empty or have their bit in `set`.
    fn into_overrides(self, set: u64) -> GenerationOverrides {
        fn list<T>(list: Vec<T>, bit: u64) -> Option<Vec<T>> {
            (!list.is_empty() || bit != 0).then_some(list)
        }
        GenerationOverrides {
            forced_bos_token_id: list(
                self.forced_bos_token_id,
                set & FLORENCE2_SET_FORCED_BOS_TOKEN_IDS,
            ),
            forced_eos_token_id: list(
                self.forced_eos_token_id,
                set & FLORENCE2_SET_FORCED_EOS_TOKEN_IDS,
            ),
            decoder_start_token_id: list(
                self.decoder_start_token_id,
                set & FLORENCE2_SET_DECODER_START_TOKEN_IDS,
            ),
            suppress_tokens: list(self.suppress_tokens, set & FLORENCE2_SET_SUPPRESS_TOKENS),
            begin_suppress_tokens: list(
                self.begin_suppress_tokens,
                set & FLORENCE2_SET_BEGIN_SUPPRESS_TOKENS,
            ),
            bad_words_ids: list(self.bad_words_ids, set & FLORENCE2_SET_BAD_WORDS_IDS),
            sequence_bias: list(self.sequence_bias, set & FLORENCE2_SET_SEQUENCE_BIAS),
            eos_token_id: list(self.eos_token_id, set & FLORENCE2_SET_EOS_TOKEN_IDS),
            stop_strings: list(self.stop_strings, set & FLORENCE2_SET_STOP_STRINGS),
            ..GenerationOverrides::default()
        }
    }
}

/// An option that 0 turns off. C writes this as -1, or as 0 with the option's bit in `set`.
fn count_or_off(argument: &str, value: i32, bit: u64) -> Outcome<Option<usize>> {
    match value {
        0 if bit == 0 => Ok(None),
        -1 | 0 => Ok(Some(0)),
        value if value > 0 => Ok(Some(value as usize)),
        other => Err(Failure::argument(argument, other, "-1, 0 or more")),
    }
}

fn switch(argument: &str, number: i32) -> Outcome<Option<bool>> {
    const MODEL: i32 = florence2_switch::Model as i32;
    const ON: i32 = florence2_switch::On as i32;
    const OFF: i32 = florence2_switch::Off as i32;
    match number {
        MODEL => Ok(None),
        ON => Ok(Some(true)),
        OFF => Ok(Some(false)),
        other => Err(Failure::argument(argument, other, "a florence2_switch")),
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
/// As the header requires options.
unsafe fn cancel(options: &florence2_run_options) -> Outcome<CancelToken> {
    // SAFETY: the caller guarantees it.
    let cancel = unsafe { handle::borrow_optional(options.cancel)? };
    let token = cancel.map_or_else(CancelToken::default, |cancel| cancel.token.clone());
    let deadline = match options.deadline_ms {
        0 => None,
        // A deadline beyond what the clock can tell is none.
        milliseconds => Instant::now().checked_add(Duration::from_millis(milliseconds)),
    };
    Ok(deadline.map_or(token.clone(), |deadline| token.until(deadline)))
}
