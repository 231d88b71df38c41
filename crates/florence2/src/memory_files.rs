//! Files in memory, instead of a folder on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use florence2_core::weights::{Adapter, Checkpoint, is_weights_file};
use florence2_processor::Florence2Processor;

use crate::error::{Error, Result};

const CONFIG: &str = "config.json";
const GENERATION_CONFIG: &str = "generation_config.json";
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
const INDEX_SUFFIX: &str = ".index.json";

/// The files of a model or of an adapter in memory, by their names in its folder. Clones share the
/// contents.
#[derive(Clone, Default)]
pub struct MemoryFiles {
    files: BTreeMap<String, Arc<[u8]>>,
}

impl MemoryFiles {
    /// Creates an empty set of files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, or replaces the file of that name.
    pub fn insert(&mut self, name: impl Into<String>, contents: impl Into<Arc<[u8]>>) {
        self.files.insert(name.into(), contents.into());
    }

    /// Returns the content of a file. `None` if there is no file of this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|contents| &contents[..])
    }

    /// `config.json` of a model.
    pub(crate) fn config(&self) -> Result<&[u8]> {
        self.required(CONFIG)
    }

    /// `generation_config.json` of a model.
    pub(crate) fn generation_config(&self) -> Option<&[u8]> {
        self.get(GENERATION_CONFIG)
    }

    /// The image processor and the tokenizer of a model.
    pub(crate) fn processor(&self) -> Result<Florence2Processor> {
        Ok(Florence2Processor::from_files(|name| self.get(name))?)
    }

    /// The weights of a model: one file, or shards with their index.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::from_files(self.weights());
        checkpoint.map_err(|error| Error::Model(error.into()))
    }

    /// The adapter of the files.
    pub(crate) fn adapter(&self) -> Result<Adapter> {
        self.check_names(&[ADAPTER_CONFIG])?;
        let config = self.required(ADAPTER_CONFIG)?;
        let weights = self.weights();
        if weights.is_empty() {
            return Err(self.missing(ADAPTER_WEIGHTS));
        }
        Ok(Adapter::from_files(config, weights)?)
    }

    /// Checks that each file has the name of a file of a model.
    pub(crate) fn check_model_names(&self) -> Result<()> {
        let mut names = vec![CONFIG, GENERATION_CONFIG];
        names.extend(Florence2Processor::file_names());
        self.check_names(&names)
    }

    fn check_names(&self, names: &[&str]) -> Result<()> {
        let is_unknown = |name: &&String| !names.contains(&name.as_str()) && !is_weights(name);
        let unknown: Vec<&str> = self
            .files
            .keys()
            .filter(is_unknown)
            .map(String::as_str)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let expected = format!("{}, weights or an index of shards", names.join(", "));
        Err(Error::argument("files", unknown.join(", "), expected))
    }

    fn weights(&self) -> Vec<(String, Arc<[u8]>)> {
        let weights = self.files.iter().filter(|(name, _)| is_weights(name));
        weights
            .map(|(name, contents)| (name.clone(), Arc::clone(contents)))
            .collect()
    }

    fn required(&self, name: &'static str) -> Result<&[u8]> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &'static str) -> Error {
        let source = std::io::Error::new(
            std::io::ErrorKind::NotFound,
            format!("found no such file in memory, expected one beside {self:?}"),
        );
        Error::Model(florence2_core::Error::Io {
            path: name.into(),
            source,
        })
    }
}

fn is_weights(name: &str) -> bool {
    is_weights_file(name) || name.ends_with(INDEX_SUFFIX)
}

/// Shows the names of the files.
impl fmt::Debug for MemoryFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.files.keys()).finish()
    }
}

impl<N: Into<String>, C: Into<Arc<[u8]>>> FromIterator<(N, C)> for MemoryFiles {
    fn from_iter<I: IntoIterator<Item = (N, C)>>(files: I) -> Self {
        let files = files.into_iter();
        Self {
            files: files
                .map(|(name, contents)| (name.into(), contents.into()))
                .collect(),
        }
    }
}
