//! Matrix products.

use multiversion::multiversion;
use rayon::prelude::*;

use super::CHUNK_ROWS;
use super::parameters::Affine;

/// Up to this many rows, a product is as fast as its weights are read.
pub(super) const FEW_ROWS: usize = 8;

/// A matrix in a slice, with steps between rows and between columns.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_step: usize,
    pub(super) column_step: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after the other.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            rows: values.len() / columns,
            columns,
            row_step: columns,
            column_step: 1,
        }
    }

    /// `count` columns from `first` on.
    pub(super) fn columns(self, first: usize, count: usize) -> Self {
        Self {
            values: &self.values[first * self.column_step..],
            columns: count,
            ..self
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    /// One past the last value that the matrix reaches.
    fn end(&self) -> usize {
        match self.rows == 0 || self.columns == 0 {
            true => 0,
            false => (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step + 1,
        }
    }
}

/// `result = result * keep + a * b`, where `keep` is 0 or 1; rows of the result are `row_step`
/// apart, of which the product's columns come first.
#[allow(unsafe_code)]
fn multiply(result: &mut [f32], row_step: usize, keep: bool, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(a.columns, b.rows);
    assert!(a.end() <= a.values.len() && b.end() <= b.values.len());
    assert!(b.columns <= row_step && a.rows > 0 && b.columns > 0);
    assert!((a.rows - 1) * row_step + b.columns <= result.len());
    // SAFETY: the asserts keep every access of the three matrices inside its slice, the result's
    // elements are distinct because a row's columns do not reach the next row, and the borrow
    // rules keep it apart from `a` and `b`.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            result.as_mut_ptr(),
            1,
            row_step as isize,
            keep,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `result += a * b`.
pub(super) fn add_product(result: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    multiply(result, b.columns, true, a, b);
}

/// `result = a * b`.
pub(super) fn set_product(result: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    multiply(result, b.columns, false, a, b);
}

/// `result = a * b` into columns of a wider matrix, whose first one is `result`'s first value.
pub(super) fn set_columns(result: &mut [f32], columns: usize, a: Matrix<'_>, b: Matrix<'_>) {
    multiply(result, columns, false, a, b);
}

/// `rows * weight + bias`.
pub(super) fn affine(rows: &[f32], linear: &Affine) -> Vec<f32> {
    let count = rows.len() / linear.inputs;
    let mut result = repeat(linear.bias(), count, linear.outputs);
    let weight = Matrix::new(linear.weight(), linear.outputs);
    add_product(&mut result, Matrix::new(rows, linear.inputs), weight);
    result
}

/// `result += rows * weight + bias`.
pub(super) fn add_affine(result: &mut [f32], rows: &[f32], linear: &Affine) {
    if let Some(bias) = linear.bias() {
        for result in result.chunks_exact_mut(linear.outputs) {
            super::elementwise::add(result, bias);
        }
    }
    let weight = Matrix::new(linear.weight(), linear.outputs);
    add_product(result, Matrix::new(rows, linear.inputs), weight);
}

/// A bias as every row.
fn repeat(bias: Option<&[f32]>, rows: usize, columns: usize) -> Vec<f32> {
    match bias {
        Some(bias) => bias.repeat(rows),
        None => vec![0.0; rows * columns],
    }
}

/// How many rows make a task: a power of two of tasks, so that two, four or eight threads end
/// together. It does not depend on the number of threads, and neither do sums over tasks.
pub(super) fn rows_per_task(rows: usize) -> usize {
    let tasks = rows.div_ceil(CHUNK_ROWS).next_power_of_two();
    rows.div_ceil(tasks).max(1)
}

/// A linear layer of any number of rows.
pub(super) fn linear(rows: &[f32], linear: &Affine) -> Vec<f32> {
    let count = rows.len() / linear.inputs;
    let mut result = repeat(linear.bias(), count, linear.outputs);
    if count <= FEW_ROWS {
        few_rows(rows, linear.weight(), linear.outputs, &mut result);
        return result;
    }
    let per_task = rows_per_task(count).min(count.div_ceil(rayon::current_num_threads()));
    result
        .par_chunks_mut(per_task * linear.outputs)
        .zip(rows.par_chunks(per_task * linear.inputs))
        .for_each(|(result, rows)| {
            let weight = Matrix::new(linear.weight(), linear.outputs);
            add_product(result, Matrix::new(rows, linear.inputs), weight);
        });
    result
}

/// Parts of a weight, each of whole lines, so that memory is read in order. Their number is fixed:
/// the sum over them is the same for any number of threads.
const PARTS: usize = 8;

/// Columns of a part that are summed at a time: the sums of all rows stay in the first cache.
const COLUMNS: usize = 1024;

/// `result += rows * weight`, for few rows: the weights are read once for all of them.
fn few_rows(rows: &[f32], weight: &[f32], outputs: usize, result: &mut [f32]) {
    let inputs = weight.len() / outputs;
    let per_part = inputs.div_ceil(PARTS);
    let parts: Vec<Vec<f32>> = weight
        .par_chunks(per_part * outputs)
        .enumerate()
        .map(|(part, lines)| {
            let mut sums = vec![0.0; result.len()];
            sum_lines(rows, inputs, part * per_part, lines, outputs, &mut sums);
            sums
        })
        .collect();
    for part in &parts {
        super::elementwise::add(result, part);
    }
}

/// `sums += rows[first..] * lines`, four of the weight's lines at a time.
#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn sum_lines(
    rows: &[f32],
    inputs: usize,
    first: usize,
    lines: &[f32],
    outputs: usize,
    sums: &mut [f32],
) {
    const UNROLL: usize = 4;
    for column in (0..outputs).step_by(COLUMNS) {
        let columns = column..outputs.min(column + COLUMNS);
        for (step, lines) in lines.chunks(UNROLL * outputs).enumerate() {
            let input = first + step * UNROLL;
            let line = |index: usize| lines.get(index * outputs..(index + 1) * outputs);
            for (row, sums) in rows
                .chunks_exact(inputs)
                .zip(sums.chunks_exact_mut(outputs))
            {
                let sums = &mut sums[columns.clone()];
                if let [Some(a), Some(b), Some(c), Some(d)] = [0, 1, 2, 3].map(line) {
                    let [a, b, c, d] = [a, b, c, d].map(|line| &line[columns.clone()]);
                    let row = &row[input..input + UNROLL];
                    let others = a.iter().zip(b).zip(c).zip(d);
                    for (sum, (((a, b), c), d)) in sums.iter_mut().zip(others) {
                        *sum += (row[0] * a + row[1] * b) + (row[2] * c + row[3] * d);
                    }
                    continue;
                }
                for (index, line) in lines.chunks_exact(outputs).enumerate() {
                    for (sum, weight) in sums.iter_mut().zip(&line[columns.clone()]) {
                        *sum += row[input + index] * weight;
                    }
                }
            }
        }
    }
}

/// Rows of the table that make a task.
const TABLE_ROWS: usize = 512;

/// `rows * table^T` for few rows: the table is read once for all of them.
pub(super) fn few_rows_by_transposed(rows: &[f32], table: &[f32], dim: usize) -> Vec<f32> {
    let (count, table_rows) = (rows.len() / dim, table.len() / dim);
    let parts: Vec<Vec<f32>> = table
        .par_chunks(TABLE_ROWS * dim)
        .map(|table| {
            let mut products = vec![0.0; count * (table.len() / dim)];
            dot_products(rows, table, dim, &mut products);
            products
        })
        .collect();
    let mut result = Vec::with_capacity(count * table_rows);
    for row in 0..count {
        for part in &parts {
            let columns = part.len() / count;
            result.extend_from_slice(&part[row * columns..(row + 1) * columns]);
        }
    }
    result
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
fn dot_products(rows: &[f32], table: &[f32], dim: usize, products: &mut [f32]) {
    const LANES: usize = 64;
    let columns = table.len() / dim;
    for (column, entry) in table.chunks_exact(dim).enumerate() {
        for (row, products) in rows
            .chunks_exact(dim)
            .zip(products.chunks_exact_mut(columns))
        {
            let mut sums = [0.0; LANES];
            let (entries, values) = (entry.chunks_exact(LANES), row.chunks_exact(LANES));
            let tail = entries.remainder().iter().zip(values.remainder());
            let tail: f32 = tail.map(|(a, b)| a * b).sum();
            for (entry, row) in entries.zip(values) {
                for index in 0..LANES {
                    sums[index] += entry[index] * row[index];
                }
            }
            products[column] = sums.iter().sum::<f32>() + tail;
        }
    }
}
