//! The one transfer of a step: scores to the host.
//!
//! A search reads a few tokens of tens of thousands. Where the model computes beside the host
//! ([`Backend::likeliest`]), it normalises the scores and sends these few; the others are -inf here,
//! as banned tokens are. When others could be chosen, such as in sampling, all logits come.

use burn::tensor::Tensor;
use florence2_kernels::Backend;

use crate::error::{Error, Result};

/// The scores of a step.
pub(super) struct Scores {
    /// `[rows, vocab_size]`.
    pub(super) values: Vec<f32>,
    /// Whether they are log-probabilities already.
    pub(super) normalised: bool,
}

impl Scores {
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
            normalised: false,
        })
    }

    /// `likeliest`: per row `count` log-probabilities, then as many tokens.
    fn from_likeliest(likeliest: &[f32], count: usize, vocab_size: usize) -> Result<Self> {
        let rows = likeliest.len() / (2 * count);
        let mut values = vec![f32::NEG_INFINITY; rows * vocab_size];
        let pairs = likeliest.chunks_exact(2 * count);
        for (row, pair) in values.chunks_exact_mut(vocab_size).zip(pairs) {
            let (log_probs, tokens) = pair.split_at(count);
            if !log_probs.iter().any(|log_prob| log_prob.is_finite()) {
                return Err(Error::NotFinite { step: 0 });
            }
            for (log_prob, token) in log_probs.iter().zip(tokens) {
                // A token that is none comes of scores that are not numbers.
                let Some(value) = row.get_mut(*token as usize) else {
                    return Err(Error::NotFinite { step: 0 });
                };
                *value = *log_prob;
            }
        }
        Ok(Self {
            values,
            normalised: true,
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
    fn what_was_not_sent_cannot_be_chosen() {
        let sent = [-0.5, -1.5, 3.0, 0.0, -0.25, -2.0, 1.0, 2.0];
        let scores = Scores::from_likeliest(&sent, 2, 4).unwrap();
        assert!(scores.normalised);
        let none = f32::NEG_INFINITY;
        assert_eq!(scores.values[..4], [-1.5, none, none, -0.5]);
        assert_eq!(scores.values[4..], [none, -0.25, -2.0, none]);
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        for sent in [[f32::NAN, f32::NAN, 0.0, 1.0], [-0.5, -1.0, 0.0, 7.0]] {
            assert!(Scores::from_likeliest(&sent, 2, 4).is_err());
        }
    }
}
