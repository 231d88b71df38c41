//! Checks of prefixes and suffixes, without image and tokenizer.

use std::collections::BTreeSet;

use florence2_postprocess::{
    BINS, Coordinates, ImageSize, PostProcessingType, PostProcessorConfig, Region, ScoredText,
    Shape, parse_with,
};
use florence2_processor::Prompt;

use crate::example::{Annotation, Example};
use crate::report::{Finding, FindingKind};

/// An image size with which the centre of bin N is N + 0.5.
const BIN_SIZE: ImageSize = ImageSize {
    width: BINS,
    height: BINS,
};

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
    let suffix = &example.suffix;
    let regions = regions(suffix, post_processing_type);
    let (error, warning) = (
        |found: String, expected: &str| {
            Finding::error(
                example.source.clone(),
                FindingKind::Grammar,
                found,
                expected,
            )
        },
        |kind: FindingKind, found: String, expected: &str| {
            Finding::warning(example.source.clone(), kind, found, expected)
        },
    );
    let mut findings = Vec::new();
    let points: usize = regions
        .iter()
        .map(|region| region.shape.points().len())
        .sum();
    let locations = suffix.matches("<loc_").count();
    let expected = grammar(post_processing_type);
    if post_processing_type != PostProcessingType::PureText {
        if regions.is_empty() {
            findings.push(error(
                format!("no region in the suffix {suffix:?}"),
                expected,
            ));
            return findings;
        }
        if 2 * points < locations {
            let lost = locations - 2 * points;
            findings.push(error(
                format!("{lost} locations that belong to no region"),
                expected,
            ));
        } else if let Some(segment) = unread_text(suffix, &regions) {
            let found = format!("the text {segment:?}, which the parser does not read as a label");
            findings.push(warning(FindingKind::Grammar, found, expected));
        }
        if suffix.contains(" <loc_") {
            let (found, expected) = (
                "a space before a location",
                "none, as in the published model's answers",
            );
            findings.push(warning(FindingKind::Grammar, found.to_owned(), expected));
        }
    } else if 2 * points < locations {
        let lost = locations - 2 * points;
        let found = format!("{lost} locations that form no box");
        findings.push(warning(
            FindingKind::Grammar,
            found,
            "four locations per box",
        ));
    }
    if post_processing_type == PostProcessingType::PhraseGrounding {
        let banned = PostProcessorConfig::default().banned_phrases;
        let labels: BTreeSet<&str> = regions.iter().map(|region| region.label.as_str()).collect();
        for label in labels.into_iter().filter(|label| banned.contains(*label)) {
            let found = format!("the phrase {label:?}, which the parser drops");
            findings.push(warning(FindingKind::Label, found, "another phrase"));
        }
    }
    for (found, expected) in regions.iter().filter_map(region_fault) {
        findings.push(warning(FindingKind::Region, found, expected));
    }
    findings
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
            let location = || text.starts_with("<loc_").then(|| text.find('>')).flatten();
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
fn region_fault(region: &Region) -> Option<(String, &'static str)> {
    let label = &region.label;
    let bins = |value: f64| value.floor();
    match &region.shape {
        Shape::Box(corners) if corners.x1 >= corners.x2 || corners.y1 >= corners.y2 => {
            let [x1, y1, x2, y2] = <[f64; 4]>::from(*corners).map(bins);
            let found = format!("the box <loc_{x1}><loc_{y1}><loc_{x2}><loc_{y2}> of {label:?}");
            Some((found, "a box with an area, upper left corner first"))
        }
        Shape::Polygon(ring) if ring.len() < 3 => Some((
            format!("a polygon of {} points of {label:?}", ring.len()),
            "at least 3 points",
        )),
        _ => None,
    }
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
