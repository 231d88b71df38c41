//! The logarithm of softmax on the host.

use florence2_kernels::exp;

use crate::error::{Error, Result};

/// Converts scores to log-probabilities in place.
///
/// # Errors
/// [`Error::NotFinite`] if no score is usable.
pub fn log_softmax(scores: &mut [f32]) -> Result<()> {
    // In parts that are computed side by side, since there are as many scores as tokens.
    const PARTS: usize = 16;
    let (chunks, tail) = scores.as_chunks::<PARTS>();
    let mut maxima = [f32::NEG_INFINITY; PARTS];
    for chunk in chunks {
        for (max, score) in maxima.iter_mut().zip(chunk) {
            *max = if *score > *max { *score } else { *max };
        }
    }
    let max = maxima.iter().chain(tail).copied();
    let max = max.fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0_f64; PARTS];
    for chunk in chunks {
        for (sum, score) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(exp(score - max));
        }
    }
    let tail: f64 = tail.iter().map(|score| f64::from(exp(score - max))).sum();
    let normalizer = max + (sums.iter().sum::<f64>() + tail).ln() as f32;
    if !normalizer.is_finite() {
        return Err(Error::NotFinite { step: 0 });
    }
    for score in scores {
        *score -= normalizer;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_are_not_finite_are_an_error() {
        assert!(log_softmax(&mut [0.0, f32::NAN]).is_err());
        assert!(log_softmax(&mut [f32::NEG_INFINITY; 2]).is_err());
    }
}
