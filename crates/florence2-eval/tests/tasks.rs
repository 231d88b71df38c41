//! The metrics of each task, for answers whose scores are known.

#![allow(clippy::unwrap_used)]

mod common;

use common::{assert_close, evaluated, jsonl, open, records, write_image};
use florence2_dataset::{Dataset, DatasetOptions};
use florence2_eval::{Error, EvaluationOptions, Ranking, evaluate, samples};
use florence2_processor::Task;
use serde_json::{Value, json};
use tempfile::TempDir;

const CAR: &str = "car<loc_100><loc_100><loc_300><loc_300>";
const DOG: &str = "dog<loc_500><loc_500><loc_800><loc_900>";

#[test]
fn detection_has_average_precision_per_class() {
    for task in ["<OD>", "<DENSE_REGION_CAPTION>"] {
        let both = format!("{CAR}{DOG}");
        let lines = [("a.png", task, both.as_str()), ("b.png", task, CAR)];
        let answer = format!("{both}cat<loc_1><loc_1><loc_9><loc_9>");
        let evaluation = evaluated(&lines, &[Some(&answer), Some("")]);
        let detection = evaluation.tasks[0].scores.detection.as_ref().unwrap();
        assert_eq!(detection.ranking, Ranking::Order);
        assert_eq!(detection.unknown_labels, [("cat".to_owned(), 1)].into());
        let classes = &detection.summary.classes;
        assert_eq!([&classes[0].name, &classes[1].name], ["car", "dog"]);
        // One of two cars is found: precision 1 up to a recall of 0.5, at 51 of 101 points.
        assert_close(classes[0].scores.ap.unwrap(), 51.0 / 101.0);
        assert_close(classes[1].scores.ap.unwrap(), 1.0);
        let metrics = evaluation.metrics();
        assert_close(metrics["eval_AP"], f64::midpoint(51.0 / 101.0, 1.0));
        assert!(!metrics.contains_key("eval_APl"), "{metrics:?}");
        let table = evaluation.to_string();
        for part in [
            "<OD>: 2 samples",
            "order in the answer",
            "lacks, not evaluated: cat (1)",
        ] {
            assert!(table.contains(&part.replace("<OD>", task)), "{table}");
        }
    }
}

/// Two detections of one object: the second one is right, and has the higher score.
#[test]
fn detections_are_ranked_by_score_if_all_have_one() {
    let folder = jsonl(&[("a.png", "<OD>", CAR)]);
    let dataset = open(&folder, &DatasetOptions::default());
    let answer = format!("car<loc_500><loc_500><loc_900><loc_900>{CAR}");
    let mut records = records(&dataset, &[Some(&answer)]);
    let regions = &mut records[0].outcome.as_mut().unwrap().regions;
    for (region, overall) in regions.iter_mut().zip([0.4, 0.9]) {
        let score = json!({ "overall": overall, "label": overall, "locations": overall });
        region.score = Some(serde_json::from_value(score).unwrap());
    }
    let check = |records: &[_], use_scores: bool, ranking: Ranking, ap: f64| {
        let options = EvaluationOptions::default().use_scores(use_scores);
        let evaluation = evaluate(records, &options).unwrap();
        let detection = evaluation.tasks[0].scores.detection.as_ref().unwrap();
        assert_eq!(detection.ranking, ranking);
        assert_close(detection.summary.overall.ap.unwrap(), ap);
    };
    check(&records, true, Ranking::Score, 1.0);
    check(&records, false, Ranking::Order, 0.5);
    records[0].outcome.as_mut().unwrap().regions[0].score = None;
    check(&records, true, Ranking::Order, 0.5);
}

#[test]
fn proposals_are_one_class() {
    let suffix = "<loc_100><loc_100><loc_300><loc_300><loc_500><loc_500><loc_800><loc_900>";
    let evaluation = evaluated(&[("a.png", "<REGION_PROPOSAL>", suffix)], &[Some(suffix)]);
    let detection = evaluation.tasks[0].scores.detection.as_ref().unwrap();
    assert_eq!(detection.summary.classes.len(), 1);
    assert_close(detection.summary.overall.ap.unwrap(), 1.0);
}

/// Polygons of an open-vocabulary answer are compared by their boxes.
#[test]
fn open_vocabulary_detection_has_average_precision() {
    let polygon =
        "dog<poly><loc_500><loc_500><loc_800><loc_500><loc_800><loc_900><loc_500><loc_900></poly>";
    let lines = [("a.png", "<OPEN_VOCABULARY_DETECTION>dog", DOG)];
    let evaluation = evaluated(&lines, &[Some(polygon)]);
    assert_close(evaluation.metrics()["eval_AP"], 1.0);
    assert_eq!(evaluation.tasks[0].task, "<OPEN_VOCABULARY_DETECTION>");
}

/// Lines with the same image and prompt are references of one sample.
#[test]
fn captions_have_cider_and_bleu() {
    for task in ["<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>"] {
        let lines = [
            ("a.png", task, "a red car on a street"),
            ("a.png", task, "a car that is parked in town"),
            ("b.png", task, "two dogs play with a ball"),
        ];
        let answers = [
            Some("a car that is parked in town"),
            Some("two dogs play with a ball"),
        ];
        let evaluation = evaluated(&lines, &answers);
        assert_eq!(evaluation.tasks[0].samples, 2);
        let metrics = evaluation.metrics();
        assert!((metrics["eval_BLEU-4"] - 1.0).abs() < 1e-6, "{metrics:?}");
        assert!(metrics["eval_CIDEr-D"] > 5.0, "{metrics:?}");
    }
}

#[test]
fn captions_of_coco_have_all_references() {
    let folder = coco(
        "captions.json",
        &json!([
            { "id": 1, "image_id": 1, "caption": "a red car on a street" },
            { "id": 2, "image_id": 1, "caption": "a car that is parked in town" },
        ]),
    );
    let path = folder.path().join("captions.json");
    let dataset = Dataset::open(path, &DatasetOptions::default()).unwrap();
    assert_eq!(dataset.len(), 2);
    let records = records(&dataset, &[Some("a car that is parked in town")]);
    assert_eq!(records[0].truth.texts.len(), 2);
    let evaluation = evaluate(&records, &EvaluationOptions::default()).unwrap();
    assert!(evaluation.tasks[0].scores.captions.is_some());
}

#[test]
fn texts_of_regions_have_the_metrics_of_their_kind() {
    let region = "<loc_100><loc_100><loc_300><loc_300>";
    let prompts =
        ["CATEGORY", "DESCRIPTION", "OCR"].map(|task| format!("<REGION_TO_{task}>{region}"));
    let lines = prompts
        .each_ref()
        .map(|prompt| ("a.png", prompt.as_str(), "a dog"));
    let evaluation = evaluated(&lines, &[Some("a dog"); 3]);
    let [category, description, ocr] = evaluation.tasks.as_slice() else {
        panic!("{evaluation}");
    };
    let answers = category.scores.answers.as_ref().unwrap();
    assert_eq!(
        (answers.overall.anls, answers.classes[0].class.as_str()),
        (1.0, "a dog")
    );
    assert!(description.scores.captions.is_some());
    assert!(ocr.scores.transcriptions.is_some());
}

#[test]
fn ocr_has_error_rates_without_regard_to_line_breaks() {
    let evaluation = evaluated(&[("a.png", "<OCR>", "STOP\nEXIT")], &[Some("STOP  EXIST")]);
    let metrics = evaluation.metrics();
    assert_close(metrics["eval_CER"], 1.0 / 9.0);
    assert_close(metrics["eval_WER"], 0.5);
    assert_close(metrics["eval_exact_match"], 0.0);
}

#[test]
fn text_lines_have_error_rates_and_average_precision() {
    let first = "<loc_100><loc_100><loc_300><loc_100><loc_300><loc_200><loc_100><loc_200>";
    let second = "<loc_500><loc_500><loc_800><loc_500><loc_800><loc_600><loc_500><loc_600>";
    let suffix = format!("STOP{first}EXIT{second}");
    let answer = format!("STOP{first}EXIST{second}");
    let evaluation = evaluated(&[("a.png", "<OCR_WITH_REGION>", &suffix)], &[Some(&answer)]);
    let metrics = evaluation.metrics();
    assert_close(metrics["eval_CER"], 1.0 / 9.0);
    assert_close(metrics["eval_WER"], 0.5);
    assert_close(metrics["eval_AP"], 1.0);
}

#[test]
fn a_single_expression_is_compared_with_the_first_box() {
    let truth = "the left car<loc_100><loc_100><loc_300><loc_300>";
    let other = "a dog<loc_500><loc_500><loc_800><loc_900>";
    let lines = ["a.png", "b.png", "c.png"]
        .map(|image| (image, "<CAPTION_TO_PHRASE_GROUNDING>the left car", truth));
    // The label is ignored; the second box is not used; no box is wrong.
    let right = "car<loc_100><loc_100><loc_300><loc_280>";
    let wrong = format!("{other}{right}");
    let evaluation = evaluated(&lines, &[Some(right), Some(&wrong), Some("")]);
    let metrics = evaluation.metrics();
    assert_close(metrics["eval_accuracy@0.5"], 1.0 / 3.0);
    assert_close(metrics["eval_mIoU"], 0.9 / 3.0);
}

#[test]
fn phrases_are_compared_with_their_own_boxes() {
    let cars = "two cars<loc_100><loc_100><loc_300><loc_300><loc_500><loc_100><loc_700><loc_300>";
    let dog = "a dog<loc_500><loc_500><loc_800><loc_900>";
    let prefix = "<CAPTION_TO_PHRASE_GROUNDING>two cars and a dog";
    let suffix = format!("{cars}{dog}");
    // The boxes of the cars in the other order, and the dog's box with a wrong label.
    let answer = "Two cars<loc_500><loc_100><loc_700><loc_300><loc_100><loc_100><loc_300><loc_300>\
                  a cat<loc_500><loc_500><loc_800><loc_900>";
    let evaluation = evaluated(&[("a.png", prefix, &suffix)], &[Some(answer)]);
    let grounding = evaluation.tasks[0].scores.grounding.as_ref().unwrap();
    assert_eq!(grounding.overall.samples, 3);
    assert_close(grounding.overall.accuracy, 2.0 / 3.0);
}

#[test]
fn free_text_has_anls_or_the_accuracy_of_its_boxes() {
    let lines = [
        ("a.png", "<VQA>What is it?", "Rust"),
        ("b.png", "<VQA>What is it?", "a burn"),
        (
            "c.png",
            "Where is the car?",
            "car<loc_100><loc_100><loc_300><loc_300>",
        ),
    ];
    let evaluation = evaluated(&lines, &[Some(" rust"), None, Some(lines[2].2)]);
    let names: Vec<&str> = evaluation
        .tasks
        .iter()
        .map(|task| task.task.as_str())
        .collect();
    assert_eq!(names, ["<VQA>", "text"]);
    let metrics = evaluation.metrics();
    assert_close(metrics["eval_VQA_ANLS"], 0.5);
    assert_close(metrics["eval_VQA_exact_match"], 0.0);
    assert_close(metrics["eval_text_accuracy@0.5"], 1.0);
    assert!(!metrics.contains_key("eval_text_ANLS"));
}

/// The folder of a COCO file with an image of 100 x 100 pixels and the class `dog`.
fn coco(name: &str, annotations: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_image(folder.path(), "a.png");
    let json = json!({
        "images": [{ "id": 1, "file_name": "a.png", "width": 100, "height": 100 }],
        "categories": [{ "id": 1, "name": "dog" }, { "id": 2, "name": "bird" }],
        "annotations": annotations,
    });
    std::fs::write(folder.path().join(name), json.to_string()).unwrap();
    folder
}

/// A dog of 20 x 20 pixels at (10, 10), and a crowd.
fn dog_and_crowd(crowd: &Value) -> TempDir {
    coco(
        "_annotations.coco.json",
        &json!([
            { "id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400,
              "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]], "iscrowd": 0 },
            { "id": 2, "image_id": 1, "category_id": 1, "bbox": [30, 10, 10, 20], "area": 200,
              "segmentation": crowd, "iscrowd": 1 },
        ]),
    )
}

/// The crowd has columns 30 to 39. The answer's polygon extends into it: its pixels there do not count.
#[test]
fn segmentation_has_the_iou_of_masks_without_crowds() {
    let crowd = json!({ "size": [100, 100], "counts": [3000, 1000, 6000] });
    let folder = dog_and_crowd(&crowd);
    let options = DatasetOptions::default().task(Task::ReferringExpressionSegmentation);
    let dataset = open(&folder, &options);
    let answer = "<loc_100><loc_100><loc_350><loc_100><loc_350><loc_300><loc_100><loc_300>";
    let evaluation = evaluate(
        &records(&dataset, &[Some(answer)]),
        &EvaluationOptions::default(),
    );
    let evaluation = evaluation.unwrap();
    let masks = evaluation.tasks[0].scores.masks.as_ref().unwrap();
    assert_eq!(masks.classes[0].class, "dog");
    assert_close(masks.overall.mean_iou, 1.0);
    let failed = records(&dataset, &[None]);
    let evaluation = evaluate(&failed, &EvaluationOptions::default()).unwrap();
    assert_eq!(evaluation.metrics()["eval_cIoU"], 0.0);
}

#[test]
fn a_mask_of_another_size_is_an_error_with_its_place() {
    let folder = dog_and_crowd(&json!({ "size": [10, 10], "counts": [50, 50] }));
    let options = DatasetOptions::default().task(Task::ReferringExpressionSegmentation);
    let dataset = open(&folder, &options);
    let error = evaluate(&records(&dataset, &[None]), &EvaluationOptions::default());
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Mask { .. }));
    assert!(
        error
            .to_string()
            .contains("_annotations.coco.json: image 1"),
        "{error}"
    );
}

/// The other class of the data set has neither objects nor detections. The crowd is no miss.
#[test]
fn classes_of_a_data_set_are_listed() {
    let crowd = json!({ "size": [100, 100], "counts": [3000, 1000, 6000] });
    let folder = dog_and_crowd(&crowd);
    let dataset = open(&folder, &DatasetOptions::default());
    let records = records(&dataset, &[Some("dog<loc_100><loc_100><loc_299><loc_299>")]);
    let options = EvaluationOptions::default().classes(dataset.classes());
    let evaluation = evaluate(&records, &options).unwrap();
    let detection = evaluation.tasks[0].scores.detection.as_ref().unwrap();
    let classes: Vec<_> = detection
        .summary
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    assert_eq!(classes, ["dog", "bird"]);
    assert_eq!(detection.summary.classes[1].scores.ap, None);
    assert_close(detection.summary.overall.ap50.unwrap(), 1.0);
}

/// Examples of a task with regions are samples of their own, even with the same image.
#[test]
fn samples_of_equal_prompts() {
    let lines = [
        ("a.png", "<OD>", CAR),
        ("a.png", "<OD>", DOG),
        ("a.png", "<CAPTION>", "one"),
        ("a.png", "<CAPTION>", "two"),
    ];
    let folder = jsonl(&lines);
    let dataset = open(&folder, &DatasetOptions::default());
    assert_eq!(samples(dataset.examples()).len(), 3);
}
