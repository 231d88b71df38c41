//! Differences between a model's files and the loaded model that are not errors.

use std::fmt;

/// A difference between a model's files and the loaded model that is not an error. `Display` writes
/// one line with the file, the key or tensor, the value found, and the one that the model uses
/// instead.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The checkpoint has tensors for which the model has no parameter.
    UnexpectedTensors {
        /// The checkpoint.
        file: String,
        /// The tensors' keys in the checkpoint, sorted.
        keys: Vec<String>,
    },
    /// The configuration ties weights that differ in the checkpoint. They stay untied, as in
    /// transformers.
    UntiedWeights {
        /// The checkpoint.
        file: String,
        /// The keys of the weights, sorted.
        keys: Vec<String>,
    },
    /// The value of a setting is not the one that is used.
    Setting {
        /// The file.
        file: String,
        /// The setting's full name, such as `text_config.pad_token_id`.
        key: String,
        /// The value in the file.
        found: String,
        /// The value that is used instead, or the reason why it has no effect.
        used: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedTensors { file, keys } => {
                let keys = keys.join(", ");
                write!(f, "{file}: unexpected tensors are not used: {keys}")
            }
            Self::UntiedWeights { file, keys } => {
                let keys = keys.join(", ");
                write!(
                    f,
                    "{file}: {keys} differ, but the configuration ties them; they stay untied"
                )
            }
            Self::Setting {
                file,
                key,
                found,
                used,
            } => write!(f, "{file}: {key}: found {found}, used {used}"),
        }
    }
}
