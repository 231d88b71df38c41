//! Scores of captions.

use std::fmt;

use serde::Serialize;

use super::bleu::bleu;
use super::cider::cider_d;
use super::ptb_tokenizer::tokenize_captions;
use super::sample::CaptionSample;
use crate::error::MetricsError;
use crate::table::{Column, Table};

/// Scores of captions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CaptionScores {
    /// CIDEr-D, from 0 to 10. Papers state it times 100: 133.0 is 1.33.
    #[serde(rename = "CIDEr-D")]
    pub cider_d: f64,
    /// BLEU with n-grams of 1 word, from 0 to 1.
    #[serde(rename = "BLEU-1")]
    pub bleu_1: f64,
    /// BLEU with n-grams of up to 2 words.
    #[serde(rename = "BLEU-2")]
    pub bleu_2: f64,
    /// BLEU with n-grams of up to 3 words.
    #[serde(rename = "BLEU-3")]
    pub bleu_3: f64,
    /// BLEU with n-grams of up to 4 words.
    #[serde(rename = "BLEU-4")]
    pub bleu_4: f64,
    /// Number of samples.
    pub samples: usize,
}

/// Scores of captions. Captions have no classes, and both metrics are of a whole corpus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaptionSummary {
    /// Scores of all samples.
    pub overall: CaptionScores,
}

/// Tokenizes captions as pycocoevalcap does, and computes CIDEr-D and BLEU.
///
/// # Errors
///
/// If there are no samples, or if a sample has no references.
pub fn evaluate(samples: &[CaptionSample]) -> Result<CaptionSummary, MetricsError> {
    evaluate_tokenized(&tokenize_samples(samples))
}

/// Tokenizes all candidates, and all references, as pycocoevalcap does.
fn tokenize_samples(samples: &[CaptionSample]) -> Vec<CaptionSample> {
    let candidates: Vec<&str> = samples
        .iter()
        .map(|sample| sample.candidate.as_str())
        .collect();
    let references: Vec<&String> = samples
        .iter()
        .flat_map(|sample| &sample.references)
        .collect();
    let mut references = tokenize_captions(&references).into_iter();
    let tokenized = |(candidate, sample): (String, &CaptionSample)| CaptionSample {
        candidate,
        references: references.by_ref().take(sample.references.len()).collect(),
    };
    tokenize_captions(&candidates)
        .into_iter()
        .zip(samples)
        .map(tokenized)
        .collect()
}

/// Computes CIDEr-D and BLEU of captions of which the tokens are separated by white space.
///
/// # Errors
///
/// If there are no samples, or if a sample has no references.
pub fn evaluate_tokenized(samples: &[CaptionSample]) -> Result<CaptionSummary, MetricsError> {
    let [bleu_1, bleu_2, bleu_3, bleu_4] = bleu(samples)?.corpus;
    let cider_d = cider_d(samples)?.corpus;
    let samples = samples.len();
    Ok(CaptionSummary {
        overall: CaptionScores {
            cider_d,
            bleu_1,
            bleu_2,
            bleu_3,
            bleu_4,
            samples,
        },
    })
}

impl fmt::Display for CaptionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["CIDEr-D", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"].map(Column::Score);
        let CaptionScores {
            cider_d,
            bleu_1,
            bleu_2,
            bleu_3,
            bleu_4,
            samples,
        } = self.overall;
        let scores = [cider_d, bleu_1, bleu_2, bleu_3, bleu_4].map(Some);
        let mut table = Table::new(
            "",
            &[names.as_slice(), &[Column::Count("samples")]].concat(),
        );
        table.row(
            "all",
            &[scores.as_slice(), &[Some(samples as f64)]].concat(),
        );
        table.fmt(f)
    }
}
