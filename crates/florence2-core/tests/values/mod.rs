//! Random values that are the same in every run: each thread, and so each test, draws its own
//! sequence from the same seed.

#![allow(
    dead_code,
    reason = "not every test that includes this module uses all of it"
)]

pub(crate) mod modules;

use std::cell::Cell;

use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0x5eed) };
}

/// SplitMix64.
fn next() -> u64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number above 0 and below 1.
fn unit() -> f64 {
    ((next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// A normally distributed number, by the Box-Muller transform.
fn normal() -> f32 {
    let length = (-2.0 * unit().ln()).sqrt();
    (length * (std::f64::consts::TAU * unit()).cos()) as f32
}

fn tensor<const D: usize>(shape: [usize; D], draw: fn() -> f32) -> Tensor<Flex, D> {
    let values = (0..shape.iter().product()).map(|_| draw()).collect();
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), &FlexDevice)
}

/// Normally distributed values.
pub(crate) fn random<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    tensor(shape, normal)
}

/// Values between 0 and 1.
pub(crate) fn uniform<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    tensor(shape, || unit() as f32)
}
