//! Every layout gives the examples, the texts and the truth of its files.

mod common;

use common::{Folder, texts};
use florence2_dataset::{Dataset, DatasetOptions, Error, Format, Outline, Split, TruthObject};
use florence2_postprocess::{
    BoundingBox, Coordinates, ImageSize, LabelStyle, Quantizer, ScoredText, parse,
};
use florence2_processor::Task;
use serde_json::json;

const SIZE: ImageSize = ImageSize {
    width: 200,
    height: 100,
};

fn opened(folder: &Folder, options: &DatasetOptions) -> Dataset {
    let dataset = folder.open(options).expect("a data set");
    assert_eq!(folder.findings(dataset.report()), [""; 0]);
    dataset
}

fn labels_and_boxes(objects: &[TruthObject]) -> Vec<(&str, [f64; 4])> {
    let objects = objects.iter();
    objects
        .map(|object| (object.label.as_str(), object.bounding_box.into()))
        .collect()
}

#[test]
fn maestro_has_an_example_per_line() {
    let lines = [
        r#"{"image": "a.png", "prefix": "<OD>", "suffix": "car<loc_0><loc_100><loc_499><loc_999>"}"#,
        "",
        r#"{"image": "sub/b.png", "prefix": "<VQA>How many?", "suffix": "two", "id": 7}"#,
        "   ",
        r#"{"image": "a.png", "prefix": "<REFERRING_EXPRESSION_SEGMENTATION>a car",
            "suffix": "x"}"#,
    ];
    // The last entry spans two lines, which is no JSON line.
    let text = format!(
        "\u{feff}{}\r\n{}\n{}\n{}",
        lines[0], lines[1], lines[2], lines[3]
    );
    let folder = Folder::new()
        .file("annotations.jsonl", text)
        .image("a.png", 200, 100)
        .image("sub/b.png", 20, 10);
    let dataset = opened(&folder, &DatasetOptions::default());
    assert_eq!(dataset.format(), Format::Jsonl);
    assert_eq!(dataset.len(), 2);
    assert_eq!(
        texts(&dataset),
        [
            ("<OD>", "car<loc_0><loc_100><loc_499><loc_999>"),
            ("<VQA>How many?", "two")
        ]
    );
    let [first, second] = dataset.examples() else {
        panic!("two examples")
    };
    assert_eq!(folder.relative(&first.source), "annotations.jsonl:1");
    assert_eq!(folder.relative(&second.source), "annotations.jsonl:3");
    let truth = first.truth(SIZE);
    assert_eq!(truth.texts, [""; 0]);
    let expected = [("car", [0.1, 10.05, 99.9, 99.95])];
    assert_eq!(labels_and_boxes(&truth.objects), expected);
    assert_eq!(second.truth(SIZE).texts, ["two"]);
    assert!(second.truth(SIZE).objects.is_empty());
    let image = first.open_image(&florence2_processor::DecodeOptions::default());
    assert_eq!(image.expect("an image").size(), SIZE);
    assert_eq!(dataset.report().tasks["text"], 1);
    assert_eq!(dataset.report().tasks["<OD>"], 1);
    assert_eq!(dataset.report().classes["car"].objects, 1);
}

#[test]
fn splits_are_folders() {
    let line = |suffix: &str| {
        json!({"image": "a.png", "prefix": "<CAPTION>", "suffix": suffix}).to_string()
    };
    let folder = Folder::new()
        .file("train/annotations.jsonl", line("train"))
        .image("train/a.png", 2, 2)
        .file("valid/annotations.jsonl", line("valid"))
        .image("valid/a.png", 2, 2);
    let suffix = |options: &DatasetOptions| opened(&folder, options).examples()[0].suffix.clone();
    let options = DatasetOptions::default();
    assert_eq!(suffix(&options), "train");
    assert_eq!(suffix(&options.clone().split(Split::Train)), "train");
    assert_eq!(suffix(&options.clone().split(Split::Valid)), "valid");
    assert_eq!(
        Dataset::splits(folder.path(), &options),
        [Split::Train, Split::Valid]
    );
    let error = folder.open(&options.split(Split::Test)).unwrap_err();
    let path = folder.path().display();
    assert_eq!(
        error.to_string(),
        format!(
            "{path}: found no data set of the split test, expected annotations.jsonl, COCO JSON, \
             data.yaml, or images with .txt files"
        )
    );
    assert_eq!("val".parse::<Split>().expect("a name"), Split::Valid);
    assert!("dev".parse::<Split>().is_err());
}

#[test]
fn lines_without_prefix_take_the_option() {
    let line = r#"{"image": "a.png", "suffix": "a cat"}"#;
    let folder = Folder::new()
        .file("annotations.jsonl", line)
        .image("a.png", 2, 2);
    let options = DatasetOptions::default();
    assert!(matches!(
        folder.open(&options),
        Err(Error::NoExamples { .. })
    ));
    let dataset = opened(&folder, &options.clone().task(Task::Caption));
    assert_eq!(texts(&dataset), [("<CAPTION>", "a cat")]);
    let dataset = opened(&folder, &options.task(Task::Caption).prefix("Describe"));
    assert_eq!(texts(&dataset), [("Describe", "a cat")]);
}

/// Two images with three objects and a crowd, and one without objects.
fn coco() -> serde_json::Value {
    json!({
        "info": {"year": 2017},
        "images": [
            {"id": 1, "file_name": "a.png", "width": 200, "height": 100, "license": 3},
            {"id": "b", "file_name": "b.png", "width": 200, "height": 100},
            {"id": 3, "file_name": "c.png", "width": 10, "height": 10},
        ],
        "categories": [{"id": 0, "name": "animals"}, {"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 18, "bbox": [10, 20, 30.5, 40], "area": 777.5,
             "segmentation": [[10, 20, 40.5, 20, 40.5, 60], [11, 21, 12, 21, 12, 22, 11, 22]], "iscrowd": 0},
            {"id": 2, "image_id": "b", "category_id": 17, "bbox": [0, 0, 200, 100],
             "segmentation": [[0, 0, 200, 0, 200, 100]]},
            {"id": 3, "image_id": 1, "category_id": 18, "bbox": [100, 50, 100, 50],
             "segmentation": [[100, 50, 200, 50, 200, 100]]},
            {"id": 4, "image_id": 1, "category_id": 17, "bbox": [0, 0, 100, 50], "iscrowd": 1,
             "segmentation": {"size": [100, 200], "counts": [5, 10, 19985]}},
        ],
    })
}

fn coco_folder() -> Folder {
    Folder::new()
        .file("_annotations.coco.json", coco().to_string())
        .image("a.png", 200, 100)
        .image("b.png", 200, 100)
        .image("c.png", 10, 10)
}

#[test]
fn coco_instances_are_detections() {
    let folder = coco_folder();
    let dataset = opened(&folder, &DatasetOptions::default());
    assert_eq!(dataset.format(), Format::Coco);
    assert_eq!(dataset.classes(), ["animals", "dog", "cat"]);
    assert_eq!(
        texts(&dataset),
        [
            (
                "<OD>",
                "dog<loc_50><loc_200><loc_202><loc_600><loc_500><loc_500><loc_999><loc_999>"
            ),
            ("<OD>", "cat<loc_0><loc_0><loc_999><loc_999>"),
            ("<OD>", ""),
        ]
    );
    let sources: Vec<String> = dataset
        .examples()
        .iter()
        .map(|e| folder.relative(&e.source))
        .collect();
    assert_eq!(
        sources,
        [
            "_annotations.coco.json: image 1",
            "_annotations.coco.json: image \"b\"",
            "_annotations.coco.json: image 3"
        ]
    );
    // The truth is exact, and has the crowd.
    let truth = dataset.examples()[0].truth(SIZE);
    assert_eq!(
        labels_and_boxes(&truth.objects),
        [
            ("dog", [10.0, 20.0, 40.5, 60.0]),
            ("dog", [100.0, 50.0, 200.0, 100.0]),
            ("cat", [0.0, 0.0, 100.0, 50.0])
        ]
    );
    assert_eq!(truth.objects[0].area, 777.5);
    assert_eq!(truth.objects[1].area, 5000.0);
    let crowds: Vec<bool> = truth.objects.iter().map(|object| object.is_crowd).collect();
    assert_eq!(crowds, [false, false, true]);
    let Outline::Polygons(rings) = &truth.objects[0].outline else {
        panic!("polygons")
    };
    assert_eq!(rings[0], [[10.0, 20.0], [40.5, 20.0], [40.5, 60.0]]);
    let Outline::Rle(mask) = &truth.objects[2].outline else {
        panic!("a mask")
    };
    assert_eq!(
        (mask.size, mask.counts.as_slice()),
        (SIZE, &[5, 10, 19985][..])
    );
    let report = dataset.report();
    assert_eq!(
        (report.examples, report.images, report.empty_examples),
        (3, 3, 1)
    );
    assert_eq!(report.classes["dog"].objects, 2);
    assert_eq!(report.classes["dog"].examples, 1);

    let repeated = DatasetOptions::default()
        .label_style(LabelStyle::Repeated)
        .keep_background(false);
    let dataset = opened(&folder, &repeated);
    assert_eq!(dataset.len(), 2);
    assert_eq!(
        dataset.examples()[0].suffix,
        "dog<loc_50><loc_200><loc_202><loc_600>dog<loc_500><loc_500><loc_999><loc_999>"
    );
}

#[test]
fn coco_instances_are_examples_of_other_tasks() {
    let folder = coco_folder();
    let dog = "<loc_50><loc_200><loc_202><loc_200><loc_202><loc_600><sep>\
               <loc_55><loc_210><loc_60><loc_210><loc_60><loc_220><loc_55><loc_220>";
    let other = "<loc_500><loc_500><loc_999><loc_500><loc_999><loc_999>";
    let cat = "<loc_0><loc_0><loc_999><loc_0><loc_999><loc_999>";
    let boxes = [
        "<loc_50><loc_200><loc_202><loc_600>",
        "<loc_500><loc_500><loc_999><loc_999>",
        "<loc_0><loc_0><loc_999><loc_999>",
    ];
    let cases = [
        (
            Task::RegionProposal,
            vec![
                (
                    "<REGION_PROPOSAL>".to_owned(),
                    format!("{}{}", boxes[0], boxes[1]),
                ),
                ("<REGION_PROPOSAL>".to_owned(), boxes[2].to_owned()),
                ("<REGION_PROPOSAL>".to_owned(), String::new()),
            ],
        ),
        (
            Task::OpenVocabularyDetection,
            vec![
                (
                    "<OPEN_VOCABULARY_DETECTION>dog".to_owned(),
                    format!("dog{}{}", boxes[0], boxes[1]),
                ),
                (
                    "<OPEN_VOCABULARY_DETECTION>cat".to_owned(),
                    format!("cat{}", boxes[2]),
                ),
            ],
        ),
        (
            Task::ReferringExpressionSegmentation,
            vec![
                (
                    "<REFERRING_EXPRESSION_SEGMENTATION>dog".to_owned(),
                    format!("<poly>{dog}</poly><poly>{other}</poly>"),
                ),
                (
                    "<REFERRING_EXPRESSION_SEGMENTATION>cat".to_owned(),
                    cat.to_owned(),
                ),
            ],
        ),
        (
            Task::RegionToSegmentation,
            vec![
                (
                    format!("<REGION_TO_SEGMENTATION>{}", boxes[0]),
                    dog.to_owned(),
                ),
                (
                    format!("<REGION_TO_SEGMENTATION>{}", boxes[1]),
                    other.to_owned(),
                ),
                (
                    format!("<REGION_TO_SEGMENTATION>{}", boxes[2]),
                    cat.to_owned(),
                ),
            ],
        ),
        (
            Task::RegionToCategory,
            vec![
                (
                    format!("<REGION_TO_CATEGORY>{}", boxes[0]),
                    format!("dog{}", boxes[0]),
                ),
                (
                    format!("<REGION_TO_CATEGORY>{}", boxes[1]),
                    format!("dog{}", boxes[1]),
                ),
                (
                    format!("<REGION_TO_CATEGORY>{}", boxes[2]),
                    format!("cat{}", boxes[2]),
                ),
            ],
        ),
    ];
    for (task, expected) in cases {
        let dataset = opened(&folder, &DatasetOptions::default().task(task));
        let expected: Vec<(&str, &str)> = expected
            .iter()
            .map(|(prefix, suffix)| (prefix.as_str(), suffix.as_str()))
            .collect();
        assert_eq!(texts(&dataset), expected, "{task}");
    }
    for task in [Task::Ocr, Task::CaptionToPhraseGrounding] {
        let error = folder
            .open(&DatasetOptions::default().task(task))
            .unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// Every written suffix parses to the bins of the truth.
#[test]
fn suffixes_have_the_bins_of_the_truth() {
    let folder = coco_folder();
    let dataset = opened(&folder, &DatasetOptions::default());
    for example in dataset.examples() {
        let quantizer = Quantizer {
            image_size: SIZE,
            coordinates: Coordinates::BinCenters,
        };
        let answer = ScoredText::unscored(example.suffix.as_str());
        let parsed = parse(
            &answer,
            example.post_processing_type(),
            SIZE,
            Coordinates::BinCenters,
        );
        let truth = example.truth(SIZE);
        let objects: Vec<&TruthObject> = truth.objects.iter().filter(|o| !o.is_crowd).collect();
        assert_eq!(parsed.regions.len(), objects.len());
        for (region, object) in parsed.regions.iter().zip(objects) {
            let BoundingBox { x1, y1, x2, y2 } = object.bounding_box;
            let expected =
                [[x1, y1], [x2, y2]].map(|corner| quantizer.dequantize(quantizer.quantize(corner)));
            assert_eq!(region.shape.points(), expected);
            assert_eq!(region.label, object.label);
        }
    }
}

#[test]
fn coco_captions_have_all_references() {
    let captions = json!({
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "annotations": [
            {"id": 10, "image_id": 1, "caption": " A cat.\n"},
            {"id": 11, "image_id": 1, "caption": "A dog."},
        ],
    });
    let folder = Folder::new()
        .file("annotations/captions_val2017.json", captions.to_string())
        .file("annotations/instances_val2017.json", coco().to_string())
        .image("val2017/a.png", 200, 100)
        .image("val2017/b.png", 200, 100)
        .image("val2017/c.png", 10, 10);
    let options = DatasetOptions::default().task(Task::DetailedCaption);
    let dataset = opened(&folder, &options);
    assert_eq!(
        texts(&dataset),
        [
            ("<DETAILED_CAPTION>", "A cat."),
            ("<DETAILED_CAPTION>", "A dog.")
        ]
    );
    for example in dataset.examples() {
        assert_eq!(example.truth(SIZE).texts, ["A cat.", "A dog."]);
    }
    assert_eq!(dataset.distinct_prompts().count(), 1);
    // Without a task, the folder's instances are read.
    assert_eq!(
        opened(&folder, &DatasetOptions::default()).examples()[0].prefix,
        "<OD>"
    );
    // A file of captions needs no task.
    let file = folder.join("annotations/captions_val2017.json");
    let dataset = Dataset::open(file, &DatasetOptions::default()).expect("captions");
    assert_eq!(dataset.examples()[0].prefix, "<CAPTION>");
    assert_eq!(Dataset::splits(folder.path(), &options), [Split::Valid]);
}

#[test]
fn coco_images_are_found_near_the_file_or_in_the_stated_folder() {
    for images in ["", "images/", "../images/", "../train2017/", "../"] {
        let mut folder =
            Folder::new().file("annotations/instances_train2017.json", coco().to_string());
        for (name, width, height) in [("a.png", 200, 100), ("b.png", 200, 100), ("c.png", 10, 10)] {
            folder = folder.image(&format!("annotations/{images}{name}"), width, height);
        }
        let dataset = opened(&folder, &DatasetOptions::default());
        assert_eq!(dataset.len(), 3, "{images}");
    }
    let folder = coco_folder();
    let elsewhere = Folder::new().file("x.json", coco().to_string());
    let options = DatasetOptions::default()
        .images(folder.path())
        .format(Format::Coco);
    assert_eq!(opened(&elsewhere, &options).len(), 3);
}

#[test]
fn several_coco_files_are_an_error_that_names_them() {
    let folder = coco_folder()
        .file("annotations/instances_a.json", "{}")
        .file("annotations/instances_b.json", "{}");
    std::fs::remove_file(folder.join("_annotations.coco.json")).expect("a file");
    let error = folder.open(&DatasetOptions::default()).unwrap_err();
    let expected = "found several files of annotations: annotations/instances_a.json, \
                    annotations/instances_b.json, expected one; state the file instead of its folder, \
                    or the split";
    assert!(folder.relative(&error).ends_with(expected), "{error}");
}

/// Boxes, a polygon, an image without label file and one with an empty label file.
fn yolo(yaml: &str) -> Folder {
    Folder::new()
        .file("data.yaml", yaml)
        .image("train/images/a.png", 200, 100)
        .file(
            "train/labels/a.txt",
            "1 0.5 0.5 0.25 0.5\r\n\n0 0.1 0.2 0.3 0.2 0.3 0.6\n",
        )
        .image("train/images/sub/b.png", 200, 100)
        .file("train/labels/sub/b.txt", "")
        .image("train/images/c.png", 200, 100)
}

#[test]
fn yolo_labels_are_detections() {
    let yamls = [
        "train: train/images\nval: x\nnames: [cat, dog]\nnc: 2\n",
        // Roboflow's.
        "names:\n- cat\n- dog\nnc: 2\nroboflow:\n  license: MIT\ntrain: ../train/images\n",
        // Ultralytics'.
        "path: .  # root\ntrain:\n  - train/images\nnames:\n  0: cat\n  1: dog\n",
    ];
    for yaml in yamls {
        let folder = yolo(yaml);
        let dataset = opened(&folder, &DatasetOptions::default());
        assert_eq!(dataset.format(), Format::Yolo);
        assert_eq!(dataset.classes(), ["cat", "dog"]);
        assert_eq!(
            texts(&dataset),
            [
                (
                    "<OD>",
                    "dog<loc_375><loc_250><loc_625><loc_750>cat<loc_100><loc_200><loc_300><loc_600>"
                ),
                ("<OD>", ""),
                ("<OD>", ""),
            ]
        );
        let truth = dataset.examples()[0].truth(SIZE);
        let expected = [[75.0, 25.0, 125.0, 75.0], [20.0, 20.0, 60.0, 60.0]];
        for (object, expected) in truth.objects.iter().zip(expected) {
            let found = <[f64; 4]>::from(object.bounding_box);
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-9),
                "{found:?}"
            );
        }
        assert!((truth.objects[0].area - 2500.0).abs() < 1e-9);
        assert!(
            matches!(&truth.objects[1].outline, Outline::Polygons(rings) if rings[0].len() == 3)
        );
    }
}

#[test]
fn yolo_polygons_are_segmentations() {
    let folder = yolo("train: train/images\nnames: [cat, dog]\n")
        .file("train/labels/a.txt", "0 0.1 0.2 0.3 0.2 0.3 0.6\n");
    let options = DatasetOptions::default().task(Task::ReferringExpressionSegmentation);
    let dataset = opened(&folder, &options);
    let expected = "<loc_100><loc_200><loc_300><loc_200><loc_300><loc_600>";
    assert_eq!(
        texts(&dataset),
        [("<REFERRING_EXPRESSION_SEGMENTATION>cat", expected)]
    );
    let source = folder.relative(&dataset.examples()[0].source);
    assert_eq!(source, "train/labels/a.txt: class cat");
}

#[test]
fn yolo_lists_and_key_points() {
    let yaml = "train: list.txt\nnames: [cat]\nkpt_shape: [2, 2]\n";
    let folder = yolo(yaml)
        .file("list.txt", "./train/images/a.png\n\n")
        .file("train/labels/a.txt", "0 0.5 0.5 0.25 0.5 0.1 0.1 0.2 0.2\n");
    let dataset = opened(&folder, &DatasetOptions::default());
    assert_eq!(
        texts(&dataset),
        [("<OD>", "cat<loc_375><loc_250><loc_625><loc_750>")]
    );
    let splits = Dataset::splits(folder.path(), &DatasetOptions::default());
    assert_eq!(splits, [Split::Train]);
}

#[test]
fn texts_are_suffixes_of_their_images() {
    let folder = Folder::new()
        .image("a.png", 2, 2)
        .file("a.txt", "\u{feff}A cat\r\n")
        .image("sub/b.JPG.png", 2, 2)
        .file("sub/b.JPG.txt", "Ein Hünd\n");
    let options = DatasetOptions::default();
    let error = folder.open(&options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "prefix: found none, expected a task token such as <CAPTION>, or a text, for a folder of \
         images with .txt files"
    );
    let dataset = opened(&folder, &options.clone().task(Task::Ocr));
    assert_eq!(dataset.format(), Format::Text);
    assert_eq!(texts(&dataset), [("<OCR>", "A cat"), ("<OCR>", "Ein Hünd")]);
    let dataset = opened(&folder, &options.prefix("What is it?"));
    assert_eq!(dataset.examples()[0].prefix, "What is it?");
}
