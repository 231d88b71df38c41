//! Masks of any input.

use florence2_metrics::mask::Mask;
use proptest::prelude::*;

proptest! {
    #[test]
    fn bitmaps_survive_a_round_trip(
        (height, width, bitmap) in (1u32..9, 1u32..9).prop_flat_map(|(height, width)| {
            let pixels = (height * width) as usize;
            (Just(height), Just(width), proptest::collection::vec(any::<bool>(), pixels))
        })
    ) {
        let mask = Mask::from_bitmap(height, width, &bitmap).unwrap();
        prop_assert_eq!(mask.to_bitmap(), bitmap.clone());
        prop_assert_eq!(mask.area() as usize, bitmap.iter().filter(|&&pixel| pixel).count());
        prop_assert_eq!(&Mask::from_counts(height, width, mask.counts()).unwrap(), &mask);
        let inverse: Vec<bool> = bitmap.iter().map(|pixel| !pixel).collect();
        let inverse = Mask::from_bitmap(height, width, &inverse).unwrap();
        prop_assert_eq!(mask.intersection_area(&inverse).unwrap(), 0);
        prop_assert_eq!(mask.union(&inverse).unwrap().area(), height * width);
    }

    #[test]
    fn empty_runs_are_joined(counts in proptest::collection::vec(0u32..3, 1..20)) {
        let pixels = counts.iter().sum::<u32>();
        prop_assume!(pixels > 0);
        let mask = Mask::from_counts(pixels, 1, &counts).unwrap();
        prop_assert!(mask.counts()[1..].iter().all(|&run| run > 0));
        let values = counts.iter().enumerate();
        let expected: Vec<bool> =
            values.flat_map(|(index, &run)| vec![index % 2 == 1; run as usize]).collect();
        prop_assert_eq!(mask.to_bitmap(), expected);
    }

    #[test]
    fn compressed_text_never_panics(text in "[0-o]{0,30}") {
        let _ = Mask::from_compressed(5, 7, &text);
    }

    #[test]
    fn polygons_never_panic(points in proptest::collection::vec([-2e3..2e3, -2e3..2e3], 0..6)) {
        let mask = Mask::from_polygons(20, 30, std::slice::from_ref(&points)).unwrap();
        if points.len() < 3 {
            prop_assert_eq!(mask.area(), 0);
        }
    }
}
