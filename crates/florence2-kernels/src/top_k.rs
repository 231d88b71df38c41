//! Top-k selection.

/// Returns the `k` largest scores as (index, score), largest first, equal scores by index.
pub fn top_k(scores: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut largest = Vec::with_capacity(k + 1);
    insert(&mut largest, scores, 0, k);
    largest
}

/// Merges further scores, whose indices begin at `first`, into the `k` largest so far.
pub(crate) fn insert(largest: &mut Vec<(usize, f32)>, scores: &[f32], first: usize, k: usize) {
    for (index, &score) in scores.iter().enumerate() {
        if largest.len() == k && largest.last().is_none_or(|(_, least)| score <= *least) {
            continue;
        }
        let place = largest.partition_point(|(_, larger)| *larger >= score);
        largest.insert(place, (first + index, score));
        largest.truncate(k);
    }
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
