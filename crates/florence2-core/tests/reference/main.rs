//! The model against transformers, on the tiny random models that `tests/fixtures/regenerate.py`
//! makes: every stage, both checkpoint layouts, losses, gradients and generated ids.
#![allow(clippy::unwrap_used)]

mod demo;
mod fixture;
mod generation;
mod gradients;
mod stages;
mod weights;
