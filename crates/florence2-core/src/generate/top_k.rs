//! The largest of many scores.

/// The `k` largest scores as (index, score), largest first, equal scores by index.
pub(super) fn top_k(scores: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut best: Vec<(usize, f32)> = Vec::with_capacity(k + 1);
    for (index, &score) in scores.iter().enumerate() {
        if best.len() == k && best.last().is_none_or(|(_, worst)| score <= *worst) {
            continue;
        }
        let place = best.partition_point(|(_, better)| *better >= score);
        best.insert(place, (index, score));
        best.truncate(k);
    }
    best
}

#[cfg(test)]
mod tests {
    use super::top_k;

    #[test]
    fn largest_first_and_ties_by_index() {
        let scores = [1.0, 3.0, f32::NEG_INFINITY, 3.0, 2.0];
        assert_eq!(top_k(&scores, 3), [(1, 3.0), (3, 3.0), (4, 2.0)]);
        assert_eq!(top_k(&scores, 9).len(), 5);
        assert!(top_k(&scores, 0).is_empty());
    }
}
