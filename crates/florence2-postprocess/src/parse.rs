//! One parser per family of answers, each a single pass over the units.

use std::ops::Range;

use crate::grounding::is_banned;
use crate::scanner::{Scanned, UnitKind};
use crate::score::Scores;
use crate::{
    AnswerFamily, Compat, ImageSize, Quantizer, Region, RegionKind, ScoredText, TaskResult,
};

/// Locations of a box.
const BOX_LOCATIONS: usize = 4;
/// Locations of a text line's quadrilateral.
const QUAD_LOCATIONS: usize = 8;
/// Locations and tags that a polygon's phrase has at least.
const POLYGON_UNITS: usize = 4;

/// Parses a generated text.
///
/// Never fails: what does not fit the family's grammar is left out, as in the reference.
pub fn parse(
    answer: &ScoredText,
    family: AnswerFamily,
    image_size: ImageSize,
    compat: Compat,
) -> TaskResult {
    let scanned = Scanned::new(&answer.text);
    let parser = Parser {
        scanned: &scanned,
        scores: Scores::new(&answer.tokens),
        quantizer: Quantizer { image_size, compat },
    };
    let regions = match family {
        AnswerFamily::Text | AnswerFamily::BoxesWithoutLabels => parser.boxes_without_labels(),
        AnswerFamily::Boxes => parser.boxes(|_| true),
        AnswerFamily::Grounding => parser.boxes(|phrase| !is_banned(phrase)),
        AnswerFamily::Ocr => parser.quads(),
        AnswerFamily::Polygons => parser.polygons(Labels::Optional),
        AnswerFamily::BoxesOrPolygons if answer.text.contains("<poly>") => {
            parser.polygons(Labels::Required)
        }
        AnswerFamily::BoxesOrPolygons => parser.boxes(|_| true),
    };
    TaskResult {
        family,
        compat,
        text: plain_text(&answer.text, compat),
        score: parser.text_score(answer),
        regions,
    }
}

/// The answer without frame tokens. transformers leaves `<pad>` in.
fn plain_text(text: &str, compat: Compat) -> String {
    let text = text.replace("<s>", "").replace("</s>", "");
    let text = match compat {
        Compat::Centers => text.replace("<pad>", ""),
        Compat::Hf => text,
    };
    strip(&text).to_owned()
}

/// Whether a polygon's phrase must begin with text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Labels {
    Required,
    Optional,
}

struct Parser<'a> {
    scanned: &'a Scanned,
    scores: Scores<'a>,
    quantizer: Quantizer,
}

impl Parser<'_> {
    /// Text followed by boxes, each box labelled with it.
    fn boxes(&self, keep: impl Fn(&str) -> bool) -> Vec<Region> {
        let runs = self.scanned.location_runs();
        let mut regions = Vec::new();
        for (index, unit) in self.scanned.units.iter().enumerate() {
            if unit.kind != UnitKind::Text || runs[index + 1] < BOX_LOCATIONS {
                continue;
            }
            let Some(phrase) = one_line(&self.scanned.text[unit.range.clone()]) else {
                continue;
            };
            if keep(phrase) {
                let locations = index + 1..index + 1 + runs[index + 1];
                self.push_boxes(&ascii(phrase), &unit.range, locations, &mut regions);
            }
        }
        regions
    }

    /// Boxes of every run of locations.
    fn boxes_without_labels(&self) -> Vec<Region> {
        let runs = self.scanned.location_runs();
        let mut regions = Vec::new();
        let mut index = 0;
        while index < self.scanned.units.len() {
            self.push_boxes("", &(0..0), index..index + runs[index], &mut regions);
            index += runs[index].max(1);
        }
        regions
    }

    /// Every four locations make a box; a remainder is dropped.
    fn push_boxes(
        &self,
        label: &str,
        label_range: &Range<usize>,
        locations: Range<usize>,
        regions: &mut Vec<Region>,
    ) {
        for start in locations.clone().step_by(BOX_LOCATIONS) {
            let units = start..start + BOX_LOCATIONS;
            if units.end > locations.end {
                break;
            }
            let instance = regions.len();
            regions.push(self.region(RegionKind::Box, label, label_range, units, instance));
        }
    }

    /// Text lines: anything within a line, then exactly eight locations.
    fn quads(&self) -> Vec<Region> {
        let runs = self.scanned.location_runs();
        let text = &self.scanned.text;
        let mut regions = Vec::new();
        let (mut content_start, mut index) = (0, 0);
        while index < self.scanned.units.len() {
            let unit = &self.scanned.units[index];
            let content = content_start..unit.range.start;
            if runs[index] >= QUAD_LOCATIONS && !content.is_empty() {
                let label = strip(&text[content.clone()]);
                let units = index..index + QUAD_LOCATIONS;
                let instance = regions.len();
                regions.push(self.region(RegionKind::Quad, label, &content, units, instance));
                index += QUAD_LOCATIONS;
                content_start = self.scanned.units[index - 1].range.end;
                continue;
            }
            if let Some(newline) = text[unit.range.clone()].rfind('\n') {
                content_start = unit.range.start + newline + 1;
            }
            index += 1;
        }
        regions
    }

    /// Runs of locations and polygon tags, after a text where labels are required.
    fn polygons(&self, labels: Labels) -> Vec<Region> {
        let units = &self.scanned.units;
        let is_polygon_unit = |index: usize| {
            units
                .get(index)
                .is_some_and(|unit| !matches!(unit.kind, UnitKind::Text | UnitKind::Stray))
        };
        let mut regions = Vec::new();
        let mut instances = 0;
        let mut index = 0;
        while index < units.len() {
            let begin = index;
            if labels == Labels::Required {
                index += 1;
                if units[begin].kind != UnitKind::Text {
                    continue;
                }
            }
            let first = index;
            while is_polygon_unit(index) {
                index += 1;
            }
            if index - first >= POLYGON_UNITS {
                self.push_polygons(begin..index, first, &mut instances, &mut regions);
            }
            if index == begin {
                index += 1;
            }
        }
        regions
    }

    /// The polygons of one phrase: `units` from its label on, polygon units from `first` on.
    fn push_polygons(
        &self,
        units: Range<usize>,
        first: usize,
        instances: &mut usize,
        regions: &mut Vec<Region>,
    ) {
        let Some((label, label_range)) = self.polygon_label(units.clone()) else {
            return;
        };
        for instance_units in self.polygon_instances(first..units.end) {
            let before = regions.len();
            for ring in self.rings(instance_units) {
                let kind = RegionKind::Polygon;
                regions.push(self.region(kind, &label, &label_range, ring, *instances));
            }
            *instances += usize::from(regions.len() > before);
        }
    }

    /// What stands before the first location or `<poly>`, a leading location left out.
    fn polygon_label(&self, units: Range<usize>) -> Option<(String, Range<usize>)> {
        let kind = |index: usize| self.scanned.units[index].kind;
        let skipped = usize::from(matches!(kind(units.start), UnitKind::Location(_)));
        let begin = units.start + skipped;
        let end = (begin..units.end)
            .find(|index| matches!(kind(*index), UnitKind::Location(_) | UnitKind::PolygonStart))?;
        let range = self.scanned.text_range(begin..end);
        let label = one_line(&self.scanned.text[range.clone()])?;
        Some((label.to_owned(), range))
    }

    /// What stands between `<poly>` and `</poly>`, or everything where one of them is missing.
    fn polygon_instances(&self, units: Range<usize>) -> Vec<Range<usize>> {
        let kind = |index: usize| self.scanned.units[index].kind;
        let has = |wanted: UnitKind| units.clone().any(|index| kind(index) == wanted);
        if !(has(UnitKind::PolygonStart) && has(UnitKind::PolygonEnd)) {
            return vec![units];
        }
        let mut instances = Vec::new();
        let mut start = None;
        for index in units {
            match (kind(index), start) {
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

    /// Runs of locations that end at `<sep>` or with the instance; an odd last coordinate is
    /// dropped.
    fn rings(&self, units: Range<usize>) -> Vec<Range<usize>> {
        let kind = |index: usize| self.scanned.units[index].kind;
        let mut rings = Vec::new();
        let mut index = units.start;
        while index < units.end {
            let begin = index;
            while index < units.end && matches!(kind(index), UnitKind::Location(_)) {
                index += 1;
            }
            let closed = index == units.end || kind(index) == UnitKind::Separator;
            let points = (index - begin) / 2;
            if closed && points > 0 {
                rings.push(begin..begin + 2 * points);
            }
            index += 1;
        }
        rings
    }

    fn region(
        &self,
        kind: RegionKind,
        label: &str,
        label_range: &Range<usize>,
        units: Range<usize>,
        instance: usize,
    ) -> Region {
        let bins = self.scanned.bins(units.clone());
        let (pairs, _) = bins.as_chunks::<2>();
        let locations = self.scanned.source_range(&self.scanned.text_range(units));
        let label_range = match label.is_empty() {
            true => 0..0,
            false => self.scanned.source_range(label_range),
        };
        Region {
            kind,
            label: label.to_owned(),
            points: pairs
                .iter()
                .map(|bins| self.quantizer.dequantize(*bins))
                .collect(),
            instance,
            score: self.scores.region(&label_range, &locations),
        }
    }

    /// The score of everything but the frame tokens.
    fn text_score(&self, answer: &ScoredText) -> Option<f32> {
        answer
            .tokens
            .iter()
            .filter(|token| {
                let text = answer.text.get(token.range.clone()).unwrap_or_default();
                !matches!(text, "<s>" | "</s>" | "<pad>")
            })
            .map(|token| self.scores.over(&token.range))
            .reduce(crate::score::LogProbs::and)?
            .score()
    }
}

/// A phrase without surrounding space; none when it runs over a line's end, which the reference's
/// pattern does not match.
fn one_line(phrase: &str) -> Option<&str> {
    let begun = phrase.trim_start_matches(is_space);
    (!begun.contains('\n')).then(|| begun.trim_end_matches(is_space))
}

fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Python's idea of white space: Unicode's and the four separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

fn ascii(phrase: &str) -> String {
    phrase.chars().filter(char::is_ascii).collect()
}
