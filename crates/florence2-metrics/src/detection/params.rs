//! Parameters of the evaluation: those of pycocotools' `Params` for boxes and masks.

/// Number of thresholds of the intersection over union.
pub(super) const THRESHOLDS: usize = 10;

/// Largest numbers of detections per image and class.
pub(super) const MAX_DETECTIONS: [usize; 3] = [1, 10, 100];

/// Smallest and largest areas in pixels: all, small, medium, large.
pub(super) const AREA_RANGES: [(f64, f64); 4] =
    [(0.0, 1e10), (0.0, 1024.0), (1024.0, 9216.0), (9216.0, 1e10)];

/// Number of recalls at which precision is interpolated.
const RECALLS: usize = 101;

/// Thresholds of the intersection over union, with the rounding of `numpy.linspace(.5, .95, 10)`.
pub(super) fn iou_thresholds() -> [f64; THRESHOLDS] {
    linspace(0.5, 0.95)
}

/// Recalls, with the rounding of `numpy.linspace(0, 1, 101)`.
pub(super) fn recall_thresholds() -> [f64; RECALLS] {
    linspace(0.0, 1.0)
}

fn linspace<const N: usize>(start: f64, end: f64) -> [f64; N] {
    let step = (end - start) / (N - 1) as f64;
    let mut values = std::array::from_fn(|index| index as f64 * step + start);
    values[N - 1] = end;
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As numpy 2.4 prints them.
    #[test]
    fn thresholds_equal_those_of_numpy() {
        let expected = [
            0.5,
            0.55,
            0.6,
            0.65,
            0.7,
            0.75,
            0.8,
            0.85,
            0.899_999_999_999_999_9,
            0.95,
        ];
        assert_eq!(iou_thresholds(), expected);
        let recalls = recall_thresholds();
        let some = [0, 29, 35, 57, 70, 95, 100].map(|index| recalls[index]);
        let expected = [
            0.0,
            0.29,
            0.350_000_000_000_000_03,
            0.570_000_000_000_000_1,
            0.700_000_000_000_000_1,
            0.950_000_000_000_000_1,
            1.0,
        ];
        assert_eq!(some, expected);
    }
}
