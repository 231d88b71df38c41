//! Matches, and helpers of the rules.

use super::chars::{is_alphanumeric, is_apostrophe};
use super::lists::CONTRACTIONS;

/// Longest address, tag and the like, in characters, which bounds the time per position.
pub(super) const LONGEST_SPAN: usize = 300;

/// A token at the beginning of a text.
pub(super) struct Match {
    /// Number of characters of the token.
    pub(super) length: usize,
    /// Number of characters that the rule compares, with those that must follow the token. The rule
    /// with the largest number applies.
    pub(super) priority: usize,
    /// The token, if it is not the text in lower case.
    pub(super) replacement: Option<String>,
}

impl Match {
    /// A token that is the text in lower case.
    pub(super) fn source(length: usize) -> Self {
        Self {
            length,
            priority: length,
            replacement: None,
        }
    }

    /// A token that must be followed by some more characters.
    pub(super) fn before(length: usize, following: usize) -> Self {
        Self {
            length,
            priority: length + following,
            replacement: None,
        }
    }

    /// A token that is not the text in lower case.
    pub(super) fn replaced(length: usize, token: &str) -> Self {
        Self {
            length,
            priority: length,
            replacement: Some(token.to_owned()),
        }
    }
}

/// Number of characters from `start` on that satisfy a predicate.
pub(super) fn count(text: &[char], start: usize, predicate: impl Fn(char) -> bool) -> usize {
    text[start.min(text.len())..]
        .iter()
        .take_while(|&&c| predicate(c))
        .count()
}

/// Whether a character exists and satisfies a predicate.
pub(super) fn is_at(text: &[char], index: usize, predicate: impl Fn(char) -> bool) -> bool {
    text.get(index).is_some_and(|&c| predicate(c))
}

/// Whether a text begins with another, in any case. A straight apostrophe also matches the
/// typographic one.
pub(super) fn starts_with(text: &[char], prefix: &str) -> bool {
    let equal = |(found, expected): (&char, char)| {
        found.eq_ignore_ascii_case(&expected) || (expected == '\'' && is_apostrophe(*found))
    };
    text.len() >= prefix.chars().count() && text.iter().zip(prefix.chars()).all(equal)
}

/// `'s`, `'re` and so on, if no letter or digit follows. The apostrophe becomes a straight one.
pub(super) fn contraction(text: &[char]) -> Option<Match> {
    if !is_apostrophe(text[0]) {
        return None;
    }
    let is_whole = |ending: &&&str| {
        starts_with(&text[1..], ending) && !is_at(text, 1 + ending.len(), is_alphanumeric)
    };
    let ending = CONTRACTIONS.iter().find(is_whole)?;
    Some(Match::replaced(1 + ending.len(), &format!("'{ending}")))
}
