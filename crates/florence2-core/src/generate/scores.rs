//! The one transfer of a step: scores to the host.
//!
//! A search reads a few tokens of tens of thousands. Wherever no other can be chosen, the backend
//! normalises the scores and sends these few ([`Backend::likeliest`]); when others could be, such as
//! in sampling, all logits come.

use burn::tensor::Tensor;
use florence2_kernels::Backend;

use super::logits_processor::log_softmax;
use crate::error::{Error, Result};

/// The scores of a step, of all rows.
pub(super) struct Scores {
    /// `[rows, scores]`: logits of all tokens, or log-probabilities of `tokens`.
    values: Vec<f32>,
    tokens: Option<Vec<u32>>,
    row_length: usize,
}

/// The scores of a row.
pub(super) struct Row<'a> {
    pub(super) values: &'a mut [f32],
    /// The token of each score, in order; none when they are of all tokens.
    pub(super) tokens: Option<&'a [u32]>,
}

impl Row<'_> {
    pub(super) fn token(&self, index: usize) -> u32 {
        self.tokens.map_or(index as u32, |tokens| tokens[index])
    }

    /// Turns logits into log-probabilities.
    pub(super) fn normalise(&mut self) -> Result<()> {
        match self.tokens {
            None => log_softmax(self.values),
            Some(_) => Ok(()),
        }
    }

    /// Makes tokens impossible.
    pub(super) fn ban(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            let index = match self.tokens {
                None => id as usize,
                Some(tokens) => match tokens.binary_search(&id) {
                    Ok(index) => index,
                    Err(_) => continue,
                },
            };
            if let Some(score) = self.values.get_mut(index) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

impl Scores {
    /// Row by row.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = Row<'_>> {
        let (length, tokens) = (self.row_length, self.tokens.as_deref());
        let rows = self.values.chunks_exact_mut(length).enumerate();
        rows.map(move |(index, values)| Row {
            values,
            tokens: tokens.map(|tokens| &tokens[index * length..][..length]),
        })
    }

    /// Of logits `[rows, 1, vocab_size]`, the `deciding` likeliest tokens of each row at least; all
    /// when none is given.
    pub(super) fn to_host<B: Backend>(
        logits: Tensor<B, 3>,
        deciding: Option<usize>,
    ) -> Result<Self> {
        let [rows, _, vocab_size] = logits.dims();
        if let Some(count) = deciding.filter(|count| *count < vocab_size)
            && let Some(likeliest) = B::likeliest(logits.clone().reshape([rows, vocab_size]), count)
        {
            return Self::from_likeliest(&read(likeliest)?, count, vocab_size);
        }
        Ok(Self {
            values: read(logits)?,
            tokens: None,
            row_length: vocab_size,
        })
    }

    /// `likeliest`: per row `count` log-probabilities, then as many tokens.
    fn from_likeliest(likeliest: &[f32], count: usize, vocab_size: usize) -> Result<Self> {
        let (mut values, mut tokens) = (Vec::new(), Vec::new());
        for row in likeliest.chunks_exact(2 * count) {
            let (log_probs, ids) = row.split_at(count);
            let finite = log_probs.iter().any(|log_prob| log_prob.is_finite());
            // A token that is none comes of scores that are not numbers.
            let known = ids.iter().all(|id| (*id as usize) < vocab_size);
            if !finite || !known {
                return Err(Error::NotFinite { step: 0 });
            }
            let ids = ids.iter().map(|id| *id as u32);
            let mut pairs: Vec<(u32, f32)> = ids.zip(log_probs.iter().copied()).collect();
            // By token, as all of them would be: equal scores are chosen in order.
            pairs.sort_unstable_by_key(|(token, _)| *token);
            tokens.extend(pairs.iter().map(|(token, _)| *token));
            values.extend(pairs.iter().map(|(_, log_prob)| *log_prob));
        }
        Ok(Self {
            values,
            tokens: Some(tokens),
            row_length: count,
        })
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
    fn what_was_sent_is_in_order_of_tokens() {
        let sent = [-0.5, -1.5, 3.0, 0.0, -0.25, -2.0, 1.0, 2.0];
        let mut scores = Scores::from_likeliest(&sent, 2, 4).unwrap();
        let mut rows: Vec<Row<'_>> = scores.rows().collect();
        assert_eq!(rows[0].tokens, Some(&[0, 3][..]));
        assert_eq!(rows[0].values, [-1.5, -0.5]);
        rows[1].ban([0, 1]);
        assert_eq!((rows[1].token(0), rows[1].token(1)), (1, 2));
        assert_eq!(rows[1].values, [f32::NEG_INFINITY, -2.0]);
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        for sent in [[f32::NAN, f32::NAN, 0.0, 1.0], [-0.5, -1.0, 0.0, 7.0]] {
            assert!(Scores::from_likeliest(&sent, 2, 4).is_err());
        }
    }
}
