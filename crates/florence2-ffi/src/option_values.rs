//! Conversion of the values of generation options, by their types in C.
//!
//! A value of 0 and an empty list mean that the option is not set, unless its bit in `set` is 1. `bit`
//! is this bit in the caller's `set`, and 0 if the caller did not set it.

use std::ffi::c_char;

use florence2::EarlyStopping;

use crate::arguments;
use crate::failure::{Failure, Outcome};
use crate::option_struct;
use crate::options::{
    florence2_early_stopping, florence2_sequence_bias, florence2_switch, florence2_token_sequence,
};

/// A sequence of token ids and its bias.
type Bias = (Vec<u32>, f32);

/// Converts a number.
pub(crate) fn number<T: PartialEq + Default>(value: T, bit: u64) -> Option<T> {
    (value != T::default() || bit != 0).then_some(value)
}

/// Converts a number of things.
pub(crate) fn count(value: u32, bit: u64) -> Option<usize> {
    number(value, bit).map(|value| value as usize)
}

/// Converts a number of which -1 disables the option, as does 0 with the option's bit.
pub(crate) fn count_or_off(argument: &str, value: i32, bit: u64) -> Outcome<Option<usize>> {
    match value {
        0 if bit == 0 => Ok(None),
        -1 | 0 => Ok(Some(0)),
        value if value > 0 => Ok(Some(value as usize)),
        other => Err(Failure::argument(argument, other, "-1, 0 or more")),
    }
}

/// Converts the start and the factor of an exponential decay, which is not set if the factor is 0.
pub(crate) fn decay(start: u32, factor: f64, bit: u64) -> Option<(usize, f64)> {
    number(factor, bit).map(|factor| (start as usize, factor))
}

/// Converts a florence2_switch.
pub(crate) fn switch(argument: &str, number: i32) -> Outcome<Option<bool>> {
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
pub(crate) fn early_stopping(argument: &str, number: i32) -> Outcome<Option<EarlyStopping>> {
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
            Err(Failure::argument(argument, other, expected))
        }
    }
}

/// Copies token ids.
///
/// # Safety
/// `data` follows rule 3 of lib.rs.
pub(crate) unsafe fn ids(
    argument: &str,
    data: *const u32,
    len: usize,
    bit: u64,
) -> Outcome<Option<Vec<u32>>> {
    // SAFETY: guaranteed by the caller.
    let ids = unsafe { arguments::array(argument, data, len)? };
    Ok(list(ids.to_vec(), bit))
}

/// Copies sequences of token ids.
///
/// # Safety
/// `data` and the elements follow rule 3 of lib.rs.
pub(crate) unsafe fn sequences(
    argument: &str,
    data: *const florence2_token_sequence,
    len: usize,
    bit: u64,
) -> Outcome<Option<Vec<Vec<u32>>>> {
    // SAFETY: guaranteed by the caller.
    let sequences = unsafe { arguments::array(argument, data, len)? };
    let copies = sequences.iter().enumerate().map(|(index, sequence)| {
        let argument = format!("{argument}[{index}].token_ids");
        // SAFETY: guaranteed by the caller.
        let ids =
            unsafe { arguments::array(&argument, sequence.token_ids, sequence.token_ids_len) };
        ids.map(<[u32]>::to_vec)
    });
    Ok(list(copies.collect::<Outcome<_>>()?, bit))
}

/// Copies sequences of token ids with their biases.
///
/// # Safety
/// `data` and the elements follow rule 3 of lib.rs.
pub(crate) unsafe fn biases(
    argument: &str,
    data: *const florence2_sequence_bias,
    len: usize,
    bit: u64,
) -> Outcome<Option<Vec<Bias>>> {
    // SAFETY: guaranteed by the caller.
    let biases = unsafe { arguments::array(argument, data, len)? };
    let copies = biases.iter().enumerate().map(|(index, bias)| {
        option_struct::check_reserved(&format!("{argument}[{index}].reserved"), bias.reserved)?;
        let argument = format!("{argument}[{index}].token_ids");
        // SAFETY: guaranteed by the caller.
        let ids = unsafe { arguments::array(&argument, bias.token_ids, bias.token_ids_len)? };
        Ok((ids.to_vec(), bias.bias))
    });
    Ok(list(copies.collect::<Outcome<_>>()?, bit))
}

/// Copies texts.
///
/// # Safety
/// `data` and the elements follow rule 3 of lib.rs.
pub(crate) unsafe fn texts(
    argument: &str,
    data: *const *const c_char,
    len: usize,
    bit: u64,
) -> Outcome<Option<Vec<String>>> {
    // SAFETY: guaranteed by the caller.
    let texts = unsafe { arguments::array(argument, data, len)? };
    let copies = texts.iter().enumerate().map(|(index, text)| {
        // SAFETY: guaranteed by the caller.
        let text = unsafe { arguments::text(&format!("{argument}[{index}]"), *text) };
        text.map(ToOwned::to_owned)
    });
    Ok(list(copies.collect::<Outcome<_>>()?, bit))
}

/// The list if it is set.
fn list<T>(list: Vec<T>, bit: u64) -> Option<Vec<T>> {
    (!list.is_empty() || bit != 0).then_some(list)
}
