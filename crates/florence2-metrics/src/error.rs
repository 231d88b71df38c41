//! Errors of this crate.

use std::fmt;

/// A value of the input that a metric cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    /// List and index of the entry, such as `detections[3]`. Indices start at 0.
    pub entry: String,
    /// Name of the field.
    pub field: &'static str,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            entry,
            field,
            found,
            expected,
        } = self;
        write!(f, "{entry}: {field}: found {found}, expected {expected}")
    }
}

/// Error of a metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// Entries contain values that the metric cannot use. All of them are listed.
    #[error("{}", join(.0))]
    InvalidValues(Vec<InvalidValue>),
    /// A metric that is a mean over the samples was requested for no samples.
    #[error("samples: found an empty list, expected at least one sample")]
    NoSamples,
}

impl MetricsError {
    /// Returns an error that lists `invalid`, or `Ok` if it is empty.
    pub(crate) fn check(invalid: Vec<InvalidValue>) -> Result<(), Self> {
        if invalid.is_empty() {
            return Ok(());
        }
        Err(Self::InvalidValues(invalid))
    }
}

fn join(invalid: &[InvalidValue]) -> String {
    let lines: Vec<String> = invalid.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Error of reading or combining masks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MaskError {
    /// The mask has no pixels, or more than run lengths can count.
    #[error("size: found {height} x {width} pixels, expected from 1 to 4294967295 pixels")]
    Size {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
    /// The run lengths or pixels do not add up to the size.
    #[error("{height} x {width} mask: found {found} pixels, expected {}", u64::from(*.height) * u64::from(*.width))]
    PixelCount {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// Number of pixels in the input.
        found: u64,
    },
    /// A coordinate of a polygon is not finite or too large.
    #[error(
        "polygon {polygon}, point {point}: found {found:?}, expected coordinates from -{limit} to {limit}"
    )]
    Coordinate {
        /// Index of the polygon, from 0.
        polygon: usize,
        /// Index of the point, from 0.
        point: usize,
        /// The point, as [x, y] in pixels.
        found: [f64; 2],
        /// The largest coordinate, in pixels.
        limit: f64,
    },
    /// A character of a compressed run-length encoding is outside of the format's alphabet.
    #[error(
        "compressed run lengths: character {position}: found {found:?}, expected one from '0' to 'o'"
    )]
    Character {
        /// Byte offset of the character.
        position: usize,
        /// The character.
        found: char,
    },
    /// A compressed run length is negative, above 4294967295, or cut off.
    #[error(
        "compressed run lengths: run {run}: found a value that is cut off or not from 0 to 4294967295"
    )]
    RunLength {
        /// Index of the run, from 0.
        run: usize,
    },
    /// Two masks that are compared or combined differ in size.
    #[error("mask sizes: found {} x {} and {} x {} pixels, expected equal sizes", .first.0, .first.1, .second.0, .second.1)]
    SizesDiffer {
        /// Height and width of the first mask.
        first: (u32, u32),
        /// Height and width of the second mask.
        second: (u32, u32),
    },
}
