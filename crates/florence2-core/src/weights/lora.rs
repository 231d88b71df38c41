//! LoRA adapters in PEFT's format: the contents of their files, and the checks against a model.
//! `merge.rs` computes the merged weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use florence2_checkpoint::{Checkpoint, StoredTensor};

use super::adapter_config::AdapterConfig;
use super::key_map::{to_hugging_face_key, without_wrappers};
use super::merge::{LowRank, TokenRows, Update};
use super::tensors::NamedTensor;
use crate::error::{Error, Result};

pub(super) const CONFIG_FILE: &str = "adapter_config.json";
pub(super) const SAFETENSORS_FILE: &str = "adapter_model.safetensors";
const PYTORCH_FILE: &str = "adapter_model.bin";

/// An adapter that is checked in itself and not yet merged.
///
/// LoRA of linear layers, convolutions and embeddings, DoRA, trained biases, whole modules and
/// single tokens are merged as PEFT computes them.
#[derive(Debug)]
pub struct Adapter {
    pub(super) name: String,
    pub(super) scale: f64,
    /// True if biases of the base model are stored. PEFT combines at most one such adapter.
    pub(super) has_base_biases: bool,
    /// By the key of the parameter.
    pub(super) entries: BTreeMap<String, Entry>,
}

/// Everything that an adapter stores for one parameter.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The parameter's values in the base model: PEFT's `base_layer`.
    pub(super) base_layer: Option<Replacement>,
    /// The parameter's values in a module that was trained as a whole: PEFT's `modules_to_save`.
    pub(super) modules_to_save: Option<Replacement>,
    /// The embeddings of single tokens: PEFT's `trainable_token_indices`.
    pub(super) token_rows: Option<TokenRows>,
    /// The low-rank update.
    pub(super) update: Option<Update>,
}

/// Values that replace a parameter.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) name: String,
    tensor: StoredTensor,
}

/// The tensors of one module's update, as found in the file.
#[derive(Debug, Default)]
struct Parts {
    a: Option<StoredTensor>,
    b: Option<StoredTensor>,
    embedding_a: Option<StoredTensor>,
    embedding_b: Option<StoredTensor>,
    bias: Option<StoredTensor>,
    magnitudes: Option<StoredTensor>,
}

/// The meaning of a name in the file.
enum Kind {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    UpdateBias,
    Magnitudes,
    Rows,
    /// A parameter of the module.
    Base(&'static str),
    /// A tensor that does not take part in the forward pass.
    Ignored,
}

/// Suffixes of names in the file.
static SUFFIXES: [(&str, Kind); 12] = [
    (".lora_A.weight", Kind::A),
    (".lora_B.weight", Kind::B),
    (".lora_B.bias", Kind::UpdateBias),
    (".lora_embedding_A", Kind::EmbeddingA),
    (".lora_embedding_B", Kind::EmbeddingB),
    (".lora_magnitude_vector", Kind::Magnitudes),
    (".lora_magnitude_vector.weight", Kind::Magnitudes),
    (".token_adapter.trainable_tokens_delta", Kind::Rows),
    (".token_adapter.trainable_tokens_original", Kind::Ignored),
    (".token_adapter.base_layer.weight", Kind::Base("weight")),
    (".base_layer.weight", Kind::Base("weight")),
    (".base_layer.bias", Kind::Base("bias")),
];

impl Adapter {
    /// Opens the adapter in a folder: `adapter_config.json`, and `adapter_model.safetensors` or,
    /// without it, `adapter_model.bin`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Malformed`] with the file, and with every setting and tensor that
    /// is not supported or does not fit the others.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(CONFIG_FILE);
        let json = std::fs::read(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let (safetensors, pytorch) = (
            directory.join(SAFETENSORS_FILE),
            directory.join(PYTORCH_FILE),
        );
        let config = read_config(&json, &path.display().to_string())?;
        let checkpoint = if safetensors.exists() || !pytorch.exists() {
            Checkpoint::open_file(&safetensors)?
        } else {
            Checkpoint::open_file(&pytorch)?
        };
        Self::new(&config, checkpoint)
    }

    /// Reads an adapter from memory: the contents of `adapter_config.json`, and its weights files by
    /// name as for [`Checkpoint::from_files`].
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn from_files(config: &[u8], weights: Vec<(String, Arc<[u8]>)>) -> Result<Self> {
        let config = read_config(config, CONFIG_FILE)?;
        let checkpoint = Checkpoint::from_files(weights)?;
        Self::new(&config, checkpoint)
    }

    /// The adapter with its updates multiplied by a factor: PEFT's `set_scale`. Modules and tokens
    /// that are stored as a whole are not scaled.
    ///
    /// # Errors
    /// [`Error::Argument`] if the factor is not finite.
    pub fn with_scale(self, scale: f32) -> Result<Self> {
        if !scale.is_finite() {
            return Err(Error::argument("scale", scale, "a finite number"));
        }
        let scale = f64::from(scale);
        Ok(Self { scale, ..self })
    }

    fn new(config: &AdapterConfig, checkpoint: Checkpoint) -> Result<Self> {
        let mut reader = Reader {
            config,
            problems: Vec::new(),
            modules: BTreeMap::new(),
            entries: BTreeMap::new(),
        };
        for (name, tensor) in checkpoint.tensors {
            reader.add(&name, tensor);
        }
        reader.add_updates();
        if !reader.problems.is_empty() {
            return Err(Error::malformed(
                checkpoint.name,
                reader.problems.join("; "),
            ));
        }
        Ok(Self {
            name: checkpoint.name,
            scale: 1.0,
            has_base_biases: config.has_base_biases(),
            entries: reader.entries,
        })
    }
}

fn read_config(json: &[u8], file: &str) -> Result<AdapterConfig> {
    AdapterConfig::from_json(json).map_err(|reason| Error::malformed(file, reason))
}

/// Groups the tensors of a file by parameter.
struct Reader<'a> {
    config: &'a AdapterConfig,
    problems: Vec<String>,
    /// By the module's name in the file.
    modules: BTreeMap<String, Parts>,
    entries: BTreeMap<String, Entry>,
}

impl Reader<'_> {
    fn add(&mut self, name: &str, tensor: StoredTensor) {
        let path = without_wrappers(name);
        if path.contains(".original_module.") {
            // The copy of a saved module's parameter, which PEFT does not use.
            return;
        }
        let suffix = SUFFIXES
            .iter()
            .find_map(|(suffix, kind)| Some((path.strip_suffix(suffix)?, kind)));
        let Some((module, kind)) = suffix else {
            return self.add_parameter(name, &path, tensor);
        };
        let parts = match kind {
            Kind::Ignored => return,
            Kind::Rows => return self.add_rows(name, module, tensor),
            Kind::Base(parameter) => {
                let key = self.key(name, &format!("{module}.{parameter}"));
                let name = name.to_owned();
                if let Some(key) = key {
                    let base_layer = Replacement { name, tensor };
                    self.entries.entry(key).or_default().base_layer = Some(base_layer);
                }
                return;
            }
            _ if self.key(name, &format!("{module}.weight")).is_none() => return,
            _ => self.modules.entry(module.to_owned()).or_default(),
        };
        let part = match kind {
            Kind::A => &mut parts.a,
            Kind::B => &mut parts.b,
            Kind::EmbeddingA => &mut parts.embedding_a,
            Kind::EmbeddingB => &mut parts.embedding_b,
            Kind::UpdateBias => &mut parts.bias,
            _ => &mut parts.magnitudes,
        };
        *part = Some(tensor);
    }

    /// Adds a parameter of the base model, or of a module that was trained as a whole.
    fn add_parameter(&mut self, name: &str, path: &str, tensor: StoredTensor) {
        let (is_module_to_save, path) = match path.split_once(".modules_to_save.") {
            Some((module, rest)) => {
                let rest = rest.strip_prefix("default.").unwrap_or(rest);
                (true, format!("{module}.{rest}"))
            }
            None => {
                let module = path.rsplit_once('.').map_or("", |(module, _)| module);
                (self.config.is_module_to_save(module), path.to_owned())
            }
        };
        let Some(key) = self.key(name, &path) else {
            return;
        };
        let entry = self.entries.entry(key).or_default();
        let replacement = if is_module_to_save {
            &mut entry.modules_to_save
        } else {
            &mut entry.base_layer
        };
        let name = name.to_owned();
        *replacement = Some(Replacement { name, tensor });
    }

    fn add_rows(&mut self, name: &str, module: &str, tensor: StoredTensor) {
        let Some(key) = self.key(name, &format!("{module}.weight")) else {
            return;
        };
        let Some(indices) = self.config.token_indices(module) else {
            self.problems.push(format!(
                "`{name}`: trainable_token_indices names no tokens of the module"
            ));
            return;
        };
        if tensor.shape.first() != Some(&indices.len()) {
            self.problems.push(format!(
                "`{name}`: found shape {:?}, expected {} rows, one per trainable_token_indices",
                tensor.shape,
                indices.len()
            ));
        }
        self.entries.entry(key).or_default().token_rows = Some(TokenRows {
            name: name.to_owned(),
            indices: indices.to_vec(),
            values: tensor,
        });
    }

    /// The key of the parameter at a path. If there is none, that is a problem.
    fn key(&mut self, name: &str, path: &str) -> Option<String> {
        let key = to_hugging_face_key(path);
        if key.is_none() {
            self.problems.push(format!(
                "`{name}` is not a tensor of a Florence-2 module's adapter"
            ));
        }
        key
    }

    /// Converts the parts of each module to updates of its parameters.
    fn add_updates(&mut self) {
        for (module, parts) in std::mem::take(&mut self.modules) {
            if let Err(problems) = self.add_update(&module, parts) {
                let problems = problems.into_iter();
                self.problems
                    .extend(problems.map(|problem| format!("`{module}`: {problem}")));
            }
        }
    }

    fn add_update(&mut self, module: &str, parts: Parts) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let is_embedding = parts.embedding_a.is_some() || parts.embedding_b.is_some();
        let (a, b) = if is_embedding {
            (parts.embedding_a, parts.embedding_b)
        } else {
            (parts.a, parts.b)
        };
        let kind = if is_embedding {
            "lora_embedding"
        } else {
            "lora"
        };
        for (is_stored, part) in [(a.is_some(), "A"), (b.is_some(), "B")] {
            if !is_stored {
                problems.push(format!("{kind}_{part} is missing"));
            }
        }
        check_presence(
            &mut problems,
            "lora_B.bias",
            parts.bias.is_some(),
            "lora_bias",
            self.config.has_update_biases(),
        );
        check_presence(
            &mut problems,
            "lora_magnitude_vector",
            parts.magnitudes.is_some(),
            "use_dora",
            self.config.has_magnitudes(),
        );
        let (Some(a), Some(b)) = (a, b) else {
            return Err(problems);
        };
        let rank = a.shape.first().copied().unwrap_or(0);
        match self.config.rank(module) {
            Ok(configured) if configured == rank && rank > 0 => {}
            Ok(configured) => problems.push(format!(
                "{kind}_A has rank {rank}, adapter_config.json says {configured}"
            )),
            Err(problem) => problems.push(problem),
        }
        let b_rank = b.shape.get(1).copied().unwrap_or(0);
        if b_rank != rank {
            problems.push(format!(
                "{kind}_A has rank {rank}, {kind}_B has rank {b_rank}"
            ));
        }
        let scaling = self.config.scaling(module, rank).unwrap_or_else(|problem| {
            problems.push(problem);
            0.0
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        if let Some(bias) = parts.bias {
            self.insert(
                module,
                "bias",
                Update::Bias {
                    module: module.to_owned(),
                    bias,
                    scaling,
                },
            );
        }
        let update = Update::Weight(LowRank {
            module: module.to_owned(),
            a,
            b,
            magnitudes: parts.magnitudes,
            scaling,
            is_embedding,
        });
        self.insert(module, "weight", update);
        Ok(())
    }

    fn insert(&mut self, module: &str, parameter: &str, update: Update) {
        // INVARIANT: `add` keeps only the parts of modules whose parameters have keys.
        if let Some(key) = to_hugging_face_key(&format!("{module}.{parameter}")) {
            self.entries.entry(key).or_default().update = Some(update);
        }
    }
}

/// Checks that a tensor is stored if and only if a setting requires it.
fn check_presence(
    problems: &mut Vec<String>,
    tensor: &str,
    is_stored: bool,
    setting: &str,
    is_set: bool,
) {
    if is_stored && !is_set {
        problems.push(format!("{tensor} is stored, {setting} is not set"));
    }
    if is_set && !is_stored {
        problems.push(format!("{tensor} is missing, {setting} is set"));
    }
}

impl Entry {
    /// The problems with a parameter whose base tensor has one of the `shapes`.
    pub(super) fn problems(&self, shapes: &[Vec<usize>]) -> Vec<String> {
        let mut problems = Vec::new();
        for replacement in self.base_layer.iter().chain(&self.modules_to_save) {
            replacement.check(shapes, &mut problems);
        }
        if let Some(rows) = &self.token_rows {
            rows.check(shapes, &mut problems);
        }
        if let Some(update) = &self.update {
            update.check(shapes, &mut problems);
        }
        problems
    }

    /// The names of the tensors and modules in the adapter.
    pub(super) fn names(&self) -> Vec<&str> {
        let replacements = self.base_layer.iter().chain(&self.modules_to_save);
        replacements
            .map(|replacement| replacement.name.as_str())
            .chain(self.token_rows.iter().map(|rows| rows.name.as_str()))
            .chain(self.update.iter().map(Update::module))
            .collect()
    }

    /// Returns whether the values of this parameter differ from those of the base model.
    pub(super) fn modifies(&self) -> bool {
        self.modules_to_save.is_some() || self.token_rows.is_some() || self.update.is_some()
    }
}

impl Replacement {
    pub(super) fn as_named(&self) -> NamedTensor<'_> {
        NamedTensor {
            name: &self.name,
            tensor: &self.tensor,
        }
    }

    fn check(&self, shapes: &[Vec<usize>], problems: &mut Vec<String>) {
        let found = self.as_named().shape();
        if !shapes.contains(&found) {
            let expected = &shapes[0];
            problems.push(format!(
                "`{}`: found shape {found:?}, expected {expected:?}",
                self.name
            ));
        }
    }
}
