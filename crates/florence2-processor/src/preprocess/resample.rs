//! Image resizing, bit-identical to Pillow's `Image.resize`.
//!
//! Resizing takes two passes, each a weighted sum of source lines in fixed point. The
//! `fast_image_resize` crate uses fewer bits per weight: on noise, a quarter of its values differ,
//! by up to 25 of 255.

use std::borrow::Cow;
use std::f64::consts::PI;

use crate::image::Image;

/// Fractional bits of a weight, so that sums of 8-bit values with weights of both signs fit an i32.
const PRECISION_BITS: u32 = 32 - 8 - 2;
/// Rows per band of the horizontal pass: their values fill vector registers.
const BAND_ROWS: usize = 16;
/// Values of a line that are accumulated together.
const CHUNK: usize = 48;
const CHANNELS: usize = 3;

/// Resizes an image by one of Pillow's filters: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box,
/// 5 Hamming.
pub(crate) fn resize(image: &Image, width: u32, height: u32, resample: u8) -> Cow<'_, [u8]> {
    let (from_width, from_height) = (image.width() as usize, image.height() as usize);
    let (width, height) = (width as usize, height as usize);
    let rgb = image.as_rgb();
    if (from_width, from_height) == (width, height) {
        return Cow::Borrowed(rgb);
    }
    let Some(filter) = Filter::new(resample) else {
        return Cow::Owned(nearest(rgb, (from_width, from_height), (width, height)));
    };
    let across = Kernels::new(from_width, width, &filter);
    let down = Kernels::new(from_height, height, &filter);
    if down_first((from_width, from_height), (width, height)) {
        let resized = resize_down(rgb, from_width, &down);
        return match from_width == width {
            true => Cow::Owned(resized),
            false => Cow::Owned(resize_across(&resized, from_width, &across)),
        };
    }
    let resized = match from_width == width {
        true => Cow::Borrowed(rgb),
        false => Cow::Owned(resize_across(rgb, from_width, &across)),
    };
    match from_height == height {
        true => resized,
        false => Cow::Owned(resize_down(&resized, width, &down)),
    }
}

/// Returns true if the vertical pass comes first. Since version 13, Pillow starts with it if the
/// height shrinks by more than twice the pixels that the width shrinks by. Each pass rounds, so the
/// order affects the result.
fn down_first(from: (usize, usize), to: (usize, usize)) -> bool {
    from.1 > to.1 && from.1 - to.1 > 2 * from.0.saturating_sub(to.0)
}

/// A filter: its weight by the distance from its centre, and its support, beyond which the weight
/// is 0.
struct Filter {
    support: f64,
    weight: fn(f64) -> f64,
}

impl Filter {
    /// `None` for nearest, which copies one pixel and needs no weights.
    fn new(resample: u8) -> Option<Self> {
        let (support, weight): (f64, fn(f64) -> f64) = match resample {
            0 => return None,
            1 => (3.0, lanczos),
            2 => (1.0, |x| (1.0 - x.abs()).max(0.0)),
            4 => (0.5, |x| f64::from(-0.5 < x && x <= 0.5)),
            5 => (1.0, hamming),
            _ => (2.0, bicubic),
        };
        Some(Self { support, weight })
    }
}

/// Keys' cubic convolution kernel with a = -0.5.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    match (-3.0..3.0).contains(&x) {
        true => sinc(x) * sinc(x / 3.0),
        false => 0.0,
    }
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    match x < 1.0 {
        true => sinc(x) * (0.54 + 0.46 * (x * PI).cos()),
        false => 0.0,
    }
}

fn sinc(x: f64) -> f64 {
    match x == 0.0 {
        true => 1.0,
        false => (x * PI).sin() / (x * PI),
    }
}

/// The weights of each output line.
struct Kernels {
    kernels: Vec<Kernel>,
}

/// The weights of consecutive source lines for one output line.
struct Kernel {
    first: usize,
    weights: Vec<i32>,
}

impl Kernels {
    fn new(from: usize, to: usize, filter: &Filter) -> Self {
        let scale = from as f64 / to as f64;
        // Downscaling widens the filter, so that every source line contributes.
        let filter_scale = scale.max(1.0);
        let kernels = (0..to).map(|index| {
            let center = (index as f64 + 0.5) * scale;
            let support = filter.support * filter_scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let inverse = 1.0 / filter_scale;
            let weights: Vec<f64> = (first..end)
                .map(|line| (filter.weight)((line as f64 - center + 0.5) * inverse))
                .collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |weight: &f64| {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                (weight * f64::from(1 << PRECISION_BITS)).round() as i32
            };
            Kernel {
                first,
                weights: weights.iter().map(fixed).collect(),
            }
        });
        Self {
            kernels: kernels.collect(),
        }
    }

    /// Computes each output line as the weighted sum of source lines.
    fn sum_lines(&self, lines: &[u8], line_length: usize, result: &mut [u8]) {
        for (kernel, result) in self
            .kernels
            .iter()
            .zip(result.chunks_exact_mut(line_length))
        {
            let begin = kernel.first * line_length;
            let lines = &lines[begin..begin + kernel.weights.len() * line_length];
            for (index, result) in result.chunks_mut(CHUNK).enumerate() {
                let mut sums = [1 << (PRECISION_BITS - 1); CHUNK];
                let begin = index * CHUNK;
                for (line, weight) in lines.chunks_exact(line_length).zip(&kernel.weights) {
                    let line = &line[begin..begin + result.len()];
                    match <&[u8; CHUNK]>::try_from(line) {
                        Ok(line) => add_weighted(&mut sums, line, *weight),
                        Err(_) => add_weighted(&mut sums, line, *weight),
                    }
                }
                for (result, sum) in result.iter_mut().zip(sums) {
                    *result = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
                }
            }
        }
    }
}

/// Inlined, so that the call for a full chunk, whose length is known at compile time, vectorises.
#[inline]
fn add_weighted(sums: &mut [i32; CHUNK], line: &[u8], weight: i32) {
    for (sum, value) in sums.iter_mut().zip(line) {
        *sum += i32::from(*value) * weight;
    }
}

fn resize_down(rgb: &[u8], width: usize, down: &Kernels) -> Vec<u8> {
    let line_length = width * CHANNELS;
    let mut resized = vec![0; down.kernels.len() * line_length];
    down.sum_lines(rgb, line_length, &mut resized);
    resized
}

/// The horizontal pass. Bands of rows are transposed, so that their columns become the lines to
/// sum.
fn resize_across(rgb: &[u8], from_width: usize, across: &Kernels) -> Vec<u8> {
    let width = across.kernels.len();
    let row_length = from_width * CHANNELS;
    let mut resized = vec![0; rgb.len() / from_width * width];
    let mut transposed = vec![0; from_width * BAND_ROWS * CHANNELS];
    let mut transposed_result = vec![0; width * BAND_ROWS * CHANNELS];
    let bands = rgb.chunks(BAND_ROWS * row_length);
    let results = resized.chunks_mut(BAND_ROWS * width * CHANNELS);
    for (band, result) in bands.zip(results) {
        let rows = band.len() / row_length;
        let transposed = &mut transposed[..band.len()];
        let transposed_result = &mut transposed_result[..result.len()];
        transpose(band, from_width, transposed);
        across.sum_lines(transposed, rows * CHANNELS, transposed_result);
        transpose(transposed_result, rows, result);
    }
    resized
}

/// Transposes rows of `row_pixels` pixels.
fn transpose(rows: &[u8], row_pixels: usize, columns: &mut [u8]) {
    let (rows, _) = rows.as_chunks::<CHANNELS>();
    let (columns, _) = columns.as_chunks_mut::<CHANNELS>();
    let column_pixels = rows.len() / row_pixels;
    for (y, row) in rows.chunks_exact(row_pixels).enumerate() {
        for (pixel, column) in row.iter().zip(columns.chunks_exact_mut(column_pixels)) {
            column[y] = *pixel;
        }
    }
}

fn nearest(rgb: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let (pixels, _) = rgb.as_chunks::<CHANNELS>();
    let (columns, rows) = (positions(from.0, to.0), positions(from.1, to.1));
    let mut resized = Vec::with_capacity(to.0 * to.1 * CHANNELS);
    for row in rows {
        let row = &pixels[row * from.0..(row + 1) * from.0];
        resized.extend(columns.iter().flat_map(|column| row[*column]));
    }
    resized
}

/// The source position for each output position, stepping as Pillow does.
fn positions(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut position = step * 0.5;
    let mut positions = Vec::with_capacity(to);
    for _ in 0..to {
        positions.push((position as usize).min(from - 1));
        position += step;
    }
    positions
}
