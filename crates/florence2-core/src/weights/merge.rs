//! The merged weights, as PEFT's `merge` computes them.

use florence2_checkpoint::StoredTensor;
use rayon::prelude::*;

use crate::error::Result;

/// An adapter's update of one parameter.
#[derive(Debug)]
pub(super) enum Update {
    /// The update of a weight.
    Weight(LowRank),
    /// The update of a bias: the bias of `lora_B`, scaled.
    Bias {
        module: String,
        bias: StoredTensor,
        scaling: f64,
    },
}

/// The update of a weight: `scaling * B A`, and DoRA if it has magnitudes.
#[derive(Debug)]
pub(super) struct LowRank {
    /// The module's name in the adapter.
    pub(super) module: String,
    /// `[rank, in..]`; for an embedding `[rank, rows]`.
    pub(super) a: StoredTensor,
    /// `[out, rank]`, for a convolution `[out, rank, 1, 1]`; for an embedding `[columns, rank]`.
    pub(super) b: StoredTensor,
    /// The norm of each row of the merged weight, or of each column for an embedding.
    pub(super) magnitudes: Option<StoredTensor>,
    pub(super) scaling: f64,
    pub(super) is_embedding: bool,
}

/// The embeddings of single tokens.
#[derive(Debug)]
pub(super) struct TokenRows {
    pub(super) name: String,
    pub(super) indices: Vec<usize>,
    /// `[indices, columns]`.
    pub(super) values: StoredTensor,
}

impl TokenRows {
    pub(super) fn check(&self, shapes: &[Vec<usize>], problems: &mut Vec<String>) {
        let shape = &shapes[0];
        let is_matrix = self.values.shape.len() == 2 && shape.len() == 2;
        if !is_matrix || self.values.shape[1] != shape[1] {
            problems.push(format!(
                "`{}`: found shape {:?}, expected rows of {shape:?}",
                self.name, self.values.shape
            ));
        }
        for index in self.indices.iter().filter(|index| **index >= shape[0]) {
            problems.push(format!(
                "trainable_token_indices: found {index}, expected less than {}",
                shape[0]
            ));
        }
    }

    /// Copies the rows into an embedding.
    pub(super) fn replace(&self, values: &mut [f32], columns: usize) -> Result<()> {
        let rows = self.values.to_f32()?;
        for (index, row) in self.indices.iter().zip(rows.chunks_exact(columns)) {
            values[index * columns..][..columns].copy_from_slice(row);
        }
        Ok(())
    }
}

impl Update {
    /// The module's name in the adapter.
    pub(super) fn module(&self) -> &str {
        match self {
            Self::Weight(update) => &update.module,
            Self::Bias { module, .. } => module,
        }
    }

    /// Adds the problems with a parameter whose base tensor has one of the `shapes`.
    pub(super) fn check(&self, shapes: &[Vec<usize>], problems: &mut Vec<String>) {
        match self {
            Self::Weight(update) => update.check(shapes, problems),
            Self::Bias { module, bias, .. } => {
                check_shape(problems, module, "lora_B.bias", bias, shapes);
            }
        }
    }
}

fn check_shape(
    problems: &mut Vec<String>,
    module: &str,
    part: &str,
    tensor: &StoredTensor,
    expected: &[Vec<usize>],
) {
    if !expected.contains(&tensor.shape) {
        problems.push(format!(
            "`{module}`: {part} has shape {:?}, expected {:?}",
            tensor.shape, expected[0]
        ));
    }
}

impl LowRank {
    fn rank(&self) -> usize {
        self.a.shape[0]
    }

    /// The number of rows of the updated weight.
    pub(super) fn rows(&self) -> usize {
        if self.is_embedding {
            self.a.shape[1]
        } else {
            self.b.shape[0]
        }
    }

    fn check(&self, shapes: &[Vec<usize>], problems: &mut Vec<String>) {
        let rank = self.rank();
        let is_fit = |shape: &Vec<usize>| {
            if self.is_embedding {
                shape.len() == 2
            } else {
                shape.len() >= 2
            }
        };
        if !shapes.iter().all(is_fit) {
            let shape = &shapes[0];
            problems.push(format!(
                "`{}`: found an update of a weight of shape {shape:?}, expected a matrix",
                self.module
            ));
            return;
        }
        let mut check = |part: &str, tensor: &StoredTensor, expected: Expected<'_>| {
            let expected: Vec<Vec<usize>> = shapes.iter().map(|shape| expected(shape)).collect();
            check_shape(problems, &self.module, part, tensor, &expected);
        };
        if self.is_embedding {
            check("lora_embedding_A", &self.a, &|shape| vec![rank, shape[0]]);
            check("lora_embedding_B", &self.b, &|shape| vec![shape[1], rank]);
            if let Some(magnitudes) = &self.magnitudes {
                check("lora_magnitude_vector", magnitudes, &|shape| vec![shape[1]]);
            }
            return;
        }
        let ones = |shape: &[usize]| vec![1; shape.len() - 2];
        check("lora_A", &self.a, &|shape| {
            [&[rank][..], &shape[1..]].concat()
        });
        check("lora_B", &self.b, &|shape| {
            [vec![shape[0], rank], ones(shape)].concat()
        });
        if let Some(magnitudes) = &self.magnitudes {
            check("lora_magnitude_vector", magnitudes, &|shape| {
                if shape.len() == 2 {
                    return vec![shape[0]];
                }
                [vec![1, shape[0]], ones(shape)].concat()
            });
        }
    }

    /// Reads the values of the update, to be added to rows.
    fn read(&self, scale: f64, width: usize) -> Result<Delta> {
        Ok(Delta {
            a: self.a.to_f32()?,
            b: self.b.to_f32()?,
            rank: self.rank(),
            scaling: (self.scaling * scale) as f32,
            width,
            rows_of_a: self.is_embedding.then_some(self.a.shape[1]),
        })
    }
}

/// The expected shape of a part of an update, by the shape of the weight.
type Expected<'a> = &'a dyn Fn(&[usize]) -> Vec<usize>;

/// `scaling * B A`, row by row.
struct Delta {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    scaling: f32,
    /// The number of values in a row.
    width: usize,
    /// For an embedding, the number of columns of `a`: one per row of the embedding.
    rows_of_a: Option<usize>,
}

impl Delta {
    /// Writes a row of the update.
    fn write(&self, row: usize, delta: &mut [f32]) {
        delta.fill(0.0);
        if let Some(rows) = self.rows_of_a {
            for (value, b) in delta.iter_mut().zip(self.b.chunks_exact(self.rank)) {
                let a = self.a[row..].iter().step_by(rows);
                *value = a.zip(b).map(|(a, b)| a * b).sum::<f32>() * self.scaling;
            }
            return;
        }
        let b = &self.b[row * self.rank..][..self.rank];
        for (b, a) in b.iter().zip(self.a.chunks_exact(self.width)) {
            for (value, a) in delta.iter_mut().zip(a) {
                *value += b * a;
            }
        }
        for value in delta {
            *value *= self.scaling;
        }
    }

    /// Changes each row of `values`, given its index and the update's row.
    fn for_each_row(&self, values: &mut [f32], change: impl Fn(usize, &mut [f32], &[f32]) + Sync) {
        let rows = values.par_chunks_exact_mut(self.width).enumerate();
        rows.for_each_init(
            || vec![0.0; self.width],
            |delta, (row, values)| {
                self.write(row, delta);
                change(row, values, delta);
            },
        );
    }

    /// Returns `base` with the update added.
    fn added_to(&self, base: &[f32]) -> Vec<f32> {
        let mut sum = base.to_vec();
        self.for_each_row(&mut sum, |_, values, delta| add(values, delta));
        sum
    }
}

/// Merges updates in order into `values` of a weight whose rows have `width` values. Each update
/// comes with the factor of its adapter.
///
/// DoRA computes the norms from the base weight and its own update, and rescales the weight that
/// the adapters before it have changed.
pub(super) fn merge(updates: &[(&LowRank, f64)], values: &mut [f32], width: usize) -> Result<()> {
    if width == 0 {
        return Ok(());
    }
    let mut later = updates.iter().skip(1);
    let rescales = later.any(|(update, _)| update.magnitudes.is_some());
    let base = rescales.then(|| values.to_vec());
    for (update, scale) in updates {
        let delta = update.read(*scale, width)?;
        let Some(magnitudes) = &update.magnitudes else {
            delta.for_each_row(values, |_, values, delta| add(values, delta));
            continue;
        };
        let is_embedding = update.is_embedding;
        let mut factors = magnitudes.to_f32()?;
        let sum = delta.added_to(base.as_deref().unwrap_or(&*values));
        let norms = if is_embedding {
            column_norms(&sum, width)
        } else {
            row_norms(&sum, width)
        };
        for (factor, norm) in factors.iter_mut().zip(norms) {
            *factor /= norm;
        }
        delta.for_each_row(values, |row, values, delta| {
            add(values, delta);
            if is_embedding {
                for (value, factor) in values.iter_mut().zip(&factors) {
                    *value *= factor;
                }
            } else {
                for value in values {
                    *value *= factors[row];
                }
            }
        });
    }
    Ok(())
}

/// Adds a scaled bias.
pub(super) fn merge_bias(
    bias: &StoredTensor,
    scaling: f64,
    scale: f64,
    values: &mut [f32],
) -> Result<()> {
    let factor = (scaling * scale) as f32;
    for (value, bias) in values.iter_mut().zip(bias.to_f32()?) {
        *value += factor * bias;
    }
    Ok(())
}

fn add(values: &mut [f32], delta: &[f32]) {
    for (value, delta) in values.iter_mut().zip(delta) {
        *value += delta;
    }
}

fn square(value: f32) -> f64 {
    f64::from(value) * f64::from(value)
}

fn row_norms(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.par_chunks_exact(width);
    rows.map(|row| row.iter().map(|value| square(*value)).sum::<f64>().sqrt() as f32)
        .collect()
}

/// Sums in blocks of a fixed size, so that the result does not depend on the number of threads.
fn column_norms(values: &[f32], width: usize) -> Vec<f32> {
    const ROWS: usize = 256;
    let add_rows = |mut sums: Vec<f64>, row: &[f32]| {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += square(*value);
        }
        sums
    };
    let zeros = || vec![0.0; width];
    let blocks: Vec<Vec<f64>> = values
        .par_chunks(ROWS * width)
        .map(|block| block.chunks_exact(width).fold(zeros(), add_rows))
        .collect();
    let mut norms = zeros();
    for block in blocks {
        for (norm, sum) in norms.iter_mut().zip(block) {
            *norm += sum;
        }
    }
    norms.into_iter().map(|sum| sum.sqrt() as f32).collect()
}
