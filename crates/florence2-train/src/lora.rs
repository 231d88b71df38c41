//! LoRA: the updates of the target modules, with PEFT's rules and initial values.

use crate::error::{Error, Result};
use crate::trained_parameters::{select, trained};
use burn::module::{AutodiffModule, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use florence2_core::Florence2ForConditionalGeneration;
use florence2_core::layers::Linear;
use florence2_kernels::{Backend, LoraUpdate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The settings of the updates: those of PEFT's `LoraConfig` that the forward pass depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateSettings {
    /// The rank of an update: PEFT `r`.
    pub rank: usize,
    /// The factor of an update: `lora_alpha / r`, or `lora_alpha / sqrt(r)` with rsLoRA.
    pub scaling: f64,
    /// The probability with which an input of an update is dropped.
    pub dropout: f64,
}

/// Creates a model in training from a base model, whose weights remain packed: all parameters are frozen
/// but for the updates of the target modules and the modules that are trained as a whole.
///
/// `modules_to_save` names these by the end of their names, as in PEFT. The output matrix `lm_head`
/// becomes untied. An embedding cannot be trained as a whole beside updates.
///
/// # Errors
/// [`Error::Modules`] with the names of `modules_to_save` that no module has, and
/// [`Error::NothingToTrain`] if nothing else is trained.
pub fn adapt<B: Backend>(
    base: Florence2ForConditionalGeneration<B>,
    settings: &UpdateSettings,
    seed: u64,
    is_target: impl Fn(&str) -> bool,
    modules_to_save: &[String],
) -> Result<Florence2ForConditionalGeneration<Autodiff<B>>> {
    let mut model = Florence2ForConditionalGeneration::<Autodiff<B>>::from_inner(base);
    if model.lm_head.is_none() && is_saved("lm_head", modules_to_save) {
        untie_output(&mut model);
    }
    for (name, linear) in model.linears_mut() {
        if is_saved(&name, modules_to_save) {
            linear.weight = linear.weight.clone().trained();
        }
    }
    let mut model = select(model, |key| {
        let module = key.rsplit_once('.').map_or("", |(module, _)| module);
        is_saved(module, modules_to_save)
    });
    let saved = trained(&model, "");
    let unknown = modules_to_save.iter().filter(|name| {
        let module = |key: &str| {
            key.rsplit_once('.')
                .is_some_and(|(module, _)| module.ends_with(name.as_str()))
        };
        !saved.iter().any(|(key, _)| module(key))
    });
    let unknown: Vec<String> = unknown.cloned().collect();
    if !unknown.is_empty() {
        return Err(Error::Modules { unknown });
    }
    let targets = add_updates(&mut model, settings, seed, |name| {
        is_target(name) && !is_saved(name, modules_to_save)
    });
    if targets.is_empty() && saved.is_empty() {
        return Err(Error::NothingToTrain);
    }
    Ok(model)
}

fn is_saved(module: &str, modules_to_save: &[String]) -> bool {
    modules_to_save
        .iter()
        .any(|name| module.ends_with(name.as_str()))
}

/// Gives the model an output matrix of its own, with the values of the shared embedding.
fn untie_output<B: Backend>(model: &mut Florence2ForConditionalGeneration<B>) {
    let shared = model.model.language_model.shared.weight.clone();
    model.lm_head = Some(Linear {
        weight: shared,
        bias: None,
    });
}

/// Freezes the linear layers for whose names `is_target` is true, and adds updates to them. Returns
/// the names of these layers.
///
/// `lora_a` is uniform in `+-1 / sqrt(in)`, as PEFT's Kaiming initialisation, and `lora_b` is 0. The
/// values depend on the seed only and differ from torch's.
pub fn add_updates<B: Backend>(
    model: &mut Florence2ForConditionalGeneration<B>,
    settings: &UpdateSettings,
    seed: u64,
    is_target: impl Fn(&str) -> bool,
) -> Vec<String> {
    let device = model.device();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut names = Vec::new();
    let targets = model.linears_mut().filter(|(name, _)| is_target(name));
    for (name, linear) in targets {
        let [outputs, inputs] = linear.weight.dims();
        let a = uniform(&mut random, settings.rank * inputs, inputs);
        let update = LoraUpdate {
            lora_a: parameter(a, [settings.rank, inputs], &device),
            lora_b: parameter(
                vec![0.0; outputs * settings.rank],
                [outputs, settings.rank],
                &device,
            ),
            scaling: settings.scaling,
            dropout: settings.dropout,
            dropout_seed: None,
        };
        let weight = linear.weight.clone();
        linear.weight = weight.adapted(update);
        names.push(name);
    }
    names
}

fn uniform(random: &mut ChaCha8Rng, count: usize, inputs: usize) -> Vec<f32> {
    let bound = (inputs as f64).powf(-0.5);
    let mut value = || {
        let unit = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        ((2.0 * unit - 1.0) * bound) as f32
    };
    (0..count).map(|_| value()).collect()
}

/// A trained parameter.
fn parameter<B: Backend>(
    values: Vec<f32>,
    shape: [usize; 2],
    device: &B::Device,
) -> Param<Tensor<B, 2>> {
    let tensor = Tensor::from_data(TensorData::new(values, shape), device);
    Param::initialized(ParamId::new(), tensor.require_grad())
}
