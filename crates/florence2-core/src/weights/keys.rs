//! The key table: Microsoft's names to Hugging Face's, which are this crate's module paths.

/// Whose names a checkpoint's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyLayout {
    /// `vision_tower.convs.0.proj.weight`, as published with the weights.
    Microsoft,
    /// `model.vision_tower.convs.0.conv.weight`, as in transformers.
    HuggingFace,
}

impl KeyLayout {
    /// Tells the layout by the keys; none when they belong to no Florence-2.
    pub fn detect<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        keys.into_iter().find_map(|key| {
            if key.starts_with("model.vision_tower.") {
                Some(Self::HuggingFace)
            } else if key.starts_with("vision_tower.") {
                Some(Self::Microsoft)
            } else {
                None
            }
        })
    }
}

/// Replacements inside a Microsoft key that belongs to the vision tower, in order.
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

/// Prefixes of Microsoft's keys and what they become.
const PREFIXES: [(&str, &str); 7] = [
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
    ("language_model.lm_head.", "lm_head."),
    ("language_model.model.", "model.language_model."),
    ("language_model.final_logits_bias", "final_logits_bias"),
    ("image_projection", IMAGE_PROJECTION_KEY),
];

/// A key of `layout` as Hugging Face writes it; none when nothing of the model bears the name.
pub fn to_hugging_face_key(key: &str, layout: KeyLayout) -> Option<String> {
    match layout {
        KeyLayout::HuggingFace => Some(key.to_owned()),
        KeyLayout::Microsoft => microsoft_key(key),
    }
}

fn microsoft_key(key: &str) -> Option<String> {
    if let Some(rest) = key.strip_prefix("vision_tower.") {
        // Only a stage's convolution is called `proj` there and renamed; an attention's keeps it.
        let renamed: &[(&str, &str)] = match rest.starts_with("convs.") {
            true => &VISION_PARTS[..2],
            false => &VISION_PARTS[2..],
        };
        let rest = renamed
            .iter()
            .fold(rest.to_owned(), |key, (from, to)| key.replace(from, to));
        return Some(format!("model.vision_tower.{rest}"));
    }
    PREFIXES
        .iter()
        .find_map(|(from, to)| key.strip_prefix(from).map(|rest| format!("{to}{rest}")))
}

/// Names that may each carry the shared token embedding.
pub(super) const TIED_KEYS: [&str; 4] = [
    SHARED_KEY,
    "model.language_model.encoder.embed_tokens.weight",
    "model.language_model.decoder.embed_tokens.weight",
    LM_HEAD_KEY,
];

/// The name under which the model holds the shared embedding.
pub(super) const SHARED_KEY: &str = "model.language_model.shared.weight";

/// The output matrix.
pub(super) const LM_HEAD_KEY: &str = "lm_head.weight";

/// The projector's matrix, which Microsoft's layout keeps transposed.
pub(super) const IMAGE_PROJECTION_KEY: &str = "model.multi_modal_projector.image_projection.weight";

/// The projector's table of sinusoids: a constant, never trained.
pub(super) const TEMPORAL_EMBEDDING_KEY: &str =
    "model.multi_modal_projector.visual_temporal_embed.pos_idx_to_embed";

/// Microsoft's additive output bias: a buffer of zeros that the model has no place for.
pub(super) const FINAL_LOGITS_BIAS_KEY: &str = "final_logits_bias";

/// Whether a key names something that checkpoints carry and no forward pass reads.
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
            let found = to_hugging_face_key(microsoft, KeyLayout::Microsoft);
            assert_eq!(found.as_deref(), Some(hugging_face));
        }
        assert_eq!(
            to_hugging_face_key("optimizer.step", KeyLayout::Microsoft),
            None
        );
    }
}
