//! Comparison of an answer with its published part.

use florence2::{Answer, Coordinates, Tokenizer};
use serde_json::Value;

use super::cases::Expected;

/// The published boxes have two decimals.
const BOX_TOLERANCE_PX: f64 = 0.01;

impl Expected {
    /// The convention of the published coordinates.
    pub(super) fn coordinates(&self) -> Coordinates {
        match self {
            Self::Hf(_) => Coordinates::HfIntegers,
            _ => Coordinates::BinCenters,
        }
    }

    /// Returns the first difference between the published output and an answer.
    pub(super) fn difference(&self, answer: &Answer, tokenizer: &Tokenizer) -> Option<String> {
        match self {
            Self::TokenIds(expected) => token_difference(&answer.token_ids, expected, tokenizer),
            Self::Text(expected) => differs(&answer.text, expected),
            Self::TextPrefix(expected) => {
                let found = &answer.text;
                (!found.starts_with(expected.as_str())).then(|| {
                    format!("found `{found}`, expected a text that begins with `{expected}`")
                })
            }
            Self::Bboxes(expected) => box_difference(answer, expected),
            Self::Hf(expected) => hf_difference(answer, expected),
        }
    }
}

fn differs(found: &str, expected: &str) -> Option<String> {
    (found != expected).then(|| format!("found `{found}`, expected `{expected}`"))
}

/// The first token that differs. If only location tokens differ, also their largest distance.
fn token_difference(found: &[u32], expected: &[u32], tokenizer: &Tokenizer) -> Option<String> {
    if found == expected {
        return None;
    }
    let longest = found.len().max(expected.len());
    let index = (0..longest).find(|index| found.get(*index) != expected.get(*index))?;
    let text = |ids: &[u32]| match ids.get(index) {
        Some(id) => format!("`{}` ({id})", tokenizer.decode(&[*id])),
        None => "the end".to_owned(),
    };
    let (token, last) = (text(found), text(expected));
    let first = format!(
        "token {index} of {}: found {token}, expected {last}",
        expected.len()
    );
    Some(match location_distance(found, expected, tokenizer) {
        Some(distance) => format!("{first}; only locations differ, by at most {distance} bins"),
        None => first,
    })
}

/// The largest distance in bins, if the sequences differ only in location tokens.
fn location_distance(found: &[u32], expected: &[u32], tokenizer: &Tokenizer) -> Option<u32> {
    if found.len() != expected.len() {
        return None;
    }
    let bin = |id: u32| -> Option<u32> {
        let token = tokenizer.decode(&[id]);
        token.strip_prefix("<loc_")?.strip_suffix('>')?.parse().ok()
    };
    let differing = found
        .iter()
        .zip(expected)
        .filter(|(found, expected)| found != expected);
    let distances = differing.map(|(found, expected)| Some(bin(*found)?.abs_diff(bin(*expected)?)));
    distances.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn box_difference(answer: &Answer, expected: &[[f64; 4]]) -> Option<String> {
    let boxes = answer.regions.iter().map(|region| {
        let points = region.shape.points();
        let corners: Vec<f64> = points.into_iter().flatten().collect();
        corners
    });
    let found: Vec<Vec<f64>> = boxes.collect();
    let near = |(found, expected): (&Vec<f64>, &[f64; 4])| {
        found.len() == expected.len()
            && found
                .iter()
                .zip(expected)
                .all(|(found, expected)| (found - expected).abs() <= BOX_TOLERANCE_PX)
    };
    let equal = found.len() == expected.len() && found.iter().zip(expected).all(near);
    (!equal).then(|| format!("found {found:.2?}, expected {expected:.2?}"))
}

fn hf_difference(answer: &Answer, expected: &Value) -> Option<String> {
    let result = answer.to_hf_json();
    let found = result.as_object().and_then(|result| result.values().next());
    let found = found.unwrap_or(&Value::Null);
    (found != expected).then(|| format!("found {found}, expected {expected}"))
}
