//! The embedded demo model, from `assets/demo-model`.

use std::sync::Arc;

use crate::model::ModelBytes;

/// A file of the demo model.
macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../../assets/demo-model/", $name)).as_slice()
    };
}

pub(crate) fn model() -> ModelBytes<'static> {
    ModelBytes {
        config: file!("config.json"),
        generation_config: Some(file!("generation_config.json")),
        preprocessor_config: file!("preprocessor_config.json"),
        tokenizer: file!("tokenizer.json"),
        weights: Arc::from(file!("model.safetensors")),
    }
}
