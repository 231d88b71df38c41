//! Masks against pycocotools.

use florence2_metrics::mask::{Mask, MaskSample, evaluate};
use serde::Deserialize;

use crate::{assert_close, fixture};

#[derive(Deserialize)]
struct PolygonCase {
    size: (u32, u32),
    polygons: Vec<Vec<[f64; 2]>>,
    counts: String,
    area: u32,
    r#box: [f64; 4],
}

#[test]
fn polygons_are_rasterised_as_by_pycocotools() {
    for case in fixture::<PolygonCase>("polygons.json") {
        let (height, width) = case.size;
        let mask = Mask::from_polygons(height, width, &case.polygons).unwrap();
        let expected = Mask::from_compressed(height, width, &case.counts).unwrap();
        assert_eq!(mask, expected, "{height} x {width}: {:?}", case.polygons);
        assert_eq!(mask.area(), case.area);
        assert_eq!(mask.bounding_box(), case.r#box, "{:?}", case.polygons);
    }
}

#[derive(Deserialize)]
struct IouCase {
    samples: Vec<Pair>,
    ious: Vec<f64>,
    crowds: Vec<f64>,
    mean: f64,
    cumulative: f64,
}

#[derive(Deserialize)]
struct Pair {
    size: (u32, u32),
    prediction: String,
    reference: String,
}

impl Pair {
    fn sample(&self) -> MaskSample {
        let (height, width) = self.size;
        let mask = |counts: &str| {
            Mask::from_compressed(height, width, counts).expect("pycocotools wrote it")
        };
        MaskSample {
            class: None,
            prediction: mask(&self.prediction),
            reference: mask(&self.reference),
        }
    }
}

#[test]
fn intersections_over_unions_equal_those_of_pycocotools() {
    for case in fixture::<IouCase>("masks.json") {
        let samples: Vec<MaskSample> = case.samples.iter().map(Pair::sample).collect();
        for (
            index,
            MaskSample {
                prediction,
                reference,
                ..
            },
        ) in samples.iter().enumerate()
        {
            assert_close(prediction.iou(reference).unwrap(), case.ious[index], "IoU");
            let with_crowd = prediction.iou_with_crowd(reference).unwrap();
            assert_close(with_crowd, case.crowds[index], "IoU with a crowd");
        }
        let overall = evaluate(&samples).unwrap().overall;
        assert_close(overall.mean_iou, case.mean, "mean IoU");
        assert_close(overall.cumulative_iou, case.cumulative, "cumulative IoU");
    }
}
