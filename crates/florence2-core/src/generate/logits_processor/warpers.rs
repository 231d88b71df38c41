//! The logits warpers, which restrict sampling: those of HF `generation/logits_process.py`, in the
//! order of `_get_logits_processor`.

use florence2_kernels::top_k;

use crate::generate::config::GenerationConfig;

/// The number of tokens that `TopHLogitsWarper` considers.
const TOP_H_TOKENS: usize = 100;

/// Applies every warper that the configuration sets. At least `min_tokens_to_keep` tokens remain,
/// except after `top_h`.
pub(super) fn warp(config: &GenerationConfig, scores: &mut [f32], min_tokens_to_keep: usize) {
    if config.temperature != 1.0 {
        for score in scores.iter_mut() {
            *score /= config.temperature;
        }
    }
    if let Some(top_h) = config.top_h {
        keep_top_h(scores, top_h);
    }
    if config.top_k > 0 {
        let k = usize::try_from(config.top_k).unwrap_or(usize::MAX);
        keep_top_k(scores, k.max(min_tokens_to_keep));
    }
    if config.top_p < 1.0 {
        keep_top_p(scores, config.top_p, min_tokens_to_keep);
    }
    if let Some(min_p) = config.min_p {
        keep_min_p(scores, min_p, min_tokens_to_keep);
    }
    if config.typical_p < 1.0 {
        keep_typical(scores, config.typical_p, min_tokens_to_keep);
    }
    if is_cutoff(config.epsilon_cutoff) {
        keep_above(scores, |_| config.epsilon_cutoff, min_tokens_to_keep);
    }
    if is_cutoff(config.eta_cutoff) {
        let epsilon = config.eta_cutoff;
        let eta =
            |probabilities: &[f32]| epsilon.min(epsilon.sqrt() * (-entropy(probabilities)).exp());
        keep_above(scores, eta, min_tokens_to_keep);
    }
}

/// Returns whether a cutoff has an effect: one that is more than 0 and less than 1.
fn is_cutoff(cutoff: f32) -> bool {
    cutoff > 0.0 && cutoff < 1.0
}

/// Softmax.
fn probabilities(scores: impl Iterator<Item = f32> + Clone) -> Vec<f32> {
    let max = scores.clone().fold(f32::NEG_INFINITY, f32::max);
    let mut values: Vec<f32> = scores.map(|score| (score - max).exp()).collect();
    let total: f64 = values.iter().map(|value| f64::from(*value)).sum();
    for value in &mut values {
        *value = (f64::from(*value) / total) as f32;
    }
    values
}

fn entropy(probabilities: &[f32]) -> f32 {
    let terms = probabilities.iter().map(|p| entropy_term(*p));
    terms.map(f64::from).sum::<f64>() as f32
}

fn entropy_term(probability: f32) -> f32 {
    if probability > 0.0 {
        -probability * probability.ln()
    } else {
        0.0
    }
}

/// Bans every token for which `keep`, given its index, is false.
fn retain(scores: &mut [f32], keep: impl Fn(usize) -> bool) {
    for (index, score) in scores.iter_mut().enumerate() {
        if !keep(index) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// HF `TopHLogitsWarper`: the most likely tokens whose total entropy is at most `top_h` times the
/// entropy of the 100 most likely tokens.
fn keep_top_h(scores: &mut [f32], top_h: f32) {
    let best = top_k(scores, TOP_H_TOKENS.min(scores.len()));
    let probabilities = probabilities(best.iter().map(|(_, score)| *score));
    let limit = entropy(&probabilities) * top_h;
    let mut kept = vec![false; scores.len()];
    let mut cumulative = 0.0;
    for (rank, ((index, _), probability)) in best.iter().zip(&probabilities).enumerate() {
        cumulative += entropy_term(*probability);
        let within = *probability > 0.0 && cumulative <= limit;
        if rank > 0 && !within {
            break;
        }
        kept[*index] = true;
    }
    retain(scores, |index| kept[index]);
}

/// HF `TopKLogitsWarper`.
fn keep_top_k(scores: &mut [f32], k: usize) {
    let Some((_, threshold)) = top_k(scores, k.min(scores.len())).pop() else {
        return;
    };
    for score in scores.iter_mut().filter(|score| **score < threshold) {
        *score = f32::NEG_INFINITY;
    }
}

/// HF `TopPLogitsWarper`.
fn keep_top_p(scores: &mut [f32], top_p: f32, min_tokens_to_keep: usize) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Of equal scores, the first is the most likely, as in a search.
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)));
    let max = order.last().map_or(0.0, |index| scores[*index]);
    let total: f32 = scores.iter().map(|score| (score - max).exp()).sum();
    let removable = order.len().saturating_sub(min_tokens_to_keep);
    let mut cumulative = 0.0;
    for index in &order[..removable] {
        cumulative += (scores[*index] - max).exp() / total;
        if cumulative > 1.0 - top_p {
            break;
        }
        scores[*index] = f32::NEG_INFINITY;
    }
}

/// HF `MinPLogitsWarper`.
fn keep_min_p(scores: &mut [f32], min_p: f32, min_tokens_to_keep: usize) {
    let probabilities = probabilities(scores.iter().copied());
    let max = probabilities.iter().copied().fold(0.0, f32::max);
    let best = top_k(&probabilities, min_tokens_to_keep.min(scores.len()));
    retain(scores, |index| {
        probabilities[index] >= min_p * max || best.iter().any(|(kept, _)| *kept == index)
    });
}

/// HF `TypicalLogitsWarper`: the tokens whose information is closest to the entropy, until their
/// total probability is `mass`.
fn keep_typical(scores: &mut [f32], mass: f32, min_tokens_to_keep: usize) {
    let probabilities = probabilities(scores.iter().copied());
    let entropy = entropy(&probabilities);
    let distances: Vec<f32> = probabilities
        .iter()
        .map(|probability| (-probability.ln() - entropy).abs())
        .collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]));
    let mut cumulative = 0.0;
    let last = order.iter().position(|index| {
        cumulative += probabilities[*index];
        cumulative >= mass
    });
    let Some(last) = last.or(order.len().checked_sub(1)) else {
        return;
    };
    let farthest = distances[order[last]];
    let always = &order[..min_tokens_to_keep.min(order.len())];
    retain(scores, |index| {
        distances[index] <= farthest || always.contains(&index)
    });
}

/// HF `EpsilonLogitsWarper` and `EtaLogitsWarper`: bans tokens whose probability is below a
/// threshold, which is computed from all probabilities.
fn keep_above(scores: &mut [f32], threshold: impl Fn(&[f32]) -> f32, min_tokens_to_keep: usize) {
    let probabilities = probabilities(scores.iter().copied());
    let threshold = threshold(&probabilities);
    let Some((_, kept_score)) = top_k(scores, min_tokens_to_keep.min(scores.len())).pop() else {
        return;
    };
    let kept: Vec<bool> = scores.iter().map(|score| *score >= kept_score).collect();
    retain(scores, |index| {
        probabilities[index] >= threshold || kept[index]
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_p_keeps_the_most_likely_tokens() {
        let mut scores = [0.5f32.ln(), 0.3f32.ln(), 0.15f32.ln(), 0.05f32.ln()];
        keep_top_p(&mut scores, 0.75, 1);
        assert!(scores[..2].iter().all(|score| score.is_finite()));
        assert_eq!(scores[2..], [f32::NEG_INFINITY; 2]);
    }

    #[test]
    fn banned_tokens_stay_banned() {
        let config = GenerationConfig {
            top_h: Some(0.9),
            min_p: Some(0.0),
            typical_p: 0.99,
            epsilon_cutoff: 1e-9,
            eta_cutoff: 1e-9,
            ..GenerationConfig::default()
        };
        let mut scores = [0.0, f32::NEG_INFINITY, -0.5, -1.0];
        warp(&config, &mut scores, 1);
        assert_eq!(scores[1], f32::NEG_INFINITY);
        assert_eq!(scores[0], 0.0);
    }
}
