//! One parser per post-processing type. Each makes a single pass over the units.

use std::ops::Range;

use crate::config::PostProcessorConfig;
use crate::quantizer::Quantizer;
use crate::region::Region;
use crate::scanner::{FRAME_TOKENS, Scanned, Unit, UnitKind};
use crate::score::{LogProbs, Scores};
use crate::shape::{BoundingBox, Shape};
use crate::steps::count;
use crate::types::{Coordinates, ImageSize, PostProcessingType, ScoredText, TaskResult};

/// The number of locations of a box.
const BOX_LOCATIONS: usize = 4;
/// The number of locations of a text line's quadrilateral.
const QUAD_LOCATIONS: usize = 8;
/// The minimum number of locations and tags in a polygon's phrase.
pub(crate) const POLYGON_UNITS: usize = 4;

/// Parses a generated text with the configuration of the published checkpoints: HF
/// `Florence2Processor.post_process_generation`.
///
/// It never fails: text that does not fit the type's grammar is ignored, as in the reference. The
/// time is linear in the text and the result, for any input (each box of a phrase has a copy of its
/// label).
pub fn parse(
    answer: &ScoredText,
    post_processing_type: PostProcessingType,
    image_size: ImageSize,
    coordinates: Coordinates,
) -> TaskResult {
    let config = PostProcessorConfig::default();
    parse_with(
        answer,
        post_processing_type,
        image_size,
        coordinates,
        &config,
    )
}

/// Parses a generated text with any configuration, otherwise as [`parse`].
pub fn parse_with(
    answer: &ScoredText,
    post_processing_type: PostProcessingType,
    image_size: ImageSize,
    coordinates: Coordinates,
    config: &PostProcessorConfig,
) -> TaskResult {
    let parser = Parser {
        scanned: Scanned::new(&answer.text),
        scores: Scores::new(answer),
        quantizer: Quantizer {
            image_size,
            coordinates,
        },
    };
    let regions = match post_processing_type {
        PostProcessingType::PureText => parser.boxes_in_text(),
        PostProcessingType::DescriptionWithBboxes => parser.boxes(|_| true),
        PostProcessingType::Bboxes => parser.boxes_without_labels(),
        PostProcessingType::PhraseGrounding => {
            parser.boxes(|phrase| !config.banned_phrases.contains(phrase))
        }
        PostProcessingType::Ocr => parser.quads(config.ocr_area_threshold),
        PostProcessingType::Polygons => parser.polygons(),
        PostProcessingType::DescriptionWithBboxesOrPolygons if answer.text.contains("<poly>") => {
            parser.polygons_with_labels()
        }
        PostProcessingType::DescriptionWithBboxesOrPolygons => parser.boxes(|_| true),
    };
    TaskResult {
        post_processing_type,
        coordinates,
        text: plain_text(&answer.text, coordinates),
        score: parser.scores.text(),
        regions,
    }
}

/// The answer without frame tokens. The reference keeps `<pad>` in plain text, and only there.
fn plain_text(text: &str, coordinates: Coordinates) -> String {
    let frame_tokens = match coordinates {
        Coordinates::BinCenters => FRAME_TOKENS.as_slice(),
        Coordinates::HfIntegers => &["<s>", "</s>"],
    };
    let text = frame_tokens
        .iter()
        .fold(text.to_owned(), |text, token| text.replace(token, ""));
    text.trim_matches(is_space).to_owned()
}

struct Parser<'a> {
    scanned: Scanned,
    scores: Scores<'a>,
    quantizer: Quantizer,
}

/// A phrase: the bytes of the text before a run of units, and the run.
struct Phrase {
    text: Range<usize>,
    units: Range<usize>,
}

/// The name of a region, and the log-probabilities of its tokens.
#[derive(Default)]
struct Label {
    text: String,
    log_probs: LogProbs,
}

impl Parser<'_> {
    /// Boxes of every phrase with locations. They share the phrase's text as their label.
    ///
    /// [`Coordinates::HfIntegers`] removes characters outside ASCII from labels after the call of `keep`.
    fn boxes(&self, keep: impl Fn(&str) -> bool) -> Vec<Region> {
        let mut regions = Vec::new();
        for phrase in self.phrases(Unit::is_location, BOX_LOCATIONS) {
            let Some(text) = self.trimmed_line(phrase.text) else {
                continue;
            };
            if keep(&self.scanned.text[text.clone()]) {
                let mut label = self.label(&text);
                if self.quantizer.coordinates == Coordinates::HfIntegers {
                    label.text.retain(|character| character.is_ascii());
                }
                self.push_boxes(&label, phrase.units, &mut regions);
            }
        }
        regions
    }

    /// Boxes of every run of locations.
    fn boxes_without_labels(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        for locations in self.runs(Unit::is_location, BOX_LOCATIONS) {
            self.push_boxes(&Label::default(), locations, &mut regions);
        }
        regions
    }

    /// Boxes of every run of locations, labelled with the words right before it if there are any.
    /// The reference has no regions in plain text.
    fn boxes_in_text(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        for locations in self.runs(Unit::is_location, BOX_LOCATIONS) {
            let before = match locations.start.checked_sub(1) {
                Some(index) => &self.scanned.units[index..locations.start],
                None => &[],
            };
            let label = match before {
                [unit] if unit.kind == UnitKind::Text => {
                    self.label(&self.trimmed(unit.range.clone()))
                }
                _ => Label::default(),
            };
            self.push_boxes(&label, locations, &mut regions);
        }
        regions
    }

    /// Adds a box for every four locations; a remainder is dropped.
    fn push_boxes(&self, label: &Label, locations: Range<usize>, regions: &mut Vec<Region>) {
        let bins = self.scanned.bins(locations.clone());
        let starts = locations.step_by(BOX_LOCATIONS);
        for ([x1, y1, x2, y2], start) in bins.as_chunks::<BOX_LOCATIONS>().0.iter().zip(starts) {
            let [x1, y1] = self.quantizer.dequantize([*x1, *y1]);
            let [x2, y2] = self.quantizer.dequantize([*x2, *y2]);
            let shape = Shape::Box(BoundingBox { x1, y1, x2, y2 });
            let units = start..start + BOX_LOCATIONS;
            regions.push(self.region(shape, label, units, regions.len()));
        }
    }

    /// Text lines: any text within a line, then eight locations. Further locations belong to the
    /// text of the next line, as in the reference. Lines below the threshold of the area are
    /// dropped.
    fn quads(&self, area_threshold: f64) -> Vec<Region> {
        let Scanned { text, units, .. } = &self.scanned;
        let ahead = self.scanned.ahead(Unit::is_location);
        let mut regions = Vec::new();
        let (mut content_start, mut index) = (0, 0);
        while let Some(unit) = units.get(index) {
            let content = content_start..unit.range.start;
            count(unit.range.len());
            if ahead[index] >= QUAD_LOCATIONS && !content.is_empty() {
                let label = self.label(&self.trimmed(content));
                let quad = index..index + QUAD_LOCATIONS;
                index = quad.end;
                content_start = units[index - 1].range.end;
                if let Ok(corners) = self.points(quad.clone()).try_into()
                    && !is_below(area_threshold, self.quantizer.image_size, &corners)
                {
                    let shape = Shape::Quad(corners);
                    regions.push(self.region(shape, &label, quad, regions.len()));
                }
                continue;
            }
            if let Some(newline) = text[unit.range.clone()].rfind('\n') {
                content_start = unit.range.start + newline + 1;
            }
            index += 1;
        }
        regions
    }

    /// Polygons of every run of locations and tags.
    fn polygons(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        for units in self.runs(Unit::is_polygon_part, POLYGON_UNITS) {
            // If a run begins with a location, the reference skips it before it searches for a
            // label, which can consist of tags.
            let first = &self.scanned.units[units.start];
            let skipped = usize::from(first.is_location());
            let start = if first.is_location() {
                first.range.end
            } else {
                first.range.start
            };
            let text = start..start;
            self.push_polygons(&Phrase { text, units }, skipped, &mut regions);
        }
        regions
    }

    /// Polygons of every phrase of locations and tags.
    fn polygons_with_labels(&self) -> Vec<Region> {
        let mut regions = Vec::new();
        for phrase in self.phrases(Unit::is_polygon_part, POLYGON_UNITS) {
            self.push_polygons(&phrase, 0, &mut regions);
        }
        regions
    }

    /// Adds the polygons of a phrase. Its label ends before the first location or `<poly>` after
    /// the skipped units.
    fn push_polygons(&self, phrase: &Phrase, skipped: usize, regions: &mut Vec<Region>) {
        count(phrase.units.len());
        let mut after = self.scanned.units[phrase.units.clone()]
            .iter()
            .skip(skipped);
        let ends_label = |unit: &&Unit| unit.is_location() || unit.kind == UnitKind::PolygonStart;
        let Some(label_end) = after.find(ends_label) else {
            return;
        };
        let Some(text) = self.trimmed_line(phrase.text.start..label_end.range.start) else {
            return;
        };
        let label = self.label(&text);
        for units in self.polygon_instances(phrase.units.clone()) {
            let instance = regions.last().map_or(0, |region| region.instance + 1);
            for ring in self.rings(units) {
                let shape = Shape::Polygon(self.points(ring.clone()));
                regions.push(self.region(shape, &label, ring, instance));
            }
        }
    }

    /// The units between `<poly>` and `</poly>`, or the whole run if either is missing.
    fn polygon_instances(&self, run: Range<usize>) -> Vec<Range<usize>> {
        let units = &self.scanned.units;
        count(run.len());
        let has = |kind: UnitKind| units[run.clone()].iter().any(|unit| unit.kind == kind);
        if !(has(UnitKind::PolygonStart) && has(UnitKind::PolygonEnd)) {
            return vec![run];
        }
        let mut instances = Vec::new();
        let mut start = None;
        for index in run {
            match (units[index].kind, start) {
                (UnitKind::PolygonStart, None) => start = Some(index + 1),
                (UnitKind::PolygonEnd, Some(begin)) => {
                    instances.push(begin..index);
                    start = None;
                }
                _ => {}
            }
        }
        instances
    }

    /// Runs of locations that end at `<sep>` or at the end of the instance; an odd last coordinate
    /// is dropped.
    fn rings(&self, instance: Range<usize>) -> Vec<Range<usize>> {
        let units = &self.scanned.units;
        count(instance.len());
        let mut rings = Vec::new();
        let mut begin = instance.start;
        for index in instance.clone() {
            if units[index].is_location() {
                continue;
            }
            if units[index].kind == UnitKind::Separator {
                rings.push(begin..index);
            }
            begin = index + 1;
        }
        rings.push(begin..instance.end);
        let whole_points = |ring: Range<usize>| ring.start..ring.end - ring.len() % 2;
        rings
            .into_iter()
            .filter(|ring| !ring.is_empty())
            .map(whole_points)
            // The reference has a ring without points for a single coordinate.
            .filter(|ring| {
                !ring.is_empty() || self.quantizer.coordinates == Coordinates::HfIntegers
            })
            .collect()
    }

    /// Every longest run of at least `least` units for which `is_member` is true.
    fn runs(&self, is_member: impl Fn(&Unit) -> bool, least: usize) -> Vec<Range<usize>> {
        let ahead = self.scanned.ahead(is_member);
        let mut runs = Vec::new();
        let mut index = 0;
        while index < self.scanned.units.len() {
            count(1);
            if ahead[index] >= least {
                runs.push(index..index + ahead[index]);
            }
            index += ahead[index].max(1);
        }
        runs
    }

    /// Every run of at least `least` units for which `is_member` is true, after text other than
    /// `<`: the reference's pattern `[^<]+(?:..){least,}`.
    ///
    /// Within a tag that belongs to no phrase, that pattern treats the part after the tag's `<` as
    /// text.
    fn phrases(&self, is_member: impl Fn(&Unit) -> bool, least: usize) -> Vec<Phrase> {
        let ahead = self.scanned.ahead(is_member);
        let mut phrases = Vec::new();
        let (mut text_start, mut index) = (0, 0);
        while let Some(unit) = self.scanned.units.get(index) {
            let text = text_start..unit.range.start;
            count(1);
            if ahead[index] >= least && !text.is_empty() {
                let units = index..index + ahead[index];
                index = units.end;
                text_start = self.scanned.units[index - 1].range.end;
                phrases.push(Phrase { text, units });
                continue;
            }
            if unit.kind != UnitKind::Text {
                text_start = unit.range.start + "<".len();
            }
            index += 1;
        }
        phrases
    }

    /// The points of the locations among some units, in pixels; an odd last location is dropped.
    fn points(&self, units: Range<usize>) -> Vec<[f64; 2]> {
        let bins = self.scanned.bins(units);
        let points = bins.as_chunks::<2>().0.iter();
        points
            .map(|bins| self.quantizer.dequantize(*bins))
            .collect()
    }

    fn region(&self, shape: Shape, label: &Label, units: Range<usize>, instance: usize) -> Region {
        count(units.len() + label.text.len());
        let locations = self.scanned.source_range(&self.scanned.text_range(units));
        Region {
            shape,
            label: label.text.clone(),
            instance,
            score: self.scores.region(label.log_probs, &locations),
        }
    }

    fn label(&self, text: &Range<usize>) -> Label {
        count(text.len());
        Label {
            text: self.scanned.text[text.clone()].to_owned(),
            log_probs: self.scores.over(&self.scanned.source_range(text)),
        }
    }

    /// The range of a text without the white space around it.
    fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        count(range.len());
        let begun = self.scanned.text[range.clone()].trim_start_matches(is_space);
        let start = range.end - begun.len();
        start..start + begun.trim_end_matches(is_space).len()
    }

    /// Like [`Self::trimmed`]; `None` if a line ends after the first word, which the reference's
    /// pattern does not match.
    fn trimmed_line(&self, range: Range<usize>) -> Option<Range<usize>> {
        let end = range.end;
        count(range.len());
        let trimmed = self.trimmed(range);
        (!self.scanned.text[trimmed.start..end].contains('\n')).then_some(trimmed)
    }
}

/// Returns whether a quadrilateral is smaller than a positive fraction of the image's area.
///
/// The area is the reference's: the shoelace formula without the edge from the last corner to
/// the first.
pub(crate) fn is_below(
    area_threshold: f64,
    image_size: ImageSize,
    corners: &[[f64; 2]; 4],
) -> bool {
    let ImageSize { width, height } = image_size;
    let image_area = (u64::from(width) * u64::from(height)) as f64;
    let edges = corners.iter().zip(&corners[1..]);
    let twice_area: f64 = edges.map(|([x1, y1], [x2, y2])| x1 * y2 - x2 * y1).sum();
    area_threshold > 0.0 && 0.5 * twice_area.abs() < image_area * area_threshold
}

/// White space in Python's sense: Unicode's and the four separators.
pub(crate) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::steps_of;
    use crate::types::TokenSpan;

    const POST_PROCESSING_TYPES: [PostProcessingType; 7] = [
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

    /// Parts whose repetition causes quadratic time in a parser that looks back or ahead.
    const PARTS: [&str; 21] = [
        "<sep>",
        "<poly>",
        "</poly>",
        "<s>",
        "</s>",
        "<pad>",
        "<od>",
        "<",
        ">",
        "<loc_",
        "<loc_x>",
        "\n",
        " ",
        "the image",
        "\u{e4}",
        "<loc_1>",
        "<loc_1><loc_2><loc_3><loc_4>car",
        "<poly><loc_1><loc_2><loc_3><loc_4><loc_5><loc_6>",
        "<loc_1><loc_2><loc_3><loc_4><sep>",
        "a line<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>",
        "a line<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7>",
    ];

    /// The answer of `count` equal parts, one token each.
    fn repeated(part: &str, count: usize) -> ScoredText {
        let span = |index| TokenSpan {
            range: index * part.len()..(index + 1) * part.len(),
            token_id: 0,
            log_prob: -1.0,
            location_log_prob: -1.0,
        };
        ScoredText {
            text: part.repeat(count),
            tokens: (0..count).map(span).collect(),
        }
    }

    #[test]
    fn steps_grow_linearly_with_the_text() {
        const COUNT: usize = 2000;
        for part in PARTS {
            for post_processing_type in POST_PROCESSING_TYPES {
                let steps = |count: usize| {
                    let answer = repeated(part, count);
                    let (result, steps) = steps_of(|| {
                        parse(&answer, post_processing_type, SIZE, Coordinates::BinCenters)
                    });
                    assert!(
                        result.regions.len() <= 2 * count,
                        "{post_processing_type:?} of {part:?}"
                    );
                    steps
                };
                let (once, twice) = (steps(COUNT), steps(2 * COUNT));
                assert!(
                    once >= part.len() * COUNT,
                    "{post_processing_type:?} of {part:?}: {once} steps"
                );
                // Binary searches add a logarithm.
                assert!(
                    10 * twice <= 21 * once,
                    "{post_processing_type:?} of {part:?}: {once} steps, {twice} for twice the text"
                );
            }
        }
    }

    /// The counter of the test above detects quadratic work.
    #[test]
    fn quadratic_work_has_quadratic_steps() {
        let steps = |length: usize| {
            let parser_work = || (0..length).for_each(|index| count(length - index));
            steps_of(parser_work).1
        };
        assert!(10 * steps(2000) > 21 * steps(1000));
    }
}
