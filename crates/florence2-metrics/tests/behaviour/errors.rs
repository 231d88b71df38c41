//! Invalid values are listed, with the entry and the field.

use florence2_metrics::caption::{self, CaptionSample};
use florence2_metrics::detection::{
    Annotation, Category, Detection, DetectionDataset, IouType, evaluate,
};
use florence2_metrics::grounding::{self, GroundingSample};
use florence2_metrics::mask::{self, Mask, MaskSample};
use florence2_metrics::text::{self, AnswerSample};
use florence2_metrics::{MaskError, MetricsError};

fn dataset() -> DetectionDataset {
    let annotation = Annotation {
        image_id: 1,
        category_id: 7,
        bbox: [0.0, 0.0, 4.0, 4.0],
        area: 16.0,
        iscrowd: false,
        mask: Mask::empty(4, 4).ok(),
    };
    DetectionDataset {
        images: vec![1, 2],
        categories: vec![Category {
            id: 7,
            name: "dog".to_owned(),
        }],
        annotations: vec![annotation],
    }
}

fn detection() -> Detection {
    Detection {
        image_id: 1,
        category_id: 7,
        bbox: [0.0, 0.0, 4.0, 4.0],
        score: Some(0.5),
        mask: Mask::empty(4, 4).ok(),
    }
}

/// A change that makes a detection invalid, and the error.
type Case = (fn(&mut Detection), &'static str);

#[test]
fn invalid_detections_are_named() {
    const BOX: &str = "expected [x, y, width, height], finite, with sizes of at least 0";
    let cases: [Case; 10] = [
        (
            |d| d.bbox[1] = f64::NAN,
            "bbox: found [0.0, NaN, 4.0, 4.0], BOX",
        ),
        (
            |d| d.bbox[0] = f64::INFINITY,
            "bbox: found [inf, 0.0, 4.0, 4.0], BOX",
        ),
        (
            |d| d.bbox[2] = -1.0,
            "bbox: found [0.0, 0.0, -1.0, 4.0], BOX",
        ),
        (
            |d| d.bbox = [0.0, 0.0, 1e200, 1e200],
            "bbox: found [0.0, 0.0, 1e200, 1e200], BOX",
        ),
        (
            |d| d.score = Some(f64::NAN),
            "score: found NaN, expected a finite value",
        ),
        (
            |d| d.score = None,
            "score: found none, expected a score, since other detections have one",
        ),
        (
            |d| d.image_id = 3,
            "image_id: found 3, expected the id of an image of the data set",
        ),
        (
            |d| d.category_id = 8,
            "category_id: found 8, expected the id of a category of the data set",
        ),
        (
            |d| d.mask = None,
            "mask: found none, expected a mask, since the IoU type is segm",
        ),
        (
            |d| d.mask = Some(Mask::empty(2, 8).unwrap()),
            "mask: found 2 x 8 pixels, expected 4 x 4 as the first mask of image 1",
        ),
    ];
    for (change, expected) in cases {
        let mut invalid = detection();
        change(&mut invalid);
        let error = evaluate(&dataset(), &[detection(), invalid], IouType::Segm).unwrap_err();
        let expected = format!("detections[1]: {}", expected.replace("BOX", BOX));
        assert_eq!(error.to_string(), expected);
    }
    assert!(evaluate(&dataset(), &[detection()], IouType::Segm).is_ok());
}

#[test]
fn every_invalid_value_is_listed() {
    let mut data = dataset();
    data.images.push(2);
    data.categories.push(data.categories[0].clone());
    data.annotations[0].area = -1.0;
    data.annotations[0].image_id = 9;
    let error = evaluate(&data, &[], IouType::Bbox).unwrap_err();
    let expected = "images[2]: id: found 2 a second time, expected unique ids; \
        categories[1]: id: found 7 a second time, expected unique ids; \
        annotations[0]: image_id: found 9, expected the id of an image of the data set; \
        annotations[0]: area: found -1, expected a finite value of at least 0";
    assert_eq!(error.to_string(), expected);
    let MetricsError::InvalidValues(invalid) = error else {
        panic!("{error}")
    };
    assert_eq!(invalid[3].entry, "annotations[0]");
    assert_eq!(invalid[3].field, "area");
}

#[test]
fn samples_without_references_are_named() {
    let caption = |references: &[&str]| CaptionSample {
        candidate: "a dog".to_owned(),
        references: references.iter().map(|&text| text.to_owned()).collect(),
    };
    let error = caption::evaluate(&[caption(&["a"]), caption(&[]), caption(&[])]).unwrap_err();
    let expected = "samples[1]: references: found none, expected at least one; \
        samples[2]: references: found none, expected at least one";
    assert_eq!(error.to_string(), expected);
    let answer = AnswerSample {
        class: None,
        prediction: String::new(),
        answers: Vec::new(),
    };
    let error = text::evaluate_answers(&[answer]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "samples[0]: answers: found none, expected at least one"
    );
}

#[test]
fn invalid_samples_of_grounding_and_masks_are_named() {
    let valid = [0.0, 0.0, 1.0, 1.0];
    let sample = |prediction, reference| GroundingSample {
        class: None,
        prediction,
        reference,
    };
    let samples = [
        sample(None, valid),
        sample(Some([0.0, f64::NAN, 1.0, 1.0]), [0.0, 0.0, 1.0, -1.0]),
    ];
    let error = grounding::evaluate(&samples).unwrap_err().to_string();
    assert!(
        error.starts_with("samples[1]: prediction: found [0.0, NaN, 1.0, 1.0]"),
        "{error}"
    );
    assert!(
        error.contains("; samples[1]: reference: found [0.0, 0.0, 1.0, -1.0]"),
        "{error}"
    );
    let [prediction, reference] = [(2, 3), (3, 2)].map(|(h, w)| Mask::empty(h, w).unwrap());
    let error = mask::evaluate(&[MaskSample {
        class: None,
        prediction,
        reference,
    }])
    .unwrap_err();
    let expected =
        "samples[0]: prediction: found a mask of 2 x 3 pixels, expected 3 x 2 as the reference";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn no_samples_are_an_error() {
    let expected = MetricsError::NoSamples;
    assert_eq!(caption::evaluate(&[]).unwrap_err(), expected);
    assert_eq!(text::evaluate_answers(&[]).unwrap_err(), expected);
    assert_eq!(text::evaluate_transcriptions(&[]).unwrap_err(), expected);
    assert_eq!(grounding::evaluate(&[]).unwrap_err(), expected);
    assert_eq!(mask::evaluate(&[]).unwrap_err(), expected);
    let summary = evaluate(&DetectionDataset::default(), &[], IouType::Bbox).unwrap();
    assert_eq!(summary.overall.to_array(), [None; 12]);
}

#[test]
fn invalid_masks_are_named() {
    let polygon = |points: &[[f64; 2]]| Mask::from_polygons(4, 4, &[&[[0.0, 0.0]; 3], points]);
    let union = || Mask::empty(2, 3)?.union(&Mask::empty(3, 2)?);
    let cases: [(Result<Mask, MaskError>, &str); 10] = [
        (
            Mask::empty(0, 5),
            "size: found 0 x 5 pixels, expected from 1 to 4294967295 pixels",
        ),
        (
            Mask::empty(65536, 65536),
            "size: found 65536 x 65536 pixels, expected from 1 to 4294967295 pixels",
        ),
        (
            Mask::from_counts(2, 2, &[1, 2]),
            "2 x 2 mask: found 3 pixels, expected 4",
        ),
        (
            Mask::from_counts(2, 2, &[u32::MAX; 3]),
            "2 x 2 mask: found 12884901885 pixels, expected 4",
        ),
        (
            Mask::from_bitmap(2, 2, &[true; 5]),
            "2 x 2 mask: found 5 pixels, expected 4",
        ),
        (
            polygon(&[[1.0, 1.0], [f64::NAN, 2.0]]),
            "polygon 1, point 1: found [NaN, 2.0], expected coordinates from -1000000 to 1000000",
        ),
        (
            polygon(&[[1.0, -1e9]]),
            "polygon 1, point 0: found [1.0, -1000000000.0], expected coordinates from -1000000 to 1000000",
        ),
        (
            Mask::from_compressed(2, 2, "1é"),
            "compressed run lengths: character 1: found 'é', expected one from '0' to 'o'",
        ),
        (
            Mask::from_compressed(2, 2, "1o"),
            "compressed run lengths: run 1: found a value that is cut off or not from 0 to 4294967295",
        ),
        (
            union(),
            "mask sizes: found 2 x 3 and 3 x 2 pixels, expected equal sizes",
        ),
    ];
    for (result, expected) in cases {
        assert_eq!(result.unwrap_err().to_string(), expected);
    }
}
