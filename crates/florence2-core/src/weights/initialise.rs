//! The initial values of a model that is trained from scratch: HF `PreTrainedModel._init_weights`.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use florence2_kernels::{Backend, Dtype};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::key_map::{SHARED_KEY, module_path_to_key};
use crate::config::Florence2Config;
use crate::error::Result;
use crate::model::Florence2ForConditionalGeneration;

/// The standard deviation of weights outside the vision tower and the language model, and of the vision
/// tower if its configuration states 0.
const INITIALIZER_RANGE: f64 = 0.02;

/// Builds a model with initial values: normally distributed weights, layer norms of 1, biases of 0,
/// the embedding of the padding token 0, and the constant table of sinusoids.
///
/// The values depend on the seed only, not on the backend. They differ from torch's.
///
/// # Errors
/// Those of [`Florence2ForConditionalGeneration::new`].
pub fn initialise<B: Backend>(
    config: Florence2Config,
    seed: u64,
    dtype: Dtype,
    device: &B::Device,
) -> Result<Florence2ForConditionalGeneration<B>> {
    let mut initialiser = Initialiser {
        config: config.clone(),
        random: ChaCha8Rng::seed_from_u64(seed),
        path: Vec::new(),
    };
    let model = Florence2ForConditionalGeneration::new(config, dtype, device)?;
    Ok(model.map(&mut initialiser))
}

struct Initialiser {
    config: Florence2Config,
    random: ChaCha8Rng,
    path: Vec<String>,
}

/// The rule of a parameter.
#[derive(Debug, PartialEq)]
enum Rule {
    Zeros,
    Ones,
    /// Normally distributed around 0.
    Normal {
        std: f64,
    },
    /// The value with which the module was created.
    Constant,
}

impl Rule {
    fn of(key: &str, config: &Florence2Config) -> Self {
        let text_std = config.text_config.init_std;
        let vision_std = config.vision_config.initializer_range;
        if key.ends_with("pos_idx_to_embed") {
            Self::Constant
        } else if key.strip_suffix(".bias").is_some() {
            Self::Zeros
        } else if key.contains("norm") {
            Self::Ones
        } else if key.starts_with("model.language_model.") {
            Self::Normal { std: text_std }
        } else if key.starts_with("model.vision_tower.") && vision_std != 0.0 {
            Self::Normal { std: vision_std }
        } else {
            Self::Normal {
                std: INITIALIZER_RANGE,
            }
        }
    }
}

impl Initialiser {
    fn values(&mut self, key: &str, rule: &Rule, shape: &[usize]) -> Vec<f32> {
        let count = shape.iter().product();
        let mut values = match rule {
            Rule::Ones => vec![1.0; count],
            Rule::Normal { std } => self.normal(*std, count),
            Rule::Zeros | Rule::Constant => vec![0.0; count],
        };
        if key == SHARED_KEY || key.ends_with(".embed_tokens.weight") {
            self.clear_padding_row(&mut values, shape[1]);
        }
        values
    }

    fn clear_padding_row(&self, table: &mut [f32], columns: usize) {
        let id = self.config.text_config.pad_token_id;
        let row = id.and_then(|id| table.chunks_exact_mut(columns).nth(id as usize));
        if let Some(row) = row {
            row.fill(0.0);
        }
    }

    /// Normally distributed values by the method of Box and Muller.
    fn normal(&mut self, std: f64, count: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            let angle = std::f64::consts::TAU * self.uniform();
            values.push((std * radius * angle.cos()) as f32);
            values.push((std * radius * angle.sin()) as f32);
        }
        values.truncate(count);
        values
    }

    /// A number in `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl<B: Backend> ModuleMapper<B> for Initialiser {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let key = module_path_to_key(&self.path);
        let rule = Rule::of(&key, &self.config);
        if rule == Rule::Constant {
            return parameter;
        }
        let shape: [usize; D] = parameter.lazy_shape().dims();
        let (device, is_trained) = (parameter.lazy_device(), parameter.is_require_grad());
        let data = TensorData::new(self.values(&key, &rule, &shape), shape);
        let tensor = Tensor::from_data(data, &device).set_require_grad(is_trained);
        Param::initialized(parameter.id, tensor)
    }
}
