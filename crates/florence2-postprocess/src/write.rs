//! The inverse of the parser: texts of answers from regions, for training.

use crate::config::PostProcessorConfig;
use crate::parse::{POLYGON_UNITS, is_below, is_space};
use crate::quantizer::Quantizer;
use crate::region::Region;
use crate::scanner::{FRAME_TOKENS, Unit, units};
use crate::shape::Shape;
use crate::types::{Coordinates, ImageSize, PostProcessingType, TaskResult};

/// How consecutive regions with the same label are written. Text lines
/// ([`PostProcessingType::Ocr`]) always have a label each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LabelStyle {
    /// The label once, then all regions: `wheel<loc_1>..<loc_4><loc_5>..<loc_8>`. The published
    /// weights answer `<OD>` like this.
    #[default]
    Shared,
    /// The label before each region, as Roboflow's exports have it.
    Repeated,
}

/// Options of [`write_with`] and [`write_regions`].
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// How consecutive regions with the same label are written.
    pub label_style: LabelStyle,
    /// The configuration of the parser that will read the text: a phrase or a text line that it
    /// drops is an error.
    pub config: PostProcessorConfig,
}

impl WriteOptions {
    /// Sets how consecutive regions with the same label are written.
    #[must_use]
    pub fn label_style(self, label_style: LabelStyle) -> Self {
        Self {
            label_style,
            ..self
        }
    }

    /// Sets the configuration of the parser that will read the text.
    #[must_use]
    pub fn config(self, config: PostProcessorConfig) -> Self {
        Self { config, ..self }
    }
}

/// The error of an answer that the grammar of its type cannot represent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The image has no pixels.
    #[error("image size: found {}x{}, expected at least 1x1", .0.width, .0.height)]
    ImageSize(ImageSize),
    /// A plain text contains tokens that the parser removes.
    #[error("text: found {tokens} in {text:?}, expected text without {tokens}")]
    Text {
        /// The text.
        text: String,
        /// The tokens, separated by commas.
        tokens: String,
    },
    /// Regions that the grammar cannot represent: all of them, in order.
    #[error("{}", joined(.0))]
    Regions(Vec<RegionError>),
}

/// A region that the grammar of an answer cannot represent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("region {index} (label {label:?}): found {found}, expected {expected}")]
#[non_exhaustive]
pub struct RegionError {
    /// The index of the region.
    pub index: usize,
    /// Its label.
    pub label: String,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: &'static str,
}

fn joined(errors: &[RegionError]) -> String {
    let errors: Vec<String> = errors.iter().map(RegionError::to_string).collect();
    errors.join("; ")
}

/// Writes the text of an answer, without `<s>` and `</s>`: the inverse of [`parse`](crate::parse),
/// with the default options.
///
/// Coordinates are converted by [`Quantizer::quantize`], which is HF's: the floor of the coordinate
/// divided by the bin's size, clamped to 0 to 999. Labels and texts are written without surrounding
/// white space.
///
/// Parsing the text with [`Coordinates::BinCenters`] gives the regions with the centres of their
/// bins, with their instances counted from 0, and writing those gives the same text.
/// ([`Coordinates::HfIntegers`] loses bins of images of fewer than 1000 pixels.)
///
/// # Errors
/// [`WriteError`], if parsing the text would not give the same answer.
pub fn write(result: &TaskResult, image_size: ImageSize) -> Result<String, WriteError> {
    write_with(result, image_size, &WriteOptions::default())
}

/// As [`write()`], with options.
///
/// # Errors
/// Those of [`write()`].
pub fn write_with(
    result: &TaskResult,
    image_size: ImageSize,
    options: &WriteOptions,
) -> Result<String, WriteError> {
    match result.post_processing_type {
        PostProcessingType::PureText => write_text(&result.text),
        with_regions => write_regions(&result.regions, with_regions, image_size, options),
    }
}

/// Writes a plain text: a caption or the text in an image.
///
/// # Errors
/// [`WriteError::Text`] if the text contains `<s>`, `</s>` or `<pad>`, which the parser removes.
pub fn write_text(text: &str) -> Result<String, WriteError> {
    let tokens = FRAME_TOKENS
        .into_iter()
        .filter(|token| text.contains(token));
    let tokens: Vec<&str> = tokens.collect();
    if tokens.is_empty() {
        return Ok(trimmed(text).to_owned());
    }
    Err(WriteError::Text {
        text: text.to_owned(),
        tokens: tokens.join(", "),
    })
}

/// Writes regions in the grammar of a type, otherwise as [`write()`]:
///
/// | type | regions | text |
/// |---|---|---|
/// | `DescriptionWithBboxes`, `PhraseGrounding` | boxes with labels | `label<loc_x1><loc_y1><loc_x2><loc_y2>` |
/// | `Bboxes` | boxes without labels | `<loc_x1><loc_y1><loc_x2><loc_y2>` |
/// | `PureText` | boxes; one without a label only before the first label | as the two above |
/// | `Ocr` | quads with labels | `label` and eight locations |
/// | `Polygons` | polygons without labels | the locations of the rings, with `<sep>` between two rings; each instance in `<poly>..</poly>` if there are several |
/// | `DescriptionWithBboxesOrPolygons` | only boxes, or only polygons; with labels | as `DescriptionWithBboxes`, or `label` and its instances, each in `<poly>..</poly>` |
///
/// Consecutive polygons with the same [`Region::instance`] are the rings of one instance. Instances
/// of other regions, and scores, are not written.
///
/// Labels of boxes and polygons contain neither `<` nor, except in `PureText`, line breaks. Labels of
/// text lines contain neither line breaks, nor location tokens, nor `<s>`, `</s>` and `<pad>`.
///
/// # Errors
/// [`WriteError::Regions`] with all regions that do not follow these rules, or whose coordinates are
/// not finite; [`WriteError::ImageSize`] if the image has no pixels.
pub fn write_regions(
    regions: &[Region],
    post_processing_type: PostProcessingType,
    image_size: ImageSize,
    options: &WriteOptions,
) -> Result<String, WriteError> {
    if image_size.width == 0 || image_size.height == 0 {
        return Err(WriteError::ImageSize(image_size));
    }
    let writer = Writer {
        regions,
        post_processing_type,
        quantizer: Quantizer {
            image_size,
            coordinates: Coordinates::BinCenters,
        },
        options,
    };
    let errors: Vec<RegionError> = writer.errors().collect();
    if errors.is_empty() {
        Ok(writer.text())
    } else {
        Err(WriteError::Regions(errors))
    }
}

struct Writer<'a> {
    regions: &'a [Region],
    post_processing_type: PostProcessingType,
    quantizer: Quantizer,
    options: &'a WriteOptions,
}

/// What was found in a region, and what was expected.
type Problem = (String, &'static str);

impl Writer<'_> {
    fn errors(&self) -> impl Iterator<Item = RegionError> {
        self.regions
            .iter()
            .enumerate()
            .filter_map(|(index, region)| {
                let previous = index.checked_sub(1).map(|index| &self.regions[index]);
                let (found, expected) = self.problem(region, previous)?;
                Some(RegionError {
                    index,
                    label: region.label.clone(),
                    found,
                    expected,
                })
            })
    }

    fn problem(&self, region: &Region, previous: Option<&Region>) -> Option<Problem> {
        self.shape_problem(&region.shape)
            .or_else(|| points_problem(&region.shape))
            .or_else(|| self.label_problem(trimmed(&region.label)))
            .or_else(|| self.sequence_problem(region, previous?))
            .or_else(|| self.config_problem(region))
    }

    fn shape_problem(&self, shape: &Shape) -> Option<Problem> {
        let expected = match self.post_processing_type {
            PostProcessingType::Ocr => "a quad",
            PostProcessingType::Polygons => "a polygon",
            PostProcessingType::DescriptionWithBboxesOrPolygons => match &self.regions[0].shape {
                Shape::Polygon(_) => "a polygon, as the first region",
                Shape::Box(_) => "a box, as the first region",
                Shape::Quad(_) => "a box or a polygon",
            },
            _ => "a box",
        };
        let found = match shape {
            Shape::Box(_) => "a box",
            Shape::Quad(_) => "a quad",
            Shape::Polygon(_) => "a polygon",
        };
        let is_expected = expected.starts_with(found) && expected != "a box or a polygon";
        (!is_expected).then(|| (found.to_owned(), expected))
    }

    fn label_problem(&self, label: &str) -> Option<Problem> {
        use PostProcessingType::{Bboxes, Ocr, Polygons, PureText};
        let problem = |expected| Some((format!("the label {label:?}"), expected));
        match self.post_processing_type {
            Bboxes | Polygons | PureText if label.is_empty() => None,
            Bboxes | Polygons => problem("no label"),
            _ if label.is_empty() => problem("a label that is not empty"),
            Ocr if label.contains('\n') => problem("a label of one line"),
            Ocr if FRAME_TOKENS.iter().any(|token| label.contains(token)) => {
                problem("a label without <s>, </s> and <pad>")
            }
            Ocr if units(label).iter().any(Unit::is_location) => {
                problem("a label without location tokens")
            }
            Ocr => None,
            _ if label.contains('<') => problem("a label without `<`"),
            PureText => None,
            _ if label.contains('\n') => problem("a label of one line"),
            _ => None,
        }
    }

    /// Rules on a region and the one before it.
    fn sequence_problem(&self, region: &Region, previous: &Region) -> Option<Problem> {
        let (label, previous_label) = (trimmed(&region.label), trimmed(&previous.label));
        if is_same_instance(previous, region) && label != previous_label {
            let found = format!("the label {label:?}");
            return Some((found, "the label of the previous ring of this instance"));
        }
        let is_text = self.post_processing_type == PostProcessingType::PureText;
        let is_unlabelled_after_label = label.is_empty() && !previous_label.is_empty();
        (is_text && is_unlabelled_after_label).then(|| {
            let found = format!("no label after the label {previous_label:?}");
            (found, "a label")
        })
    }

    /// Rules of the parser's configuration.
    fn config_problem(&self, region: &Region) -> Option<Problem> {
        let config = &self.options.config;
        match (self.post_processing_type, &region.shape) {
            (PostProcessingType::PhraseGrounding, _)
                if config.banned_phrases.contains(trimmed(&region.label)) =>
            {
                Some((
                    "a banned phrase".to_owned(),
                    "a phrase that grounding does not drop",
                ))
            }
            (PostProcessingType::Ocr, Shape::Quad(corners)) => {
                let bins = corners.map(|corner| self.quantizer.quantize(corner));
                let corners = bins.map(|bins| self.quantizer.dequantize(bins));
                let threshold = config.ocr_area_threshold;
                is_below(threshold, self.quantizer.image_size, &corners).then(|| {
                    let found = format!("an area below {threshold} of the image");
                    (found, "a text line that ocr_area_threshold does not drop")
                })
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        let instances: Vec<&[Region]> = self.regions.chunk_by(is_same_instance).collect();
        let has_tags = self.has_tags(&instances);
        let is_ocr = self.post_processing_type == PostProcessingType::Ocr;
        let repeats = is_ocr || self.options.label_style == LabelStyle::Repeated;
        let mut text = String::new();
        let mut written = None;
        for instance in instances {
            let label = trimmed(&instance[0].label);
            if repeats || written != Some(label) {
                text.push_str(label);
                written = Some(label);
            }
            let rings: Vec<String> = instance.iter().map(|ring| self.locations(ring)).collect();
            let rings = rings.join("<sep>");
            if has_tags {
                text.extend(["<poly>", &rings, "</poly>"]);
            } else {
                text.push_str(&rings);
            }
        }
        text
    }

    /// Returns whether instances are written in `<poly>..</poly>`.
    fn has_tags(&self, instances: &[&[Region]]) -> bool {
        let has_polygons = matches!(
            self.regions.first().map(|region| &region.shape),
            Some(Shape::Polygon(_))
        );
        // A single point is too short for the parser without the tags.
        let is_short = |rings: &[Region]| {
            rings.len() == 1 && 2 * rings[0].shape.points().len() < POLYGON_UNITS
        };
        has_polygons
            && match (self.post_processing_type, instances) {
                (PostProcessingType::Polygons, [only]) => is_short(only),
                _ => true,
            }
    }

    fn locations(&self, region: &Region) -> String {
        let points = region.shape.points().into_iter();
        let tokens = points.map(|point| {
            let [x, y] = self.quantizer.quantize(point);
            format!("<loc_{x}><loc_{y}>")
        });
        tokens.collect()
    }
}

/// Returns whether two consecutive regions are rings of one instance.
fn is_same_instance(previous: &Region, region: &Region) -> bool {
    let are_polygons = [previous, region]
        .iter()
        .all(|region| matches!(region.shape, Shape::Polygon(_)));
    are_polygons && previous.instance == region.instance
}

fn points_problem(shape: &Shape) -> Option<Problem> {
    let points = shape.points();
    if points.is_empty() {
        return Some(("a ring without points".to_owned(), "at least one point"));
    }
    let is_finite = points.iter().flatten().all(|value| value.is_finite());
    (!is_finite).then(|| (format!("the points {points:?}"), "finite coordinates"))
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_space)
}
