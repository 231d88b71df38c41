//! Loads a checkpoint into a model, or compares it with a configuration.

use burn::module::Module;
use florence2_checkpoint::Checkpoint;
use florence2_kernels::{Backend, Dtype};

use super::adapters::Adapters;
use super::loader::Loader;
use super::lora::Adapter;
use super::progress::{LoadMonitor, LoadProgress};
use super::report::WeightsReport;
use super::sizes::ParameterSizes;
use super::tensors::NamedTensors;
use super::ties::Ties;
use super::untied_embeddings::UntiedEmbeddings;
use crate::config::Florence2Config;
use crate::error::Result;
use crate::model::Florence2ForConditionalGeneration;
use crate::warning::Warning;

/// Builds the configured model from a checkpoint, with LoRA adapters merged in order. Weights are
/// stored in `dtype`: packed, or as tensors of the backend's data type for it.
///
/// Tied weights that differ stay untied, an adapter of a tied weight unties it, and a missing table
/// of sinusoids is computed. Tensors for which the model has no parameter, and tied weights that
/// differ, are warnings.
///
/// # Errors
/// - [`TooLarge`](crate::Error::TooLarge) before anything is transferred to the device
/// - [`Weights`](crate::Error::Weights) with every missing, mis-shaped and non-finite tensor
/// - [`Malformed`](crate::Error::Malformed) with every part of an adapter that does not fit the
///   model
/// - [`Argument`](crate::Error::Argument) with a tensor that exceeds the range of f16, if f16 is
///   requested
/// - [`Io`](crate::Error::Io) and [`Malformed`](crate::Error::Malformed) with a file
pub fn load<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
    dtype: Dtype,
    device: &B::Device,
) -> Result<(Florence2ForConditionalGeneration<B>, Vec<Warning>)> {
    let mut monitor = |_: LoadProgress| -> Result<()> { Ok(()) };
    load_monitored(config, checkpoint, adapters, dtype, device, &mut monitor)
}

/// [`load`] with a callback for the progress.
///
/// # Errors
/// Those of [`load`] and of `monitor`.
pub fn load_monitored<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    adapters: &[Adapter],
    dtype: Dtype,
    device: &B::Device,
    monitor: &mut LoadMonitor<'_>,
) -> Result<(Florence2ForConditionalGeneration<B>, Vec<Warning>)> {
    let tensors = NamedTensors::new(checkpoint)?;
    let ties = Ties::new(config, &tensors, true)?;
    let adapters = Adapters::new(adapters, &ties, config.tie_word_embeddings);
    let embeddings = UntiedEmbeddings::new(&ties, &adapters);
    let model = embeddings.build_model::<B>(config, &adapters, dtype, device)?;
    let sizes = ParameterSizes::of(&model, dtype);
    sizes.check(B::largest_buffer(device))?;
    adapters.check(&sizes.shapes, &tensors)?;
    let mut loader = Loader::new(&tensors, &ties, &adapters, &embeddings, dtype);
    loader.progress = sizes.progress();
    monitor(loader.progress)?;
    loader.monitor = Some(monitor);
    let model = model.map(&mut loader);
    let mut warnings = loader.finish()?;
    warnings.extend(ties.warning(&tensors));
    Ok((model, warnings))
}

/// Compares a checkpoint with a configuration by names and shapes only: no tensor is read.
///
/// # Errors
/// [`Malformed`](crate::Error::Malformed) if it is not a Florence-2 checkpoint,
/// [`Config`](crate::Error::Config).
pub fn inspect<B: Backend>(
    config: &Florence2Config,
    checkpoint: &Checkpoint,
    device: &B::Device,
) -> Result<WeightsReport> {
    let tensors = NamedTensors::new(checkpoint)?;
    let ties = Ties::new(config, &tensors, false)?;
    let adapters = Adapters::new(&[], &ties, config.tie_word_embeddings);
    let embeddings = UntiedEmbeddings::new(&ties, &adapters);
    let model = embeddings.build_model::<B>(config, &adapters, Dtype::F32, device)?;
    let mut loader = Loader::new(&tensors, &ties, &adapters, &embeddings, Dtype::F32);
    loader.reads_values = false;
    model.map(&mut loader);
    Ok(loader.into_report())
}
