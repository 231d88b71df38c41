//! The options of a run, as C programs declare them.

use std::ffi::{c_char, c_void};

use crate::boundary;
use crate::cancel::florence2_cancel;
use crate::option_struct::{Options, first_size};
use crate::result::florence2_token;

/// A boolean option with a third value for "not set".
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_switch {
    /// Not set: the value of the model's files applies.
    Model = 0,
    /// On.
    On = 1,
    /// Off.
    Off = 2,
}

/// The condition that ends a beam search.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_early_stopping {
    /// Not set: the value of the model's files applies.
    Model = 0,
    /// The search ends as soon as `num_beams` answers are complete.
    True = 1,
    /// The search ends when a better answer is unlikely, by a heuristic.
    False = 2,
    /// The search ends when a better answer is impossible.
    Never = 3,
}

/// The conventions of results where Microsoft's code and Hugging Face's transformers differ.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_coordinates {
    /// The conventions of Microsoft's code. Coordinates are the centres of the model's bins (1000
    /// along each side of the image), with fractions. Labels keep all characters. The plain text
    /// contains no `<pad>`. Polygon rings without points are dropped.
    BinCenters = 0,
    /// The conventions of transformers 5.17. Coordinates are the bins' centres, truncated to
    /// integers. Labels of boxes lack the characters outside ASCII. The plain text keeps `<pad>`.
    /// Polygon rings without points are kept.
    HfIntegers = 1,
}

/// The progress of a run.
///
/// It is valid only during the callback. Later versions may append fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_progress {
    /// The number of tokens that were generated for each incomplete answer.
    pub new_tokens: usize,
    /// The maximum number of tokens of an answer. Most answers are complete earlier.
    pub max_new_tokens: usize,
}

/// Called once per generated token of an answer, in order, including end tokens such as `</s>`.
///
/// With greedy search or sampling and one answer per request, it is called as soon as the token is
/// chosen. With beam search or several answers per request, it is called after the search, for the
/// tokens of the best answer. In a batch, the calls
/// for different requests are interleaved in the first case, and follow each other in the second.
///
/// - `token`: the token. It is valid only during the callback.
/// - `user`: the field `user` of florence2_run_options.
///
/// Return 0 to continue. Any other number ends the run, which fails with
/// FLORENCE2_STATUS_CANCELLED. The callback is called on the thread that started the run. It must
/// not free the objects that the run uses. It must not unwind: neither an exception nor longjmp may
/// leave it.
pub type florence2_token_callback =
    Option<unsafe extern "C" fn(token: *const florence2_token, user: *mut c_void) -> i32>;

/// Called once per step of the search. A step generates one token for every incomplete answer.
///
/// - `progress`: the progress. It is valid only during the callback.
/// - `user`: the field `user` of florence2_run_options.
///
/// The rules of florence2_token_callback for the returned number, the thread and unwinding apply.
pub type florence2_progress_callback =
    Option<unsafe extern "C" fn(progress: *const florence2_progress, user: *mut c_void) -> i32>;

/// Bit of `set` in florence2_run_options: `num_beams` applies even if it is 0.
pub const FLORENCE2_SET_NUM_BEAMS: u64 = 1;
/// Bit of `set` in florence2_run_options: `num_return_sequences` applies even if it is 0.
pub const FLORENCE2_SET_NUM_RETURN_SEQUENCES: u64 = 2;
/// Bit of `set` in florence2_run_options: `max_new_tokens` applies even if it is 0.
pub const FLORENCE2_SET_MAX_NEW_TOKENS: u64 = 4;
/// Bit of `set` in florence2_run_options: `min_new_tokens` applies even if it is 0.
pub const FLORENCE2_SET_MIN_NEW_TOKENS: u64 = 8;
/// Bit of `set` in florence2_run_options: `top_k` applies even if it is 0.
pub const FLORENCE2_SET_TOP_K: u64 = 16;
/// Bit of `set` in florence2_run_options: `top_p` applies even if it is 0.
pub const FLORENCE2_SET_TOP_P: u64 = 32;
/// Bit of `set` in florence2_run_options: `temperature` applies even if it is 0.
pub const FLORENCE2_SET_TEMPERATURE: u64 = 64;
/// Bit of `set` in florence2_run_options: `repetition_penalty` applies even if it is 0.
pub const FLORENCE2_SET_REPETITION_PENALTY: u64 = 128;
/// Bit of `set` in florence2_run_options: `length_penalty` applies even if it is 0.
pub const FLORENCE2_SET_LENGTH_PENALTY: u64 = 256;
/// Bit of `set` in florence2_run_options: `no_repeat_ngram_size` applies even if it is 0.
pub const FLORENCE2_SET_NO_REPEAT_NGRAM_SIZE: u64 = 512;
/// Bit of `set` in florence2_run_options: `seed` applies even if it is 0.
pub const FLORENCE2_SET_SEED: u64 = 1024;
/// Bit of `set` in florence2_run_options: `eos_token_ids` applies even if it is empty.
pub const FLORENCE2_SET_EOS_TOKEN_IDS: u64 = 2048;
/// Bit of `set` in florence2_run_options: `max_length` applies even if it is 0.
pub const FLORENCE2_SET_MAX_LENGTH: u64 = 4096;
/// Bit of `set` in florence2_run_options: `min_length` applies even if it is 0.
pub const FLORENCE2_SET_MIN_LENGTH: u64 = 8192;
/// Bit of `set` in florence2_run_options: `encoder_no_repeat_ngram_size` applies even if it is 0.
pub const FLORENCE2_SET_ENCODER_NO_REPEAT_NGRAM_SIZE: u64 = 16_384;
/// Bit of `set` in florence2_run_options: `min_p` applies even if it is 0.
pub const FLORENCE2_SET_MIN_P: u64 = 32_768;
/// Bit of `set` in florence2_run_options: `top_h` applies even if it is 0.
pub const FLORENCE2_SET_TOP_H: u64 = 65_536;
/// Bit of `set` in florence2_run_options: `typical_p` applies even if it is 0.
pub const FLORENCE2_SET_TYPICAL_P: u64 = 131_072;
/// Bit of `set` in florence2_run_options: `epsilon_cutoff` applies even if it is 0.
pub const FLORENCE2_SET_EPSILON_CUTOFF: u64 = 262_144;
/// Bit of `set` in florence2_run_options: `eta_cutoff` applies even if it is 0.
pub const FLORENCE2_SET_ETA_CUTOFF: u64 = 524_288;
/// Bit of `set` in florence2_run_options: `encoder_repetition_penalty` applies even if it is 0.
pub const FLORENCE2_SET_ENCODER_REPETITION_PENALTY: u64 = 1_048_576;
/// Bit of `set` in florence2_run_options: `exponential_decay_start` and `exponential_decay_factor`
/// apply even if they are 0.
pub const FLORENCE2_SET_EXPONENTIAL_DECAY_LENGTH_PENALTY: u64 = 2_097_152;
/// Bit of `set` in florence2_run_options: `max_time_s` applies even if it is 0.
pub const FLORENCE2_SET_MAX_TIME: u64 = 4_194_304;
/// Bit of `set` in florence2_run_options: `forced_bos_token_ids` applies even if it is empty.
pub const FLORENCE2_SET_FORCED_BOS_TOKEN_IDS: u64 = 8_388_608;
/// Bit of `set` in florence2_run_options: `forced_eos_token_ids` applies even if it is empty.
pub const FLORENCE2_SET_FORCED_EOS_TOKEN_IDS: u64 = 16_777_216;
/// Bit of `set` in florence2_run_options: `decoder_start_token_ids` applies even if it is empty.
pub const FLORENCE2_SET_DECODER_START_TOKEN_IDS: u64 = 33_554_432;
/// Bit of `set` in florence2_run_options: `suppress_tokens` applies even if it is empty.
pub const FLORENCE2_SET_SUPPRESS_TOKENS: u64 = 67_108_864;
/// Bit of `set` in florence2_run_options: `begin_suppress_tokens` applies even if it is empty.
pub const FLORENCE2_SET_BEGIN_SUPPRESS_TOKENS: u64 = 134_217_728;
/// Bit of `set` in florence2_run_options: `bad_words_ids` applies even if it is empty.
pub const FLORENCE2_SET_BAD_WORDS_IDS: u64 = 268_435_456;
/// Bit of `set` in florence2_run_options: `sequence_bias` applies even if it is empty.
pub const FLORENCE2_SET_SEQUENCE_BIAS: u64 = 536_870_912;
/// Bit of `set` in florence2_run_options: `stop_strings` applies even if it is empty.
pub const FLORENCE2_SET_STOP_STRINGS: u64 = 1_073_741_824;

/// A sequence of tokens.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_token_sequence {
    /// The ids of the tokens.
    pub token_ids: *const u32,
    /// The number of elements at `token_ids`.
    pub token_ids_len: usize,
}

/// A sequence of tokens with a bias. If the answer ends with all but the last token of the
/// sequence, the bias is added to the score of the last token.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_sequence_bias {
    /// The ids of the tokens.
    pub token_ids: *const u32,
    /// The number of elements at `token_ids`.
    pub token_ids_len: usize,
    /// The bias. A positive value makes the sequence more likely. Must not be NaN.
    pub bias: f32,
    /// Must be 0.
    pub reserved: u32,
}

/// Options of a run. Initialise it with florence2_run_options_init.
///
/// Generation options have the names and effects of Hugging Face's GenerationConfig. A generation
/// option is not set if its field is 0, NULL or empty. For an option that is not set, the library
/// uses the first of these values that exists: the key of that name in `generation_config`, the
/// value in the model's files, the default in the comment of the field. To set an option to 0 or to
/// an empty list, also set its bit in `set`.
///
/// The library reads the struct and everything that it points to only during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_run_options {
    /// The size of this struct in bytes. florence2_run_options_init sets it.
    pub struct_size: usize,
    /// The number of beams of the beam search; at most half the size of the vocabulary. 1 selects
    /// greedy search, or sampling with `do_sample`. Default: 1.
    pub num_beams: u32,
    /// The number of answers per request. At most `num_beams`, except with sampling and one beam.
    /// Default: 1.
    pub num_return_sequences: u32,
    /// The maximum number of generated tokens, including the end token. Values above the number of
    /// the decoder's positions are reduced to it. Default: 1024, if `max_length` is not set either.
    pub max_new_tokens: u32,
    /// The minimum number of generated tokens before an end token. It overrides `min_length`.
    /// Default: none.
    pub min_new_tokens: u32,
    /// A florence2_switch: whether tokens are sampled. Default: off.
    pub do_sample: i32,
    /// Sampling: choose from the k most likely tokens. -1 disables the limit. Default: 50.
    pub top_k: i32,
    /// Sampling: choose from the most likely tokens whose total probability reaches this value. 1
    /// disables the limit. Default: 1.
    pub top_p: f32,
    /// Sampling: scores are divided by this value, which must be greater than 0. Default: 1.
    pub temperature: f32,
    /// A value greater than 1 makes tokens that the answer already contains less likely: positive
    /// scores are divided by it, negative scores are multiplied. Must be greater than 0. Default:
    /// 1.
    pub repetition_penalty: f32,
    /// Beam search divides the score of an answer by its length to the power of this value.
    /// Default: 1.
    pub length_penalty: f32,
    /// No sequence of this many tokens occurs twice in an answer. -1 disables the limit. Default:
    /// no limit.
    pub no_repeat_ngram_size: i32,
    /// A florence2_early_stopping: the condition that ends a beam search. Default:
    /// FLORENCE2_EARLY_STOPPING_FALSE.
    pub early_stopping: i32,
    /// A florence2_coordinates: the conventions of the result. Default: FLORENCE2_COORDINATES_BIN_CENTERS.
    pub coordinates: i32,
    /// The number of bins on each side of a generated coordinate that count as the same coordinate in
    /// the scores of regions; 1000 bins are a side of the image. It does not affect the answer. -1: 0
    /// bins, only the generated bin counts. Default: 50.
    pub location_tolerance: i32,
    /// Sampling: the seed of the random numbers, which are the same on every machine. Default: 0.
    pub seed: u64,
    /// The tokens that end an answer. If it is empty and its bit in `set` is 1, answers end only at
    /// their maximum length. Default: none. A model whose files name no end token has a warning.
    pub eos_token_ids: *const u32,
    /// The number of elements at `eos_token_ids`.
    pub eos_token_ids_len: usize,
    /// Generation options as a JSON object in UTF-8, with keys of generation_config.json, such as
    /// {"length_penalty": 0, "suppress_tokens": [4, 7]}. An unknown key is an error. A field of
    /// this struct that is set overrides the key. Default: NULL, no options.
    pub generation_config: *const c_char,
    /// The time limit of the call in milliseconds, from its start. After it, the call fails with
    /// FLORENCE2_STATUS_DEADLINE_EXCEEDED. It is checked before each stage of the vision tower and
    /// each generated token. Default: 0, no limit.
    pub deadline_ms: u64,
    /// A token that cancels the call. Default: NULL, no token.
    pub cancel: *const florence2_cancel,
    /// The callback for generated tokens. Default: NULL, no callback.
    pub on_token: florence2_token_callback,
    /// The callback for the progress of the run. Default: NULL, no callback.
    pub on_progress: florence2_progress_callback,
    /// Passed to both callbacks unchanged.
    pub user: *mut c_void,
    /// The FLORENCE2_SET_* bits of the options that are set although their fields are 0 or empty.
    /// Default: 0.
    pub set: u64,
    /// The maximum length of the decoder's sequence in tokens, including the start token.
    /// `max_new_tokens` overrides it. Default: none.
    pub max_length: u32,
    /// The minimum length of the decoder's sequence in tokens, including the start token, before an
    /// end token. Default: 0.
    pub min_length: u32,
    /// No sequence of this many tokens of the encoder's input (the prompt) occurs in an answer.
    /// Default: 0, no limit.
    pub encoder_no_repeat_ngram_size: u32,
    /// Sampling: choose from the tokens whose probability is at least this fraction of that of the
    /// most likely token. 0 to 1. Default: no limit.
    pub min_p: f32,
    /// Sampling: choose from the most likely tokens whose total entropy is at most this fraction of
    /// the entropy of the 100 most likely tokens. Greater than 0, at most 1. Default: no limit.
    pub top_h: f32,
    /// Sampling: choose from the tokens whose information is closest to the entropy of the
    /// distribution (locally typical tokens) and whose total probability reaches this value.
    /// Greater than 0; 1 disables the limit. Default: 1.
    pub typical_p: f32,
    /// Sampling: choose from the tokens with at least this probability. Default: 0, no limit.
    pub epsilon_cutoff: f32,
    /// Sampling: the cutoff e of eta sampling, which chooses from the tokens whose probability is
    /// at least min(e, sqrt(e) * exp(-entropy)). Default: 0, no limit.
    pub eta_cutoff: f32,
    /// A value greater than 1 makes tokens of the encoder's input more likely. It applies only to
    /// the first beam or sample of a request, as in transformers. Must be greater than 0. Default:
    /// 1.
    pub encoder_repetition_penalty: f32,
    /// A florence2_switch: whether NaN scores are replaced by 0 and infinite scores by the largest
    /// and the smallest finite number. Default: off.
    pub remove_invalid_values: i32,
    /// A florence2_switch: whether scores are normalised to log-probabilities again after all other
    /// options have changed them. Default: off.
    pub renormalize_logits: i32,
    /// The number of generated tokens after which the scores of end tokens increase exponentially.
    /// Only with `exponential_decay_factor`.
    pub exponential_decay_start: u32,
    /// The base f of the increase: if an answer has n > 0 more tokens than
    /// `exponential_decay_start`, |score| * (f^n - 1) is added to the score of an end token.
    /// Default: no increase.
    pub exponential_decay_factor: f64,
    /// The time limit of the search in seconds, without the vision tower and the encoder. After it,
    /// answers end as they are, with FLORENCE2_FINISH_REASON_LENGTH. Default: no limit.
    pub max_time_s: f64,
    /// The first generated token is one of these. Default: none.
    pub forced_bos_token_ids: *const u32,
    /// The number of elements at `forced_bos_token_ids`.
    pub forced_bos_token_ids_len: usize,
    /// The token at the maximum length is one of these. Default: none.
    pub forced_eos_token_ids: *const u32,
    /// The number of elements at `forced_eos_token_ids`.
    pub forced_eos_token_ids_len: usize,
    /// The start token of the decoder: one for all requests, or one per request of the batch.
    /// Default: the start token of `text_config` in the model's config.json.
    pub decoder_start_token_ids: *const u32,
    /// The number of elements at `decoder_start_token_ids`.
    pub decoder_start_token_ids_len: usize,
    /// Tokens that are never generated. Default: none.
    pub suppress_tokens: *const u32,
    /// The number of elements at `suppress_tokens`.
    pub suppress_tokens_len: usize,
    /// Tokens that are not generated first, or not directly after a forced first token. Default:
    /// none.
    pub begin_suppress_tokens: *const u32,
    /// The number of elements at `begin_suppress_tokens`.
    pub begin_suppress_tokens_len: usize,
    /// Sequences of tokens that are never generated. Default: none.
    pub bad_words_ids: *const florence2_token_sequence,
    /// The number of elements at `bad_words_ids`.
    pub bad_words_ids_len: usize,
    /// Sequences of tokens that are made more or less likely. If a sequence occurs twice, its last
    /// bias applies. Default: none.
    pub sequence_bias: *const florence2_sequence_bias,
    /// The number of elements at `sequence_bias`.
    pub sequence_bias_len: usize,
    /// Texts that end an answer, in UTF-8. The answer ends with the token that completes one of
    /// them. Default: none.
    pub stop_strings: *const *const c_char,
    /// The number of elements at `stop_strings`.
    pub stop_strings_len: usize,
}

// SAFETY: `repr(C)`, `struct_size` first, only numbers, pointers and nullable functions.
unsafe impl Options for florence2_run_options {
    const NAME: &'static str = "options";
    #[cfg(not(target_arch = "x86"))]
    const FIRST_SIZE: usize = first_size(136, 112);
    /// On x86, 64-bit integers are aligned to 4 bytes.
    #[cfg(target_arch = "x86")]
    const FIRST_SIZE: usize = 104;
}

/// Clears a florence2_run_options and sets its `struct_size`.
///
/// - `options`: the struct. If it is NULL, the function does nothing.
/// - `size`: sizeof(florence2_run_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_run_options_init(
    options: *mut florence2_run_options,
    size: usize,
) {
    // SAFETY: rule 4 of lib.rs.
    unsafe { boundary::init_struct(options, size) };
}
