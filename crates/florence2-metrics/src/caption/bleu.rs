//! BLEU of a corpus (Papineni et al., 2002), as pycocoevalcap's `bleu_scorer` computes it.

use std::collections::BTreeMap;

use super::ngrams::{self, LONGEST};
use super::sample::CaptionSample;
use crate::error::MetricsError;

/// Added to the number of matches, so that a product is never 0.
const TINY: f64 = 1e-15;

/// Added to denominators.
const SMALL: f64 = 1e-9;

/// BLEU-1 to BLEU-4.
#[derive(Debug, Clone, PartialEq)]
pub struct Bleu {
    /// Of the corpus.
    pub corpus: [f64; LONGEST],
    /// Of each sample.
    pub samples: Vec<[f64; LONGEST]>,
}

/// Computes BLEU of tokenized captions, in which tokens are separated by white space. The brevity
/// penalty compares with the closest reference length; the shorter one of two that are as close.
///
/// # Errors
///
/// If there are no samples, or if a sample has no references.
pub fn bleu(samples: &[CaptionSample]) -> Result<Bleu, MetricsError> {
    CaptionSample::check(samples)?;
    let statistics: Vec<Statistics> = samples.iter().map(Statistics::of_sample).collect();
    let mut corpus = Statistics::default();
    for sample in &statistics {
        corpus.add(sample);
    }
    Ok(Bleu {
        corpus: corpus.scores(),
        samples: statistics.iter().map(Statistics::scores).collect(),
    })
}

/// Sums of which BLEU is computed.
#[derive(Default)]
struct Statistics {
    /// Words of the candidates.
    candidate_length: usize,
    /// Words of the closest references.
    reference_length: usize,
    /// N-grams of the candidates that occur in a reference, by length.
    matches: [u64; LONGEST],
    /// N-grams of the candidates, by length.
    total: [u64; LONGEST],
}

impl Statistics {
    fn of_sample(sample: &CaptionSample) -> Self {
        let words = ngrams::words(&sample.candidate);
        let references: Vec<Vec<&str>> = sample
            .references
            .iter()
            .map(|reference| ngrams::words(reference))
            .collect();
        let mut most: BTreeMap<&[&str], u32> = BTreeMap::new();
        for reference in &references {
            for (ngram, count) in ngrams::count(reference) {
                let largest = most.entry(ngram).or_default();
                *largest = count.max(*largest);
            }
        }
        let mut matches = [0; LONGEST];
        for (ngram, count) in ngrams::count(&words) {
            let largest = most.get(ngram).copied().unwrap_or(0);
            matches[ngram.len() - 1] += u64::from(count.min(largest));
        }
        let lengths = references.iter().map(Vec::len);
        let closest = lengths.min_by_key(|&length| (length.abs_diff(words.len()), length));
        Self {
            candidate_length: words.len(),
            reference_length: closest.expect("samples have references"),
            matches,
            total: std::array::from_fn(|index| words.len().saturating_sub(index) as u64),
        }
    }

    fn add(&mut self, other: &Self) {
        self.candidate_length += other.candidate_length;
        self.reference_length += other.reference_length;
        for index in 0..LONGEST {
            self.matches[index] += other.matches[index];
            self.total[index] += other.total[index];
        }
    }

    fn scores(&self) -> [f64; LONGEST] {
        let ratio = (self.candidate_length as f64 + TINY) / (self.reference_length as f64 + SMALL);
        let brevity_penalty = if ratio < 1.0 {
            (1.0 - 1.0 / ratio).exp()
        } else {
            1.0
        };
        let mut product = 1.0;
        std::array::from_fn(|index| {
            product *= (self.matches[index] as f64 + TINY) / (self.total[index] as f64 + SMALL);
            product.powf(1.0 / (index + 1) as f64) * brevity_penalty
        })
    }
}
