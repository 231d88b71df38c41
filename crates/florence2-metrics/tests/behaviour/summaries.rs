//! Summaries as tables and as JSON.

use florence2_metrics::caption::{CaptionSample, evaluate_tokenized};
use florence2_metrics::detection::{
    self, Annotation, Category, Detection, DetectionDataset, IouType,
};
use florence2_metrics::grounding::{self, GroundingSample};
use florence2_metrics::mask::{self, Mask, MaskSample};
use florence2_metrics::text::{
    AnswerSample, TranscriptionSample, evaluate_answers, evaluate_transcriptions,
};
use serde_json::json;

#[test]
fn detections_per_class_and_overall() {
    let bbox = [0.0, 0.0, 40.0, 40.0];
    let annotation = |category_id| Annotation {
        image_id: 1,
        category_id,
        bbox,
        area: 1600.0,
        iscrowd: false,
        mask: None,
    };
    let category = |(id, name): (u64, &str)| Category {
        id,
        name: name.to_owned(),
    };
    let dataset = DetectionDataset {
        images: vec![1],
        categories: [(5, "cat"), (2, "traffic\nlight"), (9, "bus")]
            .map(category)
            .to_vec(),
        annotations: vec![annotation(5), annotation(2)],
    };
    let found = Detection {
        image_id: 1,
        category_id: 2,
        bbox,
        score: None,
        mask: None,
    };
    let summary = detection::evaluate(&dataset, &[found], IouType::Bbox).unwrap();
    let expected = "\
class              AP    AP50    AP75  APs     APm  APl     AR1    AR10   AR100  ARs     ARm  ARl  objects  detections
traffic light  1.0000  1.0000  1.0000    -  1.0000    -  1.0000  1.0000  1.0000    -  1.0000    -        1           1
cat            0.0000  0.0000  0.0000    -  0.0000    -  0.0000  0.0000  0.0000    -  0.0000    -        1           0
bus                 -       -       -    -       -    -       -       -       -    -       -    -        0           0
all            0.5000  0.5000  0.5000    -  0.5000    -  0.5000  0.5000  0.5000    -  0.5000    -        2           1";
    assert_eq!(summary.to_string(), expected);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["iou_type"], "bbox");
    let ap = json["overall"]["AP"].as_f64().unwrap();
    assert!((ap - 0.5).abs() < 1e-12);
    assert_eq!(json["overall"]["APs"], json!(null));
    assert_eq!(json["classes"][0]["name"], "traffic\nlight");
    assert_eq!(json["classes"][0]["AR100"], 1.0);
    let names = [
        "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
    ];
    assert!(names.iter().all(|name| json["overall"].get(name).is_some()));
}

#[test]
fn captions() {
    let sample = |candidate: &str, reference: &str| CaptionSample {
        candidate: candidate.to_owned(),
        references: vec![reference.to_owned()],
    };
    let samples = [
        sample("a dog on a mat", "a dog on a mat"),
        sample("one red bus", "one red bus"),
    ];
    let summary = evaluate_tokenized(&samples).unwrap();
    let expected = "     CIDEr-D  BLEU-1  BLEU-2  BLEU-3  BLEU-4  samples
all   8.7500  1.0000  1.0000  1.0000  1.0000        2";
    assert_eq!(summary.to_string(), expected);
    let json = serde_json::to_value(&summary).unwrap();
    let names = ["CIDEr-D", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "samples"];
    assert!(names.iter().all(|name| json["overall"].get(name).is_some()));
}

#[test]
fn texts_per_class_and_overall() {
    let answer = |class: &str, prediction: &str| AnswerSample {
        class: Some(class.to_owned()),
        prediction: prediction.to_owned(),
        answers: vec!["Paris".to_owned(), "paris, France".to_owned()],
    };
    let summary = evaluate_answers(&[answer("map", "Paris "), answer("form", "pariss")]).unwrap();
    let expected = "\
class    ANLS  exact match  samples
form   0.8333       0.0000        1
map    1.0000       1.0000        1
all    0.9167       0.5000        2";
    assert_eq!(summary.to_string(), expected);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(
        json["classes"][1],
        json!({"class": "map", "ANLS": 1.0, "exact match": 1.0, "samples": 1})
    );
    let line = |prediction: &str| TranscriptionSample {
        class: None,
        prediction: prediction.to_owned(),
        reference: "two words".to_owned(),
    };
    let summary = evaluate_transcriptions(&[line("two words"), line("two word")]).unwrap();
    let expected = "\
class     CER     WER  exact match  samples
all    0.0556  0.2500       0.5000        2";
    assert_eq!(summary.to_string(), expected);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["overall"]["WER"], 0.25);
    assert_eq!(json["classes"], json!([]));
}

#[test]
fn grounding_and_masks_per_class_and_overall() {
    let reference = [0.0, 0.0, 10.0, 10.0];
    let sample = |class: Option<&str>, prediction| GroundingSample {
        class: class.map(str::to_owned),
        prediction,
        reference,
    };
    let samples = [
        sample(Some("testA"), Some([0.0, 0.0, 10.0, 5.0])),
        sample(Some("testB"), None),
        sample(None, Some(reference)),
    ];
    let summary = grounding::evaluate(&samples).unwrap();
    let expected = "\
class  accuracy@0.5    mIoU  samples
testA        1.0000  0.5000        1
testB        0.0000  0.0000        1
all          0.6667  0.5000        3";
    assert_eq!(summary.to_string(), expected);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["classes"][0]["accuracy@0.5"], 1.0);
    let bitmap = |pixels: &[bool]| Mask::from_bitmap(1, 4, pixels).unwrap();
    let samples = [
        MaskSample {
            class: Some("dog".to_owned()),
            prediction: bitmap(&[true, true, true, true]),
            reference: bitmap(&[true, true, true, false]),
        },
        MaskSample {
            class: Some("cat".to_owned()),
            prediction: bitmap(&[false; 4]),
            reference: bitmap(&[false, false, true, true]),
        },
    ];
    let summary = mask::evaluate(&samples).unwrap();
    let expected = "\
class    mIoU    cIoU  samples
cat    0.0000  0.0000        1
dog    0.7500  0.7500        1
all    0.3750  0.5000        2";
    assert_eq!(summary.to_string(), expected);
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(
        json["overall"],
        json!({"mIoU": 0.375, "cIoU": 0.5, "samples": 2})
    );
}
