//! CIDEr-D (Vedantam et al., 2015), as pycocoevalcap's `cider_scorer` computes it.

use std::collections::{BTreeMap, BTreeSet};

use super::ngrams::{self, LONGEST};
use super::sample::CaptionSample;
use crate::error::MetricsError;

/// Standard deviation of the penalty on the difference of lengths.
const SIGMA: f64 = 6.0;

/// Factor of the score, so that a caption equal to all of its references scores 10.
const SCALE: f64 = 10.0;

/// CIDEr-D, from 0 to 10.
#[derive(Debug, Clone, PartialEq)]
pub struct Cider {
    /// Mean of the samples.
    pub corpus: f64,
    /// Of each sample.
    pub samples: Vec<f64>,
}

/// Computes CIDEr-D of tokenized captions, in which tokens are separated by white space. Document
/// frequencies are those of the samples' references; with a single sample, all scores are 0.
///
/// # Errors
///
/// If there are no samples, or if a sample has no references.
pub fn cider_d(samples: &[CaptionSample]) -> Result<Cider, MetricsError> {
    CaptionSample::check(samples)?;
    let references: Vec<Vec<Vec<&str>>> = samples
        .iter()
        .map(|sample| {
            sample
                .references
                .iter()
                .map(|text| ngrams::words(text))
                .collect()
        })
        .collect();
    let weights = InverseFrequencies::new(&references);
    let score = |(sample, references): (&CaptionSample, &Vec<Vec<&str>>)| {
        let words = ngrams::words(&sample.candidate);
        let candidate = weights.vector(&words);
        let similarities = references
            .iter()
            .map(|reference| candidate.similarity(&weights.vector(reference)));
        SCALE * similarities.sum::<f64>() / references.len() as f64
    };
    let scores: Vec<f64> = samples.iter().zip(&references).map(score).collect();
    Ok(Cider {
        corpus: scores.iter().sum::<f64>() / scores.len() as f64,
        samples: scores,
    })
}

/// Weights of n-grams by the number of samples with a reference that contains them.
struct InverseFrequencies<'a> {
    samples: f64,
    document_frequency: BTreeMap<&'a [&'a str], u32>,
}

impl<'a> InverseFrequencies<'a> {
    fn new(references: &'a [Vec<Vec<&'a str>>]) -> Self {
        let mut document_frequency = BTreeMap::new();
        for sample in references {
            let ngrams: BTreeSet<&[&str]> = sample
                .iter()
                .flat_map(|words| ngrams::count(words).into_keys())
                .collect();
            for ngram in ngrams {
                *document_frequency.entry(ngram).or_insert(0) += 1;
            }
        }
        Self {
            samples: references.len() as f64,
            document_frequency,
        }
    }

    /// Inverse document frequency of an n-gram. One that is in no reference counts as if in one.
    fn of(&self, ngram: &[&str]) -> f64 {
        let frequency = self.document_frequency.get(ngram).copied().unwrap_or(1);
        self.samples.ln() - f64::from(frequency).ln()
    }

    fn vector<'w>(&self, words: &'w [&'w str]) -> TfIdf<'w> {
        let mut vector = TfIdf {
            weights: BTreeMap::new(),
            norms: [0.0; LONGEST],
            bigrams: words.len().saturating_sub(1),
        };
        for (ngram, count) in ngrams::count(words) {
            let weight = f64::from(count) * self.of(ngram);
            vector.weights.insert(ngram, weight);
            vector.norms[ngram.len() - 1] += weight * weight;
        }
        vector.norms = vector.norms.map(f64::sqrt);
        vector
    }
}

/// Term frequencies of a caption's n-grams times their inverse document frequencies.
struct TfIdf<'a> {
    weights: BTreeMap<&'a [&'a str], f64>,
    /// Euclidean norm of the weights, by length of the n-gram.
    norms: [f64; LONGEST],
    /// Number of bigrams, which the reference implementation uses as the caption's length.
    bigrams: usize,
}

impl TfIdf<'_> {
    /// Returns the mean over the lengths of n-grams of the clipped cosine similarity, with the
    /// penalty on the difference of lengths.
    fn similarity(&self, reference: &TfIdf) -> f64 {
        let mut products = [0.0; LONGEST];
        for (ngram, &weight) in &self.weights {
            let other = reference.weights.get(ngram).copied().unwrap_or(0.0);
            products[ngram.len() - 1] += weight.min(other) * other;
        }
        let difference = self.bigrams.abs_diff(reference.bigrams) as f64;
        let penalty = (-difference * difference / (2.0 * SIGMA * SIGMA)).exp();
        let cosine = |index: usize| {
            let norms = self.norms[index] * reference.norms[index];
            if norms == 0.0 {
                products[index]
            } else {
                products[index] / norms
            }
        };
        penalty * (0..LONGEST).map(cosine).sum::<f64>() / LONGEST as f64
    }
}
