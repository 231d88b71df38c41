//! Conversion of a caller's run options to those of the facade.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use florence2::{
    CancelToken, Coordinates, EarlyStopping, GenerationOverrides, LOCATION_TOLERANCE, RunOptions,
};

use crate::arguments;
use crate::failure::{Failure, Outcome};
use crate::handle;
use crate::option_struct;
use crate::options::{
    FLORENCE2_SET_BAD_WORDS_IDS, FLORENCE2_SET_BEGIN_SUPPRESS_TOKENS,
    FLORENCE2_SET_DECODER_START_TOKEN_IDS, FLORENCE2_SET_ENCODER_NO_REPEAT_NGRAM_SIZE,
    FLORENCE2_SET_ENCODER_REPETITION_PENALTY, FLORENCE2_SET_EOS_TOKEN_IDS,
    FLORENCE2_SET_EPSILON_CUTOFF, FLORENCE2_SET_ETA_CUTOFF,
    FLORENCE2_SET_EXPONENTIAL_DECAY_LENGTH_PENALTY, FLORENCE2_SET_FORCED_BOS_TOKEN_IDS,
    FLORENCE2_SET_FORCED_EOS_TOKEN_IDS, FLORENCE2_SET_LENGTH_PENALTY, FLORENCE2_SET_MAX_LENGTH,
    FLORENCE2_SET_MAX_NEW_TOKENS, FLORENCE2_SET_MAX_TIME, FLORENCE2_SET_MIN_LENGTH,
    FLORENCE2_SET_MIN_NEW_TOKENS, FLORENCE2_SET_MIN_P, FLORENCE2_SET_NO_REPEAT_NGRAM_SIZE,
    FLORENCE2_SET_NUM_BEAMS, FLORENCE2_SET_NUM_RETURN_SEQUENCES, FLORENCE2_SET_REPETITION_PENALTY,
    FLORENCE2_SET_SEED, FLORENCE2_SET_SEQUENCE_BIAS, FLORENCE2_SET_STOP_STRINGS,
    FLORENCE2_SET_SUPPRESS_TOKENS, FLORENCE2_SET_TEMPERATURE, FLORENCE2_SET_TOP_H,
    FLORENCE2_SET_TOP_K, FLORENCE2_SET_TOP_P, FLORENCE2_SET_TYPICAL_P, florence2_coordinates,
    florence2_early_stopping, florence2_progress_callback, florence2_run_options, florence2_switch,
    florence2_token_callback,
};

/// The callbacks of a run.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks {
    pub(crate) on_token: florence2_token_callback,
    pub(crate) on_progress: florence2_progress_callback,
    pub(crate) user: *mut c_void,
}

impl Callbacks {
    /// Returns true if the caller passed a callback.
    pub(crate) fn are_set(&self) -> bool {
        self.on_token.is_some() || self.on_progress.is_some()
    }
}

/// The options of a run in Rust's types.
pub(crate) struct ReadOptions {
    pub(crate) run: RunOptions,
    pub(crate) callbacks: Callbacks,
}

/// Converts the options of a run. Null selects the defaults.
///
/// # Safety
/// `options` follows the rules 1, 3, 4 and 6 of lib.rs.
pub(crate) unsafe fn read(options: *const florence2_run_options) -> Outcome<ReadOptions> {
    // SAFETY: guaranteed by the caller.
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
    let tolerance = options.location_tolerance;
    let tolerance = count_or_off("options.location_tolerance", tolerance, 0)?;
    Ok(ReadOptions {
        run: RunOptions::default()
            // SAFETY: guaranteed by the caller.
            .generation(unsafe { generation(&options)? })
            .coordinates(coordinates(options.coordinates)?)
            .location_tolerance(tolerance.map_or(LOCATION_TOLERANCE, |bins| bins as u32))
            // SAFETY: guaranteed by the caller.
            .cancel(&unsafe { cancel(&options)? }),
        callbacks: Callbacks {
            on_token: options.on_token,
            on_progress: options.on_progress,
            user: options.user,
        },
    })
}

/// Converts the generation options: the fields that are set, and `generation_config` for the
/// others.
///
/// # Safety
/// `options` follows rule 3 of lib.rs.
unsafe fn generation(options: &florence2_run_options) -> Outcome<GenerationOverrides> {
    // SAFETY: guaranteed by the caller.
    let (json, lists) = unsafe {
        let json =
            arguments::optional_text("options.generation_config", options.generation_config)?;
        (json, Lists::read(options)?)
    };
    let others = match json {
        None => GenerationOverrides::default(),
        Some(json) => serde_json::from_str(json).map_err(|error| {
            Failure::argument(
                "options.generation_config",
                error,
                "keys of generation_config.json",
            )
        })?,
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

/// The lists of the run options.
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
    /// Copies the lists.
    ///
    /// # Safety
    /// `options` follows rule 3 of lib.rs.
    unsafe fn read(options: &florence2_run_options) -> Outcome<Self> {
        // SAFETY: guaranteed by the caller.
        let ids = |name: &str, data: *const u32, len: usize| unsafe {
            let argument = format!("options.{name}");
            arguments::array(&argument, data, len).map(<[u32]>::to_vec)
        };
        // SAFETY: guaranteed by the caller.
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
            // SAFETY: guaranteed by the caller.
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

    /// Returns the lists that are not empty or have their bit in `set`.
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

/// Converts an option that 0 disables. In C, -1 disables it, and so does 0 with the option's bit in
/// `set`.
fn count_or_off(argument: &str, value: i32, bit: u64) -> Outcome<Option<usize>> {
    match value {
        0 if bit == 0 => Ok(None),
        -1 | 0 => Ok(Some(0)),
        value if value > 0 => Ok(Some(value as usize)),
        other => Err(Failure::argument(argument, other, "-1, 0 or more")),
    }
}

/// Converts a florence2_switch.
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

/// Converts a florence2_early_stopping.
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

/// Converts a florence2_coordinates.
fn coordinates(number: i32) -> Outcome<Coordinates> {
    const CENTERS: i32 = florence2_coordinates::BinCenters as i32;
    const HF: i32 = florence2_coordinates::HfIntegers as i32;
    match number {
        CENTERS => Ok(Coordinates::BinCenters),
        HF => Ok(Coordinates::HfIntegers),
        other => Err(Failure::argument(
            "options.coordinates",
            other,
            "a florence2_coordinates",
        )),
    }
}

/// Returns the cancel token of a call, with its deadline.
///
/// # Safety
/// `options` follows rule 1 of lib.rs.
unsafe fn cancel(options: &florence2_run_options) -> Outcome<CancelToken> {
    // SAFETY: guaranteed by the caller.
    let cancel = unsafe { handle::borrow_optional(options.cancel)? };
    let token = cancel.map_or_else(CancelToken::default, |cancel| cancel.token.clone());
    let deadline = match options.deadline_ms {
        0 => None,
        // A deadline that exceeds the range of the clock is none.
        milliseconds => Instant::now().checked_add(Duration::from_millis(milliseconds)),
    };
    Ok(deadline.map_or(token.clone(), |deadline| token.until(deadline)))
}
