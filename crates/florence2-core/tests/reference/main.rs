//! Compares the model with transformers, on the tiny random models of
//! `tests/fixtures/regenerate.py`: every stage, both checkpoint layouts, losses, gradients and
//! generated ids, on every backend of the build, in every data type that it supports.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod backends;
mod adapters;
mod cpu_level;
mod demo;
mod dropout;
mod fixture;
mod generation;
mod gradients;
mod initialisation;
mod saving;
mod stages;
mod weights;
