//! LoRA: the updates of the target modules, with PEFT's rules and initial values.

use burn::module::{AutodiffModule, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use florence2_core::Florence2ForConditionalGeneration;
use florence2_core::layers::Linear;
use florence2_core::weights::{LoraConfig, ModuleMatcher, is_embedding};
use florence2_kernels::{Backend, LoraUpdate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::{Error, Result};
use crate::trained_parameters::{select, trained};

/// Creates a model in training from a base model, whose weights remain packed: all parameters are frozen
/// but for the updates of the target modules and the modules that are trained as a whole.
///
/// An output matrix `lm_head` that is trained as a whole becomes untied. Embeddings cannot be trained as
/// a whole beside updates, and convolutions and embeddings cannot be targets.
///
/// # Errors
/// - Those of [`ModuleMatcher::new`]
/// - [`Error::Modules`] with the names of `modules_to_save` that no such module has
/// - [`Error::NothingToTrain`] if no module is a target or trained as a whole
pub fn adapt<B: Backend>(
    base: Florence2ForConditionalGeneration<B>,
    config: &LoraConfig,
    seed: u64,
) -> Result<Florence2ForConditionalGeneration<Autodiff<B>>> {
    let matcher = ModuleMatcher::new(config)?;
    let modules_to_save = config.modules_to_save.as_slice();
    let mut model = Florence2ForConditionalGeneration::<Autodiff<B>>::from_inner(base);
    if model.lm_head.is_none() && is_saved("lm_head", modules_to_save) {
        untie_output(&mut model);
    }
    for (name, linear) in model.linears_mut() {
        if is_saved(&name, modules_to_save) {
            linear.weight = linear.weight.clone().trained();
        }
    }
    let mut model = select(model, |key| is_saved(module_of(key), modules_to_save));
    let saved = trained(&model, "");
    let unknown = modules_to_save.iter().filter(|name| {
        let mut modules = saved.iter().map(|(key, _)| module_of(key));
        !modules.any(|module| module.ends_with(name.as_str()))
    });
    let unknown: Vec<String> = unknown.cloned().collect();
    if !unknown.is_empty() {
        return Err(Error::Modules { unknown });
    }
    let targets = add_updates(&mut model, config, seed, &matcher);
    if targets.is_empty() && saved.is_empty() {
        return Err(Error::NothingToTrain);
    }
    Ok(model)
}

/// The name of the module of a parameter.
fn module_of(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(module, _)| module)
}

/// Returns whether a module is trained as a whole. An embedding is not: PEFT replaces only the copy of
/// one place by a trained one.
fn is_saved(module: &str, modules_to_save: &[String]) -> bool {
    let mut names = modules_to_save.iter();
    !is_embedding(module) && names.any(|name| module.ends_with(name.as_str()))
}

/// Gives the model an output matrix of its own, with the values of the shared embedding.
fn untie_output<B: Backend>(model: &mut Florence2ForConditionalGeneration<B>) {
    let shared = model.model.language_model.shared.weight.clone();
    model.lm_head = Some(Linear {
        weight: shared,
        bias: None,
    });
}

/// Freezes the linear layers that are targets, and adds updates to them. Returns the names of these
/// layers.
///
/// `lora_a` is uniform in `+-1 / sqrt(in)`, as PEFT's Kaiming initialisation, and `lora_b` is 0. The
/// values depend on the seed only and differ from torch's.
fn add_updates<B: Backend>(
    model: &mut Florence2ForConditionalGeneration<B>,
    config: &LoraConfig,
    seed: u64,
    matcher: &ModuleMatcher,
) -> Vec<String> {
    let device = model.device();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut names = Vec::new();
    let targets = model
        .linears_mut()
        .filter(|(name, _)| matcher.targets(name));
    for (name, linear) in targets {
        let [outputs, inputs] = linear.weight.dims();
        let a = uniform(&mut random, config.r * inputs, inputs);
        let update = LoraUpdate {
            lora_a: parameter(a, [config.r, inputs], &device),
            lora_b: parameter(vec![0.0; outputs * config.r], [outputs, config.r], &device),
            scaling: config.scaling(),
            dropout: config.lora_dropout,
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
