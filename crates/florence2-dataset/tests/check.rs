//! The check decodes every image and counts the tokens of every text.

mod common;

use std::ops::ControlFlow;

use common::Folder;
use florence2_dataset::{CheckOptions, Dataset, DatasetOptions, Report, Severity, check};
use florence2_processor::DecodeOptions;
use serde_json::json;

/// Words as tokens. A text with `?!` cannot be tokenized.
fn words(text: &str) -> Result<usize, String> {
    if text.contains("?!") {
        return Err("no such token".to_owned());
    }
    Ok(text.split_whitespace().count() + 2)
}

fn checked(dataset: &Dataset, options: &CheckOptions) -> (Report, Vec<(usize, usize)>) {
    let mut steps = Vec::new();
    let report = check(dataset, options, &words, &mut |done, all| {
        steps.push((done, all));
        ControlFlow::Continue(())
    });
    (report, steps)
}

fn line(image: &str, prefix: &str, suffix: &str) -> String {
    json!({"image": image, "prefix": prefix, "suffix": suffix}).to_string() + "\n"
}

#[test]
fn images_and_lengths_are_findings_per_line() {
    let lines = [
        line("a.png", "<CAPTION>", "a cat"),
        line("text.png", "<CAPTION>", "a cat"),
        line("cut.png", "<CAPTION>", "a cat"),
        line("a.png", "<CAPTION>", "a b c d e f g"),
        line("a.png", "one two three four five six", "a dog"),
        line("a.png", "<VQA>?!", "a bird"),
        line("text.png", "<OCR>", "?!"),
        line("large.png", "<CAPTION>", "a whale"),
        "{}\n".to_owned(),
    ];
    let folder = Folder::new()
        .file("annotations.jsonl", lines.concat())
        .image("a.png", 4, 4)
        .image("whole.png", 40, 40)
        .image("large.png", 50, 50)
        .file("text.png", "no image");
    let whole = std::fs::read(folder.join("whole.png")).expect("an image");
    let folder = folder.file("cut.png", &whole[..whole.len() / 2]);
    let mut dataset = folder.open(&DatasetOptions::default()).expect("8 lines");
    let options = CheckOptions::default()
        .max_suffix_tokens(8)
        .max_prompt_tokens(7)
        .decode(DecodeOptions::default().max_pixels(2000));
    let (report, steps) = checked(&dataset, &options);
    let prompt = "What does the image describe?";
    assert_eq!(words(prompt), Ok(7));
    let found = folder.findings(&report);
    let expected = [
        "annotations.jsonl:9: found nothing at `image`, expected a string",
        "annotations.jsonl:2: found an image that cannot be decoded (text.png: not a readable image: \
         found an unknown format, expected one of JPEG, PNG, WebP, BMP, GIF, TIFF), expected a \
         readable image",
        "annotations.jsonl:3: found an image that cannot be decoded (cut.png: not a readable image: ",
        "annotations.jsonl:4: found a suffix of 9 tokens, expected at most 8, the model's positions",
        "annotations.jsonl:5: found a prompt of 8 tokens, expected at most 7, the model's positions",
        "annotations.jsonl:6: found a prompt that cannot be tokenized (no such token), expected a text \
         that the tokenizer accepts",
        "annotations.jsonl:7: found an image that cannot be decoded (text.png",
        "annotations.jsonl:7: found a suffix that cannot be tokenized (no such token), expected a text \
         that the tokenizer accepts",
        "annotations.jsonl:7: found a prompt of 9 tokens, expected at most 7, the model's positions",
        "annotations.jsonl:8: found an image that cannot be decoded (large.png: 50x50 pixels, expected \
         at most 2000 in all (max_pixels))",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
    assert_eq!(steps, [(4, 4)]);
    assert_eq!(report.checked_examples, 8);
    let longest = report.longest_suffix.as_ref().expect("suffixes");
    assert_eq!(longest.tokens, 9);
    assert_eq!(folder.relative(&longest.source), "annotations.jsonl:4");
    let text = report.to_string();
    assert!(text.ends_with("\nerrors: 10, warnings: 0"), "{text}");

    assert_eq!(dataset.retain_valid(&report), 7);
    assert_eq!(dataset.len(), 1);
    assert_eq!(dataset.report().examples, 1);
    let (report, _) = checked(&dataset, &options);
    // The reader's finding remains.
    assert_eq!(report.count(Severity::Error), 1);
}

#[test]
fn a_file_that_vanishes_is_a_finding() {
    let folder = Folder::new()
        .file("annotations.jsonl", line("a.png", "<CAPTION>", "a cat"))
        .image("a.png", 4, 4);
    let dataset = folder.open(&DatasetOptions::default()).expect("a line");
    std::fs::remove_file(folder.join("a.png")).expect("an image");
    let (report, _) = checked(&dataset, &CheckOptions::default());
    let found = folder.findings(&report);
    let expected =
        "annotations.jsonl:1: found an image that cannot be decoded (a.png: cannot be read: ";
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[test]
fn the_annotated_size_is_that_of_the_image() {
    let coco = json!({
        "images": [
            {"id": 1, "file_name": "a.png", "width": 200, "height": 100},
            {"id": 2, "file_name": "b.png", "width": 200, "height": 100},
        ],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]}],
    });
    let folder = Folder::new()
        .file("_annotations.coco.json", coco.to_string())
        .image("a.png", 100, 200)
        .image("b.png", 200, 100);
    let mut dataset = folder.open(&DatasetOptions::default()).expect("two images");
    let (report, _) = checked(&dataset, &CheckOptions::default());
    assert_eq!(
        folder.findings(&report),
        [
            "_annotations.coco.json: image 1: found an image of 100x200 pixels in its upright \
             orientation, expected 200x100, the annotated size"
        ]
    );
    assert_eq!(dataset.retain_valid(&report), 1);
    assert_eq!(dataset.report().classes.len(), 0);
}

#[test]
fn the_progress_callback_stops_the_check() {
    let mut folder = Folder::new();
    let mut lines = String::new();
    for index in 0..100 {
        let name = format!("{index}.png");
        folder = folder.image(&name, 2, 2);
        lines += &line(&name, "<CAPTION>", "a cat");
    }
    let folder = folder.file("annotations.jsonl", lines);
    let dataset = folder.open(&DatasetOptions::default()).expect("100 lines");
    let (report, steps) = checked(&dataset, &CheckOptions::default());
    assert_eq!(steps, [(32, 100), (64, 100), (96, 100), (100, 100)]);
    assert_eq!(report.checked_examples, 100);
    let report = check(&dataset, &CheckOptions::default(), &words, &mut |_, _| {
        ControlFlow::Break(())
    });
    assert_eq!((report.checked_examples, report.examples), (32, 100));
}
