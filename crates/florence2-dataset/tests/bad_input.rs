//! Faulty entries are reported and left out, and faulty data sets are errors. Nothing panics or hangs.

mod common;

use common::{Folder, kinds, texts};
use florence2_dataset::{
    AugmentOptions, Dataset, DatasetOptions, Error, Finding, FindingKind, Format, Report, Severity,
    augment,
};
use florence2_postprocess::{Coordinates, ImageSize, ScoredText, parse};
use florence2_processor::{DecodeOptions, Task};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const GOOD: &str =
    r#"{"image": "a.png", "prefix": "<OD>", "suffix": "car<loc_0><loc_0><loc_9><loc_9>"}"#;

#[test]
fn one_broken_line_in_a_thousand_is_left_out() {
    let mut lines = vec![String::new(); 1000];
    for (index, line) in lines.iter_mut().enumerate() {
        *line = json!({"image": "a.png", "prefix": "<VQA>what?", "suffix": index.to_string()})
            .to_string();
    }
    lines[700] = r#"{"image": "a.png", "prefix": "<VQA>what?", "suff"#.to_owned();
    let folder = Folder::new()
        .image("a.png", 2, 2)
        .file("annotations.jsonl", lines.join("\n"));
    let dataset = folder
        .open(&DatasetOptions::default())
        .expect("999 examples");
    assert_eq!(dataset.len(), 999);
    assert_eq!(
        folder.findings(dataset.report()),
        [
            "annotations.jsonl:701: found invalid JSON at column 48: EOF while parsing a string, \
             expected {\"image\": \"..\", \"prefix\": \"..\", \"suffix\": \"..\"}"
        ]
    );
    assert_eq!(dataset.report().count(Severity::Error), 1);
}

/// A faulty line after a good one is the only finding.
fn check_faulty_line(line: &[u8], expected: &str) {
    let text = [GOOD.as_bytes(), b"\n", line].concat();
    let folder = Folder::new()
        .image("a.png", 2, 2)
        .file("annotations.jsonl", text);
    let dataset = folder
        .open(&DatasetOptions::default())
        .expect("one good line");
    assert_eq!(dataset.len(), 1, "{expected}");
    let expected = format!("annotations.jsonl:2: {expected}");
    assert_eq!(folder.findings(dataset.report()), [expected]);
    assert_eq!(dataset.report().findings[0].severity, Severity::Error);
}

#[test]
fn faulty_lines_are_reported_with_what_was_found() {
    let expected_keys = r#"expected {"image": "..", "prefix": "..", "suffix": ".."}"#;
    let cases: Vec<(Vec<u8>, String)> = vec![
        (
            b"[1, 2]".to_vec(),
            format!("found an array, {expected_keys}"),
        ),
        (b"null".to_vec(), format!("found null, {expected_keys}")),
        (b"3".to_vec(), format!("found a number, {expected_keys}")),
        (
            br#"["a.png", "<OD>", "x"]"#.to_vec(),
            format!("found an array, {expected_keys}"),
        ),
        (
            br#"{"image": "a.png", "prefix": "<OD>"}"#.to_vec(),
            "found nothing at `suffix`, expected a string".to_owned(),
        ),
        (
            br#"{"image": ["a.png"], "prefix": "<OD>", "suffix": ""}"#.to_vec(),
            "found an array at `image`, expected a string".to_owned(),
        ),
        (
            br#"{"image": "a.png", "prefix": 1, "suffix": ""}"#.to_vec(),
            "found a number at `prefix`, expected a string".to_owned(),
        ),
        (
            br#"{"image": "a.png", "prefix": "<OD>", "suffix": null}"#.to_vec(),
            "found null at `suffix`, expected a string".to_owned(),
        ),
        (
            br#"{"image": "a.png", "prefix": "<OD>", "suffix": 1e999}"#.to_vec(),
            format!("found invalid JSON at column 52: number out of range, {expected_keys}"),
        ),
        (
            br#"{"image": "a.png", "prefix": "<OD>", "suffix": NaN}"#.to_vec(),
            format!("found invalid JSON at column 48: expected value, {expected_keys}"),
        ),
        (
            b"{\"image\": \"\xff.png\"}".to_vec(),
            "found a byte that is not UTF-8 after 11 bytes, expected UTF-8".to_owned(),
        ),
        (
            "[".repeat(1_000_000).into_bytes(),
            format!("found invalid JSON at column 128: recursion limit exceeded, {expected_keys}"),
        ),
        (
            br#"{"image": "missing.png", "prefix": "<OD>", "suffix": ""}"#.to_vec(),
            "found no file at missing.png, expected an image".to_owned(),
        ),
        (
            br#"{"image": "", "prefix": "<OD>", "suffix": ""}"#.to_vec(),
            "found a folder at , expected an image".to_owned(),
        ),
    ];
    for (line, expected) in cases {
        check_faulty_line(&line, &expected);
    }
}

#[test]
fn lines_with_faulty_texts_are_reported_with_what_was_found() {
    let entry = |prefix: &str, suffix: &str| {
        json!({"image": "a.png", "prefix": prefix, "suffix": suffix}).to_string()
    };
    let cases = [
        (
            entry("<OD>extra", "car<loc_0><loc_0><loc_9><loc_9>"),
            "found the prefix \"<OD>extra\" (task <OD>: input `extra` given, expected none), expected \
             a prompt: a task token with its input, or a text",
        ),
        (
            entry(
                "<CAPTION_TO_PHRASE_GROUNDING>",
                "car<loc_0><loc_0><loc_9><loc_9>",
            ),
            "found the prefix \"<CAPTION_TO_PHRASE_GROUNDING>\" (task <CAPTION_TO_PHRASE_GROUNDING>: \
             no input given, expected a text), expected a prompt: a task token with its input, or a \
             text",
        ),
        (
            entry("<CAPTION>", " \n"),
            "found an empty suffix, expected a text",
        ),
        (
            entry("<OD>", "car<loc_0><loc_0><loc_9><loc_1000><loc_x"),
            "found <loc_1000>, <loc_x in the suffix, expected <loc_0> to <loc_999>",
        ),
        (
            entry("<REGION_TO_CATEGORY><loc_0><loc_1><loc_2><loc_-3>", "car"),
            "found <loc_-3> in the prefix, expected <loc_0> to <loc_999>",
        ),
        (
            entry("<OD>", "a car"),
            "found no region in the suffix \"a car\", expected labels, each with four locations per \
             box",
        ),
        (
            entry("<OD>", "car<loc_0><loc_0><loc_9><loc_9><loc_1>"),
            "found 1 locations that belong to no region, expected labels, each with four locations \
             per box",
        ),
        (
            entry("<OCR_WITH_REGION>", "car<loc_0><loc_0><loc_9><loc_9>"),
            "found no region in the suffix \"car<loc_0><loc_0><loc_9><loc_9>\", expected texts, each \
             with eight locations",
        ),
    ];
    for (line, expected) in cases {
        check_faulty_line(line.as_bytes(), expected);
    }
}

#[test]
fn doubtful_lines_are_used_with_a_warning() {
    let cases = [
        (
            "<OD>",
            "",
            "found an empty suffix, expected regions, unless the image has no object",
        ),
        (
            "<OD>",
            "car<loc_0><loc_0><loc_9><loc_9>tree",
            "found the text \"tree\", which the parser does not read as a label, expected labels, \
             each with four locations per box",
        ),
        (
            "<OD>",
            "a<b<loc_0><loc_0><loc_9><loc_9>",
            "found the text \"a<b\", which the parser does not read as a label, expected labels, \
             each with four locations per box",
        ),
        (
            "<OD>",
            "car <loc_0><loc_0><loc_9><loc_9>",
            "found a space before a location, expected none, as in the published model's answers",
        ),
        (
            "<OD>",
            "car<loc_9><loc_0><loc_9><loc_9><loc_0><loc_0><loc_9><loc_9>",
            "found the box <loc_9><loc_0><loc_9><loc_9> of \"car\", expected a box with an area, \
             upper left corner first",
        ),
        (
            "<REGION_PROPOSAL>",
            "<loc_0><loc_9><loc_9><loc_0>",
            "found the box <loc_0><loc_9><loc_9><loc_0> of \"\", expected a box with an area, upper \
             left corner first",
        ),
        (
            "<REFERRING_EXPRESSION_SEGMENTATION>a car",
            "<loc_0><loc_0><loc_9><loc_9>",
            "found a polygon of 2 points of \"\", expected at least 3 points",
        ),
        (
            "<CAPTION_TO_PHRASE_GROUNDING>the image",
            "the image<loc_0><loc_0><loc_9><loc_9>",
            "found the phrase \"the image\", which the parser drops, expected another phrase",
        ),
        (
            "<CAPTION>",
            "a car<loc_0><loc_0>",
            "found 2 locations that form no box, expected four locations per box",
        ),
        (
            "<CAPTION>",
            "<s>a car</s>",
            "found <s>, </s> in the suffix, expected none, since the tokenizer adds <s> and </s>",
        ),
        (
            "<REGION_PROPOSAL>",
            "<l<s>oc_1><loc_1><loc_2><loc_2>",
            "found <s> in the suffix, expected none, since the tokenizer adds <s> and </s>",
        ),
        (
            "<OD>",
            "car<loc_0><loc_0><loc_9><loc_9>",
            "found the entry of annotations.jsonl:1 again, expected different entries",
        ),
    ];
    for (prefix, suffix, expected) in cases {
        let line = json!({"image": "a.png", "prefix": prefix, "suffix": suffix});
        let folder = Folder::new()
            .image("a.png", 2, 2)
            .file("annotations.jsonl", format!("{GOOD}\n{line}"));
        let dataset = folder.open(&DatasetOptions::default()).expect("two lines");
        assert_eq!(texts(&dataset)[1], (prefix, suffix));
        let expected = format!("annotations.jsonl:2: warning: {expected}");
        assert_eq!(folder.findings(dataset.report()), [expected]);
    }
}

/// Suffixes in styles that the parser reads completely have no finding.
#[test]
fn all_styles_of_the_grammar_are_accepted() {
    let (boxed, quad) = (
        "<loc_0><loc_0><loc_9><loc_9>",
        "<loc_0><loc_0><loc_9><loc_0><loc_9><loc_9><loc_0><loc_9>",
    );
    let ring = "<loc_0><loc_0><loc_9><loc_0><loc_9><loc_9>";
    let cases = [
        (
            "<OD>",
            format!("car{boxed}{boxed}tree{boxed}car{boxed}car{boxed}{boxed}"),
        ),
        ("<OD>", format!("Größe > 3{boxed}")),
        ("<OCR_WITH_REGION>", format!("a < b{quad}<tag>{quad}")),
        ("<REGION_PROPOSAL>", format!("{boxed}{boxed}")),
        (
            "<REFERRING_EXPRESSION_SEGMENTATION>x",
            format!("{ring}<sep>{ring}"),
        ),
        (
            "<REFERRING_EXPRESSION_SEGMENTATION>x",
            format!("<poly>{ring}</poly><poly>{ring}</poly>"),
        ),
        (
            "<OPEN_VOCABULARY_DETECTION>x",
            format!("x<poly>{ring}<sep>{ring}</poly>y<poly>{ring}</poly>"),
        ),
        (
            "<REGION_TO_CATEGORY><loc_0><loc_0><loc_9><loc_9>",
            format!("car{boxed}"),
        ),
        ("free prompt", "a < b".to_owned()),
    ];
    for (prefix, suffix) in cases {
        let line = json!({"image": "a.png", "prefix": prefix, "suffix": suffix});
        let folder = Folder::new()
            .image("a.png", 2, 2)
            .file("annotations.jsonl", line.to_string());
        let dataset = folder.open(&DatasetOptions::default()).expect("a line");
        assert_eq!(folder.findings(dataset.report()), [""; 0], "{suffix}");
    }
}

fn coco_with(change: impl FnOnce(&mut Value)) -> (Folder, Result<Dataset, Error>) {
    let mut file = json!({
        "images": [{"id": 1, "file_name": "a.png", "width": 200, "height": 100}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]}],
    });
    change(&mut file);
    let folder = Folder::new()
        .image("a.png", 200, 100)
        .file("_annotations.coco.json", file.to_string());
    let dataset = folder.open(&DatasetOptions::default());
    (folder, dataset)
}

#[test]
fn faulty_entries_of_coco_are_reported() {
    let annotation = |changes: Value| {
        let mut annotation =
            json!({"id": 7, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]});
        for (key, value) in changes.as_object().expect("changes") {
            annotation[key] = value.clone();
        }
        ("annotations", annotation)
    };
    let at = "annotation 7: found";
    let entry = "annotations[1]: found";
    let expected_entry = "expected COCO's keys of an entry of `annotations`";
    let cases = [
        (annotation(json!({"image_id": 5})), format!("{at} the image_id 5, expected the id of an entry of `images`")),
        (annotation(json!({"image_id": "1"})), format!("{at} the image_id \"1\", expected the id of an entry of `images`")),
        (annotation(json!({"category_id": 2})), format!("{at} the category_id 2, expected the id of an entry of `categories`")),
        (annotation(json!({"category_id": null})), format!("{at} no `category_id`, expected the id of an entry of `categories`")),
        (annotation(json!({"bbox": null})), format!("{at} no `bbox`, expected [x, y, width, height]")),
        (annotation(json!({"bbox": [1, 2, 3]})), format!("{at} 3 numbers at `bbox`, expected [x, y, width, height]")),
        (annotation(json!({"bbox": "1 2 3 4"})), format!("{entry} bbox: invalid type: string \"1 2 3 4\", expected a sequence, {expected_entry}")),
        (annotation(json!({"bbox": [1, 2, 3, null]})), format!("{entry} bbox[3]: invalid type: null, expected f64, {expected_entry}")),
        (annotation(json!({"bbox": [10, 20, 0, 40]})), format!("{at} a box without area (x1 10.0, y1 20.0, x2 10.0, y2 60.0), expected a box with an area within the image of 200x100 pixels")),
        (annotation(json!({"bbox": [10, 20, -5, 40]})), format!("{at} a box without area (x1 10.0, y1 20.0, x2 5.0, y2 60.0), expected a box with an area within the image of 200x100 pixels")),
        (annotation(json!({"bbox": [300, 20, 5, 40]})), format!("{at} a box outside the image (x1 300.0, y1 20.0, x2 305.0, y2 60.0), expected a box with an area within the image of 200x100 pixels")),
        (annotation(json!({"bbox": [1e308, 20, 1e308, 40]})), format!("{at} a box that is not finite (x1 1e308, y1 20.0, x2 inf, y2 60.0), expected a box with an area within the image of 200x100 pixels")),
        (annotation(json!({"segmentation": [[1, 2, 3]]})), format!("{at} a polygon of 3 numbers, expected an even number of coordinates, at least 6")),
        (annotation(json!({"segmentation": {"size": [100, 200], "counts": [1, 2]}})), format!("{at} a mask of 3 pixels with the size 100x200, expected counts whose sum is the number of pixels")),
        (annotation(json!({"segmentation": {"size": [100, 200], "counts": "~"}})), format!("{at} a compressed mask that cannot be decoded, expected counts as pycocotools compresses them")),
        (annotation(json!({"segmentation": {"size": [1, 2]}})), format!("{entry} segmentation: data did not match any variant of untagged enum CocoSegmentation, {expected_entry}")),
        (annotation(json!({"id": 1})), "annotation 1: found an id that an earlier entry has, expected one entry per id".to_owned()),
        (("annotations", json!([1])), format!("{entry} [1], not an object, {expected_entry}")),
        (("images", json!({"id": 2, "file_name": "b.png", "width": 2, "height": 2})), "image 2: found no file at b.png, expected an image".to_owned()),
        (("images", json!({"id": 2, "file_name": "a.png", "width": 0, "height": 2})), "image 2: found 0x2 pixels, expected at least 1x1".to_owned()),
        (("images", json!({"id": 2, "file_name": "a.png", "width": 2})), "images[1]: found missing field `height`, expected COCO's keys of an entry of `images`".to_owned()),
        (("images", json!({"id": 2, "file_name": "a.png", "width": -1, "height": 2})), "images[1]: found width: invalid value: integer `-1`, expected u32, expected COCO's keys of an entry of `images`".to_owned()),
        (("images", json!({"id": 1, "file_name": "a.png", "width": 2, "height": 2})), "image 1: found an id that an earlier entry has, expected one entry per id".to_owned()),
        (("categories", json!({"id": 1, "name": "dog"})), "category 1: found an id that an earlier entry has, expected one entry per id".to_owned()),
    ];
    for ((list, added), expected) in cases {
        let push = |file: &mut Value| file[list].as_array_mut().expect("a list").push(added);
        let (folder, dataset) = coco_with(push);
        let dataset = dataset.expect("a good annotation");
        assert_eq!(
            texts(&dataset)[0],
            ("<OD>", "dog<loc_50><loc_200><loc_200><loc_600>"),
            "{expected}"
        );
        let expected = format!("_annotations.coco.json: {expected}");
        assert_eq!(folder.findings(dataset.report()), [expected]);
    }
}

#[test]
fn classes_that_cannot_be_written_are_reported() {
    for (name, expected) in [
        (
            "a<b",
            "found the label \"a<b\", expected a label without `<`",
        ),
        (
            " ",
            "found the label \"\", expected a label that is not empty",
        ),
        (
            "a\nb",
            "found the label \"a\\nb\", expected a label of one line",
        ),
    ] {
        let (folder, dataset) = coco_with(|file| file["categories"][0]["name"] = json!(name));
        let Err(Error::NoExamples { report, .. }) = dataset else {
            panic!("no example")
        };
        // An image whose only object is faulty is no background image.
        let expected = [
            format!("_annotations.coco.json: annotation 1: {expected}"),
            "_annotations.coco.json: image 1: found no object that can be used, expected at least one, \
             or an image without annotations"
                .to_owned(),
        ];
        assert_eq!(folder.findings(&report), expected);
    }
}

#[test]
fn an_image_with_faulty_labels_only_is_left_out() {
    let folder = yolo_with(b"5 0.5 0.5 1 1\n");
    let dataset = folder
        .open(&DatasetOptions::default())
        .expect("good labels");
    assert_eq!(dataset.len(), 1);
    assert_eq!(
        folder.findings(dataset.report()),
        [
            "labels/b.txt:1: found the class 5, expected an index of the 2 names, from 0",
            "labels/b.txt: found no object that can be used, expected at least one, or an image \
             without annotations"
        ]
    );
}

#[test]
fn an_object_twice_is_a_warning() {
    let folder = yolo_with(b"0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n0 0.5 0.5 1 1\n");
    let dataset = folder
        .open(&DatasetOptions::default())
        .expect("good labels");
    assert_eq!(
        folder.findings(dataset.report()),
        [
            "labels/b.txt:3: warning: found a second object of \"cat\" with the same box, expected \
             different objects"
        ]
    );
}

#[test]
fn a_box_partly_outside_is_clipped_with_a_warning() {
    let (folder, dataset) =
        coco_with(|file| file["annotations"][0]["bbox"] = json!([-20, 0, 300, 50]));
    let dataset = dataset.expect("an example");
    assert_eq!(
        texts(&dataset),
        [("<OD>", "dog<loc_0><loc_0><loc_999><loc_500>")]
    );
    assert_eq!(
        folder.findings(dataset.report()),
        [
            "_annotations.coco.json: annotation 1: warning: found a box partly outside the image (x1 \
             -20.0, y1 0.0, x2 280.0, y2 50.0), expected a box with an area within the image of 200x100 \
             pixels"
        ]
    );
}

#[test]
fn a_mask_is_no_polygon() {
    let mut file = Value::Null;
    let (folder, _) = coco_with(|value| {
        value["annotations"][0]["segmentation"] = json!({"size": [100, 200], "counts": [20000]});
        file = value.clone();
    });
    let options = DatasetOptions::default().task(Task::RegionToSegmentation);
    let Err(Error::NoExamples { report, .. }) = folder.open(&options) else {
        panic!("no example")
    };
    assert_eq!(
        folder.findings(&report),
        [
            "_annotations.coco.json: annotation 1: found a run-length encoded mask, expected polygons \
             for a segmentation"
        ]
    );
}

#[test]
fn faulty_coco_files_are_errors() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "EOF while parsing a value at line 1 column 0"),
        (b"{", "EOF while parsing an object at line 1 column 1"),
        (
            b"{\"images\": []}",
            "missing field `annotations` at line 1 column 14",
        ),
        (
            b"{\"images\": 3}",
            "invalid type: integer `3`, expected a sequence at line 1 column 12",
        ),
        (
            b"{\"images\": [{\"id\": NaN}]}",
            "expected value at line 1 column 20",
        ),
        (
            b"{\"images\": [{\"id\": 1e999}]}",
            "number out of range at line 1 column 24",
        ),
        (b"\xff\xfe", "expected value at line 1 column 1"),
    ];
    for (contents, expected) in cases {
        let folder = Folder::new().file("_annotations.coco.json", contents);
        let error = folder.open(&DatasetOptions::default()).unwrap_err();
        let message = format!(
            "_annotations.coco.json: found {expected}, expected a JSON object with the lists `images` \
             and `annotations`"
        );
        assert_eq!(folder.relative(&error), message);
    }
}

fn yolo_with(labels: &[u8]) -> Folder {
    Folder::new()
        .file("data.yaml", "train: images\nnames: [cat, dog]\n")
        .image("images/a.png", 2, 2)
        .file("labels/a.txt", "0 0.5 0.5 1 1")
        .image("images/b.png", 2, 2)
        .file("labels/b.txt", labels)
}

#[test]
fn faulty_labels_of_yolo_are_reported() {
    let form = "expected `class cx cy width height` or `class x1 y1 x2 y2 x3 y3 ..`";
    let fractions = "expected a box with an area, in fractions of the image's size from 0 to 1";
    let index = "expected an index of the 2 names, from 0";
    let cases: [(&[u8], String); 13] = [
        (b"2 0.5 0.5 0.1 0.1", format!("found the class 2, {index}")),
        (
            b"-1 0.5 0.5 0.1 0.1",
            format!("found the class -1, {index}"),
        ),
        (
            b"0.5 0.5 0.5 0.1 0.1",
            format!("found the class 0.5, {index}"),
        ),
        (
            b"99999999999999999999 0.5 0.5 0.1 0.1",
            format!("found the class 99999999999999999999, {index}"),
        ),
        (b"cat 0.5 0.5 0.1 0.1", format!("found `cat`, {form}")),
        (b"0 0.5 nan 0.1 0.1", format!("found `nan`, {form}")),
        (b"0 0.5 1e999 0.1 0.1", format!("found `1e999`, {form}")),
        (
            b"0 0.5 0.5 0.1",
            format!("found 3 numbers after the class, {form}"),
        ),
        (
            b"0 0.5 0.5 0.1 0.1 0.9",
            format!("found 5 numbers after the class, {form}"),
        ),
        (b"0", format!("found 0 numbers after the class, {form}")),
        (
            b"0 320 240 10 10",
            format!(
                "found a box outside the image (x1 315.0, y1 235.0, x2 325.0, y2 245.0), {fractions}"
            ),
        ),
        (
            b"0 0.5 0.5 0 0.1",
            format!("found a box without area (x1 0.5, y1 0.45, x2 0.5, y2 0.55), {fractions}"),
        ),
        (
            b"0 0.5 0.5 0.1 \xff",
            "found a byte that is not UTF-8 after 14 bytes, expected UTF-8".to_owned(),
        ),
    ];
    for (line, expected) in cases {
        let folder = yolo_with(&[b"1 0.5 0.5 1 1\n", line].concat());
        let dataset = folder
            .open(&DatasetOptions::default())
            .expect("good labels");
        assert_eq!(
            texts(&dataset)[1],
            ("<OD>", "dog<loc_0><loc_0><loc_999><loc_999>"),
            "{expected}"
        );
        let expected = format!("labels/b.txt:2: {expected}");
        assert_eq!(folder.findings(dataset.report()), [expected]);
    }
}

#[test]
fn faulty_yolo_data_sets_are_errors() {
    let names = "expected `names`: a list of names, or a mapping of the indices 0, 1, .. to names";
    let train = "expected `train`: a folder of images or a file of paths, or a list of them";
    let cases = [
        ("train: images\n", format!("found no `names`, {names}")),
        ("", format!("found no `names`, {names}")),
        ("names: cat\n", format!("found `cat` in `names`, {names}")),
        (
            "names: [[cat]]\n",
            format!("found a list in `names`, {names}"),
        ),
        (
            "names: {0: cat, 2: dog}\n",
            format!("found the key `2` in `names`, {names}"),
        ),
        (
            "names: {0: cat, 0: dog}\n",
            format!("found an index twice in `names`, {names}"),
        ),
        (
            "names: [cat]\nnc: 2\n",
            "found `nc`: 2, expected 1, the number of `names`".to_owned(),
        ),
        ("names: [cat, dog]\n", format!("found no `train`, {train}")),
        (
            "names: [cat, dog]\ntrain: {a: b}\n",
            format!("found a mapping at `train`, {train}"),
        ),
        (
            "a: &a [x]\nnames: *a\n",
            "found an alias in line 2, expected YOLO's data.yaml with plain lists and mappings"
                .to_owned(),
        ),
    ];
    for (yaml, expected) in cases {
        let folder = yolo_with(b"").file("data.yaml", yaml);
        let error = folder.open(&DatasetOptions::default()).unwrap_err();
        assert_eq!(folder.relative(&error), format!("data.yaml: {expected}"));
    }
    let folder = yolo_with(b"").file("data.yaml", "names: [cat]\ntrain: x/y\n");
    let error = folder.open(&DatasetOptions::default()).unwrap_err();
    let expected = format!("data.yaml: found `train`: x/y, which is not at x/y, {train}");
    assert_eq!(folder.relative(&error), expected);
    // Without a label file, all images would be background images.
    let folder = Folder::new()
        .file("data.yaml", "train: images\nnames: [cat]\n")
        .image("images/a.png", 2, 2)
        .file("label/a.txt", "0 0.5 0.5 1 1");
    let error = folder.open(&DatasetOptions::default()).unwrap_err();
    assert_eq!(
        folder.relative(&error),
        "data.yaml: found 1 images, none with a label file, expected label files such as labels/a.txt"
    );
}

#[test]
fn labels_and_texts_without_image_are_warnings() {
    let folder = yolo_with(b"").file("labels/c.txt", "");
    let dataset = folder.open(&DatasetOptions::default()).expect("two images");
    let expected = "warning: found no image of the same name, expected an image";
    assert_eq!(
        folder.findings(dataset.report()),
        [format!("labels/c.txt: {expected}")]
    );

    let folder = Folder::new()
        .image("a.png", 2, 2)
        .file("a.txt", "a cat")
        .image("b.png", 2, 2)
        .image("c.png", 2, 2)
        .file("c.txt", b"\xff")
        .image("d.png", 2, 2)
        .file("d.txt", " ")
        .file("readme.txt", "x");
    let dataset = folder
        .open(&DatasetOptions::default().task(Task::Caption))
        .expect("one text");
    assert_eq!(
        folder.findings(dataset.report()),
        [
            "b.txt: found no file, expected a text file of the image's name".to_owned(),
            "c.txt: found a byte that is not UTF-8 after 0 bytes, expected UTF-8".to_owned(),
            format!("readme.txt: {expected}"),
            "d.txt: found an empty suffix, expected a text".to_owned(),
        ]
    );
}

#[test]
fn folders_files_and_loops() {
    let folder = Folder::new();
    let options = DatasetOptions::default();
    let missing = Dataset::open(folder.join("missing"), &options).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    assert!(matches!(folder.open(&options), Err(Error::Layout { .. })));
    for format in Format::ALL {
        let error = folder.open(&options.clone().format(format)).unwrap_err();
        let expected = format!("found no data set, expected a data set of the format {format}");
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
    let folder = folder.file("empty/annotations.jsonl", "").file("x.csv", "");
    let error = Dataset::open(folder.join("empty"), &options).unwrap_err();
    assert_eq!(
        folder.relative(&error),
        format!(
            "{}: found no usable example, expected at least one",
            "empty"
        )
    );
    let error = Dataset::open(folder.join("x.csv"), &options).unwrap_err();
    assert!(matches!(error, Error::Layout { .. }), "{error}");
    // A folder in place of a file.
    for name in ["annotations.jsonl", "_annotations.coco.json", "data.yaml"] {
        let folder = Folder::new().file(&format!("{name}/x"), "");
        let error = folder.open(&options).unwrap_err();
        assert_eq!(
            folder.relative(&error),
            format!("{name}: found a folder, expected a file")
        );
    }
}

#[cfg(unix)]
#[test]
fn loops_of_symbolic_links_and_special_files_do_not_hang() {
    use std::os::unix::fs::symlink;
    let options = DatasetOptions::default().task(Task::Caption);
    let folder = Folder::new().image("a.png", 2, 2).file("a.txt", "a cat");
    std::fs::create_dir(folder.join("sub")).expect("a folder");
    symlink(folder.path(), folder.join("sub/up")).expect("a link");
    symlink(folder.join("self.png"), folder.join("self.png")).expect("a link");
    let dataset = folder.open(&options).expect("one text");
    assert_eq!(dataset.len(), 1);
    assert_eq!(kinds(&dataset.report().findings), [FindingKind::File; 2]);
    let messages = folder.findings(dataset.report()).join("\n");
    assert!(
        messages.contains("sub/up: found a loop of symbolic links to "),
        "{messages}"
    );

    symlink(folder.join("loop"), folder.join("loop")).expect("a link");
    let error = Dataset::open(folder.join("loop"), &options).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");

    // Reading a pipe without writer would block.
    let status = std::process::Command::new("mkfifo")
        .arg(folder.join("b.png"))
        .status();
    assert!(status.expect("mkfifo").success());
    let line = r#"{"image": "b.png", "prefix": "x", "suffix": "y"}"#;
    let folder = folder.file("annotations.jsonl", format!("{GOOD}\n{line}"));
    let dataset = folder.open(&DatasetOptions::default()).expect("one line");
    assert_eq!(
        folder.findings(dataset.report()),
        ["annotations.jsonl:2: found a special file at b.png, expected an image"]
    );
}

#[test]
fn reports_have_a_json_form() {
    let (_folder, dataset) = coco_with(|file| {
        file["annotations"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"id": 3}));
    });
    let report = dataset.expect("an example").report().clone();
    let json = serde_json::to_string(&report).expect("a report has a JSON form");
    assert_eq!(
        serde_json::from_str::<Report>(&json).expect("its own form"),
        report
    );
    let finding: &Finding = &report.findings[0];
    assert_eq!(
        serde_json::to_value(finding.kind).expect("a name"),
        json!("malformed")
    );
    let lines: Vec<String> = report
        .to_string()
        .lines()
        .skip(1)
        .map(str::to_owned)
        .collect();
    assert_eq!(
        lines,
        [
            "examples: 1, images: 1, examples without objects: 0",
            "task <OD>: 1 examples",
            "class dog: 1 objects in 1 examples",
            "errors: 1, warnings: 0"
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any bytes in any file are read or reported.
    #[test]
    fn any_file_is_read_or_an_error(
        name in proptest::sample::select(&["annotations.jsonl", "_annotations.coco.json", "data.yaml", "labels/a.txt", "a.txt"][..]),
        contents in prop_oneof![
            vec(any::<u8>(), 0..200),
            "[\\[\\]{}:,\"a-c0-9 \n&*?|>-]{0,80}".prop_map(String::into_bytes),
            vec(proptest::sample::select(&["{", "}", "[", "]", "\"image\"", "\"images\"", "\"annotations\"", ":", ",", "0", " 0.5", "\n", "names", "train", "<loc_1>"][..]), 0..30)
                .prop_map(|parts| parts.concat().into_bytes()),
        ],
    ) {
        let folder = Folder::new()
            .image("images/a.png", 2, 2)
            .image("a.png", 2, 2)
            .file(name, contents);
        let folder = if name.starts_with("labels") {
            folder.file("data.yaml", "train: images\nnames: [cat]\n")
        } else {
            folder
        };
        match folder.open(&DatasetOptions::default().prefix("<OD>")) {
            Ok(dataset) => prop_assert!(!dataset.is_empty()),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{}", error),
        }
    }

    /// Any texts are checked, counted and augmented.
    #[test]
    fn any_texts_are_checked_and_augmented(
        lines in vec((proptest::sample::select(&PREFIXES[..]), vec(fragment(), 0..12)), 1..20),
        seed: u64,
    ) {
        let lines = lines.into_iter().map(|(prefix, fragments)| {
            json!({"image": "a.png", "prefix": prefix, "suffix": fragments.concat()}).to_string()
        });
        let lines: Vec<String> = lines.collect();
        let folder = Folder::new()
            .image("a.png", 20, 10)
            .file("annotations.jsonl", lines.join("\n"));
        let Ok(dataset) = folder.open(&DatasetOptions::default()) else {
            return Ok(());
        };
        let options = AugmentOptions::default().flip_probability(0.5).crop_probability(0.5);
        for (index, example) in dataset.examples().iter().enumerate() {
            let image = example.open_image(&DecodeOptions::default()).expect("an image");
            let seed = seed.wrapping_add(index as u64);
            // Labels that cannot be written are errors.
            if let Ok((image, augmented)) = augment(image, example, &options, seed) {
                let objects = augmented.truth(image.size()).objects.len();
                prop_assert!(objects <= example.truth(image.size()).objects.len());
            }
        }
    }

    /// Annotations with any numbers are written so that the parser reads all of them, or reported.
    #[test]
    fn any_annotation_is_used_or_reported(
        boxes in vec([coordinate(), coordinate(), coordinate(), coordinate()], 1..4),
        ring in vec(coordinate(), 0..9),
        task in proptest::sample::select(&OBJECT_TASKS[..]),
        is_yolo: bool,
    ) {
        let options = DatasetOptions::default().task(task);
        let folder = if is_yolo {
            let line = |numbers: &[f64]| {
                let numbers = numbers.iter().map(|number| format!(" {}", number / 100.0));
                format!("0{}\n", numbers.collect::<String>())
            };
            let boxes = boxes.iter().map(|corners| line(corners)).collect::<String>();
            yolo_with((boxes + &line(&ring)).as_bytes())
        } else {
            let annotations = boxes.iter().map(|corners| {
                json!({"image_id": 1, "category_id": 1, "bbox": corners, "segmentation": [ring]})
            });
            let annotations: Vec<Value> = annotations.collect();
            coco_with(|file| file["annotations"] = json!(annotations)).0
        };
        let report = match folder.open(&options) {
            Ok(dataset) => {
                for example in dataset.examples() {
                    let size = ImageSize { width: 200, height: 100 };
                    let answer = ScoredText::unscored(&*example.suffix);
                    let kind = example.post_processing_type();
                    let coordinates = Coordinates::BinCenters;
                    let parsed = parse(&answer, kind, size, coordinates);
                    let instances = parsed.regions.chunk_by(|a, b| a.instance == b.instance).count();
                    prop_assert_eq!(instances, example.truth(size).objects.len());
                }
                dataset.report().clone()
            }
            Err(Error::NoExamples { report, .. }) => *report,
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert!(report.examples > 0 || report.count(Severity::Error) > 0);
    }
}

const OBJECT_TASKS: [Task; 8] = [
    Task::ObjectDetection,
    Task::DenseRegionCaption,
    Task::RegionProposal,
    Task::OpenVocabularyDetection,
    Task::ReferringExpressionSegmentation,
    Task::RegionToSegmentation,
    Task::RegionToCategory,
    Task::RegionToDescription,
];

fn coordinate() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => 0.0..100.0,
        4 => (0_u32..100).prop_map(f64::from),
        2 => -300.0..300.0,
        1 => any::<f64>().prop_filter("JSON has no other numbers", |number| number.is_finite()),
    ]
}

const PREFIXES: [&str; 9] = [
    "<OD>",
    "<REGION_PROPOSAL>",
    "<CAPTION_TO_PHRASE_GROUNDING>a car",
    "<OCR_WITH_REGION>",
    "<REFERRING_EXPRESSION_SEGMENTATION>a car",
    "<OPEN_VOCABULARY_DETECTION>a car",
    "<REGION_TO_CATEGORY><loc_1><loc_2><loc_300><loc_400>",
    "<CAPTION>",
    "a question",
];

/// Parts of texts that parsers search for, and misleading ones.
fn fragment() -> impl Strategy<Value = String> {
    let tags = [
        "<sep>", "<poly>", "</poly>", "<s>", "</s>", "<pad>", "<", "<loc_", "\n", " ", "car",
    ];
    prop_oneof![
        4 => (0_u32..1000).prop_map(|bin| format!("<loc_{bin}>")),
        6 => [0_u32..1000, 0_u32..1000, 0_u32..1000, 0_u32..1000]
            .prop_map(|bins| bins.map(|bin| format!("<loc_{bin}>")).concat()),
        3 => proptest::sample::select(tags.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}
