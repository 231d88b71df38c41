//! Augmentation: horizontal flips and crops of an image with the regions of its texts.

use florence2_postprocess::{
    BoundingBox, Coordinates, ImageSize, LabelStyle, PostProcessingType, PostProcessorConfig,
    Region, ScoredText, Shape, WriteOptions, parse_with, write_regions,
};
use florence2_processor::{Image, Task};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::{Error, Result};
use crate::example::{Annotation, Example};
use crate::geometry::{area, clip, intersection};

/// The number of windows that are drawn for a crop until one keeps enough of the objects.
const CROP_ATTEMPTS: usize = 10;

/// Options of [`augment`]. By default, nothing is changed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AugmentOptions {
    /// The probability of a horizontal flip, 0 to 1.
    pub flip_probability: f64,
    /// The probability of a crop, 0 to 1.
    pub crop_probability: f64,
    /// The minimum width and height of the cropped image, as a share of the image's, above 0 and at
    /// most 1. Default: 0.6.
    pub min_crop_side: f64,
    /// The minimum share of an object's area within the cropped image, 0 to 1. Objects below it are
    /// dropped. Default: 0.4.
    pub min_visible_share: f64,
}

impl Default for AugmentOptions {
    fn default() -> Self {
        Self {
            flip_probability: 0.0,
            crop_probability: 0.0,
            min_crop_side: 0.6,
            min_visible_share: 0.4,
        }
    }
}

impl AugmentOptions {
    /// Sets the probability of a horizontal flip.
    #[must_use]
    pub fn flip_probability(self, flip_probability: f64) -> Self {
        Self {
            flip_probability,
            ..self
        }
    }

    /// Sets the probability of a crop.
    #[must_use]
    pub fn crop_probability(self, crop_probability: f64) -> Self {
        Self {
            crop_probability,
            ..self
        }
    }

    /// Sets the minimum width and height of the cropped image.
    #[must_use]
    pub fn min_crop_side(self, min_crop_side: f64) -> Self {
        Self {
            min_crop_side,
            ..self
        }
    }

    /// Sets the minimum share of an object's area within the cropped image.
    #[must_use]
    pub fn min_visible_share(self, min_visible_share: f64) -> Self {
        Self {
            min_visible_share,
            ..self
        }
    }

    /// Checks the ranges of the options.
    ///
    /// # Errors
    /// [`Error::Option`] naming the first option that is out of range.
    pub fn validate(&self) -> Result<()> {
        let shares = [
            ("flip_probability", self.flip_probability),
            ("crop_probability", self.crop_probability),
            ("min_crop_side", self.min_crop_side),
            ("min_visible_share", self.min_visible_share),
        ];
        let is_valid = |(option, value): &(&str, f64)| {
            (0.0..=1.0).contains(value) && (*option != "min_crop_side" || *value > 0.0)
        };
        match shares.iter().find(|share| !is_valid(share)) {
            None => Ok(()),
            Some((option, value)) => Err(Error::Option {
                option,
                found: value.to_string(),
                expected: match *option {
                    "min_crop_side" => "a share above 0 and at most 1".to_owned(),
                    _ => "a number from 0 to 1".to_owned(),
                },
            }),
        }
    }
}

/// Returns whether an example can be flipped.
///
/// Free prompts and tasks that read text are not flipped, since mirrored text is not the same text and
/// the answer to a free prompt can depend on it. Examples whose prefix or suffix has a word that
/// begins with `left` or `right` are not flipped, since the flipped image would contradict it.
pub fn can_flip(example: &Example) -> bool {
    let task = example.prompt().ok().and_then(|prompt| prompt.task());
    let reads_text =
        |task: Task| matches!(task, Task::Ocr | Task::OcrWithRegion | Task::RegionToOcr);
    let texts = [&example.prefix, &example.suffix];
    task.is_some_and(|task| !reads_text(task)) && !texts.iter().any(|text| has_side(text))
}

/// Returns whether a text has a word that begins with `left` or `right`, in any case.
fn has_side(text: &str) -> bool {
    let words = text.split(|character: char| !character.is_alphabetic());
    let mut words = words.map(str::to_lowercase);
    words.any(|word| word.starts_with("left") || word.starts_with("right"))
}

/// Returns whether an example can be cropped: if its task locates regions. A caption or a text could
/// describe what a crop removes.
pub fn can_crop(example: &Example) -> bool {
    let task = example.prompt().ok().and_then(|prompt| prompt.task());
    task.is_some_and(|task| crop_rule(task).is_some())
}

/// The condition under which a crop is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CropRule {
    /// At least one object remains, if there are any.
    Some,
    /// All objects remain, since the prefix names them.
    All,
    /// No object is cut, since a text that is cut is another text. At least one remains.
    Uncut,
}

fn crop_rule(task: Task) -> Option<CropRule> {
    match task {
        Task::ObjectDetection
        | Task::DenseRegionCaption
        | Task::RegionProposal
        | Task::OpenVocabularyDetection => Some(CropRule::Some),
        Task::CaptionToPhraseGrounding
        | Task::ReferringExpressionSegmentation
        | Task::RegionToSegmentation
        | Task::RegionToCategory
        | Task::RegionToDescription => Some(CropRule::All),
        Task::OcrWithRegion => Some(CropRule::Uncut),
        Task::Caption
        | Task::DetailedCaption
        | Task::MoreDetailedCaption
        | Task::Ocr
        | Task::RegionToOcr => None,
    }
}

/// Flips and crops an image at random, and writes its texts for the result. The same seed gives the
/// same result: derive it from the seed of the run, the epoch and the index of the example.
///
/// Regions of the suffix, and the region of the prefix, are parsed, transformed in pixels and
/// quantised again. A crop drops objects of which less than [`AugmentOptions::min_visible_share`]
/// remains, and clips the others. Tasks whose prefix names the objects (grounding, referring
/// segmentation, tasks of a region) are cropped only if all remain, text lines only if none is
/// cut, and other tasks only if at least one object remains. See [`can_flip`] and [`can_crop`] for
/// the examples that are not changed. If no random window fulfils the rule, the image is not cropped.
///
/// The annotation of a changed example ([`Example::truth`]) is its suffix.
///
/// # Errors
/// [`Error::Option`] if an option is out of range, [`Error::Augment`] if the suffix has regions that
/// cannot be written, such as one with an empty label.
pub fn augment(
    image: Image,
    example: &Example,
    options: &AugmentOptions,
    seed: u64,
) -> Result<(Image, Example)> {
    options.validate()?;
    let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
    // Both are always drawn, so that one probability does not change the other's results.
    let (flip, crop) = (
        random.share() < options.flip_probability && can_flip(example),
        random.share() < options.crop_probability && can_crop(example),
    );
    let mut augmented = (image, example.clone());
    if crop {
        augmented = cropped(augmented, options, &mut random)?;
    }
    if flip {
        augmented = flipped(augmented)?;
    }
    Ok(augmented)
}

/// Random numbers of a seed.
struct Random(ChaCha8Rng);

impl Random {
    /// A number from 0 to below 1, of 53 random bits.
    fn share(&mut self) -> f64 {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        (self.0.next_u64() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
    }

    /// A number from 0 to `most`.
    fn up_to(&mut self, most: u32) -> u32 {
        let number = self.share() * (f64::from(most) + 1.0);
        (number as u32).min(most)
    }
}

/// The regions of an example's texts.
struct Regions {
    post_processing_type: PostProcessingType,
    suffix: Vec<Region>,
    label_style: LabelStyle,
    /// The task's token and its region, if the prefix has one.
    prefix: Option<(Task, Region)>,
}

impl Regions {
    /// Parses an example; `None` if the prefix should have a region, and does not have exactly one.
    fn parse(example: &Example, size: ImageSize) -> Option<Self> {
        let task = example.prompt().ok()?.task();
        let post_processing_type = example.post_processing_type();
        let suffix = parsed(&example.suffix, post_processing_type, size);
        let prefix = match task.filter(|task| task.needs_region()) {
            None => None,
            Some(task) => {
                let mut regions = parsed(&example.prefix, PostProcessingType::Bboxes, size);
                let region = regions.pop().filter(|_| regions.is_empty())?;
                Some((task, region))
            }
        };
        let repeated = write_options(LabelStyle::Repeated);
        let written = write_regions(&suffix, post_processing_type, size, &repeated);
        let is_repeated = written.is_ok_and(|written| written == example.suffix.trim());
        let label_style = if is_repeated {
            LabelStyle::Repeated
        } else {
            LabelStyle::Shared
        };
        Some(Self {
            post_processing_type,
            suffix,
            label_style,
            prefix,
        })
    }

    /// The example of the transformed regions.
    fn write(&self, example: &Example, size: ImageSize) -> Result<Example> {
        let error = |reason| Error::Augment {
            example: example.source.to_string(),
            reason,
        };
        let mut written = example.clone();
        // A text without regions remains as it is.
        let is_text = self.post_processing_type == PostProcessingType::PureText;
        if !is_text || !self.suffix.is_empty() {
            let options = write_options(self.label_style);
            let kind = self.post_processing_type;
            written.suffix = write_regions(&self.suffix, kind, size, &options).map_err(error)?;
        }
        if let Some((task, region)) = &self.prefix {
            let (region, kind) = (std::slice::from_ref(region), PostProcessingType::Bboxes);
            let options = WriteOptions::default();
            let region = write_regions(region, kind, size, &options).map_err(error)?;
            written.prefix = format!("{}{region}", task.token());
        }
        written.annotation = Annotation::Suffix;
        Ok(written)
    }
}

/// A configuration with which no phrase is banned: what a parser drops is not for the augmentation to
/// decide.
fn all_phrases() -> PostProcessorConfig {
    PostProcessorConfig::default().banned_phrases::<String>([])
}

fn write_options(label_style: LabelStyle) -> WriteOptions {
    WriteOptions::default()
        .label_style(label_style)
        .config(all_phrases())
}

fn parsed(text: &str, post_processing_type: PostProcessingType, size: ImageSize) -> Vec<Region> {
    let (answer, coordinates) = (ScoredText::unscored(text), Coordinates::BinCenters);
    parse_with(
        &answer,
        post_processing_type,
        size,
        coordinates,
        &all_phrases(),
    )
    .regions
}

fn flipped((image, example): (Image, Example)) -> Result<(Image, Example)> {
    let size = image.size();
    let Some(mut regions) = Regions::parse(&example, size) else {
        return Ok((image, example));
    };
    let width = f64::from(size.width);
    let prefix = regions.prefix.iter_mut().map(|(_, region)| region);
    for region in regions.suffix.iter_mut().chain(prefix) {
        region.shape = flip_shape(&region.shape, width);
    }
    let example = regions.write(&example, size)?;
    Ok((flip_image(&image, &example)?, example))
}

/// Mirrors a shape. The corners of a box stay sorted, those of a quad begin at the upper left one,
/// and a ring keeps its orientation.
fn flip_shape(shape: &Shape, width: f64) -> Shape {
    let mirror = |[x, y]: [f64; 2]| [width - x, y];
    match shape {
        Shape::Box(BoundingBox { x1, y1, x2, y2 }) => Shape::Box(BoundingBox {
            x1: width - x2,
            y1: *y1,
            x2: width - x1,
            y2: *y2,
        }),
        Shape::Quad([a, b, c, d]) => Shape::Quad([*b, *a, *d, *c].map(mirror)),
        Shape::Polygon(ring) => Shape::Polygon(ring.iter().rev().copied().map(mirror).collect()),
    }
}

fn flip_image(image: &Image, example: &Example) -> Result<Image> {
    let row_bytes = image.width() as usize * 3;
    let rows = image.as_rgb().chunks_exact(row_bytes);
    let pixels = rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten());
    new_image(
        image.width(),
        image.height(),
        pixels.copied().collect(),
        example,
    )
}

fn new_image(width: u32, height: u32, rgb: Vec<u8>, example: &Example) -> Result<Image> {
    Image::from_rgb(width, height, rgb).map_err(|source| Error::Image {
        example: example.source.to_string(),
        source,
    })
}

/// A part of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    x: u32,
    y: u32,
    size: ImageSize,
}

impl Window {
    fn draw(size: ImageSize, min_side: f64, random: &mut Random) -> Self {
        let mut side = |side: u32| {
            let least = ((f64::from(side) * min_side).ceil() as u32).clamp(1, side);
            let length = least + random.up_to(side - least);
            (random.up_to(side - length), length)
        };
        let ((x, width), (y, height)) = (side(size.width), side(size.height));
        Self {
            x,
            y,
            size: ImageSize { width, height },
        }
    }

    fn corners(self) -> BoundingBox {
        let (x, y) = (f64::from(self.x), f64::from(self.y));
        BoundingBox {
            x1: x,
            y1: y,
            x2: x + f64::from(self.size.width),
            y2: y + f64::from(self.size.height),
        }
    }
}

fn cropped(
    (image, example): (Image, Example),
    options: &AugmentOptions,
    random: &mut Random,
) -> Result<(Image, Example)> {
    let task = example.prompt().ok().and_then(|prompt| prompt.task());
    let regions = Regions::parse(&example, image.size());
    let (Some(rule), Some(regions)) = (task.and_then(crop_rule), regions) else {
        return Ok((image, example));
    };
    for _ in 0..CROP_ATTEMPTS {
        let window = Window::draw(image.size(), options.min_crop_side, random);
        if let Some(regions) = crop_regions(&regions, window, rule, options.min_visible_share) {
            let example = regions.write(&example, window.size)?;
            return Ok((crop_image(&image, window, &example)?, example));
        }
    }
    Ok((image, example))
}

fn crop_image(image: &Image, window: Window, example: &Example) -> Result<Image> {
    let ImageSize { width, height } = window.size;
    let row_bytes = image.width() as usize * 3;
    let rows = image.as_rgb().chunks_exact(row_bytes);
    let rows = rows.skip(window.y as usize).take(height as usize);
    let columns = window.x as usize * 3..(window.x + width) as usize * 3;
    let pixels = rows.flat_map(|row| &row[columns.clone()]);
    new_image(width, height, pixels.copied().collect(), example)
}

/// The regions within a window; `None` if the rule does not accept it.
fn crop_regions(
    regions: &Regions,
    window: Window,
    rule: CropRule,
    min_visible_share: f64,
) -> Option<Regions> {
    let keep = |rings: &[Region]| -> Option<(Vec<Region>, f64)> {
        let (rings, share) = crop_object(rings, window.corners());
        (!rings.is_empty() && share >= min_visible_share).then_some((rings, share))
    };
    let mut suffix = Vec::new();
    let (mut objects, mut kept) = (0, 0);
    for rings in regions.suffix.chunk_by(|a, b| a.instance == b.instance) {
        objects += 1;
        // A whole text line has a share of 1, up to rounding.
        let (_, share) = crop_object(rings, window.corners());
        if rule == CropRule::Uncut && share > 0.0 && share < 1.0 - 1e-9 {
            return None;
        }
        if let Some((rings, _)) = keep(rings) {
            kept += 1;
            suffix.extend(rings);
        }
    }
    let prefix = match &regions.prefix {
        None => None,
        Some((task, region)) => {
            let (mut rings, _) = keep(std::slice::from_ref(region))?;
            Some((*task, rings.pop()?))
        }
    };
    let is_accepted = match rule {
        CropRule::All => kept == objects,
        CropRule::Some | CropRule::Uncut => kept > 0 || objects == 0,
    };
    is_accepted.then_some(Regions {
        post_processing_type: regions.post_processing_type,
        suffix,
        label_style: regions.label_style,
        prefix,
    })
}

/// The parts of an object's rings within a window, relative to it, and their share of the
/// object's area.
fn crop_object(rings: &[Region], window: BoundingBox) -> (Vec<Region>, f64) {
    let (mut cropped, mut before, mut after) = (Vec::new(), 0.0, 0.0);
    for region in rings {
        let outline = outline(&region.shape);
        let clipped = clip(&outline, window);
        before += area(&outline);
        after += area(&clipped);
        if let Some(shape) = crop_shape(&region.shape, clipped, window) {
            cropped.push(Region::new(shape, region.label.clone(), region.instance));
        }
    }
    // A line or a point remains if a part of it does.
    let share = if before > 0.0 {
        after / before
    } else {
        f64::from(u8::from(!cropped.is_empty()))
    };
    (cropped, share)
}

/// The closed ring of a shape.
fn outline(shape: &Shape) -> Vec<[f64; 2]> {
    match shape {
        Shape::Box(corners) => {
            let BoundingBox { x1, y1, x2, y2 } = corners.sorted();
            vec![[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
        }
        other => other.points(),
    }
}

/// The part of a shape within a window, relative to it; `None` if there is none. `clipped` is the part
/// of its outline.
fn crop_shape(shape: &Shape, clipped: Vec<[f64; 2]>, window: BoundingBox) -> Option<Shape> {
    let relative = |[x, y]: [f64; 2]| [x - window.x1, y - window.y1];
    if clipped.is_empty() {
        return None;
    }
    match shape {
        Shape::Box(corners) => {
            let BoundingBox { x1, y1, x2, y2 } = intersection(corners.sorted(), window)?;
            let ([x1, y1], [x2, y2]) = (relative([x1, y1]), relative([x2, y2]));
            Some(Shape::Box(BoundingBox { x1, y1, x2, y2 }))
        }
        // Quads are kept whole.
        Shape::Quad(corners) => Some(Shape::Quad(corners.map(relative))),
        Shape::Polygon(_) => Some(Shape::Polygon(clipped.into_iter().map(relative).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipped_shapes_keep_their_order() {
        let quad = Shape::Quad([[1.0, 1.0], [4.0, 1.0], [4.0, 2.0], [1.0, 2.0]]);
        let expected = Shape::Quad([[6.0, 1.0], [9.0, 1.0], [9.0, 2.0], [6.0, 2.0]]);
        assert_eq!(flip_shape(&quad, 10.0), expected);
        let ring = Shape::Polygon(vec![[1.0, 1.0], [4.0, 1.0], [4.0, 2.0]]);
        let expected = Shape::Polygon(vec![[6.0, 2.0], [6.0, 1.0], [9.0, 1.0]]);
        assert_eq!(flip_shape(&ring, 10.0), expected);
        for shape in [quad, ring, Shape::Box([1.0, 2.0, 3.0, 4.0].into())] {
            assert_eq!(flip_shape(&flip_shape(&shape, 10.0), 10.0), shape);
        }
    }

    #[test]
    fn words_of_sides() {
        for text in [
            "a dog on the left",
            "Left-hand door",
            "<OD>upper\u{a0}RIGHT",
            "leftmost",
        ] {
            assert!(has_side(text), "{text}");
        }
        for text in ["bright light", "cleft", "an upright chair", ""] {
            assert!(!has_side(text), "{text}");
        }
    }
}
