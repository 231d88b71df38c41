//! The setters that [`RunOptions`](crate::RunOptions) and the builders of runs share.

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
        /// coordinate in [`RegionScore::locations`](crate::RegionScore::locations).
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
