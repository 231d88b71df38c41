//! The files of a model in a folder on disk.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use florence2_core::Error as ModelError;
use florence2_core::weights::Checkpoint;
use florence2_processor::{Error as ProcessorError, Florence2Processor};

use crate::error::{Error, Result};

/// A model folder. Files are read when they are requested.
pub(crate) struct ModelFolder<'a> {
    directory: &'a Path,
}

impl<'a> ModelFolder<'a> {
    pub(crate) fn new(directory: &'a Path) -> Self {
        Self { directory }
    }

    /// The path of `config.json`.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.directory.join("config.json")
    }

    /// Reads `config.json`.
    pub(crate) fn config(&self) -> Result<Vec<u8>> {
        read(&self.config_path())
    }

    /// Reads `generation_config.json`. `None` if there is no such file.
    pub(crate) fn generation_config(&self) -> Result<Option<Vec<u8>>> {
        let path = self.directory.join("generation_config.json");
        match path.exists() {
            true => read(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Reads the image processor's configuration and the tokenizer.
    ///
    /// # Errors
    /// [`Error::ProcessorFiles`] if a file is missing, [`Error::Processor`] if one is invalid.
    pub(crate) fn processor(&self) -> Result<Florence2Processor> {
        Florence2Processor::from_dir(self.directory).map_err(|source| match &source {
            ProcessorError::Io { source: error, .. } if error.kind() == ErrorKind::NotFound => {
                Error::ProcessorFiles { source }
            }
            _ => source.into(),
        })
    }

    /// Opens `weights`, or the weights in the folder if it is `None`. Reads no values.
    pub(crate) fn checkpoint(&self, weights: Option<&Path>) -> Result<Checkpoint> {
        let opened = match weights {
            Some(file) => Checkpoint::open_file(file),
            None => Checkpoint::open(self.directory),
        };
        opened.map_err(|error| Error::Model(error.into()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| {
        Error::Model(ModelError::Io {
            path: path.to_owned(),
            source,
        })
    })
}
