//! A depthwise 3x3 convolution, channels last, with a residual connection: the position encoding
//! before each attention and each feed-forward block, which compute it for one chunk of rows at a
//! time.

use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn_flex::Flex;

use crate::cpu::parameters::convolution;
use crate::cpu::simd::vectorised;
use crate::cpu::tensor::slice;
use crate::multiply_add::MultiplyAdd;

/// The size of the kernel in each direction.
const SIDE: usize = 3;

/// The number of channels whose sums and taps stay in registers.
const LANES: usize = 32;

/// The convolution for images of one size.
pub(crate) struct Depthwise {
    height: usize,
    width: usize,
    channels: usize,
    /// `[tap][channel]`, including the residual.
    taps: Vec<f32>,
    bias: Vec<f32>,
}

impl Depthwise {
    /// Returns `None` unless `conv` is a depthwise 3x3 convolution that preserves the size of the
    /// image.
    pub(crate) fn new(
        [_, height, width, channels]: [usize; 4],
        conv: &Conv2d<Flex>,
    ) -> Option<Self> {
        let keeps_size = conv.stride == [1; 2]
            && conv.dilation == [1; 2]
            && matches!(
                conv.padding,
                PaddingConfig2d::Same | PaddingConfig2d::Explicit(1, 1, 1, 1)
            );
        let of_each_channel =
            conv.groups == channels && conv.weight.lazy_shape().dims() == [channels, 1, SIDE, SIDE];
        if conv.kernel_size != [SIDE; 2] || !keeps_size || !of_each_channel {
            return None;
        }
        let (weight, bias) = convolution(conv);
        let bias = bias.map_or(vec![0.0; channels], |bias| slice(&bias).to_vec());
        let mut depthwise = Self::of([height, width, channels], slice(&weight), bias);
        // The residual is an identity convolution: 1 at the middle tap.
        let middle = SIDE * SIDE / 2 * channels;
        for tap in &mut depthwise.taps[middle..middle + channels] {
            *tap += 1.0;
        }
        Some(depthwise)
    }

    /// The convolution without a residual connection, of weights `[channels, 1, 3, 3]`.
    pub(crate) fn of(
        [height, width, channels]: [usize; 3],
        weight: &[f32],
        bias: Vec<f32>,
    ) -> Self {
        let mut taps = vec![0.0; SIDE * SIDE * channels];
        for (channel, kernel) in weight.chunks_exact(SIDE * SIDE).enumerate() {
            for (tap, weight) in kernel.iter().enumerate() {
                taps[tap * channels + channel] = *weight;
            }
        }
        Self {
            height,
            width,
            channels,
            taps,
            bias,
        }
    }

    /// Computes `x + conv(x)` at the positions from `first` on, counted over all images.
    pub(crate) fn add(&self, input: &[f32], first: usize, output: &mut [f32]) {
        vectorised(
            #[inline(always)]
            |multiply_add| {
                let (mut position, mut output) = (first, output);
                while !output.is_empty() {
                    // The positions up to the end of the line.
                    let count = self.width - position % self.width;
                    let length = output.len().min(count * self.channels);
                    let (piece, rest) = output.split_at_mut(length);
                    self.add_piece(multiply_add, input, position, piece);
                    (position, output) = (position + count, rest);
                }
            },
        );
    }

    /// [`Self::add`] for positions of one line.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it must be compiled for its caller's instruction set"
    )]
    fn add_piece(
        &self,
        multiply_add: MultiplyAdd,
        input: &[f32],
        position: usize,
        output: &mut [f32],
    ) {
        let (line, column) = (position / self.width, position % self.width);
        let end = column + output.len() / self.channels;
        // The columns whose neighbours are all inside the image.
        let row = line % self.height;
        let inside =
            match (1..self.height - 1).contains(&row) && self.channels.is_multiple_of(LANES) {
                true => column.max(1)..end.min(self.width - 1),
                false => end..end,
            };
        if !inside.is_empty() {
            let first = (inside.start - column) * self.channels;
            let output = &mut output[first..][..inside.len() * self.channels];
            self.add_inside(
                multiply_add,
                input,
                line * self.width + inside.start,
                output,
            );
        }
        for (at, output) in (column..end).zip(output.chunks_exact_mut(self.channels)) {
            if !inside.contains(&at) {
                self.add_at(multiply_add, input, line * self.width + at, output);
            }
        }
    }

    /// [`Self::add`] for positions of one line whose neighbours are all inside the image.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it must be compiled for its caller's instruction set"
    )]
    fn add_inside(
        &self,
        multiply_add: MultiplyAdd,
        input: &[f32],
        position: usize,
        output: &mut [f32],
    ) {
        let channels = self.channels;
        let length = output.len() + (SIDE - 1) * channels;
        let lines = [0, 1, 2].map(|y| {
            let first = position + y * self.width - self.width - 1;
            &input[first * channels..][..length]
        });
        for channel in (0..channels).step_by(LANES) {
            let of_lanes = |values: &[f32]| -> [f32; LANES] {
                std::array::from_fn(|lane| values[channel..channel + LANES][lane])
            };
            let bias = of_lanes(&self.bias);
            let taps: [[f32; LANES]; SIDE * SIDE] =
                std::array::from_fn(|tap| of_lanes(&self.taps[tap * channels..]));
            for (index, output) in output.chunks_exact_mut(channels).enumerate() {
                let mut sums = bias;
                for (tap, taps) in taps.iter().enumerate() {
                    let values = &lines[tap / SIDE][(index + tap % SIDE) * channels + channel..];
                    for ((sum, value), tap) in sums.iter_mut().zip(&values[..LANES]).zip(taps) {
                        *sum = multiply_add.of(*value, *tap, *sum);
                    }
                }
                output[channel..channel + LANES].copy_from_slice(&sums);
            }
        }
    }

    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it must be compiled for its caller's instruction set"
    )]
    fn add_at(
        &self,
        multiply_add: MultiplyAdd,
        input: &[f32],
        position: usize,
        output: &mut [f32],
    ) {
        let (line, column) = (position / self.width, position % self.width);
        let row = line % self.height;
        output.copy_from_slice(&self.bias);
        for (tap, taps) in self.taps.chunks_exact(self.channels).enumerate() {
            let (y, x) = (tap / SIDE, tap % SIDE);
            // Taps outside the image are skipped.
            if !(1..=self.height).contains(&(row + y)) || !(1..=self.width).contains(&(column + x))
            {
                continue;
            }
            let source = (line + y - 1) * self.width + column + x - 1;
            let values = &input[source * self.channels..][..self.channels];
            for ((sum, value), tap) in output.iter_mut().zip(values).zip(taps) {
                *sum = multiply_add.of(*value, *tap, *sum);
            }
        }
    }
}
