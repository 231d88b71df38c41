//! Counts of n-grams.

use std::collections::BTreeMap;

use crate::unicode;

/// Longest n-gram of both metrics.
pub(super) const LONGEST: usize = 4;

/// Splits a tokenized caption at white space, as Python's `str.split`.
pub(super) fn words(caption: &str) -> Vec<&str> {
    unicode::split(caption).collect()
}

/// Counts the n-grams of 1 to 4 words. The order of a map makes sums deterministic.
pub(super) fn count<'a, 'w>(words: &'a [&'w str]) -> BTreeMap<&'a [&'w str], u32> {
    let mut counts = BTreeMap::new();
    for length in 1..=LONGEST {
        for ngram in words.windows(length) {
            *counts.entry(ngram).or_insert(0) += 1;
        }
    }
    counts
}
