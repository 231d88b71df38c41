//! Written answers parse to the same regions, and are written again as the same text.

use florence2_postprocess::{
    Coordinates, ImageSize, LabelStyle, PostProcessingType, PostProcessorConfig, Quantizer, Region,
    ScoredText, Shape, TaskResult, WriteError, WriteOptions, parse, parse_with, write,
    write_regions, write_text, write_with,
};
use proptest::collection::vec;
use proptest::prelude::*;

const TYPES: [PostProcessingType; 7] = [
    PostProcessingType::PureText,
    PostProcessingType::DescriptionWithBboxes,
    PostProcessingType::Bboxes,
    PostProcessingType::PhraseGrounding,
    PostProcessingType::Ocr,
    PostProcessingType::Polygons,
    PostProcessingType::DescriptionWithBboxesOrPolygons,
];

const SIZE: ImageSize = ImageSize {
    width: 640,
    height: 480,
};

fn boxed(label: &str, corners: [f64; 4]) -> Region {
    Region::new(Shape::Box(corners.into()), label, 0)
}

fn ring(label: &str, instance: usize, points: &[[f64; 2]]) -> Region {
    Region::new(Shape::Polygon(points.to_vec()), label, instance)
}

fn result(post_processing_type: PostProcessingType, regions: Vec<Region>) -> TaskResult {
    let mut result = TaskResult::new(post_processing_type, Coordinates::BinCenters);
    result.regions = regions;
    result
}

/// White space in Python's sense, as the parser trims it.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

/// The regions with trimmed labels, the centres of their bins, and instances counted from 0.
fn centred(regions: &[Region], image_size: ImageSize) -> Vec<Region> {
    let quantizer = Quantizer {
        image_size,
        coordinates: Coordinates::BinCenters,
    };
    let centre = |point: [f64; 2]| quantizer.dequantize(quantizer.quantize(point));
    let mut centred: Vec<Region> = Vec::new();
    for (index, region) in regions.iter().enumerate() {
        let shape = match &region.shape {
            Shape::Box(corners) => {
                let ([x1, y1], [x2, y2]) = (
                    centre([corners.x1, corners.y1]),
                    centre([corners.x2, corners.y2]),
                );
                Shape::Box([x1, y1, x2, y2].into())
            }
            Shape::Quad(corners) => Shape::Quad(corners.map(centre)),
            Shape::Polygon(ring) => Shape::Polygon(ring.iter().copied().map(centre).collect()),
        };
        let is_ring = matches!(shape, Shape::Polygon(_));
        let instance = match centred.last() {
            Some(last) if is_ring && regions[index - 1].instance == region.instance => {
                last.instance
            }
            Some(last) => last.instance + 1,
            None => 0,
        };
        centred.push(Region::new(shape, trimmed(&region.label), instance));
    }
    centred
}

fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]{1,2}( [a-c]{1,2})?",
        2 => "[ \u{1f}]?[a-zé中>&/.,'\"-]{1,9} ?",
        1 => any::<String>(),
        2 => vec(
            proptest::sample::select(
                &["<", "s>", "<s>", "</s>", "<loc_5>", "<loc_", "<sep>", "<poly>", "\n", "a", " ", "it", ""][..],
            ),
            0..4,
        )
        .prop_map(|parts| parts.concat()),
    ]
}

fn coordinate() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -10.0..700.0,
        2 => (0_u32..700).prop_map(f64::from),
        1 => any::<f64>(),
    ]
}

fn point() -> impl Strategy<Value = [f64; 2]> {
    [coordinate(), coordinate()]
}

fn shape(post_processing_type: PostProcessingType) -> BoxedStrategy<Shape> {
    let boxes = [coordinate(), coordinate(), coordinate(), coordinate()]
        .prop_map(|corners| Shape::Box(corners.into()));
    let quads = [point(), point(), point(), point()].prop_map(Shape::Quad);
    let polygons = vec(point(), 0..7).prop_map(Shape::Polygon);
    let weights = match post_processing_type {
        PostProcessingType::Ocr => (1, 40, 1),
        PostProcessingType::Polygons => (1, 1, 40),
        PostProcessingType::DescriptionWithBboxesOrPolygons => (5, 1, 40),
        _ => (40, 1, 1),
    };
    prop_oneof![weights.0 => boxes, weights.1 => quads, weights.2 => polygons].boxed()
}

fn regions(post_processing_type: PostProcessingType) -> BoxedStrategy<Vec<Region>> {
    let label = match post_processing_type {
        PostProcessingType::Bboxes | PostProcessingType::Polygons => {
            prop_oneof![20 => Just(String::new()), 1 => label()].boxed()
        }
        PostProcessingType::PureText => prop_oneof![1 => Just(String::new()), 2 => label()].boxed(),
        _ => label().boxed(),
    };
    let region = (shape(post_processing_type), label, 0_usize..3)
        .prop_map(|(shape, label, instance)| Region::new(shape, label, instance));
    vec(region, 0..6).boxed()
}

fn answer() -> impl Strategy<Value = (PostProcessingType, Vec<Region>)> {
    proptest::sample::select(&TYPES[..])
        .prop_flat_map(|kind| regions(kind).prop_map(move |regions| (kind, regions)))
}

fn style() -> impl Strategy<Value = LabelStyle> {
    prop_oneof![Just(LabelStyle::Shared), Just(LabelStyle::Repeated)]
}

/// Checks that a text parses to the regions, and that these are written as the text.
fn check_round_trip(
    text: &str,
    kind: PostProcessingType,
    regions: &[Region],
    size: ImageSize,
    options: &WriteOptions,
) -> Result<(), TestCaseError> {
    for framed in [text.to_owned(), format!("</s><s>{text}</s>")] {
        let parsed = parse(
            &ScoredText::unscored(framed),
            kind,
            size,
            Coordinates::BinCenters,
        );
        prop_assert_eq!(&parsed.regions, &centred(regions, size), "{:?}", text);
        let again = write_regions(&parsed.regions, kind, size, options);
        prop_assert_eq!(again.as_deref(), Ok(text));
        let whole = write_with(&parsed, size, options);
        prop_assert_eq!(whole.as_deref(), Ok(trimmed(text)));
    }
    Ok(())
}

/// Valid regions of a type, of which every draw must be written.
fn valid_regions(kind: PostProcessingType) -> BoxedStrategy<Vec<Region>> {
    let coordinate = || -10.0..700.0_f64;
    let point = move || [coordinate(), coordinate()];
    let label = match kind {
        PostProcessingType::Bboxes | PostProcessingType::Polygons => Just(String::new()).boxed(),
        // Without the letters of `<s>` and `<pad>`, which a label must not contain.
        PostProcessingType::Ocr => "[b-oqrt-z<>&é中]{1,9}x".boxed(),
        _ => "[b-d]{2}( [a-z>&é中]{1,9})?".boxed(),
    };
    let boxes = [coordinate(), coordinate(), coordinate(), coordinate()]
        .prop_map(|corners| vec![Shape::Box(corners.into())]);
    let quads = [point(), point(), point(), point()].prop_map(|corners| vec![Shape::Quad(corners)]);
    let polygons = vec(vec(point(), 1..7).prop_map(Shape::Polygon), 1..4);
    let shapes = match kind {
        PostProcessingType::Ocr => quads.boxed(),
        PostProcessingType::Polygons => polygons.boxed(),
        _ => boxes.boxed(),
    };
    let instances = |shapes: BoxedStrategy<Vec<Shape>>, label: BoxedStrategy<String>| {
        vec((shapes, label), 0..6).prop_map(|instances| {
            let instances = instances.into_iter().enumerate();
            let regions = instances.flat_map(|(instance, (shapes, label))| {
                let shapes = shapes.into_iter();
                shapes.map(move |shape| Region::new(shape, label.clone(), instance))
            });
            regions.collect::<Vec<Region>>()
        })
    };
    if kind == PostProcessingType::DescriptionWithBboxesOrPolygons {
        let polygons = vec(
            vec([-10.0..700.0, -10.0..700.0_f64], 1..7).prop_map(Shape::Polygon),
            1..4,
        );
        return prop_oneof![
            instances(shapes, label.clone()),
            instances(polygons.boxed(), label)
        ]
        .boxed();
    }
    instances(shapes, label).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// An answer is either written exactly or rejected.
    #[test]
    fn any_regions_round_trip_or_are_errors((kind, regions) in answer(), style in style()) {
        let options = WriteOptions::default().label_style(style);
        match write_regions(&regions, kind, SIZE, &options) {
            Ok(text) => check_round_trip(&text, kind, &regions, SIZE, &options)?,
            Err(WriteError::Regions(errors)) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert_eq!(&error.label, &regions[error.index].label);
                }
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn valid_regions_round_trip(
        (kind, regions) in proptest::sample::select(&TYPES[..])
            .prop_flat_map(|kind| valid_regions(kind).prop_map(move |regions| (kind, regions))),
        style in style(),
        width in 1_u32..5000,
        height in 1_u32..5000,
    ) {
        let options = WriteOptions::default().label_style(style);
        let size = ImageSize { width, height };
        let text = write_regions(&regions, kind, size, &options);
        prop_assert!(text.is_ok(), "{:?}", text);
        check_round_trip(&text.unwrap_or_default(), kind, &regions, size, &options)?;
    }

    #[test]
    fn texts_round_trip(text in vec(prop_oneof![any::<String>(), label()], 0..5)) {
        let text = text.concat();
        let has_frame = ["<s>", "</s>", "<pad>"].iter().any(|token| text.contains(token));
        let written = write_text(&text);
        prop_assert_eq!(written.is_err(), has_frame);
        if let Ok(written) = written {
            let answer = ScoredText::unscored(format!("</s><s>{written}</s>"));
            let parsed = parse(&answer, PostProcessingType::PureText, SIZE, Coordinates::BinCenters);
            prop_assert_eq!(&parsed.text, trimmed(&text));
            let again = write(&parsed, SIZE);
            prop_assert_eq!(again.as_deref(), Ok(written.as_str()));
        }
    }
}

/// The texts of each type, as in the answers of the published weights.
#[test]
fn texts_have_the_grammar_of_their_type() {
    let points = |bins: &[[u32; 2]]| -> Vec<[f64; 2]> {
        let centre = |bin: u32, size: f64| (f64::from(bin) + 0.5) * size / 1000.0;
        let points = bins.iter();
        points
            .map(|[x, y]| [centre(*x, 640.0), centre(*y, 480.0)])
            .collect()
    };
    let cases = [
        (
            PostProcessingType::DescriptionWithBboxes,
            LabelStyle::Shared,
            vec![
                boxed("wheel", [0.0, 0.0, 320.0, 240.0]),
                boxed(" wheel ", [320.0, 240.0, 640.0, 480.0]),
                boxed("car", [-5.0, 1.0, 2.0, 700.0]),
            ],
            "wheel<loc_0><loc_0><loc_500><loc_500><loc_500><loc_500><loc_999><loc_999>\
             car<loc_0><loc_2><loc_3><loc_999>",
        ),
        (
            PostProcessingType::PhraseGrounding,
            LabelStyle::Repeated,
            vec![
                boxed("wheels", [0.0, 0.0, 320.0, 240.0]),
                boxed("wheels", [320.0, 240.0, 640.0, 480.0]),
            ],
            "wheels<loc_0><loc_0><loc_500><loc_500>wheels<loc_500><loc_500><loc_999><loc_999>",
        ),
        (
            PostProcessingType::Bboxes,
            LabelStyle::Repeated,
            vec![
                boxed("", [0.0, 0.0, 320.0, 240.0]),
                boxed("", [320.0, 240.0, 640.0, 480.0]),
            ],
            "<loc_0><loc_0><loc_500><loc_500><loc_500><loc_500><loc_999><loc_999>",
        ),
        (
            PostProcessingType::Polygons,
            LabelStyle::Shared,
            vec![
                ring("", 4, &points(&[[1, 2], [3, 4], [5, 6]])),
                ring("", 4, &points(&[[7, 8], [9, 10]])),
            ],
            "<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><sep><loc_7><loc_8><loc_9><loc_10>",
        ),
        (
            PostProcessingType::Polygons,
            LabelStyle::Shared,
            vec![
                ring("", 4, &points(&[[1, 2], [3, 4]])),
                ring("", 4, &points(&[[5, 6]])),
                ring("", 2, &points(&[[7, 8], [9, 10]])),
            ],
            "<poly><loc_1><loc_2><loc_3><loc_4><sep><loc_5><loc_6></poly>\
             <poly><loc_7><loc_8><loc_9><loc_10></poly>",
        ),
        (
            PostProcessingType::Polygons,
            LabelStyle::Shared,
            vec![ring("", 0, &points(&[[1, 2]]))],
            "<poly><loc_1><loc_2></poly>",
        ),
        (
            PostProcessingType::DescriptionWithBboxesOrPolygons,
            LabelStyle::Shared,
            vec![
                ring("cat", 0, &points(&[[1, 2], [3, 4]])),
                ring("cat", 1, &points(&[[5, 6], [7, 8]])),
                ring("dog", 2, &points(&[[9, 10]])),
            ],
            "cat<poly><loc_1><loc_2><loc_3><loc_4></poly><poly><loc_5><loc_6><loc_7><loc_8></poly>\
             dog<poly><loc_9><loc_10></poly>",
        ),
        (
            PostProcessingType::Ocr,
            LabelStyle::Shared,
            vec![
                Region::new(
                    Shape::Quad([[0.0, 0.0], [320.0, 0.0], [320.0, 240.0], [0.0, 240.0]]),
                    "a < b <sep>",
                    0,
                );
                2
            ],
            "a < b <sep><loc_0><loc_0><loc_500><loc_0><loc_500><loc_500><loc_0><loc_500>\
             a < b <sep><loc_0><loc_0><loc_500><loc_0><loc_500><loc_500><loc_0><loc_500>",
        ),
        (PostProcessingType::Ocr, LabelStyle::Shared, vec![], ""),
    ];
    for (kind, style, regions, expected) in cases {
        let options = WriteOptions::default().label_style(style);
        let found = write_with(&result(kind, regions.clone()), SIZE, &options);
        assert_eq!(found.as_deref(), Ok(expected));
        check_round_trip(expected, kind, &regions, SIZE, &options).unwrap();
    }
}

#[test]
fn errors_name_every_region() {
    use PostProcessingType::{
        Bboxes, DescriptionWithBboxes, DescriptionWithBboxesOrPolygons, Ocr, PhraseGrounding,
        Polygons, PureText,
    };
    let corners = [0.0, 0.0, 320.0, 240.0];
    let quad = |label: &str| Region::new(Shape::Quad([[0.0, 0.0]; 4]), label, 0);
    let cases = [
        (
            DescriptionWithBboxes,
            vec![
                boxed("a<b", corners),
                boxed("c", corners),
                boxed(" ", corners),
            ],
            "region 0 (label \"a<b\"): found the label \"a<b\", expected a label without `<`; \
             region 2 (label \" \"): found the label \"\", expected a label that is not empty",
        ),
        (
            DescriptionWithBboxes,
            vec![boxed("a\nb", corners)],
            "region 0 (label \"a\\nb\"): found the label \"a\\nb\", expected a label of one line",
        ),
        (
            DescriptionWithBboxes,
            vec![boxed("a", [0.0, f64::NAN, 1.0, f64::INFINITY])],
            "region 0 (label \"a\"): found the points [[0.0, NaN], [1.0, inf]], expected finite \
             coordinates",
        ),
        (
            Bboxes,
            vec![boxed("a", corners)],
            "region 0 (label \"a\"): found the label \"a\", expected no label",
        ),
        (
            PhraseGrounding,
            vec![boxed("the image ", corners)],
            "region 0 (label \"the image \"): found a banned phrase, expected a phrase that \
             grounding does not drop",
        ),
        (
            Ocr,
            vec![
                quad("<s>"),
                quad("x<loc_5>"),
                quad("a\nb"),
                boxed("a", corners),
            ],
            "region 0 (label \"<s>\"): found the label \"<s>\", expected a label without <s>, </s> \
             and <pad>; region 1 (label \"x<loc_5>\"): found the label \"x<loc_5>\", expected a \
             label without location tokens; region 2 (label \"a\\nb\"): found the label \"a\\nb\", \
             expected a label of one line; region 3 (label \"a\"): found a box, expected a quad",
        ),
        (
            Polygons,
            vec![ring("", 0, &[])],
            "region 0 (label \"\"): found a ring without points, expected at least one point",
        ),
        (
            DescriptionWithBboxesOrPolygons,
            vec![boxed("a", corners), ring("b", 0, &[[0.0, 0.0]])],
            "region 1 (label \"b\"): found a polygon, expected a box, as the first region",
        ),
        (
            DescriptionWithBboxesOrPolygons,
            vec![quad("a")],
            "region 0 (label \"a\"): found a quad, expected a box or a polygon",
        ),
        (
            DescriptionWithBboxesOrPolygons,
            vec![ring("a", 0, &[[0.0, 0.0]]), ring("b", 0, &[[0.0, 0.0]])],
            "region 1 (label \"b\"): found the label \"b\", expected the label of the previous ring \
             of this instance",
        ),
        (
            PureText,
            vec![boxed("", corners), boxed("a", corners), boxed("", corners)],
            "region 2 (label \"\"): found no label after the label \"a\", expected a label",
        ),
    ];
    for (kind, regions, expected) in cases {
        let error = write_regions(&regions, kind, SIZE, &WriteOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{kind:?}");
    }
    let empty = ImageSize {
        width: 0,
        height: 480,
    };
    let error = write(&result(Bboxes, vec![]), empty).unwrap_err();
    assert_eq!(
        error.to_string(),
        "image size: found 0x480, expected at least 1x1"
    );
    let error = write_text("a<pad>b</s>").unwrap_err();
    assert_eq!(
        error.to_string(),
        "text: found </s>, <pad> in \"a<pad>b</s>\", expected text without </s>, <pad>"
    );
}

/// A text line that the configuration's area threshold drops is an error, and one above it comes back.
#[test]
fn the_area_threshold_applies_to_text_lines() {
    let config = PostProcessorConfig::default().ocr_area_threshold(0.01);
    let options = WriteOptions::default().config(config.clone());
    let line = |width: f64| {
        let corners = [[0.0, 0.0], [width, 0.0], [width, 48.0], [0.0, 48.0]];
        vec![Region::new(Shape::Quad(corners), "text", 0)]
    };
    let small = write_regions(&line(20.0), PostProcessingType::Ocr, SIZE, &options);
    assert!(small.is_err());
    let text = write_regions(&line(200.0), PostProcessingType::Ocr, SIZE, &options).unwrap();
    let answer = ScoredText::unscored(text);
    let coordinates = Coordinates::BinCenters;
    let parsed = parse_with(&answer, PostProcessingType::Ocr, SIZE, coordinates, &config);
    assert_eq!(parsed.regions.len(), 1);
}

#[derive(serde::Deserialize)]
struct PublishedCase {
    task: String,
    image_size: (u32, u32),
    generated_text: String,
}

/// The published answers with regions are written as they were generated, in one of the two styles.
#[test]
fn published_answers_are_written_as_generated() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/published.json"
    );
    let json = std::fs::read_to_string(path).expect("the fixture is committed");
    let cases: Vec<PublishedCase> = serde_json::from_str(&json).expect("the fixture's form");
    let mut written = 0;
    for case in cases {
        let kind = match case.task.as_str() {
            "<OD>" => PostProcessingType::DescriptionWithBboxes,
            "<REGION_PROPOSAL>" => PostProcessingType::Bboxes,
            "<REFERRING_EXPRESSION_SEGMENTATION>" => PostProcessingType::Polygons,
            "<OPEN_VOCABULARY_DETECTION>" => PostProcessingType::DescriptionWithBboxesOrPolygons,
            _ => continue,
        };
        let frames = ["<s>", "</s>"].into_iter();
        let expected = frames.fold(case.generated_text.clone(), |text, frame| {
            text.replace(frame, "")
        });
        let (width, height) = case.image_size;
        let size = ImageSize { width, height };
        let answer = ScoredText::unscored(case.generated_text);
        let parsed = parse(&answer, kind, size, Coordinates::BinCenters);
        let in_style = |style| {
            let options = WriteOptions::default().label_style(style);
            write_with(&parsed, size, &options).expect("an answer of the grammar")
        };
        let found = [LabelStyle::Shared, LabelStyle::Repeated].map(in_style);
        assert!(found.contains(&expected), "{expected}\n{found:?}");
        written += 1;
    }
    assert!(written >= 4, "{written} answers");
}
