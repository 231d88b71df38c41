//! Checkpoints and adapters that are written: names, shapes and settings are those of transformers
//! and PEFT (`tests/fixtures/saving.py`), and what is read again is what was written.
//!
//! If `FLORENCE2_SAVED` names a folder, the files remain there for `saving.py --check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{AutodiffModule, Param};
use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use burn_flex::{Flex, FlexDevice};
use burn_ndarray::NdArray;
use florence2_core::weights::{
    Adapter, Checkpoint, LoraConfig, LoraFactors, LoraTensors, ModuleMatcher, NamesOrPattern,
    SaveOptions, TensorValues, save,
};
use florence2_core::{Florence2Config, Florence2ForConditionalGeneration};
use florence2_kernels::{Backend, Dtype, LoraUpdate};
use serde_json::{Value, json};

use crate::fixture::{Fixture, MODELS, assert_close, model_of_folder, repository};

const SHARED: &str = "model.language_model.shared.weight";
const PEFT_PREFIX: &str = "base_model.model.";

/// Shape and values by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(checkpoint: &Checkpoint) -> Tensors {
    let tensors = checkpoint.tensors.iter();
    let read = tensors.map(|(name, tensor)| {
        let values = (tensor.shape.clone(), tensor.to_f32().unwrap());
        (name.clone(), values)
    });
    read.collect()
}

fn shapes(folder: &Path, file: &str) -> BTreeMap<String, Vec<usize>> {
    let checkpoint = Checkpoint::open_file(&folder.join(file)).unwrap();
    let tensors = checkpoint.tensors.into_iter();
    tensors.map(|(name, tensor)| (name, tensor.shape)).collect()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn goldens(model: &str) -> Value {
    read_json(&repository().join("tests/fixtures/saving.json"))[model].clone()
}

/// The id of `<image>` in the vocabulary of a fixture.
fn image_token_id(model: &str) -> u32 {
    let id = goldens(model)["config"]["image_token_id"].as_u64();
    id.unwrap().try_into().unwrap()
}

/// The folder for the files of a test: that of `FLORENCE2_SAVED`, or a temporary one.
struct Output {
    temporary: tempfile::TempDir,
    kept: Option<PathBuf>,
}

impl Output {
    fn new() -> Self {
        Self {
            temporary: tempfile::tempdir().unwrap(),
            kept: std::env::var_os("FLORENCE2_SAVED").map(PathBuf::from),
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        let root = self.kept.as_deref().unwrap_or(self.temporary.path());
        root.join(name)
    }
}

#[test]
fn names_shapes_and_settings_are_those_of_transformers() {
    for name in MODELS {
        let goldens = goldens(name);
        let copies = goldens["copies"].as_object().unwrap();
        assert_eq!(copies.len(), 4);
        for (ties, copies) in copies {
            let (output, text) = ties.split_once(", ").unwrap();
            let mut config = goldens["config"].clone();
            config["tie_word_embeddings"] = output.parse::<bool>().unwrap().into();
            config["text_config"]["tie_word_embeddings"] = text.parse::<bool>().unwrap().into();
            let json = config.to_string();
            let parsed = Florence2Config::from_json(json.as_bytes(), "config.json").unwrap();
            let model =
                Florence2ForConditionalGeneration::<Flex>::new(parsed, Dtype::F32, &FlexDevice)
                    .unwrap();
            let folder = tempfile::tempdir().unwrap();
            let options = SaveOptions::default().source_config(json.as_bytes());
            save(&model, folder.path(), &options).unwrap();
            let mut expected = goldens["tensors"].as_object().unwrap().clone();
            expected.extend(copies.as_object().unwrap().clone());
            let found = shapes(folder.path(), "model.safetensors");
            assert_eq!(json!(found), Value::from(expected), "{name} {ties}");
            assert_eq!(read_json(&folder.path().join("config.json")), config);
        }
    }
}

#[test]
fn settings_of_microsofts_layout_get_the_names_of_transformers() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let folder = tempfile::tempdir().unwrap();
        let source = std::fs::read(fixture.folder.join("ms/config.json")).unwrap();
        let options = SaveOptions::default()
            .source_config(&source)
            .dtype(Dtype::Bf16)
            .image_token_id(image_token_id(name));
        save(&fixture.model::<Flex>("ms", &[]), folder.path(), &options).unwrap();
        let written = read_json(&folder.path().join("config.json"));
        let mut expected = goldens(name)["config"].clone();
        expected["dtype"] = "bfloat16".into();
        // transformers has defaults for the fields that neither the source nor this crate has.
        for (part, missing) in [("text_config", 4), ("vision_config", 0)] {
            let fields = expected[part].as_object_mut().unwrap();
            let before = fields.len();
            fields.retain(|key, _| written[part].get(key).is_some());
            assert_eq!(before - fields.len(), missing, "{name} {part}");
        }
        assert_eq!(written, expected);
    }
}

fn check_saved<B: Backend>(name: &str, layout: &str) {
    let fixture = Fixture::open(name);
    let expected = read(&Checkpoint::open(&fixture.folder.join("hf")).unwrap());
    for dtype in [Dtype::F32, Dtype::F16] {
        let folder = tempfile::tempdir().unwrap();
        let options = SaveOptions::default().dtype(dtype);
        save(&fixture.model::<B>(layout, &[]), folder.path(), &options).unwrap();
        // The weights of the fixtures are representable in f16.
        let found = read(&Checkpoint::open(folder.path()).unwrap());
        assert!(found == expected, "{name} {layout} {dtype}");
        let again = tempfile::tempdir().unwrap();
        let model = model_of_folder::<B>(folder.path(), &[], Dtype::F32);
        save(&model, again.path(), &options).unwrap();
        let file = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
        assert!(file(folder.path()) == file(again.path()));
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    for name in MODELS {
        for layout in ["hf", "hf-sharded", "ms", "ms-bin"] {
            check_saved::<Flex>(name, layout);
        }
        check_saved::<NdArray>(name, "hf");
        check_saved::<Autodiff<Flex>>(name, "hf");
    }
}

#[test]
fn a_packed_model_is_written_as_its_values() {
    let fixture = Fixture::open("tiny-a");
    let expected = read(&Checkpoint::open(&fixture.folder.join("hf")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let model = fixture.model_in::<Flex>(Dtype::Bf16);
    let options = SaveOptions::default().dtype(Dtype::Bf16);
    save(&model, folder.path(), &options).unwrap();
    let found = read(&Checkpoint::open(folder.path()).unwrap());
    assert_eq!(found.len(), expected.len());
    for (name, (_, values)) in found {
        for (value, expected) in values.iter().zip(&expected[&name].1) {
            assert_eq!(*value, half::bf16::from_f32(*expected).to_f32(), "{name}");
        }
    }
}

/// The row that transformers looks up for `<image>` does not change the other scores.
#[test]
fn a_model_in_microsofts_layout_receives_the_image_token() {
    let output = Output::new();
    for name in MODELS {
        let fixture = Fixture::open(name);
        let folder = output.folder(&format!("{name}/checkpoints/extended"));
        let model = fixture.model::<Flex>("ms", &[]);
        let vocab_size = model.config().text_config.vocab_size;
        let id = vocab_size as u32;
        let options = SaveOptions::default().image_token_id(id);
        save(&model, &folder, &options).unwrap();
        let extended = model_of_folder::<Flex>(&folder, &[], Dtype::F32);
        assert_eq!(extended.config().image_token_id, Some(id));
        assert_eq!(extended.config().text_config.vocab_size, vocab_size + 1);
        let logits = extended.forward(fixture.forward_input()).unwrap().logits;
        let known = logits.clone().narrow(2, 0, vocab_size);
        assert_close(name, known.clone(), fixture.tensor("logits"));
        // A score of the mean row is the mean of the scores.
        let image = logits.narrow(2, vocab_size, 1);
        assert_close(name, image, known.mean_dim(2));
        let beyond = SaveOptions::default().image_token_id(id + 1);
        let error = save(&model, &folder, &beyond).unwrap_err().to_string();
        assert!(error.contains("image_token_id"), "{error}");
    }
}

#[test]
fn merged_adapters_are_written_with_the_logits_of_peft() {
    let output = Output::new();
    for name in MODELS {
        let fixture = Fixture::open(name);
        let adapters = fixture.folder.join("adapters");
        let goldens = read(&Checkpoint::open_file(&adapters.join("goldens.safetensors")).unwrap());
        let mut kinds: Vec<(String, PathBuf)> = std::fs::read_dir(&adapters)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
            .collect();
        kinds.push(("adapter".to_owned(), fixture.folder.join("adapter")));
        let mut written = 0;
        for (kind, folder) in &kinds {
            let model = fixture.model::<Flex>("hf", &[Adapter::open(folder).unwrap()]);
            let folder = output.folder(&format!("{name}/checkpoints/{kind}"));
            let saved = save(&model, &folder, &SaveOptions::default());
            if kind == "lora-bias" {
                let error = saved.unwrap_err().to_string();
                for bias in [
                    "lm_head.bias",
                    "multi_modal_projector.image_projection.bias",
                ] {
                    assert!(error.contains(bias), "{error}");
                }
                continue;
            }
            saved.unwrap();
            let input = || fixture.forward_input::<Flex>();
            let expected = model.forward(input()).unwrap().logits;
            let found = model_of_folder::<Flex>(&folder, &[], Dtype::F32);
            let found = found.forward(input()).unwrap().logits;
            assert_eq!(found.to_data(), expected.to_data(), "{name} {kind}");
            let golden = match kind.as_str() {
                "adapter" => fixture.tensor("logits_with_adapter"),
                kind => {
                    let (shape, values) = goldens[kind].clone();
                    let data = burn::tensor::TensorData::new(values, shape);
                    Tensor::from_data(data, &FlexDevice)
                }
            };
            assert_close(&format!("{name} {kind}"), found, golden);
            written += 1;
        }
        assert!(written >= 3, "{name}");
        let folder = output.folder(&format!("{name}/checkpoints/model"));
        save(
            &fixture.model::<Flex>("ms", &[]),
            &folder,
            &SaveOptions::default().image_token_id(image_token_id(name)),
        )
        .unwrap();
    }
}

/// The tensors of an adapter's file, and its settings.
fn adapter_of(folder: &Path) -> (LoraConfig, LoraTensors) {
    let config = read_json(&folder.join("adapter_config.json"));
    let config: LoraConfig = serde_json::from_value(config).unwrap();
    let file = folder.join("adapter_model.safetensors");
    let mut tensors = LoraTensors::default();
    let mut factors: BTreeMap<String, [Option<TensorValues>; 2]> = BTreeMap::new();
    for (name, (shape, values)) in read(&Checkpoint::open_file(&file).unwrap()) {
        let tensor = TensorValues { shape, values };
        let name = name.strip_prefix(PEFT_PREFIX).unwrap();
        let parts = [
            (".lora_A.weight", 0),
            (".lora_embedding_A", 0),
            (".lora_B.weight", 1),
            (".lora_embedding_B", 1),
        ];
        let part = parts
            .into_iter()
            .find_map(|(suffix, part)| Some((name.strip_suffix(suffix)?, part)));
        match part {
            Some((module, part)) => {
                factors.entry(module.to_owned()).or_default()[part] = Some(tensor);
            }
            // A base weight of an embedding, which PEFT saves although it is not trained.
            None if name.ends_with(".base_layer.weight") => {}
            None => {
                tensors.modules_to_save.insert(name.to_owned(), tensor);
            }
        }
    }
    tensors.updates = factors
        .into_iter()
        .map(|(module, [a, b])| {
            let factors = LoraFactors {
                a: a.unwrap(),
                b: b.unwrap(),
            };
            (module, factors)
        })
        .collect();
    (config, tensors)
}

#[test]
fn adapters_that_are_written_have_the_logits_of_peft() {
    let output = Output::new();
    for (name, kinds) in [
        (
            "tiny-a",
            &[
                "plain",
                "output",
                "output-saved",
                "embedding",
                "embedding-saved",
                "every-embedding",
            ][..],
        ),
        ("tiny-b", &["embedding"]),
    ] {
        let fixture = Fixture::open(name);
        for kind in kinds {
            let source = fixture.folder.join("adapters").join(kind);
            let (config, tensors) = adapter_of(&source);
            let folder = output.folder(&format!("{name}/adapters/{kind}"));
            tensors.save(&config, &folder).unwrap();
            let logits = |folder: &Path| {
                let adapter = Adapter::open(folder).unwrap();
                let model = fixture.model::<Flex>("hf", &[adapter]);
                model.forward(fixture.forward_input()).unwrap().logits
            };
            // The logits of the source are compared with PEFT's in `adapters.rs`.
            assert_eq!(
                logits(&folder).to_data(),
                logits(&source).to_data(),
                "{name} {kind}"
            );
            assert_eq!(
                read_json(&folder.join("adapter_config.json")),
                read_json(&source.join("adapter_config.json")),
                "{name} {kind}"
            );
        }
    }
}

/// Tensors whose values are distinct for each name and position.
fn tensor(seed: usize, shape: &[usize]) -> TensorValues {
    let values = (0..shape.iter().product()).map(|index: usize| {
        let number = (index * 7919 + seed * 104_729) % 1009;
        number as f32 / 1009.0 - 0.5
    });
    TensorValues {
        shape: shape.to_vec(),
        values: values.collect(),
    }
}

/// The settings of `saving.py`'s adapter, and tensors of its shapes.
fn example(name: &str) -> (LoraConfig, LoraTensors) {
    let adapter = &goldens(name)["adapter"];
    let config: LoraConfig = serde_json::from_value(adapter["config"].clone()).unwrap();
    let mut tensors = LoraTensors::default();
    for (seed, (key, shape)) in adapter["tensors"].as_object().unwrap().iter().enumerate() {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let key = key.strip_prefix(PEFT_PREFIX).unwrap();
        let module = key.rsplit_once(".lora_").map(|(module, _)| module);
        let Some(module) = module else {
            let tensor = tensor(seed, &shape);
            tensors.modules_to_save.insert(key.to_owned(), tensor);
            continue;
        };
        let factors = tensors.updates.entry(module.to_owned());
        let empty = tensor(0, &[0, 0]);
        let factors = factors.or_insert(LoraFactors {
            a: empty.clone(),
            b: empty,
        });
        if key.contains("_A") {
            factors.a = tensor(seed, &shape);
        } else {
            factors.b = tensor(seed, &shape);
        }
    }
    (config, tensors)
}

#[test]
fn names_shapes_and_settings_of_adapters_are_those_of_peft() {
    for name in MODELS {
        let (config, tensors) = example(name);
        let folder = tempfile::tempdir().unwrap();
        tensors.save(&config, folder.path()).unwrap();
        let adapter = &goldens(name)["adapter"];
        let found = shapes(folder.path(), "adapter_model.safetensors");
        assert_eq!(json!(found), adapter["tensors"]);
        let found = read_json(&folder.path().join("adapter_config.json"));
        assert_eq!(found, adapter["config"]);
    }
}

/// `scaling * B A`, or `scaling * (B A)^T` of an embedding, in f64.
fn update(factors: &LoraFactors, scaling: f64, is_embedding: bool) -> Vec<f64> {
    let rank = factors.a.shape[0];
    let inputs = factors.a.values.len() / rank;
    let outputs = factors.b.values.len() / rank;
    let product = |output: usize, input: usize| {
        let terms = (0..rank).map(|index| {
            let a = factors.a.values[index * inputs + input];
            let b = factors.b.values[output * rank + index];
            f64::from(a) * f64::from(b)
        });
        scaling * terms.sum::<f64>()
    };
    let mut values = Vec::new();
    let (rows, columns) = if is_embedding {
        (inputs, outputs)
    } else {
        (outputs, inputs)
    };
    for row in 0..rows {
        values.extend((0..columns).map(|column| {
            if is_embedding {
                product(column, row)
            } else {
                product(row, column)
            }
        }));
    }
    values
}

#[test]
fn an_adapter_that_is_written_and_merged_is_the_merge_by_hand() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let (config, tensors) = example(name);
        let [adapter, merged] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        tensors.save(&config, adapter.path()).unwrap();
        let model = fixture.model::<Flex>("hf", &[Adapter::open(adapter.path()).unwrap()]);
        save(&model, merged.path(), &SaveOptions::default()).unwrap();
        let base = read(&Checkpoint::open(&fixture.folder.join("hf")).unwrap());
        let merged = read(&Checkpoint::open(merged.path()).unwrap());
        let mut changed = 0;
        for (key, (_, found)) in &merged {
            let module = key.strip_suffix(".weight").unwrap_or(key);
            let base = match base.get(key) {
                Some((_, values)) => values,
                // Copies of the base model's embedding, and the unused one of the encoder.
                None if key.contains("encoder.embed_tokens") => continue,
                None => &base[SHARED].1,
            };
            if let Some(whole) = tensors.modules_to_save.get(key) {
                assert_eq!(found, &whole.values, "{key}");
                changed += 1;
                continue;
            }
            let Some(factors) = tensors.updates.get(module) else {
                assert_eq!(found, base, "{key}");
                continue;
            };
            let update = update(factors, config.scaling(), key == SHARED);
            for ((found, base), update) in found.iter().zip(base).zip(update) {
                let expected = f64::from(*base) + update;
                assert!((f64::from(*found) - expected).abs() < 2e-6, "{key}");
            }
            changed += 1;
        }
        assert_eq!(changed, tensors.updates.len() + 1, "{name}");
    }
}

#[test]
fn modules_are_selected_as_peft_selects_them() {
    for name in MODELS {
        let goldens = goldens(name);
        let modules: Vec<String> = serde_json::from_value(goldens["modules"].clone()).unwrap();
        let table = goldens["targets"].as_array().unwrap();
        assert!(modules.len() > 200 && table.len() >= 20);
        for row in table {
            let config: LoraConfig = serde_json::from_value(row["settings"].clone()).unwrap();
            let matcher = ModuleMatcher::new(&config).unwrap();
            let selected = modules.iter().enumerate();
            let selected = selected.filter(|(_, module)| matcher.targets(module));
            let selected: Vec<usize> = selected.map(|(index, _)| index).collect();
            assert_eq!(
                json!(selected),
                row["modules"],
                "{name} {}",
                row["settings"]
            );
        }
    }
}

#[test]
fn errors_of_an_adapter_name_every_tensor_and_no_file_is_written() {
    let (config, mut tensors) = example("tiny-a");
    let fc1 = "model.language_model.decoder.layers.0.fc1";
    let conv = "model.vision_tower.convs.1.conv";
    tensors.updates.get_mut(fc1).unwrap().a.shape = vec![2, 20];
    tensors.updates.get_mut(conv).unwrap().b.values[3] = f32::NAN;
    let factors = tensors.updates[conv].clone();
    tensors.updates.insert("lm_head".to_owned(), factors);
    let bias = tensor(0, &[44]);
    let bias_key = format!("{fc1}.bias");
    tensors.modules_to_save.insert(bias_key.clone(), bias);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapter");
    let error = tensors.save(&config, &path).unwrap_err().to_string();
    for expected in [
        "adapter_model.safetensors: ",
        "`model.language_model.decoder.layers.0.fc1`: found lora_A of shape [2, 20], expected rank 3",
        "`lm_head`: found an update",
        &format!("`{bias_key}`: found a parameter that modules_to_save does not contain"),
        "convs.1.conv.lora_B.weight`: found NaN or infinity",
    ] {
        assert!(error.contains(expected), "`{expected}` is missing: {error}");
    }
    assert!(!path.exists());
    let none = LoraConfig::default();
    let error = LoraTensors::default().save(&none, &path).unwrap_err();
    assert!(error.to_string().contains("target_modules"), "{error}");
}

#[test]
fn a_model_that_cannot_be_written_leaves_the_earlier_one() {
    let fixture = Fixture::open("tiny-a");
    let folder = tempfile::tempdir().unwrap();
    let mut model = fixture.model::<Flex>("hf", &[]);
    save(&model, folder.path(), &SaveOptions::default()).unwrap();
    let files = || -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    };
    let before = files();
    assert_eq!(before.len(), 2);
    let norm = |model: &mut Florence2ForConditionalGeneration<Flex>, value: f32| {
        let gamma = &mut model.model.language_model.encoder.layernorm_embedding.gamma;
        *gamma = Param::from_tensor(gamma.val().mul_scalar(0.0).add_scalar(value));
        let gamma = &mut model.model.multi_modal_projector.image_proj_norm.gamma;
        *gamma = Param::from_tensor(gamma.val().mul_scalar(0.0).add_scalar(value));
    };
    norm(&mut model, 70000.0);
    let half = SaveOptions::default().dtype(Dtype::F16);
    let range = save(&model, folder.path(), &half);
    norm(&mut model, f32::NAN);
    let not_finite = save(&model, folder.path(), &SaveOptions::default());
    let int8 = SaveOptions::default().dtype(Dtype::Int8);
    let int8 = save(&model, folder.path(), &int8);
    let config = SaveOptions::default().source_config(b"[");
    let config = save(&fixture.model::<Flex>("hf", &[]), folder.path(), &config);
    for (result, names) in [
        (
            range,
            vec![
                "model.safetensors: `model.",
                "encoder.layernorm_embedding.weight`: found 70000, expected at most 65504",
                "image_proj_norm.weight`: found 70000",
            ],
        ),
        (
            not_finite,
            vec![
                "model.safetensors: `model.",
                "encoder.layernorm_embedding.weight`: found NaN, expected a finite number",
                "image_proj_norm.weight`: found NaN",
            ],
        ),
        (int8, vec!["`dtype`: found int8, expected f32, f16 or bf16"]),
        (config, vec!["config.json"]),
    ] {
        let error = result.unwrap_err().to_string();
        for name in names {
            assert!(error.contains(name), "`{name}` is missing: {error}");
        }
    }
    assert!(files() == before);
    let file = folder.path().join("config.json/model");
    let error = save(
        &fixture.model::<Flex>("hf", &[]),
        &file,
        &SaveOptions::default(),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("config.json/model: cannot be written"),
        "{error}"
    );
}

#[test]
fn updates_are_merged_before_a_model_is_written() {
    let fixture = Fixture::open("tiny-a");
    let folder = tempfile::tempdir().unwrap();
    let mut model = fixture.model::<Autodiff<Flex>>("hf", &[]);
    let weight = &mut model.model.language_model.decoder.layers[0].fc1.weight;
    let [rank, inputs, outputs] = [1, 20, 44];
    *weight = weight.clone().adapted(LoraUpdate {
        lora_a: Param::from_tensor(Tensor::full([rank, inputs], 0.5, &FlexDevice)),
        lora_b: Param::from_tensor(Tensor::full([outputs, rank], 0.25, &FlexDevice)),
        scaling: 2.0,
        dropout: 0.0,
        dropout_seed: None,
    });
    let error = save(&model, folder.path(), &SaveOptions::default()).unwrap_err();
    let module = "model.language_model.decoder.layers.0.fc1";
    for name in ["lora_A", "lora_B"] {
        let expected = format!("{module}.{name}.weight");
        assert!(error.to_string().contains(&expected), "{error}");
    }
    save(&model.valid(), folder.path(), &SaveOptions::default()).unwrap();
    let base = read(&Checkpoint::open(&fixture.folder.join("hf")).unwrap());
    let merged = read(&Checkpoint::open(folder.path()).unwrap());
    let key = &format!("{module}.weight");
    for (merged, base) in merged[key].1.iter().zip(&base[key].1) {
        assert_eq!(*merged, base + 0.25);
    }
}

/// Names and a pattern are written in the form that PEFT reads.
#[test]
fn settings_are_read_as_they_are_written() {
    let (mut config, tensors) = example("tiny-b");
    config.target_modules = NamesOrPattern::Pattern(".*".to_owned());
    config.base_model_name_or_path = Some("tiny".to_owned());
    config.modules_to_save.push("conv".to_owned());
    config.lora_alpha = 2.5;
    let mut tensors = tensors;
    tensors
        .updates
        .retain(|module, _| !module.ends_with("conv"));
    let folder = tempfile::tempdir().unwrap();
    tensors.save(&config, folder.path()).unwrap();
    let read = read_json(&folder.path().join("adapter_config.json"));
    let read: LoraConfig = serde_json::from_value(read).unwrap();
    assert_eq!(read, config);
}
