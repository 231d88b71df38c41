//! Conversion of a caller's run options to those of the facade.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use florence2::{CancelToken, Coordinates, GenerationOverrides, RunOptions};

use crate::arguments;
use crate::failure::{Failure, Outcome};
use crate::generation_options;
use crate::handle;
use crate::option_struct;
use crate::option_values::count_or_off;
use crate::options::{
    florence2_coordinates, florence2_progress_callback, florence2_run_options,
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
    let mut run = RunOptions::default()
        // SAFETY: guaranteed by the caller.
        .generation(unsafe { generation(&options)? })
        .coordinates(coordinates(options.coordinates)?)
        // SAFETY: guaranteed by the caller.
        .cancel(&unsafe { cancel(&options)? });
    run.location_tolerance = tolerance.map(|bins| bins as u32);
    Ok(ReadOptions {
        run,
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
    let (json, fields) = unsafe {
        let json =
            arguments::optional_text("options.generation_config", options.generation_config)?;
        (json, generation_options::read(options)?)
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
    let unknown = options.set & !generation_options::ALL_BITS;
    if unknown != 0 {
        return Err(Failure::argument("options.set", unknown, "FLORENCE2_SET_*"));
    }
    Ok(fields.or(others))
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
