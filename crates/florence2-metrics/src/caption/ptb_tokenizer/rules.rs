//! All rules, of which the longest match applies.

use super::scan::Match;
use super::{marks, scan, words};

type Rule = fn(&[char]) -> Option<Match>;

/// All rules. The first of those that compare as many characters applies.
const RULES: [Rule; 26] = [
    marks::tag,
    marks::entity,
    marks::url,
    marks::host_path,
    marks::email,
    words::contraction_stem,
    words::negation,
    scan::contraction,
    words::assimilated,
    words::sentence_end,
    words::abbreviation,
    words::acronym,
    words::with_apostrophe,
    words::elision,
    marks::year,
    words::word,
    words::before_punctuation,
    words::hyphenated,
    words::dotted_hyphenated,
    words::slashed,
    words::ampersand,
    marks::number,
    marks::mixed_fraction,
    marks::currency,
    marks::mention,
    marks::run,
];

/// Returns the match of the rule that compares the most characters.
pub(super) fn longest(text: &[char]) -> Option<Match> {
    let mut best: Option<Match> = marks::emoticon(text);
    for rule in RULES {
        if let Some(found) = rule(text)
            && best
                .as_ref()
                .is_none_or(|best| found.priority > best.priority)
        {
            best = Some(found);
        }
    }
    best
}
