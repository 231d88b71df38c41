//! Adapters of every kind and checkpoints with untied weights, compared with the logits of
//! transformers and PEFT that `tests/fixtures/adapters.py` computes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use florence2_core::weights::{Adapter, Checkpoint, inspect, load};
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration, Warning};
use florence2_kernels::{Backend, Dtype};
use safetensors::tensor::{Dtype as FileDtype, TensorView};

use crate::fixture::{Fixture, MODELS, assert_close};

const SHARED: &str = "model.language_model.shared.weight";
const DECODER: &str = "model.language_model.decoder.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";
const TEMPORAL: &str = "model.multi_modal_projector.visual_temporal_embed.pos_idx_to_embed";

/// A safetensors file's tensors: shape and f32 values by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(checkpoint: &Checkpoint) -> Tensors {
    let tensors = checkpoint.tensors.iter();
    let read = tensors.map(|(name, tensor)| {
        let values = (tensor.shape.clone(), tensor.to_f32().unwrap());
        (name.clone(), values)
    });
    read.collect()
}

fn bytes(tensors: &Tensors) -> Arc<[u8]> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name, shape, bytes.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(FileDtype::F32, (*shape).clone(), bytes).unwrap();
        (*name, view)
    });
    safetensors::serialize(views, None).unwrap().into()
}

/// A tiny model whose files a test changes.
struct Model {
    fixture: Fixture,
    config: serde_json::Value,
    tensors: Tensors,
}

impl Model {
    fn open(name: &str) -> Self {
        let fixture = Fixture::open(name);
        let folder = fixture.folder.join("hf");
        let config = std::fs::read(folder.join("config.json")).unwrap();
        Self {
            config: serde_json::from_slice(&config).unwrap(),
            tensors: read(&Checkpoint::open(&folder).unwrap()),
            fixture,
        }
    }

    fn config(&self) -> Florence2Config {
        Florence2Config::from_json(self.config.to_string().as_bytes(), "config.json").unwrap()
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::from_files(vec![("model.safetensors".to_owned(), bytes(&self.tensors))])
            .unwrap()
    }

    fn load<B: Backend>(
        &self,
        adapters: &[Adapter],
    ) -> florence2_core::Result<(Florence2ForConditionalGeneration<B>, Vec<Warning>)> {
        let device = B::Device::default();
        load(
            &self.config(),
            &self.checkpoint(),
            adapters,
            Dtype::F32,
            &device,
        )
    }

    fn logits<B: Backend>(&self, adapters: &[Adapter]) -> (Tensor<B, 3>, Vec<Warning>) {
        let (model, warnings) = self.load::<B>(adapters).unwrap();
        let output = model.forward(self.fixture.forward_input()).unwrap();
        (output.logits, warnings)
    }

    fn adapters(&self) -> PathBuf {
        self.fixture.folder.join("adapters")
    }

    fn adapter(&self, name: &str) -> Adapter {
        Adapter::open(&self.adapters().join(name)).unwrap()
    }

    /// The logits of transformers and PEFT.
    fn golden<B: Backend>(&self, name: &str) -> Tensor<B, 3> {
        let file = self.adapters().join("goldens.safetensors");
        let goldens = Checkpoint::open_file(&file).unwrap();
        let golden = &goldens.tensors[name];
        let data = TensorData::new(golden.to_f32().unwrap(), golden.shape.clone());
        Tensor::from_data(data, &B::Device::default())
    }

    /// Sets a copy of the embedding to other values: the rows of the embedding in reverse order.
    fn untie(&mut self, name: &str) {
        let (shape, values) = &self.tensors[SHARED];
        let rows = values.chunks_exact(shape[1]).rev();
        let copy = (shape.clone(), rows.flatten().copied().collect());
        self.tensors.insert(name.to_owned(), copy);
    }
}

fn adapters_are_merged_as_peft_applies_them<B: Backend>() {
    for name in MODELS {
        let model = Model::open(name);
        let mut kinds = 0;
        for entry in std::fs::read_dir(model.adapters()).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_type().unwrap().is_dir() {
                continue;
            }
            let kind = entry.file_name().into_string().unwrap();
            let (logits, warnings) = model.logits::<B>(&[model.adapter(&kind)]);
            assert_close(&format!("{name} {kind}"), logits, model.golden(&kind));
            assert_eq!(warnings, []);
            kinds += 1;
        }
        assert!(kinds >= 2, "{name}");
    }
}

on_every_backend_in_f32!(adapters_are_merged_as_peft_applies_them);

#[test]
fn adapters_together_are_merged_in_order_and_by_their_scales() {
    let model = Model::open("tiny-a");
    for (golden, adapters) in [
        ("plain, dora", vec![("plain", 0.5), ("dora", 1.5)]),
        (
            "dora, plain, output",
            vec![("dora", 1.0), ("plain", -2.0), ("output", 1.0)],
        ),
    ] {
        let adapters: Vec<Adapter> = adapters
            .into_iter()
            .map(|(name, scale)| model.adapter(name).with_scale(scale).unwrap())
            .collect();
        let (logits, _) = model.logits::<Flex>(&adapters);
        assert_close(golden, logits, model.golden(golden));
    }
}

/// The weights file of an adapter in memory.
fn in_memory(weights: Arc<[u8]>) -> Vec<(String, Arc<[u8]>)> {
    vec![("adapter_model.safetensors".to_owned(), weights)]
}

#[test]
fn an_adapter_in_memory_is_that_of_a_folder() {
    let model = Model::open("tiny-a");
    let folder = model.adapters().join("plain");
    let config = std::fs::read(folder.join("adapter_config.json")).unwrap();
    let weights = std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    let adapter = Adapter::from_files(&config, in_memory(weights.into())).unwrap();
    let (logits, _) = model.logits::<Flex>(&[adapter]);
    assert_close("plain", logits, model.golden("plain"));
}

/// A LoRA of an embedding requires the norms over all rows of the base model, including padding.
#[test]
fn an_adapter_of_a_model_without_padding_fits_one_with_padding() {
    let mut model = Model::open("tiny-a");
    let (shape, values) = model.tensors.get_mut(SHARED).unwrap();
    values.extend(vec![3.0; 6 * shape[1]]);
    shape[0] += 6;
    for kind in ["every-embedding", "output-saved", "dora", "tokens"] {
        let (logits, _) = model.logits::<Flex>(&[model.adapter(kind)]);
        assert_close(kind, logits, model.golden(kind));
    }
}

/// The error of an adapter after a change of its files.
fn adapter_error(
    model: &Model,
    name: &str,
    change: impl FnOnce(&mut serde_json::Value, &mut Tensors),
) -> String {
    let folder = model.adapters().join(name);
    let config = std::fs::read(folder.join("adapter_config.json")).unwrap();
    let mut config = serde_json::from_slice(&config).unwrap();
    let file = folder.join("adapter_model.safetensors");
    let mut tensors = read(&Checkpoint::open_file(&file).unwrap());
    change(&mut config, &mut tensors);
    let adapter = Adapter::from_files(config.to_string().as_bytes(), in_memory(bytes(&tensors)));
    let outcome = adapter.and_then(|adapter| model.load::<Flex>(&[adapter]));
    outcome.err().unwrap().to_string()
}

#[test]
fn an_error_names_everything_in_an_adapter_that_does_not_fit() {
    let model = Model::open("tiny-a");
    let fc1 = "base_model.model.model.language_model.decoder.layers.0.fc1";
    let conv = "base_model.model.model.vision_tower.convs.1.conv";
    let rank = adapter_error(&model, "plain", |config, _| config["r"] = 16.into());
    let no_b = adapter_error(&model, "plain", |_, tensors| {
        tensors.remove(&format!("{fc1}.lora_B.weight")).unwrap();
        tensors.remove(&format!("{conv}.lora_A.weight")).unwrap();
    });
    let wide = adapter_error(&model, "plain", |_, tensors| {
        tensors.insert(format!("{fc1}.lora_A.weight"), (vec![2, 7], vec![0.0; 14]));
        tensors.insert(
            format!("{conv}.lora_B.weight"),
            (vec![3, 2, 1, 1], vec![0.0; 6]),
        );
    });
    let unused = adapter_error(&model, "plain", |_, tensors| {
        for part in ["lora_A", "lora_B"] {
            let tensor = tensors[&format!("{fc1}.{part}.weight")].clone();
            let other = fc1.replace("layers.0", "layers.9");
            tensors.insert(format!("{other}.{part}.weight"), tensor);
        }
        let bias = "base_model.model.model.vision_tower.convs.7.norm.bias";
        tensors.insert(bias.to_owned(), (vec![1], vec![0.0]));
    });
    let unknown = adapter_error(&model, "plain", |_, tensors| {
        for name in ["value_head.weight", "score.lora_A.weight"] {
            tensors.insert(name.to_owned(), (vec![1, 1], vec![0.0]));
        }
    });
    let magnitudes = adapter_error(&model, "plain", |config, _| {
        config["use_dora"] = true.into();
    });
    let token = adapter_error(&model, "tokens", |config, _| {
        config["trainable_token_indices"] = serde_json::json!([5, 9999]);
    });
    let variant = adapter_error(&model, "plain", |config, _| {
        config["init_lora_weights"] = "pissa".into();
        config["layer_replication"] = serde_json::json!([[0, 2]]);
    });
    for (error, names) in [
        (
            rank,
            vec!["decoder.layers.0.fc1", "convs.1.conv", "rank 2", "16"],
        ),
        (
            no_b,
            vec![
                "decoder.layers.0.fc1",
                "lora_B is missing",
                "convs.1.conv",
                "lora_A is missing",
            ],
        ),
        (
            wide,
            vec![
                "decoder.layers.0.fc1",
                "[2, 7]",
                "[2, 20]",
                "convs.1.conv",
                "[3, 2, 1, 1]",
                "[10, 2, 1, 1]",
            ],
        ),
        (unused, vec!["decoder.layers.9.fc1", "convs.7.norm.bias"]),
        (unknown, vec!["value_head.weight", "score.lora_A.weight"]),
        (
            magnitudes,
            vec![
                "decoder.layers.0.fc1",
                "convs.1.conv",
                "lora_magnitude_vector",
            ],
        ),
        (token, vec!["trainable_token_indices", "9999"]),
        (
            variant,
            vec!["init_lora_weights", "pissa", "layer_replication"],
        ),
    ] {
        for name in names {
            assert!(error.contains(name), "`{name}` is not named: {error}");
        }
        assert!(error.contains("adapter_"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn adapters_that_cannot_be_combined_are_an_error() {
    let model = Model::open("tiny-a");
    for (names, reason) in [
        (["output-saved", "output"], "lm_head"),
        (["output", "output-saved"], "lm_head"),
        (["output-saved", "output-saved"], "lm_head"),
        (["bias-lora-only", "bias-all"], "bias"),
    ] {
        let adapters = names.map(|name| model.adapter(name));
        let error = model.load::<Flex>(&adapters).err().unwrap().to_string();
        assert!(error.contains(reason), "{names:?}: {error}");
    }
}

#[test]
fn an_adapter_needs_its_files_and_a_finite_scale() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    let error = Adapter::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("adapter_model.safetensors"), "{error}");
    let scaled = Model::open("tiny-a").adapter("plain").with_scale(f32::NAN);
    assert!(scaled.unwrap_err().to_string().contains("scale"));
}

#[test]
fn tied_weights_that_differ_stay_untied_with_a_warning() {
    for copies in [vec![OUTPUT], vec![DECODER], vec![OUTPUT, DECODER]] {
        let mut model = Model::open("tiny-a");
        for copy in &copies {
            model.untie(copy);
        }
        let golden = format!("untied {}", copies.join(", "));
        let (logits, warnings) = model.logits::<Flex>(&[]);
        assert_close(&golden, logits, model.golden(&golden));
        let [Warning::UntiedWeights { keys, .. }] = warnings.as_slice() else {
            panic!("{golden}: {warnings:?}");
        };
        assert_eq!(keys.len(), copies.len() + 1);
        for copy in copies.iter().chain([&SHARED]) {
            assert!(keys.contains(&(*copy).to_owned()), "{keys:?}");
        }
        // If the configuration declares them untied, there is no warning.
        model.config["tie_word_embeddings"] = (!copies.contains(&OUTPUT)).into();
        model.config["text_config"]["tie_word_embeddings"] = (!copies.contains(&DECODER)).into();
        let (logits, warnings) = model.logits::<Flex>(&[]);
        assert_close(&golden, logits, model.golden(&golden));
        assert_eq!(warnings, []);
    }
}

#[test]
fn equal_copies_are_tied_and_one_of_them_suffices() {
    let mut model = Model::open("tiny-a");
    let shared = model.tensors[SHARED].clone();
    model.tensors.insert(OUTPUT.to_owned(), shared.clone());
    model.tensors.insert(DECODER.to_owned(), shared);
    for removed in ["none", SHARED, OUTPUT] {
        model.tensors.remove(removed);
        let (loaded, warnings) = model.load::<Flex>(&[]).unwrap();
        assert!(loaded.lm_head.is_none() && warnings.is_empty(), "{removed}");
        let logits = loaded
            .forward(model.fixture.forward_input())
            .unwrap()
            .logits;
        assert_close(removed, logits, model.fixture.tensor("logits"));
    }
}

#[test]
fn names_of_wrappers_are_removed() {
    type Rename = fn(&str) -> String;
    let renames: [Rename; 5] = [
        |name| format!("module.{name}"),
        |name| format!("base_model.model.{name}"),
        |name| format!("_orig_mod.{name}"),
        |name| format!("model.{name}"),
        // The checkpoint of HF `Florence2Model`.
        |name| name.trim_start_matches("model.").to_owned(),
    ];
    for rename in renames {
        let mut model = Model::open("tiny-b");
        let tensors = std::mem::take(&mut model.tensors).into_iter();
        model.tensors = tensors
            .map(|(name, tensor)| (rename(&name), tensor))
            .collect();
        let (logits, warnings) = model.logits::<Flex>(&[]);
        assert_close(&rename(SHARED), logits, model.fixture.tensor("logits"));
        assert_eq!(warnings, []);
    }
}

#[test]
fn names_that_cannot_be_loaded_are_an_error_with_a_remedy() {
    let mut model = Model::open("tiny-b");
    let shared = model.tensors[SHARED].clone();
    model.tensors.insert(format!("module.{SHARED}"), shared);
    let error = model.load::<Flex>(&[]).err().unwrap().to_string();
    assert!(error.contains(&format!("module.{SHARED}")), "{error}");
    let mut model = Model::open("tiny-b");
    let names = ["fc1.lora_A.default.weight", "fc1.base_layer.weight"];
    for name in names {
        let tensor = (vec![1], vec![0.0]);
        model
            .tensors
            .insert(format!("model.language_model.{name}"), tensor);
    }
    let error = model.load::<Flex>(&[]).err().unwrap().to_string();
    for name in names.into_iter().chain(["merge_and_unload"]) {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn unexpected_tensors_are_a_warning_and_every_missing_one_is_an_error() {
    let mut model = Model::open("tiny-a");
    let names = [
        "head.bias",
        "model.language_model.encoder.layers.99.fc1.bias",
    ];
    for name in names {
        model.tensors.insert(name.to_owned(), (vec![1], vec![0.0]));
    }
    let (logits, warnings) = model.logits::<Flex>(&[]);
    assert_close("unexpected", logits, model.fixture.tensor("logits"));
    let [Warning::UnexpectedTensors { keys, .. }] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert_eq!(keys, &names);
    let report = inspect::<Flex>(&model.config(), &model.checkpoint(), &FlexDevice);
    let report = report.unwrap();
    assert!(report.is_clean());
    assert_eq!(report.unexpected, names);

    let is_removed = |name: &String| name.contains("decoder.layers.");
    let removed: Vec<String> = model
        .tensors
        .keys()
        .filter(|name| is_removed(name))
        .cloned()
        .collect();
    assert!(removed.len() > 30);
    model.tensors.retain(|name, _| !is_removed(name));
    let error = model.load::<Flex>(&[]).err().unwrap().to_string();
    for name in removed {
        assert!(error.contains(&name), "`{name}` is not named: {error}");
    }
}

#[test]
fn a_missing_table_of_sinusoids_is_computed() {
    let mut model = Model::open("tiny-a");
    let (shape, stored) = model.tensors.remove(TEMPORAL).unwrap();
    let (loaded, warnings) = model.load::<Flex>(&[]).unwrap();
    assert_eq!(warnings, []);
    let built =
        Florence2ForConditionalGeneration::<Flex>::new(model.config(), Dtype::F32, &FlexDevice);
    for model in [&loaded, &built.unwrap()] {
        let table = &model.model.multi_modal_projector.visual_temporal_embed;
        let table = table.pos_idx_to_embed.val();
        assert_eq!(table.dims().as_slice(), shape);
        assert!(!table.is_require_grad());
        let table: Vec<f32> = table.into_data().to_vec().unwrap();
        // The fixture's table is rounded to f16.
        for (found, stored) in table.iter().zip(&stored) {
            assert!(
                (found - stored).abs() < 5e-4,
                "found {found}, stored {stored}"
            );
        }
    }
    let logits = loaded
        .forward(model.fixture.forward_input())
        .unwrap()
        .logits;
    assert_close("no table", logits, model.fixture.tensor("logits"));
}

#[test]
fn a_loss_without_labels_is_not_a_number() {
    let model = Model::open("tiny-a");
    let (loaded, _) = model.load::<Flex>(&[]).unwrap();
    let mut input = model.fixture.forward_input();
    input.text.labels = input.text.labels.map(|labels| labels.ones_like() * -100);
    let loss = loaded.forward(input).unwrap().loss.unwrap();
    assert!(loss.into_scalar().is_nan());
}

/// Collects the type names of the modules.
struct Containers(Vec<String>);

impl<B: Backend> ModuleVisitor<B> for Containers {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.0.push(container_type.to_owned());
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<B, D>>) {}
}

/// burn-store's `PyTorchToBurnAdapter` transposes the weights of modules of this type.
#[test]
fn no_module_has_the_type_that_burn_transposes() {
    let (model, _) = Model::open("tiny-a").load::<Flex>(&[]).unwrap();
    let mut containers = Containers(Vec::new());
    model.visit(&mut containers);
    assert!(containers.0.iter().any(|name| name == "Struct:OutInLinear"));
    assert!(containers.0.iter().all(|name| name != "Struct:Linear"));
}
