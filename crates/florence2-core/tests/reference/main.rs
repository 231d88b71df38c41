//! The model against transformers, on the tiny random models that `tests/fixtures/regenerate.py`
//! makes: every stage, both checkpoint layouts, losses, gradients and generated ids; on every backend of
//! the build, with every number type that it computes with.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod backends;
mod adapters;
mod cpu_level;
mod demo;
mod fixture;
mod generation;
mod gradients;
mod stages;
mod weights;
