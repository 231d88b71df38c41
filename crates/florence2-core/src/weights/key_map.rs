//! The key table: maps every known name of a tensor to Hugging Face's, which are this crate's
//! module paths.

/// The naming scheme of a checkpoint's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyLayout {
    /// `vision_tower.convs.0.proj.weight`, as published with the weights.
    Microsoft,
    /// `model.vision_tower.convs.0.conv.weight`, as in transformers.
    HuggingFace,
}

impl KeyLayout {
    /// Detects the layout from the keys; `None` if they do not belong to a Florence-2 model.
    pub fn detect<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        keys.into_iter().find_map(|key| {
            let key = without_wrappers(key);
            if key.starts_with("model.vision_tower.") || key.contains("vision_tower.convs.0.conv.")
            {
                Some(Self::HuggingFace)
            } else if key.contains("vision_tower.convs.0.proj.") {
                Some(Self::Microsoft)
            } else {
                None
            }
        })
    }
}

/// Modules that torch wraps around others, whose names become parts of the keys.
const WRAPPERS: [&str; 3] = [
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
];

/// Prefixes of models inside other modules: torch's `DataParallel` and PEFT's `PeftModel`.
const OUTER_PREFIXES: [&str; 2] = ["module.", "base_model.model."];

/// A key without the names of modules that training wraps around a model.
pub(super) fn without_wrappers(key: &str) -> String {
    let key = WRAPPERS
        .iter()
        .fold(key.to_owned(), |key, wrapper| key.replace(wrapper, ""));
    let mut inner = key.as_str();
    while let Some(rest) = OUTER_PREFIXES
        .iter()
        .find_map(|prefix| inner.strip_prefix(prefix))
    {
        inner = rest;
    }
    // The prefix of a trainer that stores the model as `model`.
    match inner.strip_prefix("model.") {
        Some(rest) if rest.starts_with("model.") || rest.starts_with(LM_HEAD) => rest.to_owned(),
        _ => inner.to_owned(),
    }
}

/// Replacements within Microsoft's keys of the vision tower, in order.
const VISION_PARTS: [(&str, &str); 9] = [
    (".proj.weight", ".conv.weight"),
    (".proj.bias", ".conv.bias"),
    (".fn.dw.", "."),
    (".window_attn.norm.", ".norm1."),
    (".channel_attn.norm.", ".norm1."),
    (".window_attn.fn.", ".window_attn."),
    (".channel_attn.fn.", ".channel_attn."),
    (".ffn.norm.", ".norm2."),
    (".ffn.fn.net.", ".ffn."),
];

/// Prefixes of keys and their replacements, longer ones first.
const PREFIXES: [(&str, &str); 10] = [
    ("multi_modal_projector.", "model.multi_modal_projector."),
    (
        "image_proj_norm.",
        "model.multi_modal_projector.image_proj_norm.",
    ),
    (
        "image_pos_embed.",
        "model.multi_modal_projector.image_position_embed.",
    ),
    (
        "visual_temporal_embed.",
        "model.multi_modal_projector.visual_temporal_embed.",
    ),
    ("language_model.lm_head.", LM_HEAD),
    ("language_model.model.", "model.language_model."),
    ("language_model.final_logits_bias", FINAL_LOGITS_BIAS_KEY),
    ("language_model.", "model.language_model."),
    (LM_HEAD, LM_HEAD),
    (FINAL_LOGITS_BIAS_KEY, FINAL_LOGITS_BIAS_KEY),
];

/// Converts a key of any layout to Hugging Face's; `None` if no part of the model has the name.
///
/// Hugging Face's own keys are unchanged, those of a model without output matrix receive its
/// prefix, and names of modules that training wraps around a model are removed.
pub fn to_hugging_face_key(key: &str) -> Option<String> {
    let key = without_wrappers(key);
    let key = key.strip_prefix("model.").unwrap_or(&key);
    if key == MICROSOFT_IMAGE_PROJECTION {
        return Some(IMAGE_PROJECTION_KEY.to_owned());
    }
    if let Some(rest) = key.strip_prefix("vision_tower.") {
        return Some(format!("model.vision_tower.{}", vision_key(rest)));
    }
    PREFIXES
        .iter()
        .find_map(|(from, to)| key.strip_prefix(from).map(|rest| format!("{to}{rest}")))
}

/// Converts the part of a key after `vision_tower.`.
fn vision_key(key: &str) -> String {
    // In Microsoft's keys, only a stage's convolution `proj` is renamed; an attention's `proj` is
    // not.
    let renamed = if key.starts_with("convs.") {
        &VISION_PARTS[..2]
    } else {
        &VISION_PARTS[2..]
    };
    renamed
        .iter()
        .fold(key.to_owned(), |key, (from, to)| key.replace(from, to))
}

/// Returns whether the tensor of a key is the image projection as Microsoft stores it, `[in, out]`:
/// a matrix of a plain product instead of a linear layer.
pub(super) fn is_transposed(key: &str) -> bool {
    let key = without_wrappers(key);
    key.strip_prefix("model.").unwrap_or(&key) == MICROSOFT_IMAGE_PROJECTION
}

/// Converts the path of a parameter in the module to its key. burn names the parameters of a layer norm
/// gamma and beta, and the factors of a LoRA update belong to the weight, not to the layer as in
/// PEFT's keys.
pub fn module_path_to_key(path: &[String]) -> String {
    let mut key = path.join(".");
    for (burn, hugging_face) in [
        (".gamma", ".weight"),
        (".beta", ".bias"),
        (".weight.lora_A", ".lora_A.weight"),
        (".weight.lora_B", ".lora_B.weight"),
    ] {
        if let Some(module) = key.strip_suffix(burn) {
            key = format!("{module}{hugging_face}");
        }
    }
    key
}

/// The prefix of the output matrix's module.
const LM_HEAD: &str = "lm_head.";

/// The shared token embedding.
pub(super) const SHARED_KEY: &str = "model.language_model.shared.weight";

/// The encoder's copy of the token embedding. transformers embeds prompts with the shared one.
pub(super) const ENCODER_EMBEDDING_KEY: &str = "model.language_model.encoder.embed_tokens.weight";

/// The decoder's copy of the token embedding.
pub(super) const DECODER_EMBEDDING_KEY: &str = "model.language_model.decoder.embed_tokens.weight";

/// The output matrix.
pub(super) const LM_HEAD_KEY: &str = "lm_head.weight";

/// The names that the token embedding may have, in the order in which PEFT assigns the copies.
pub(super) const TOKEN_EMBEDDING_KEYS: [&str; 4] = [
    SHARED_KEY,
    ENCODER_EMBEDDING_KEY,
    DECODER_EMBEDDING_KEY,
    LM_HEAD_KEY,
];

/// The projector's matrix.
pub(super) const IMAGE_PROJECTION_KEY: &str = "model.multi_modal_projector.image_projection.weight";

/// Microsoft's name of the projector's matrix, which is stored transposed under it.
const MICROSOFT_IMAGE_PROJECTION: &str = "image_projection";

/// The projector's constant table of sinusoids.
pub(super) const TEMPORAL_EMBEDDING_KEY: &str =
    "model.multi_modal_projector.visual_temporal_embed.pos_idx_to_embed";

/// Microsoft's output bias, a buffer of zeros. The model has no parameter for it.
pub(super) const FINAL_LOGITS_BIAS_KEY: &str = "final_logits_bias";

/// Returns whether a checkpoint stores the tensor of a key although no forward pass reads it.
pub(super) fn is_ignored(key: &str) -> bool {
    key.starts_with("model.vision_tower.norms.") || key == FINAL_LOGITS_BIAS_KEY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let table = [
            (
                "vision_tower.convs.1.proj.weight",
                "model.vision_tower.convs.1.conv.weight",
            ),
            (
                "vision_tower.convs.1.norm.bias",
                "model.vision_tower.convs.1.norm.bias",
            ),
            (
                "vision_tower.blocks.2.0.spatial_block.conv1.fn.dw.weight",
                "model.vision_tower.blocks.2.0.spatial_block.conv1.weight",
            ),
            (
                "vision_tower.blocks.2.0.spatial_block.window_attn.norm.weight",
                "model.vision_tower.blocks.2.0.spatial_block.norm1.weight",
            ),
            (
                "vision_tower.blocks.2.0.channel_block.channel_attn.fn.proj.bias",
                "model.vision_tower.blocks.2.0.channel_block.channel_attn.proj.bias",
            ),
            (
                "vision_tower.blocks.2.0.channel_block.ffn.fn.net.fc1.weight",
                "model.vision_tower.blocks.2.0.channel_block.ffn.fc1.weight",
            ),
            (
                "image_projection",
                "model.multi_modal_projector.image_projection.weight",
            ),
            (
                "image_pos_embed.row_embeddings.weight",
                "model.multi_modal_projector.image_position_embed.row_embeddings.weight",
            ),
            ("language_model.model.shared.weight", SHARED_KEY),
            ("language_model.lm_head.weight", LM_HEAD_KEY),
        ];
        for (microsoft, hugging_face) in table {
            let names = [
                microsoft.to_owned(),
                hugging_face.to_owned(),
                hugging_face.trim_start_matches("model.").to_owned(),
                format!("module.{microsoft}"),
                format!("base_model.model.{hugging_face}"),
                format!("_orig_mod.module.{hugging_face}"),
                format!("model.{hugging_face}"),
                microsoft.replacen('.', "._orig_mod.", 1),
            ];
            for name in names {
                let found = to_hugging_face_key(&name);
                assert_eq!(found.as_deref(), Some(hugging_face), "{name}");
            }
        }
        for unknown in ["optimizer.step", "value_head.weight", "model.head.weight"] {
            assert_eq!(to_hugging_face_key(unknown), None);
        }
    }
}
