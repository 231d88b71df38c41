//! The stopping condition of beam search.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The stopping condition of beam search: HF `early_stopping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// As soon as there are `num_beams` finished sequences (`true`).
    True,
    /// When a better sequence has become unlikely (`false`).
    #[default]
    False,
    /// When no better sequence is possible (`"never"`).
    Never,
}

impl Serialize for EarlyStopping {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::True => serializer.serialize_bool(true),
            Self::False => serializer.serialize_bool(false),
            Self::Never => serializer.serialize_str("never"),
        }
    }
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(true) => Ok(Self::True),
            Value::Bool(false) => Ok(Self::False),
            other => match other.as_str() {
                Some(text) => text.parse().map_err(serde::de::Error::custom),
                None => Err(serde::de::Error::custom(format!(
                    "found {other}, expected true, false or \"never\""
                ))),
            },
        }
    }
}

impl std::str::FromStr for EarlyStopping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" => Ok(Self::True),
            "false" => Ok(Self::False),
            "never" => Ok(Self::Never),
            other => Err(format!("found {other}, expected true, false or never")),
        }
    }
}
