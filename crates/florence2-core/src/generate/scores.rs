//! The transfer of scores to the host, once per step.
//!
//! A search considers a few tokens of tens of thousands. If no other can be chosen, the backend
//! normalises the scores and sends these few ([`Backend::top_k_log_softmax`]). If others can be
//! chosen, as in sampling, all logits are sent. Each row has the form that its own search requires,
//! independently of its neighbours. With a [`LocationWindow`], the logits of the location tokens are
//! part of the same transfer.

use std::ops::Range;

use burn::tensor::Tensor;
use florence2_kernels::Backend;

use super::location_window::{LocationLogits, LocationWindow};
use super::log_softmax::log_softmax;
use crate::error::{Error, Result};

/// The scores of the token that follows one sequence: one row of the logits.
pub(super) struct ScoreRow {
    /// Logits of all tokens, or log-probabilities of `tokens`.
    pub(super) values: Vec<f32>,
    /// The token of each score, in order; `None` if there is a score for every token.
    pub(super) tokens: Option<Vec<u32>>,
    /// The logits of the location tokens; `None` without a [`LocationWindow`].
    pub(super) locations: Option<LocationLogits>,
}

/// The numbers that were transferred, before they are split into rows.
struct Transferred {
    /// Per row, the log-probabilities of its candidates, then as many tokens, then the logits of the
    /// location tokens. `None` if the backend does not find candidates or no row needs them.
    top_k: Option<Vec<f32>>,
    /// The logits of all tokens. May be empty if no row requires them.
    all: Vec<f32>,
    vocab_size: usize,
    window: Option<LocationWindow>,
}

/// Transfers the scores of logits `[rows, 1, vocab_size]`. For each row, these are at least the
/// `candidates_needed` most likely tokens, or all tokens if the number is `None`. With a `window`,
/// each row also has the logits of the location tokens.
///
/// # Errors
/// [`Error::NotFinite`] if the candidates of a row have no usable score.
pub(super) fn to_host<B: Backend>(
    logits: Tensor<B, 3>,
    candidates_needed: &[Option<usize>],
    window: Option<LocationWindow>,
) -> Result<Vec<ScoreRow>> {
    let [rows, _, vocab_size] = logits.dims();
    let count = candidates_needed.iter().flatten().copied().max();
    let count = count.filter(|count| *count < vocab_size).unwrap_or(0);
    let logits = logits.reshape([rows, vocab_size]);
    let top_k = match count {
        0 => None,
        _ => B::top_k_log_softmax(logits.clone(), count),
    };
    let top_k = top_k.map(|top_k| read(with_locations(top_k, &logits, window)));
    let top_k = top_k.transpose()?;
    let all = match top_k.is_none() || candidates_needed.contains(&None) {
        true => read(logits)?,
        false => Vec::new(),
    };
    let transferred = Transferred {
        top_k,
        all,
        vocab_size,
        window,
    };
    transferred.rows(candidates_needed)
}

/// Appends the logits of the location tokens to each row's candidates, so that they are part of the
/// same transfer. `logits` are `[rows, vocab_size]`.
fn with_locations<B: Backend>(
    top_k: Tensor<B, 2>,
    logits: &Tensor<B, 2>,
    window: Option<LocationWindow>,
) -> Tensor<B, 2> {
    let [rows, vocab_size] = logits.dims();
    let ids = window.map_or(0..0, |window| window.ids(vocab_size));
    if ids.is_empty() {
        return top_k;
    }
    let locations = logits.clone().slice([0..rows, ids]).cast(top_k.dtype());
    Tensor::cat(vec![top_k, locations], 1)
}

impl Transferred {
    /// Splits the scores into rows, each in the form that it requires.
    fn rows(&self, candidates_needed: &[Option<usize>]) -> Result<Vec<ScoreRow>> {
        let rows = candidates_needed.len();
        let row = |(index, count): (usize, &Option<usize>)| match (&self.top_k, count) {
            (Some(top_k), Some(_)) => {
                let length = top_k.len() / rows;
                self.row_of_top_k(&top_k[index * length..][..length])
            }
            _ => Ok(self.row_of_all(&self.all[index * self.vocab_size..][..self.vocab_size])),
        };
        candidates_needed.iter().enumerate().map(row).collect()
    }

    fn row_of_top_k(&self, row: &[f32]) -> Result<ScoreRow> {
        let (top_k, logits) = row.split_at(row.len() - self.location_ids().len());
        Ok(ScoreRow {
            locations: self.locations(logits),
            ..ScoreRow::from_top_k(top_k, self.vocab_size)?
        })
    }

    fn row_of_all(&self, logits: &[f32]) -> ScoreRow {
        ScoreRow {
            values: logits.to_vec(),
            tokens: None,
            locations: self.locations(&logits[self.location_ids()]),
        }
    }

    fn location_ids(&self) -> Range<usize> {
        self.window
            .map_or(0..0, |window| window.ids(self.vocab_size))
    }

    fn locations(&self, logits: &[f32]) -> Option<LocationLogits> {
        self.window.map(|window| LocationLogits {
            window,
            logits: logits.to_vec(),
        })
    }
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
            locations: None,
        })
    }

    /// The log-probability that the location lies within the tolerance of `token_id`;
    /// `log_prob`, that of the token itself, if it is not a location or there is no window.
    pub(super) fn location_log_prob(&self, token_id: u32, log_prob: f32) -> f32 {
        match &self.locations {
            Some(locations) => locations.log_prob(token_id, log_prob),
            None => log_prob,
        }
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

    const WINDOW: LocationWindow = LocationWindow {
        first_id: 1,
        count: 2,
        tolerance: 1,
    };

    /// The search of one row may choose any token, that of the other only the most likely ones.
    #[test]
    fn each_row_has_the_scores_that_its_search_requires() {
        let top_k = vec![-0.4, -1.4, 1.0, 2.0, -0.4, -1.4, 0.0, 2.0];
        let mut transferred = Transferred {
            top_k: Some(top_k),
            all: vec![0.0, 2.0, 1.0, 3.0, 1.0, 2.0],
            vocab_size: 3,
            window: None,
        };
        let rows = transferred.rows(&[None, Some(2)]).unwrap();
        assert_eq!(rows[0].values, [0.0, 2.0, 1.0]);
        assert_eq!(rows[1].tokens, Some(vec![0, 2]));
        assert_eq!(rows[1].values, [-0.4, -1.4]);
        assert_eq!((&rows[0].tokens, &rows[0].locations), (&None, &None));

        transferred.window = Some(WINDOW);
        transferred.top_k = Some(vec![
            -0.4, -1.4, 1.0, 2.0, 2.0, 1.0, -0.4, -1.4, 0.0, 2.0, 1.0, 2.0,
        ]);
        let with_locations = transferred.rows(&[None, Some(2)]).unwrap();
        let locations = with_locations
            .iter()
            .map(|row| row.locations.clone().unwrap().logits);
        assert!(locations.eq([[2.0, 1.0], [1.0, 2.0]]));
        for (with, without) in with_locations.iter().zip(&rows) {
            assert_eq!(
                (&with.values, &with.tokens),
                (&without.values, &without.tokens)
            );
        }
    }

    #[test]
    fn scores_that_are_not_finite_are_an_error() {
        for sent in [[f32::NAN, f32::NAN, 0.0, 1.0], [-0.5, -1.0, 0.0, 7.0]] {
            assert!(ScoreRow::from_top_k(&sent, 4).is_err());
        }
    }
}
