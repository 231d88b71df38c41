//! `config.json` in the layout of transformers.

use florence2_kernels::Dtype;
use serde_json::{Map, Value, json};

use crate::config::Florence2Config;
use crate::error::{Error, Result};

/// Fields of `text_config` that transformers writes and [`Florence2Config`] does not contain.
const TEXT_FIELDS: [&str; 4] = [
    "classifier_dropout",
    "forced_eos_token_id",
    "is_decoder",
    "use_cache",
];

/// The content of `config.json` as transformers writes it for weights of a dtype. Fields that
/// [`Florence2Config`] does not contain are copied from the source model's `config.json`, whose
/// layout may be Microsoft's.
///
/// # Errors
/// [`Error::Malformed`] if the source is no JSON object.
pub(super) fn hugging_face_config(
    config: &Florence2Config,
    dtype: Dtype,
    source: Option<&[u8]>,
) -> Result<Value> {
    let malformed = |error: serde_json::Error| Error::malformed("config.json", error);
    let source: Map<String, Value> = match source {
        Some(json) => serde_json::from_slice(json).map_err(malformed)?,
        None => Map::new(),
    };
    let mut written = json!(config);
    for (part, fields, model_type) in [
        ("text_config", &TEXT_FIELDS[..], "bart"),
        ("vision_config", &[], "florence_vision"),
    ] {
        let part_of_source = source.get(part);
        let part = &mut written[part];
        for field in fields {
            let value = part_of_source.and_then(|part| part.get(field));
            if let Some(value) = value {
                part[*field] = value.clone();
            }
        }
        part["model_type"] = json!(model_type);
    }
    if config.image_token_id.is_none()
        && let Some(fields) = written.as_object_mut()
    {
        fields.remove("image_token_id");
    }
    written["architectures"] = json!(["Florence2ForConditionalGeneration"]);
    written["dtype"] = json!(torch_name(dtype));
    written["is_encoder_decoder"] = json!(true);
    Ok(written)
}

/// The name of a number type in torch.
fn torch_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "float16",
        Dtype::Bf16 => "bfloat16",
        _ => "float32",
    }
}
