//! Checks of prefixes and suffixes, without image and tokenizer.

use std::collections::BTreeSet;

use florence2_postprocess::{
    BINS, Coordinates, ImageSize, PostProcessingType, PostProcessorConfig, Region, ScoredText,
    Shape, parse_with,
};
use florence2_processor::Prompt;

use crate::example::{Annotation, Example};
use crate::report::{Finding, FindingKind, Severity};

/// An image size with which the centre of bin N is N + 0.5.
const BIN_SIZE: ImageSize = ImageSize {
    width: BINS,
    height: BINS,
};

/// Tokens that the parser removes, in its order.
const FRAME_TOKENS: [&str; 3] = ["<s>", "</s>", "<pad>"];

/// The faults of an example's texts.
pub(crate) fn text_findings(example: &Example) -> Vec<Finding> {
    let prompt = match example.prompt() {
        Ok(prompt) => prompt,
        Err(error) => return vec![prefix_error(example, &error)],
    };
    if let Err(error) = prompt.expand(BIN_SIZE) {
        return vec![prefix_error(example, &error)];
    }
    let texts = [(&example.prefix, "prefix"), (&example.suffix, "suffix")];
    let locations = texts
        .iter()
        .filter_map(|(text, name)| location_findings(example, text, name));
    let mut findings: Vec<Finding> = locations.collect();
    if example.suffix.trim().is_empty() {
        findings.extend(empty_suffix(example, &prompt));
    } else if findings.is_empty() {
        findings.extend(grammar_findings(example, prompt.post_processing_type()));
    }
    findings
}

fn prefix_error(example: &Example, error: &florence2_processor::Error) -> Finding {
    Finding::error(
        example.source.clone(),
        FindingKind::Prefix,
        format!("the prefix {:?} ({error})", example.prefix),
        "a prompt: a task token with its input, or a text",
    )
}

/// An empty suffix is an error for a task that answers with text. For other tasks it is an image
/// without objects, which is no fault if it was annotated as such.
fn empty_suffix(example: &Example, prompt: &Prompt) -> Option<Finding> {
    let source = example.source.clone();
    let (kind, found) = (FindingKind::EmptySuffix, "an empty suffix");
    if prompt.post_processing_type() == PostProcessingType::PureText {
        return Some(Finding::error(source, kind, found, "a text"));
    }
    let is_annotated = !matches!(example.annotation, Annotation::Suffix);
    let expected = "regions, unless the image has no object";
    (!is_annotated).then(|| Finding::warning(source, kind, found, expected))
}

/// Location tokens that no vocabulary has.
fn location_findings(example: &Example, text: &str, name: &str) -> Option<Finding> {
    let wrong = wrong_locations(text);
    if wrong.is_empty() {
        return None;
    }
    let wrong: Vec<&str> = wrong.into_iter().collect();
    Some(Finding::error(
        example.source.clone(),
        FindingKind::Location,
        format!("{} in the {name}", wrong.join(", ")),
        "<loc_0> to <loc_999>",
    ))
}

/// The malformed location tokens and those out of range.
fn wrong_locations(text: &str) -> BTreeSet<&str> {
    const BEGIN: &str = "<loc_";
    let mut wrong = BTreeSet::new();
    for (start, _) in text.match_indices(BEGIN) {
        let after = &text[start + BEGIN.len()..];
        let end = after.find(['<', '>', ' ', '\n']).unwrap_or(after.len());
        let is_closed = after[end..].starts_with('>');
        if !is_closed || !is_bin(&after[..end]) {
            let end = start + BEGIN.len() + end + usize::from(is_closed);
            wrong.insert(&text[start..end]);
        }
    }
    wrong
}

/// Returns whether a text is a bin as the tokens have it: 0 to 999 without leading zeros.
fn is_bin(text: &str) -> bool {
    let bin = text.parse::<u32>().ok().filter(|bin| *bin < BINS);
    bin.is_some_and(|bin| bin.to_string() == text)
}

/// The regions of a text, with the centres of bins as N + 0.5. No phrase is dropped.
pub(crate) fn regions(text: &str, post_processing_type: PostProcessingType) -> Vec<Region> {
    let config = PostProcessorConfig::default().banned_phrases::<String>([]);
    let answer = ScoredText::unscored(text);
    let coordinates = Coordinates::BinCenters;
    parse_with(
        &answer,
        post_processing_type,
        BIN_SIZE,
        coordinates,
        &config,
    )
    .regions
}

/// Parts of a suffix that the parser of its task does not read, and faulty regions.
fn grammar_findings(example: &Example, post_processing_type: PostProcessingType) -> Vec<Finding> {
    let frames = FRAME_TOKENS.iter();
    // As the parser reads it.
    let suffix = &frames.fold(example.suffix.clone(), |text, token| {
        text.replace(token, "")
    });
    let regions = regions(suffix, post_processing_type);
    let mut faults: Vec<Fault> = match post_processing_type {
        PostProcessingType::PureText => lost_locations(suffix, &regions).into_iter().collect(),
        with_regions => unread_parts(suffix, &regions, grammar(with_regions)),
    };
    if post_processing_type == PostProcessingType::PhraseGrounding {
        faults.extend(banned_phrases(&regions));
    }
    faults.extend(frame_tokens(&example.suffix));
    faults.extend(regions.iter().filter_map(region_fault));
    let finding = |fault: Fault| Finding {
        severity: fault.severity,
        ..Finding::error(
            example.source.clone(),
            fault.kind,
            fault.found,
            fault.expected,
        )
    };
    faults.into_iter().map(finding).collect()
}

/// A fault of a suffix.
struct Fault {
    severity: Severity,
    kind: FindingKind,
    found: String,
    expected: &'static str,
}

impl Fault {
    fn error(kind: FindingKind, found: String, expected: &'static str) -> Self {
        Self {
            severity: Severity::Error,
            kind,
            found,
            expected,
        }
    }

    fn warning(kind: FindingKind, found: String, expected: &'static str) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(kind, found, expected)
        }
    }
}

/// Tokens that the tokenizer adds around an answer, and that the parser removes.
fn frame_tokens(suffix: &str) -> Option<Fault> {
    let tokens = FRAME_TOKENS.into_iter();
    let found: Vec<&str> = tokens.filter(|token| suffix.contains(token)).collect();
    (!found.is_empty()).then(|| {
        let found = format!("{} in the suffix", found.join(", "));
        let expected = "none, since the tokenizer adds <s> and </s>";
        Fault::warning(FindingKind::Grammar, found, expected)
    })
}

/// The number of locations that are not part of a region.
fn lost(suffix: &str, regions: &[Region]) -> usize {
    let points = regions.iter().map(|region| region.shape.points().len());
    let locations = suffix.matches("<loc_").count();
    // Removing frame tokens a second time, as the parser does, can join parts of a text to a location.
    locations.saturating_sub(2 * points.sum::<usize>())
}

/// Locations of a text that form no box. A free answer may have them.
fn lost_locations(suffix: &str, regions: &[Region]) -> Option<Fault> {
    let lost = lost(suffix, regions);
    (lost > 0).then(|| {
        let found = format!("{lost} locations that form no box");
        Fault::warning(FindingKind::Grammar, found, "four locations per box")
    })
}

/// Parts of a suffix of regions that are not read.
fn unread_parts(suffix: &str, regions: &[Region], grammar: &'static str) -> Vec<Fault> {
    let kind = FindingKind::Grammar;
    if regions.is_empty() {
        let found = format!("no region in the suffix {suffix:?}");
        return vec![Fault::error(kind, found, grammar)];
    }
    let mut faults = Vec::new();
    let lost = lost(suffix, regions);
    if lost > 0 {
        let found = format!("{lost} locations that belong to no region");
        faults.push(Fault::error(kind, found, grammar));
    } else if let Some(segment) = unread_text(suffix, regions) {
        let found = format!("the text {segment:?}, which the parser does not read as a label");
        faults.push(Fault::warning(kind, found, grammar));
    }
    if suffix.contains(" <loc_") {
        let found = "a space before a location".to_owned();
        let expected = "none, as in the published model's answers";
        faults.push(Fault::warning(kind, found, expected));
    }
    faults
}

/// Phrases of a grounding that the parser drops.
fn banned_phrases(regions: &[Region]) -> Vec<Fault> {
    let banned = PostProcessorConfig::default().banned_phrases;
    let labels: BTreeSet<&str> = regions.iter().map(|region| region.label.as_str()).collect();
    let labels = labels.into_iter().filter(|label| banned.contains(*label));
    let fault = |label| {
        let found = format!("the phrase {label:?}, which the parser drops");
        Fault::warning(FindingKind::Label, found, "another phrase")
    };
    labels.map(fault).collect()
}

/// The grammar of a type.
fn grammar(post_processing_type: PostProcessingType) -> &'static str {
    match post_processing_type {
        PostProcessingType::PureText => "a text",
        PostProcessingType::DescriptionWithBboxes | PostProcessingType::PhraseGrounding => {
            "labels, each with four locations per box"
        }
        PostProcessingType::Bboxes => "four locations per box",
        PostProcessingType::Ocr => "texts, each with eight locations",
        PostProcessingType::Polygons => "polygons of two locations per point",
        PostProcessingType::DescriptionWithBboxesOrPolygons => {
            "labels, each with four locations per box, or with <poly>, locations and </poly>"
        }
    }
}

/// The first text between locations and tags that is no label of a region. Regions of one label may
/// share it.
fn unread_text<'a>(suffix: &'a str, regions: &[Region]) -> Option<&'a str> {
    let mut labels = regions.iter().map(|region| region.label.as_str());
    let mut label = labels.next();
    for segment in segments(suffix) {
        // Skips further regions of the previous label.
        while label.is_some_and(|label| label != segment) {
            label = labels.next();
        }
        if label.is_none() {
            return Some(segment);
        }
    }
    None
}

/// The texts between location tokens and tags of polygons, without surrounding white space.
fn segments(suffix: &str) -> impl Iterator<Item = &str> {
    let tags = ["<sep>", "<poly>", "</poly>"];
    let mut rest = suffix;
    let next = move || {
        if rest.is_empty() {
            return None;
        }
        let tag = |text: &str| {
            let tag = tags.into_iter().find(|tag| text.starts_with(tag));
            let location = || {
                let after = text.strip_prefix("<loc_")?;
                let end = after.find(['<', '>'])?;
                after[end..].starts_with('>').then_some("<loc_".len() + end)
            };
            tag.map(str::len).or_else(|| location().map(|end| end + 1))
        };
        let mut starts = rest.match_indices('<');
        let (end, length) = starts
            .find_map(|(start, _)| Some((start, tag(&rest[start..])?)))
            .unwrap_or((rest.len(), 0));
        let segment = rest[..end].trim();
        rest = &rest[end + length..];
        Some(segment)
    };
    std::iter::from_fn(next).filter(|segment| !segment.is_empty())
}

/// The fault of a region: a box without area or with swapped corners, or a polygon without area.
fn region_fault(region: &Region) -> Option<Fault> {
    let label = &region.label;
    let (found, expected) = match &region.shape {
        Shape::Box(corners) if corners.x1 >= corners.x2 || corners.y1 >= corners.y2 => {
            let [x1, y1, x2, y2] = <[f64; 4]>::from(*corners).map(f64::floor);
            let found = format!("the box <loc_{x1}><loc_{y1}><loc_{x2}><loc_{y2}> of {label:?}");
            (found, "a box with an area, upper left corner first")
        }
        Shape::Polygon(ring) if ring.len() < 3 => {
            let found = format!("a polygon of {} points of {label:?}", ring.len());
            (found, "at least 3 points")
        }
        _ => return None,
    };
    Some(Fault::warning(FindingKind::Region, found, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_locations_are_found() {
        let text = "a<loc_0><loc_999><loc_1000><loc_-1><loc_01><loc_1.5><loc_><loc_7<loc_8 ><loc_9";
        let expected = [
            "<loc_-1>",
            "<loc_01>",
            "<loc_1.5>",
            "<loc_1000>",
            "<loc_7",
            "<loc_8",
            "<loc_9",
            "<loc_>",
        ];
        assert_eq!(wrong_locations(text), BTreeSet::from(expected));
        assert!(wrong_locations("no <location> at all").is_empty());
    }

    #[test]
    fn texts_between_tags() {
        let text = "a b<loc_1><loc_2> c < d <poly><loc_3><sep></poly>e";
        let found: Vec<&str> = segments(text).collect();
        assert_eq!(found, ["a b", "c < d", "e"]);
    }
}
