//! Augmented examples: pixels and regions move together.

mod common;

use common::Folder;
use florence2_dataset::{
    AugmentOptions, DatasetOptions, Error, Example, Outline, Source, augment, can_crop, can_flip,
};
use florence2_postprocess::{BoundingBox, ImageSize};
use florence2_processor::Image;
use proptest::prelude::*;

fn example(prefix: &str, suffix: &str) -> Example {
    Example::new("a.png", prefix, suffix, Source::default())
}

/// An image whose red and green channels are the column and the row.
fn image(width: u32, height: u32) -> Image {
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 7]));
    Image::from_rgb(width, height, pixels.collect()).expect("a size")
}

/// The column and row of the source at a pixel.
fn source_of(image: &Image, x: u32, y: u32) -> [f64; 2] {
    let index = (y * image.width() + x) as usize * 3;
    let pixel = &image.as_rgb()[index..index + 3];
    [f64::from(pixel[0]), f64::from(pixel[1])]
}

fn flip() -> AugmentOptions {
    AugmentOptions::default().flip_probability(1.0)
}

fn crop() -> AugmentOptions {
    AugmentOptions::default().crop_probability(1.0)
}

#[test]
fn flipped_texts() {
    let cases = [
        (
            "<OD>",
            "car<loc_10><loc_20><loc_30><loc_40>tree<loc_0><loc_0><loc_999><loc_9><loc_5><loc_5><loc_6><loc_6>",
            "<OD>",
            "car<loc_969><loc_20><loc_989><loc_40>tree<loc_0><loc_0><loc_999><loc_9><loc_993><loc_5><loc_994><loc_6>",
        ),
        // The style of the labels remains.
        (
            "<OD>",
            "car<loc_10><loc_20><loc_30><loc_40>car<loc_0><loc_0><loc_999><loc_9>",
            "<OD>",
            "car<loc_969><loc_20><loc_989><loc_40>car<loc_0><loc_0><loc_999><loc_9>",
        ),
        (
            "<REFERRING_EXPRESSION_SEGMENTATION>a car",
            "<loc_10><loc_20><loc_30><loc_20><loc_30><loc_40>",
            "<REFERRING_EXPRESSION_SEGMENTATION>a car",
            "<loc_969><loc_40><loc_969><loc_20><loc_989><loc_20>",
        ),
        (
            "<REGION_TO_CATEGORY><loc_10><loc_20><loc_30><loc_40>",
            "car<loc_10><loc_20><loc_30><loc_40>",
            "<REGION_TO_CATEGORY><loc_969><loc_20><loc_989><loc_40>",
            "car<loc_969><loc_20><loc_989><loc_40>",
        ),
        (
            "<REGION_TO_DESCRIPTION><loc_10><loc_20><loc_30><loc_40>",
            "a car",
            "<REGION_TO_DESCRIPTION><loc_969><loc_20><loc_989><loc_40>",
            "a car",
        ),
        // The parser drops this phrase, and the augmentation keeps it.
        (
            "<CAPTION_TO_PHRASE_GROUNDING>the image",
            "the image<loc_10><loc_20><loc_30><loc_40>",
            "<CAPTION_TO_PHRASE_GROUNDING>the image",
            "the image<loc_969><loc_20><loc_989><loc_40>",
        ),
        ("<CAPTION>", "a bright car", "<CAPTION>", "a bright car"),
    ];
    for (prefix, suffix, expected_prefix, expected_suffix) in cases {
        let original = image(50, 30);
        let (flipped, found) =
            augment(original.clone(), &example(prefix, suffix), &flip(), 0).expect("an example");
        assert_eq!(
            (found.prefix.as_str(), found.suffix.as_str()),
            (expected_prefix, expected_suffix)
        );
        assert_eq!(source_of(&flipped, 0, 3), [49.0, 3.0]);
        assert_eq!(source_of(&flipped, 49, 29), [0.0, 29.0]);
        let (twice, again) = augment(flipped, &found, &flip(), 1).expect("an example");
        assert_eq!(twice, original);
        if !prefix.starts_with("<REFERRING") {
            assert_eq!(
                (again.prefix.as_str(), again.suffix.as_str()),
                (prefix, suffix)
            );
        }
    }
}

#[test]
fn examples_that_are_not_changed() {
    let quad = "a<loc_1><loc_1><loc_9><loc_1><loc_9><loc_9><loc_1><loc_9>";
    let boxed = "<loc_1><loc_1><loc_9><loc_9>";
    let cases = [
        ("<OD>".to_owned(), format!("left shoe{boxed}"), false, true),
        ("<OD>".to_owned(), format!("shoe{boxed}"), true, true),
        (
            "<CAPTION_TO_PHRASE_GROUNDING>dog on the Right".to_owned(),
            format!("dog{boxed}"),
            false,
            true,
        ),
        ("<CAPTION>".to_owned(), "a dog".to_owned(), true, false),
        ("<OCR>".to_owned(), "a".to_owned(), false, false),
        ("<OCR_WITH_REGION>".to_owned(), quad.to_owned(), false, true),
        (
            format!("<REGION_TO_OCR>{boxed}"),
            "a".to_owned(),
            false,
            false,
        ),
        ("<VQA>what?".to_owned(), "a".to_owned(), false, false),
        ("what is it".to_owned(), "a".to_owned(), false, false),
    ];
    for (prefix, suffix, flips, crops) in cases {
        let example = example(&prefix, &suffix);
        assert_eq!(
            (can_flip(&example), can_crop(&example)),
            (flips, crops),
            "{prefix}"
        );
        let options = flip().crop_probability(f64::from(u8::from(!crops)));
        let (found, augmented) = augment(image(9, 9), &example, &options, 3).expect("an example");
        assert_eq!(found != image(9, 9), flips, "{prefix}");
        assert_eq!(
            augmented.suffix != suffix,
            flips && suffix.contains("<loc"),
            "{prefix}"
        );
    }
    // Nothing is changed by default, and a prefix without its region is left alone.
    for (prefix, options) in [
        ("<OD>", AugmentOptions::default()),
        ("<REGION_TO_CATEGORY>x", flip().crop_probability(1.0)),
    ] {
        let example = example(prefix, &format!("car{boxed}"));
        let (found, same) = augment(image(9, 9), &example, &options, 3).expect("an example");
        assert_eq!((found, same), (image(9, 9), example));
    }
}

#[test]
fn options_out_of_range_are_errors() {
    let cases = [
        (
            AugmentOptions::default().flip_probability(1.5),
            "flip_probability: found 1.5, expected a number from 0 to 1",
        ),
        (
            AugmentOptions::default().crop_probability(f64::NAN),
            "crop_probability: found NaN, expected a number from 0 to 1",
        ),
        (
            AugmentOptions::default().min_crop_side(0.0),
            "min_crop_side: found 0, expected a share above 0 and at most 1",
        ),
        (
            AugmentOptions::default().min_visible_share(-1.0),
            "min_visible_share: found -1, expected a number from 0 to 1",
        ),
    ];
    for (options, expected) in cases {
        let error = augment(image(2, 2), &example("<OD>", ""), &options, 0).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let empty_label = example("<OD>", " <loc_0><loc_0><loc_9><loc_9>");
    let error = augment(image(2, 2), &empty_label, &flip(), 0).unwrap_err();
    assert!(matches!(error, Error::Augment { .. }), "{error}");
}

/// The probabilities are met, and the seed determines the result.
#[test]
fn seeds() {
    let options = AugmentOptions::default()
        .flip_probability(0.3)
        .crop_probability(0.5);
    let example = example("<OD>", "car<loc_10><loc_20><loc_600><loc_700>");
    let result = |seed| augment(image(60, 40), &example, &options, seed).expect("an example");
    let (mut flips, mut crops) = (0, 0);
    for seed in 0..2000 {
        let (image, augmented) = result(seed);
        if seed < 50 {
            assert_eq!(result(seed), (image.clone(), augmented.clone()));
        }
        let [first, _] = source_of(&image, 0, 0);
        let [second, _] = source_of(&image, 1, 0);
        flips += u32::from(second < first);
        crops += u32::from(image.width() < 60 || image.height() < 40);
    }
    assert!((500..700).contains(&flips), "{flips}");
    assert!((850..1050).contains(&crops), "{crops}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The corners of boxes that remain show the pixels of the original corners, or lie on the border.
    #[test]
    fn boxes_move_with_their_pixels(
        corners in proptest::collection::vec((0_u32..90, 0_u32..90, 4_u32..60, 4_u32..60), 1..5),
        seed: u64,
        is_flipped: bool,
    ) {
        // Bins of 1000 over 100 pixels.
        let boxes: Vec<[u32; 4]> = corners
            .iter()
            .map(|(x, y, w, h)| [*x, *y, (x + w).min(99), (y + h).min(99)].map(|pixel| 10 * pixel + 5))
            .collect();
        let tokens = boxes.iter().enumerate().map(|(index, [x1, y1, x2, y2])| {
            format!("object {index}<loc_{x1}><loc_{y1}><loc_{x2}><loc_{y2}>")
        });
        let original = example("<OD>", &tokens.collect::<String>());
        let share = 0.4;
        let options = AugmentOptions::default()
            .crop_probability(1.0)
            .min_crop_side(0.3)
            .min_visible_share(share)
            .flip_probability(f64::from(u8::from(is_flipped)));
        let (cropped, augmented) = augment(image(100, 100), &original, &options, seed)
            .expect("an example");
        let size = cropped.size();
        let full = ImageSize { width: 100, height: 100 };
        let before = original.truth(full).objects;
        let after = augmented.truth(size).objects;
        prop_assert!(!after.is_empty());
        let at = |x: u32, y: u32| source_of(&cropped, x, y);
        let corner = at(0, 0);
        let opposite = at(size.width - 1, size.height - 1);
        let window = BoundingBox {
            x1: corner[0].min(opposite[0]),
            y1: corner[1],
            x2: corner[0].max(opposite[0]) + 1.0,
            y2: opposite[1] + 1.0,
        };
        for object in &before {
            let b = object.bounding_box;
            let clipped = BoundingBox {
                x1: b.x1.max(window.x1), y1: b.y1.max(window.y1),
                x2: b.x2.min(window.x2), y2: b.y2.min(window.y2),
            };
            let area = (clipped.x2 - clipped.x1).max(0.0) * (clipped.y2 - clipped.y1).max(0.0);
            let visible = area / ((b.x2 - b.x1) * (b.y2 - b.y1));
            let found = after.iter().find(|found| found.label == object.label);
            if (visible - share).abs() > 1e-9 {
                prop_assert_eq!(found.is_some(), visible > share, "{} of {:?}", visible, b);
            }
            let Some(found) = found else { continue };
            // Half a bin of the new size, in pixels.
            let tolerance = 0.051;
            let f = found.bounding_box;
            let (x1, x2) = if is_flipped {
                (window.x2 - f.x2, window.x2 - f.x1)
            } else {
                (window.x1 + f.x1, window.x1 + f.x2)
            };
            for (found, expected) in [
                (x1, clipped.x1), (x2, clipped.x2),
                (window.y1 + f.y1, clipped.y1), (window.y1 + f.y2, clipped.y2),
            ] {
                prop_assert!((found - expected).abs() <= tolerance, "{} {}", found, expected);
            }
            prop_assert!(f.x2 < f64::from(size.width));
        }
    }

    /// Polygons keep their area within the window, and instances their rings.
    #[test]
    fn polygons_are_clipped(x in 0_u32..60, y in 0_u32..60, seed: u64) {
        let ring = |x: u32, y: u32, s: u32| {
            let points = [[x, y], [x + s, y], [x + s, y + s], [x, y + s]];
            points.map(|[x, y]| format!("<loc_{}><loc_{}>", 10 * x + 5, 10 * y + 5)).concat()
        };
        let suffix = format!(
            "<poly>{}<sep>{}</poly><poly>{}</poly>", ring(x, y, 30), ring(x + 5, y + 5, 10), ring(90 - x, y, 8),
        );
        let original = example("<REFERRING_EXPRESSION_SEGMENTATION>a car", &suffix);
        let (cropped, augmented) = augment(image(100, 100), &original, &crop(), seed).expect("an example");
        let truth = augmented.truth(cropped.size());
        // The prefix names the objects, so that all of them remain.
        prop_assert_eq!(truth.objects.len(), 2);
        for object in &truth.objects {
            let Outline::Polygons(rings) = &object.outline else { panic!("polygons") };
            let points = rings.iter().flatten();
            for [x, y] in points {
                prop_assert!((0.0..=f64::from(cropped.width())).contains(x));
                prop_assert!((0.0..=f64::from(cropped.height())).contains(y));
            }
        }
        let Outline::Polygons(rings) = &truth.objects[0].outline else { panic!("polygons") };
        let [left, top] = source_of(&cropped, 0, 0);
        let first = rings[0].iter().map(|[x, y]| [x + left, y + top]);
        let expected_left = (f64::from(x) + 0.55).max(left);
        let found_left = first.map(|[x, _]| x).fold(f64::INFINITY, f64::min);
        prop_assert!((found_left - expected_left).abs() < 0.051, "{} {}", found_left, expected_left);
    }

    /// Text lines stay whole, or disappear whole.
    #[test]
    fn text_lines_are_not_cut(x in 0_u32..70, y in 0_u32..90, seed: u64) {
        let line = |text: &str, x: u32, y: u32| {
            let points = [[x, y], [x + 20, y], [x + 20, y + 5], [x, y + 5]];
            let points = points.map(|[x, y]| format!("<loc_{}><loc_{}>", 10 * x + 5, 10 * y + 5));
            format!("{text}{}", points.concat())
        };
        let suffix = line("one", x, y) + &line("two", 40, 40);
        let original = example("<OCR_WITH_REGION>", &suffix);
        let (cropped, augmented) = augment(image(100, 100), &original, &crop(), seed).expect("an example");
        let objects = augmented.truth(cropped.size()).objects;
        prop_assert!(!objects.is_empty());
        for object in objects {
            let BoundingBox { x1, y1, x2, y2 } = object.bounding_box;
            prop_assert!((x2 - x1 - 20.0).abs() < 0.11 && (y2 - y1 - 5.0).abs() < 0.11);
        }
    }
}

/// Examples of every reader can be augmented.
#[test]
fn annotated_examples_become_those_of_their_suffix() {
    let folder = Folder::new()
        .file("data.yaml", "train: images\nnames: [cat]\n")
        .image("images/a.png", 100, 100)
        .file("labels/a.txt", "0 0.25 0.5 0.3 0.2");
    let dataset = folder.open(&DatasetOptions::default()).expect("an image");
    let example = &dataset.examples()[0];
    let image = example
        .open_image(&florence2_processor::DecodeOptions::default())
        .expect("an image");
    let (image, flipped) = augment(image, example, &flip(), 0).expect("an example");
    let truth = flipped.truth(image.size());
    let found = <[f64; 4]>::from(truth.objects[0].bounding_box);
    for (found, expected) in found.iter().zip([60.0, 40.0, 90.0, 60.0]) {
        assert!((found - expected).abs() <= 0.1, "{found} {expected}");
    }
    assert_eq!(flipped.source, example.source);
}
