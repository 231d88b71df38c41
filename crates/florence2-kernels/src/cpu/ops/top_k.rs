//! Top-k log-softmax of long rows, without a separate pass over the row for each step of the
//! softmax.

use rayon::prelude::*;

use crate::cpu::ops::reduce::LANES;
use crate::cpu::simd::vectorised;
use crate::exp::exp_with;
use crate::top_k::insert;

/// The number of entries of a row per task.
const PART: usize = 1 << 13;

/// The partial result for a part of a row.
struct Part {
    maximum: f32,
    /// The sum of `e^(x - maximum)`.
    sum: f64,
    /// As returned by [`crate::top_k`], with indices into the whole row.
    largest: Vec<(usize, f32)>,
}

/// See [`crate::Backend::top_k_log_softmax`].
pub(crate) fn top_k_log_softmax(logits: &[f32], entries: usize, count: usize) -> Vec<f32> {
    let parts_of_row = entries.div_ceil(PART).max(1);
    let rows: Vec<&[f32]> = logits.chunks_exact(entries.max(1)).collect();
    let parts: Vec<Part> = (0..rows.len() * parts_of_row)
        .into_par_iter()
        .map(|task| {
            let first = task % parts_of_row * PART;
            let row = rows[task / parts_of_row];
            part(&row[first..entries.min(first + PART)], first, count)
        })
        .collect();
    parts
        .chunks_exact(parts_of_row)
        .flat_map(|parts| merge_parts(parts, count))
        .collect()
}

fn part(values: &[f32], first: usize, count: usize) -> Part {
    let mut largest = Vec::with_capacity(count + 1);
    let (chunks, tail) = values.as_chunks::<LANES>();
    for (index, chunk) in chunks.iter().enumerate() {
        let enough = largest.len() == count;
        let least = largest.last().map_or(f32::NEG_INFINITY, |(_, x)| *x);
        let most = chunk.iter().fold(
            f32::NEG_INFINITY,
            |most, x| {
                if *x > most { *x } else { most }
            },
        );
        // Most chunks contain no candidate.
        if enough && most <= least {
            continue;
        }
        insert(&mut largest, chunk, first + index * LANES, count);
    }
    insert(&mut largest, tail, first + chunks.len() * LANES, count);
    let maximum = largest.first().map_or(f32::NEG_INFINITY, |(_, x)| *x);
    // If all entries are banned, there is nothing to subtract.
    let shift = if maximum == f32::NEG_INFINITY {
        0.0
    } else {
        maximum
    };
    let sum = vectorised(
        #[inline(always)]
        |multiply_add| {
            let mut sums = [0.0_f64; LANES];
            for chunk in chunks {
                for (sum, x) in sums.iter_mut().zip(chunk) {
                    *sum += f64::from(exp_with(multiply_add, x - shift));
                }
            }
            let tail = tail.iter().map(|x| exp_with(multiply_add, x - shift));
            sums.iter().sum::<f64>() + tail.map(f64::from).sum::<f64>()
        },
    );
    Part {
        maximum,
        sum,
        largest,
    }
}

/// Combines the parts of a row: the log-probabilities of its most likely entries, then their
/// indices.
fn merge_parts(parts: &[Part], count: usize) -> Vec<f32> {
    let maximum = parts.iter().map(|part| part.maximum);
    let maximum = maximum.fold(f32::NEG_INFINITY, f32::max);
    let sums = parts
        .iter()
        .map(|part| part.sum * f64::from(part.maximum - maximum).exp());
    let normaliser = maximum + sums.sum::<f64>().ln() as f32;
    let mut largest: Vec<(usize, f32)> = parts
        .iter()
        .flat_map(|part| part.largest.iter().copied())
        .collect();
    // The parts are in order, so equal values stay ordered by index. Adding 0 makes zeros of both
    // signs equal.
    largest.sort_by(|(_, a), (_, b)| (b + 0.0).total_cmp(&(a + 0.0)));
    largest.truncate(count);
    let log_probs = largest.iter().map(|(_, x)| x - normaliser);
    // f32 represents every integer up to 2^24, and no vocabulary is as large.
    let places = largest.iter().map(|(place, _)| *place as f32);
    log_probs.chain(places).collect()
}
