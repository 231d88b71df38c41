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

/// The standard deviation of weights outside the language model: HF `initializer_range`.
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
        if key.ends_with("pos_idx_to_embed") {
            Self::Constant
        } else if key.strip_suffix(".bias").is_some() {
            Self::Zeros
        } else if key.contains("norm") {
            Self::Ones
        } else if key.starts_with("model.language_model.") {
            Self::Normal { std: text_std }
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

#[cfg(test)]
mod tests {
    use burn::module::ModuleVisitor;
    use burn_flex::{Flex, FlexDevice};

    use super::*;

    /// Statistics per key.
    #[derive(Default)]
    struct Statistics {
        path: Vec<String>,
        seen: usize,
    }

    impl ModuleVisitor<Flex> for Statistics {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<Flex, D>>) {
            let key = module_path_to_key(&self.path);
            let values = parameter.val().into_data().to_vec::<f32>().unwrap();
            let count = values.len() as f64;
            let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
            let variance = values
                .iter()
                .map(|value| f64::from(*value).powi(2))
                .sum::<f64>()
                / count;
            let std = match Rule::of(&key, &small_config()) {
                Rule::Constant => return,
                Rule::Zeros => 0.0,
                Rule::Ones => 1.0,
                Rule::Normal { std } => std,
            };
            // Six standard errors of the root mean square, and the zeros of the padding row.
            let tolerance = std * (6.0 / (2.0 * count).sqrt() + 0.02);
            assert!((variance.sqrt() - std).abs() <= tolerance, "{key}: {std}");
            if std != 1.0 {
                assert!(mean.abs() <= 6.0 * std / count.sqrt(), "{key}: {mean}");
            }
            self.seen += 1;
        }
    }

    fn small_config() -> Florence2Config {
        let mut config = Florence2Config::default();
        config.vision_config.depths = vec![1; 4];
        config.vision_config.embed_dim = vec![16, 32, 32, 64];
        config.vision_config.num_heads = vec![1, 2, 2, 4];
        config.vision_config.num_groups = vec![1, 2, 2, 4];
        config.vision_config.projection_dim = 64;
        let text = &mut config.text_config;
        (text.vocab_size, text.d_model, text.init_std) = (500, 64, 0.05);
        (text.encoder_layers, text.decoder_layers) = (1, 1);
        (text.encoder_ffn_dim, text.decoder_ffn_dim) = (128, 128);
        (text.encoder_attention_heads, text.decoder_attention_heads) = (4, 4);
        config
    }

    #[test]
    fn parameters_have_the_distributions_of_hugging_face() {
        let model = initialise::<Flex>(small_config(), 1, Dtype::F32, &FlexDevice).unwrap();
        let mut statistics = Statistics::default();
        model.visit(&mut statistics);
        assert!(statistics.seen > 100, "{} parameters", statistics.seen);
        let row = model
            .model
            .language_model
            .shared
            .weight
            .val()
            .narrow(0, 1, 1);
        assert_eq!(row.abs().max().into_scalar(), 0.0);
    }
}
