//! The options of a run, and the setters that [`RunOptions`] and the builders of runs share.

use std::time::{Duration, Instant};

use florence2_core::generate::CancelToken;
use florence2_postprocess::Coordinates;

use crate::generation_overrides::GenerationOverrides;

/// Declares the setters of [`RunOptions`](crate::RunOptions) within an `impl` block: those of
/// `self.options` for `run_setters!(options)`, those of `self` for `run_setters!()`.
macro_rules! run_setters {
    ($($field:ident)?) => {
        /// Sets the changes to the generation configuration, in place of those that were set
        /// before.
        pub fn generation(mut self, generation: $crate::GenerationOverrides) -> Self {
            self.$($field.)?generation = generation;
            self
        }

        /// Sets the coordinates of regions.
        pub fn coordinates(mut self, coordinates: $crate::Coordinates) -> Self {
            self.$($field.)?coordinates = coordinates;
            self
        }

        /// Sets the number of bins on each side of a generated coordinate that count as the same
        /// coordinate in [`RegionScore::locations`](crate::RegionScore::locations) and
        /// [`Answer::score`](crate::Answer::score).
        pub fn location_tolerance(mut self, location_tolerance: u32) -> Self {
            self.$($field.)?location_tolerance = Some(location_tolerance);
            self
        }

        /// Sets the token that cancels the run.
        pub fn cancel(mut self, cancel: &$crate::CancelToken) -> Self {
            self.$($field.)?cancel = cancel.clone();
            self
        }

        /// Sets the time at which the run ends with
        /// [`DeadlineExceeded`](florence2_core::Error::DeadlineExceeded).
        pub fn deadline(mut self, deadline: std::time::Instant) -> Self {
            self.$($field.)?deadline = Some(deadline);
            self
        }

        /// Sets a deadline as the duration from the start of the run.
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            self.$($field.)?timeout = Some(timeout);
            self
        }

        $(
            /// Sets all options, in place of those that were set before.
            pub fn options(mut self, options: $crate::RunOptions) -> Self {
                self.$field = options;
                self
            }
        )?

        $crate::generation_setters::generation_setters!($($field.)?generation);
    };
}

pub(crate) use run_setters;

/// The options of a run. All have defaults, which the setters change. The builders of runs have the
/// same setters.
///
/// ```
/// use florence2::{Coordinates, RunOptions};
///
/// let options = RunOptions::default().coordinates(Coordinates::HfIntegers).num_beams(1);
/// assert_eq!(options.generation.num_beams, Some(1));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct RunOptions {
    /// The changes to the generation configuration of the model's files.
    pub generation: GenerationOverrides,
    /// The coordinates of regions.
    pub coordinates: Coordinates,
    /// The number of bins on each side of a generated coordinate that count as the same coordinate in
    /// [`RegionScore::locations`](crate::RegionScore::locations) and
    /// [`Answer::score`](crate::Answer::score); 1000 bins are a side of the image. With 0, only the
    /// generated bin counts. `None` for [`LOCATION_TOLERANCE`](crate::LOCATION_TOLERANCE). It does not
    /// affect the generated tokens.
    pub location_tolerance: Option<u32>,
    /// Cancels the run.
    pub cancel: CancelToken,
    /// The time at which the run ends with
    /// [`DeadlineExceeded`](florence2_core::Error::DeadlineExceeded).
    pub deadline: Option<Instant>,
    /// A deadline as the duration from the start of the run.
    pub timeout: Option<Duration>,
}

impl RunOptions {
    run_setters!();

    /// Returns these options at the start of a run: the cancel token includes the deadline and the
    /// timeout.
    pub(crate) fn started(mut self) -> Self {
        let timeout = self.timeout.take();
        // A timeout beyond the range of the clock is none.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        for deadline in self.deadline.take().into_iter().chain(end) {
            self.cancel = self.cancel.until(deadline);
        }
        self
    }
}
