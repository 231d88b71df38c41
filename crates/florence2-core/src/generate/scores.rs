//! The transfer of scores to the host, once per step.
//!
//! A search considers a few tokens of tens of thousands. If no other can be chosen, the backend
//! normalises the scores and sends these few ([`Backend::top_k_log_softmax`]). If others can be
//! chosen, as in sampling, all logits are sent. Each row has the form that its own search requires,
//! independently of its neighbours.

use burn::tensor::Tensor;
use florence2_kernels::Backend;

use super::log_softmax::log_softmax;
use crate::error::{Error, Result};

/// The scores of the token that follows one sequence: one row of the logits.
pub(super) struct ScoreRow {
    /// Logits of all tokens, or log-probabilities of `tokens`.
    pub(super) values: Vec<f32>,
    /// The token of each score, in order; `None` if there is a score for every token.
    pub(super) tokens: Option<Vec<u32>>,
}

/// Transfers the scores of logits `[rows, 1, vocab_size]`. For each row, these are at least the
/// `candidates_needed` most likely tokens, or all tokens if the number is `None`.
///
/// # Errors
/// [`Error::NotFinite`] if the candidates of a row have no usable score.
pub(super) fn to_host<B: Backend>(
    logits: Tensor<B, 3>,
    candidates_needed: &[Option<usize>],
) -> Result<Vec<ScoreRow>> {
    let [rows, _, vocab_size] = logits.dims();
    let count = candidates_needed.iter().flatten().copied().max();
    let count = count.filter(|count| *count < vocab_size).unwrap_or(0);
    let top_k = match count {
        0 => None,
        _ => B::top_k_log_softmax(logits.clone().reshape([rows, vocab_size]), count),
    };
    let top_k = top_k.map(read).transpose()?;
    let all = match top_k.is_none() || candidates_needed.contains(&None) {
        true => read(logits)?,
        false => Vec::new(),
    };
    split_rows(top_k.as_deref(), &all, candidates_needed, vocab_size)
}

/// Splits the transferred scores into rows. `top_k` has the log-probabilities of each row's
/// candidates, then as many tokens. `all` may be empty if no row requires it.
fn split_rows(
    top_k: Option<&[f32]>,
    all: &[f32],
    candidates_needed: &[Option<usize>],
    vocab_size: usize,
) -> Result<Vec<ScoreRow>> {
    let rows = candidates_needed.len();
    let row = |(index, count): (usize, &Option<usize>)| match (top_k, count) {
        (Some(top_k), Some(_)) => {
            let length = top_k.len() / rows;
            ScoreRow::from_top_k(&top_k[index * length..][..length], vocab_size)
        }
        _ => Ok(ScoreRow {
            values: all[index * vocab_size..][..vocab_size].to_vec(),
            tokens: None,
        }),
    };
    candidates_needed.iter().enumerate().map(row).collect()
}

impl ScoreRow {
    /// `top_k` has log-probabilities, then as many tokens.
    fn from_top_k(top_k: &[f32], vocab_size: usize) -> Result<Self> {
        let (log_probs, ids) = top_k.split_at(top_k.len() / 2);
        let is_finite = log_probs.iter().any(|log_prob| log_prob.is_finite());
        // An invalid token is the result of scores that are NaN.
        let is_valid = ids.iter().all(|id| (*id as usize) < vocab_size);
        if !is_finite || !is_valid {
            return Err(Error::NotFinite { step: 0 });
        }
        let ids = ids.iter().map(|id| *id as u32);
        let mut pairs: Vec<(u32, f32)> = ids.zip(log_probs.iter().copied()).collect();
        // Sorted by token, as rows of all tokens are: equal scores are chosen in order.
        pairs.sort_unstable_by_key(|(token, _)| *token);
        let (tokens, values) = pairs.into_iter().unzip();
        Ok(Self {
            values,
            tokens: Some(tokens),
        })
    }

    pub(super) fn token(&self, index: usize) -> u32 {
        self.tokens
            .as_ref()
            .map_or(index as u32, |tokens| tokens[index])
    }

    /// Converts logits to log-probabilities.
    pub(super) fn normalise(&mut self) -> Result<()> {
        match self.tokens {
            None => log_softmax(&mut self.values),
            Some(_) => Ok(()),
        }
    }

    /// Converts logits to log-probabilities, which are NaN if no score is usable.
    pub(super) fn normalise_or_nan(&mut self) {
        if self.normalise().is_err() {
            self.values.fill(f32::NAN);
        }
    }

    /// Bans tokens.
    pub(super) fn ban(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            let index = match &self.tokens {
                None => Some(id as usize),
                Some(tokens) => tokens.binary_search(&id).ok(),
            };
            if let Some(score) = index.and_then(|index| self.values.get_mut(index)) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    tensor
        .into_data()
        .convert::<f32>()
        .into_vec()
        .map_err(|error| Error::malformed("logits", format!("{error:?}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_sorted_by_token() {
        let mut row = ScoreRow::from_top_k(&[-0.5, -1.5, 3.0, 0.0], 4).unwrap();
        assert_eq!(row.tokens, Some(vec![0, 3]));
        assert_eq!(row.values, [-1.5, -0.5]);
        row.ban([1, 3]);
        assert_eq!((row.token(0), row.token(1)), (0, 3));
        assert_eq!(row.values, [-1.5, f32::NEG_INFINITY]);
    }

    /// The search of one row may choose any token, that of the other only the most likely ones.
    #[test]
    fn each_row_has_the_scores_that_its_search_requires() {
        let top_k = [-0.4, -1.4, 1.0, 2.0, -0.4, -1.4, 0.0, 2.0];
        let all = [0.0, 2.0, 1.0, 3.0, 1.0, 2.0];
        let rows = split_rows(Some(&top_k), &all, &[None, Some(2)], 3).unwrap();
        assert_eq!(rows[0].values, [0.0, 2.0, 1.0]);
        assert_eq!(rows[1].tokens, Some(vec![0, 2]));
        assert_eq!(rows[1].values, [-0.4, -1.4]);
        assert_eq!(rows[0].tokens, None);
    }

    #[test]
    fn scores_that_are_not_finite_are_an_error() {
        for sent in [[f32::NAN, f32::NAN, 0.0, 1.0], [-0.5, -1.0, 0.0, 7.0]] {
            assert!(ScoreRow::from_top_k(&sent, 4).is_err());
        }
    }
}
