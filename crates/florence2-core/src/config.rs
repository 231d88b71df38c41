//! `config.json` of either layout, as one checked [`Florence2Config`].
//!
//! Field names are those of Hugging Face's `configuration_florence2.py`. Microsoft's names are
//! renamed before the fields are read: `dim_embed`, `image_pos_embed.max_pos_embeddings` and
//! `visual_temporal_embedding.max_temporal_embeddings`. If a file has both names, Hugging Face's has
//! precedence.

use florence2_kernels::Activation;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The whole model's configuration: HF `Florence2Config`. [`Self::from_json`] also accepts
/// Microsoft's field names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Florence2Config {
    /// `"florence2"`; checked if present.
    pub model_type: String,
    /// The configuration of the image encoder.
    pub vision_config: Florence2VisionConfig,
    /// The configuration of the language model.
    pub text_config: Florence2TextConfig,
    /// The id that marks image positions in HF's `input_ids` (default none: Microsoft's layout
    /// has no such token).
    pub image_token_id: Option<u32>,
    /// True if the output matrix is the token embedding (default true).
    pub tie_word_embeddings: bool,
}

impl Default for Florence2Config {
    fn default() -> Self {
        Self {
            model_type: "florence2".to_owned(),
            vision_config: Florence2VisionConfig::default(),
            text_config: Florence2TextConfig::default(),
            image_token_id: None,
            tie_word_embeddings: true,
        }
    }
}

/// DaViT's configuration: HF `Florence2VisionConfig`. Lists hold one entry per stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Florence2VisionConfig {
    /// Colour channels of the input (default 3).
    pub in_channels: usize,
    /// Blocks per stage (default 1, 1, 9, 1).
    pub depths: Vec<usize>,
    /// Kernel size of each stage's convolution (default 7, 3, 3, 3).
    pub patch_size: Vec<usize>,
    /// Stride of each stage's convolution (default 4, 2, 2, 2).
    pub patch_stride: Vec<usize>,
    /// Zero padding of each stage's convolution (default 3, 1, 1, 1).
    pub patch_padding: Vec<usize>,
    /// True if the layer norm precedes the convolution (default F, T, T, T).
    pub patch_prenorm: Vec<bool>,
    /// Channels per stage (default 128, 256, 512, 1024).
    pub embed_dim: Vec<usize>,
    /// Heads of the window attention (default 4, 8, 16, 32).
    pub num_heads: Vec<usize>,
    /// Groups of the channel attention (default 4, 8, 16, 32).
    pub num_groups: Vec<usize>,
    /// Side of the attention window, in positions (default 12).
    pub window_size: usize,
    /// Hidden width of the feed-forward block, as a multiple of the stage's channels (default 4).
    pub mlp_ratio: f64,
    /// True if the qkv projections have a bias (default true).
    pub qkv_bias: bool,
    /// The activation of the feed-forward blocks, by its name in transformers (default `gelu`).
    pub activation_function: String,
    /// Width of the image embeddings, equal to `text_config.d_model` (default 1024).
    pub projection_dim: usize,
    /// Frames of the temporal embedding (default 100).
    pub max_temporal_embeddings: usize,
    /// Rows and columns of the position embedding (default 50).
    pub max_position_embeddings: usize,
    /// The probability with which the last block's output is dropped in training; that of earlier
    /// blocks rises linearly from 0 (default 0.1; null is 0).
    #[serde(deserialize_with = "null_is_default")]
    pub drop_path_rate: f64,
    /// The standard deviation of initial weights (default 0.02).
    pub initializer_range: f64,
}

impl Default for Florence2VisionConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            depths: vec![1, 1, 9, 1],
            patch_size: vec![7, 3, 3, 3],
            patch_stride: vec![4, 2, 2, 2],
            patch_padding: vec![3, 1, 1, 1],
            patch_prenorm: vec![false, true, true, true],
            embed_dim: vec![128, 256, 512, 1024],
            num_heads: vec![4, 8, 16, 32],
            num_groups: vec![4, 8, 16, 32],
            window_size: 12,
            mlp_ratio: 4.0,
            qkv_bias: true,
            activation_function: "gelu".to_owned(),
            projection_dim: 1024,
            max_temporal_embeddings: 100,
            max_position_embeddings: 50,
            drop_path_rate: 0.1,
            initializer_range: 0.02,
        }
    }
}

/// The fields of a file that have another name in Microsoft's layout.
#[derive(Deserialize)]
struct MicrosoftConfig {
    vision_config: MicrosoftVisionConfig,
}

/// Microsoft's fields of `vision_config`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct MicrosoftVisionConfig {
    #[serde(deserialize_with = "present")]
    dim_embed: Option<Vec<usize>>,
    visual_temporal_embedding: MicrosoftTemporalEmbedding,
    image_pos_embed: MicrosoftPositionEmbedding,
}

/// Microsoft's `visual_temporal_embedding`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct MicrosoftTemporalEmbedding {
    #[serde(deserialize_with = "present")]
    max_temporal_embeddings: Option<usize>,
}

/// Microsoft's `image_pos_embed`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct MicrosoftPositionEmbedding {
    #[serde(deserialize_with = "present")]
    max_pos_embeddings: Option<usize>,
}

/// Deserialises a value that may be absent and may not be null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Moves the values of Microsoft's fields in `vision_config` to Hugging Face's names, unless these
/// have values. Null is no value of the two numbers.
///
/// # Errors
/// A Microsoft field of another type, with its path in the file.
fn rename_microsoft_fields(
    config: &mut Value,
) -> Result<(), serde_path_to_error::Error<serde_json::Error>> {
    let MicrosoftConfig { vision_config } = serde_path_to_error::deserialize(&*config)?;
    let MicrosoftVisionConfig {
        dim_embed,
        visual_temporal_embedding: temporal,
        image_pos_embed: position,
    } = vision_config;
    let numbers = [
        ("max_temporal_embeddings", temporal.max_temporal_embeddings),
        ("max_position_embeddings", position.max_pos_embeddings),
    ];
    if let Some(fields) = config
        .get_mut("vision_config")
        .and_then(Value::as_object_mut)
    {
        set_if_absent(fields, "embed_dim", dim_embed);
        for (name, number) in numbers {
            if fields.get(name).is_some_and(Value::is_null) {
                fields.remove(name);
            }
            set_if_absent(fields, name, number);
        }
    }
    Ok(())
}

fn set_if_absent(fields: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        fields.entry(name).or_insert_with(|| value.into());
    }
}

/// BART's configuration: HF `BartConfig`, the fields that inference and training depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Florence2TextConfig {
    /// Rows of the embedding, padding included (default 51289).
    pub vocab_size: usize,
    /// Width of every layer (default 1024).
    pub d_model: usize,
    /// Encoder layers (default 12).
    pub encoder_layers: usize,
    /// Decoder layers (default 12).
    pub decoder_layers: usize,
    /// Encoder heads (default 16).
    pub encoder_attention_heads: usize,
    /// Decoder heads (default 16).
    pub decoder_attention_heads: usize,
    /// Hidden width of the encoder's feed-forward block (default 4096).
    pub encoder_ffn_dim: usize,
    /// Hidden width of the decoder's feed-forward block (default 4096).
    pub decoder_ffn_dim: usize,
    /// The activation of the feed-forward blocks, by its name in transformers (default `gelu`).
    pub activation_function: String,
    /// Number of positions of the encoder and of the decoder (default 1024).
    pub max_position_embeddings: usize,
    /// True if embeddings are multiplied by sqrt(`d_model`) (default false; null is false).
    #[serde(deserialize_with = "null_is_default")]
    pub scale_embedding: bool,
    /// True if encoder and decoder share one token embedding (default true).
    pub tie_word_embeddings: bool,
    /// Token that starts a text (default 0).
    pub bos_token_id: Option<u32>,
    /// Padding token (default 1).
    pub pad_token_id: Option<u32>,
    /// Tokens that end a text: one id, a list or null in a file (default 2).
    #[serde(with = "one_or_many")]
    pub eos_token_id: Vec<u32>,
    /// First token of the decoder's input (default 2).
    pub decoder_start_token_id: Option<u32>,
    /// The probability of dropout after embeddings, attention and feed-forward blocks in training
    /// (default 0.1; null is 0, here and below).
    #[serde(deserialize_with = "null_is_default")]
    pub dropout: f64,
    /// The probability of dropout of attention weights in training (default 0).
    #[serde(deserialize_with = "null_is_default")]
    pub attention_dropout: f64,
    /// The probability of dropout after the activation function in training (default 0).
    #[serde(deserialize_with = "null_is_default")]
    pub activation_dropout: f64,
    /// The probability with which an encoder layer is skipped in training (default 0).
    #[serde(deserialize_with = "null_is_default")]
    pub encoder_layerdrop: f64,
    /// The probability with which a decoder layer is skipped in training (default 0).
    #[serde(deserialize_with = "null_is_default")]
    pub decoder_layerdrop: f64,
    /// The standard deviation of initial weights (default 0.02).
    pub init_std: f64,
}

impl Default for Florence2TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 51289,
            d_model: 1024,
            encoder_layers: 12,
            decoder_layers: 12,
            encoder_attention_heads: 16,
            decoder_attention_heads: 16,
            encoder_ffn_dim: 4096,
            decoder_ffn_dim: 4096,
            activation_function: "gelu".to_owned(),
            max_position_embeddings: 1024,
            scale_embedding: false,
            tie_word_embeddings: true,
            bos_token_id: Some(0),
            pad_token_id: Some(1),
            eos_token_id: vec![2],
            decoder_start_token_id: Some(2),
            dropout: 0.1,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            encoder_layerdrop: 0.0,
            decoder_layerdrop: 0.0,
            init_std: 0.02,
        }
    }
}

/// Reads null as the default.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Token ids that a file stores as null, one id or a list.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(
        untagged,
        expecting = "expected a token id, a list of token ids or null"
    )]
    enum Ids {
        One(u32),
        Many(Vec<u32>),
    }

    pub(super) fn serialize<S: Serializer>(ids: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
        match ids {
            [] => serializer.serialize_none(),
            [id] => serializer.serialize_u32(*id),
            ids => ids.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D>(deserializer: D) -> Result<Vec<u32>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(match Option::deserialize(deserializer)? {
            None => Vec::new(),
            Some(Ids::One(id)) => vec![id],
            Some(Ids::Many(ids)) => ids,
        })
    }
}

/// The maximum number of layers of one kind. More are an error, since the module is built before it
/// is compared with any file.
const MAX_LAYERS: usize = 1024;

/// The maximum window size. Larger windows are an error, since the image is padded to whole windows
/// and attention is quadratic in their area.
const MAX_WINDOW: usize = 256;

impl Florence2Config {
    /// Reads and checks a `config.json` of either layout. Errors contain the name `file`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is not such JSON, [`Error::Config`] if a field is invalid.
    pub fn from_json(json: &[u8], file: &str) -> Result<Self> {
        let mut value: Value =
            serde_json::from_slice(json).map_err(|error| Error::malformed(file, error))?;
        for part in ["vision_config", "text_config"] {
            if !value.get(part).is_some_and(Value::is_object) {
                let reason = format!("`{part}` is missing, expected a Florence-2 configuration");
                return Err(Error::malformed(file, reason));
            }
        }
        rename_microsoft_fields(&mut value).map_err(|error| Error::malformed(file, error))?;
        let config: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| Error::malformed(file, error))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks the shape of pixel values, `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the image's size or channels do not fit the model.
    pub fn check_pixel_values(&self, [_, channels, height, width]: [usize; 4]) -> Result<()> {
        let expected = self.vision_config.in_channels;
        if channels != expected {
            let found = format!("{channels} channels");
            return Err(Error::argument("pixel_values", found, expected.to_string()));
        }
        self.vision_config.grid_size(height, width).map(drop)
    }

    /// Checks that a model can be built from these values.
    ///
    /// # Errors
    /// [`Error::Config`] with the first invalid field.
    pub fn validate(&self) -> Result<()> {
        if self.model_type != "florence2" {
            return Err(Error::config("model_type", &self.model_type, "florence2"));
        }
        self.vision_config.validate()?;
        self.text_config.validate()?;
        let (projection_dim, d_model) =
            (self.vision_config.projection_dim, self.text_config.d_model);
        if projection_dim != d_model {
            let expected = format!("{d_model}, the value of text_config.d_model");
            return Err(Error::config(
                "vision_config.projection_dim",
                projection_dim,
                expected,
            ));
        }
        if let Some(id) = self.image_token_id
            && id as usize >= self.text_config.vocab_size
        {
            let expected = format!("less than vocab_size {}", self.text_config.vocab_size);
            return Err(Error::config("image_token_id", id, expected));
        }
        Ok(())
    }
}

impl Florence2TextConfig {
    /// Checks that an image and a prompt, in tokens, fit the encoder's positions.
    ///
    /// # Errors
    /// [`Error::TooManyPositions`].
    pub fn check_encoder_positions(&self, image_tokens: usize, prompt_tokens: usize) -> Result<()> {
        let found = image_tokens.saturating_add(prompt_tokens);
        self.check_positions("encoder input (image and prompt)", found)
    }

    /// Checks that the decoder's sequence, in tokens, fits its positions.
    ///
    /// # Errors
    /// [`Error::TooManyPositions`].
    pub fn check_decoder_positions(&self, tokens: usize) -> Result<()> {
        self.check_positions("decoder output", tokens)
    }

    fn check_positions(&self, what: &'static str, found: usize) -> Result<()> {
        let limit = self.max_position_embeddings;
        if found > limit {
            return Err(Error::TooManyPositions { what, found, limit });
        }
        Ok(())
    }
}

impl Florence2VisionConfig {
    /// Returns the number of image tokens of an image in pixels: the mean token, and one token per
    /// position of the last stage's grid.
    ///
    /// # Errors
    /// Those of [`Self::grid_size`].
    pub fn image_tokens(&self, height: usize, width: usize) -> Result<usize> {
        let [rows, columns] = self.grid_size(height, width)?;
        Ok(1 + rows * columns)
    }

    /// Returns the height and width of the last stage's grid in positions, for an image in pixels.
    ///
    /// # Errors
    /// [`Error::Argument`] if the image is too small, or larger than the position embedding.
    pub fn grid_size(&self, height: usize, width: usize) -> Result<[usize; 2]> {
        let (mut rows, mut columns) = (height, width);
        for stage in 0..self.depths.len() {
            let (kernel, stride, padding) = (
                self.patch_size[stage],
                self.patch_stride[stage],
                self.patch_padding[stage],
            );
            let side = |n: usize| {
                (n > 0 && n + 2 * padding >= kernel)
                    .then(|| (n + 2 * padding - kernel) / stride + 1)
            };
            let (Some(next_rows), Some(next_columns)) = (side(rows), side(columns)) else {
                let found = format!("{width}x{height} pixels");
                return Err(Error::argument("pixel_values", found, "a larger image"));
            };
            (rows, columns) = (next_rows, next_columns);
        }
        let limit = self.max_position_embeddings;
        if rows > limit || columns > limit {
            let found = format!("a grid of {columns}x{rows} positions");
            let expected = format!("at most {limit}x{limit} (max_position_embeddings)");
            return Err(Error::argument("pixel_values", found, expected));
        }
        Ok([rows, columns])
    }

    fn validate(&self) -> Result<()> {
        let stages = self.embed_dim.len();
        if stages == 0 {
            return Err(Error::config(
                "vision_config.embed_dim",
                "no stage",
                "at least one",
            ));
        }
        let lengths = [
            ("depths", self.depths.len()),
            ("patch_size", self.patch_size.len()),
            ("patch_stride", self.patch_stride.len()),
            ("patch_padding", self.patch_padding.len()),
            ("patch_prenorm", self.patch_prenorm.len()),
            ("num_heads", self.num_heads.len()),
            ("num_groups", self.num_groups.len()),
        ];
        for (name, length) in lengths {
            if length != stages {
                let expected = format!("{stages}, one per entry of embed_dim");
                let found = format!("{length} entries");
                return Err(Error::config(
                    format!("vision_config.{name}"),
                    found,
                    expected,
                ));
            }
        }
        for (name, value) in [
            ("in_channels", self.in_channels),
            ("window_size", self.window_size),
            ("projection_dim", self.projection_dim),
            ("max_temporal_embeddings", self.max_temporal_embeddings),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            positive(&format!("vision_config.{name}"), value)?;
        }
        at_most("vision_config.window_size", self.window_size, MAX_WINDOW)?;
        for stage in 0..stages {
            let field = |name: &str| format!("vision_config.{name}[{stage}]");
            positive(&field("patch_size"), self.patch_size[stage])?;
            positive(&field("patch_stride"), self.patch_stride[stage])?;
            let (padding, kernel) = (self.patch_padding[stage], self.patch_size[stage]);
            if padding >= kernel {
                let expected = format!("less than patch_size {kernel}");
                return Err(Error::config(field("patch_padding"), padding, expected));
            }
            at_most(&field("depths"), self.depths[stage], MAX_LAYERS)?;
            let dim = self.embed_dim[stage];
            positive(&field("embed_dim"), dim)?;
            divides(&field("num_heads"), self.num_heads[stage], dim, "embed_dim")?;
            divides(
                &field("num_groups"),
                self.num_groups[stage],
                dim,
                "embed_dim",
            )?;
        }
        if !(self.mlp_ratio.is_finite() && self.mlp_ratio > 0.0) {
            return Err(Error::config(
                "vision_config.mlp_ratio",
                self.mlp_ratio,
                "more than 0",
            ));
        }
        activation(
            "vision_config.activation_function",
            &self.activation_function,
        )
    }
}

impl Florence2TextConfig {
    fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder_layers),
            ("decoder_layers", self.decoder_layers),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            positive(&format!("text_config.{name}"), value)?;
        }
        for (name, layers) in [
            ("encoder_layers", self.encoder_layers),
            ("decoder_layers", self.decoder_layers),
        ] {
            at_most(&format!("text_config.{name}"), layers, MAX_LAYERS)?;
        }
        for (name, heads) in [
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
        ] {
            divides(
                &format!("text_config.{name}"),
                heads,
                self.d_model,
                "d_model",
            )?;
        }
        for (name, ids) in [
            ("bos_token_id", self.bos_token_id.as_slice()),
            ("pad_token_id", self.pad_token_id.as_slice()),
            ("eos_token_id", self.eos_token_id.as_slice()),
            (
                "decoder_start_token_id",
                self.decoder_start_token_id.as_slice(),
            ),
        ] {
            let outside = ids.iter().find(|id| **id as usize >= self.vocab_size);
            if let Some(id) = outside {
                let expected = format!("less than vocab_size {}", self.vocab_size);
                return Err(Error::config(format!("text_config.{name}"), id, expected));
            }
        }
        activation("text_config.activation_function", &self.activation_function)
    }
}

fn positive(field: &str, value: usize) -> Result<()> {
    if value == 0 {
        return Err(Error::config(field, value, "at least 1"));
    }
    Ok(())
}

fn at_most(field: &str, value: usize, limit: usize) -> Result<()> {
    if value > limit {
        return Err(Error::config(field, value, format!("at most {limit}")));
    }
    Ok(())
}

fn divides(field: &str, parts: usize, dim: usize, of: &str) -> Result<()> {
    if parts == 0 || !dim.is_multiple_of(parts) {
        return Err(Error::config(
            field,
            parts,
            format!("a divisor of {of} {dim}"),
        ));
    }
    Ok(())
}

fn activation(field: &str, name: &str) -> Result<()> {
    match Activation::named(name) {
        Some(_) => Ok(()),
        None => Err(Error::config(field, name, Activation::choice())),
    }
}

/// The activation of a validated configuration.
pub(crate) fn activation_named(name: &str) -> Activation {
    // INVARIANT: `validate` rejects other names.
    Activation::named(name).expect("a name that was validated")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vision_config(vision: &Value) -> Result<Florence2VisionConfig, String> {
        let config = json!({"vision_config": vision, "text_config": {}}).to_string();
        Florence2Config::from_json(config.as_bytes(), "config.json")
            .map(|config| config.vision_config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn null_numbers_of_embeddings_are_absent() {
        let nulls = json!({"max_temporal_embeddings": null, "max_position_embeddings": null});
        assert_eq!(
            vision_config(&nulls).unwrap(),
            Florence2VisionConfig::default()
        );
        let config = vision_config(&json!({
            "max_position_embeddings": null,
            "image_pos_embed": {"max_pos_embeddings": 40},
        }));
        assert_eq!(config.unwrap().max_position_embeddings, 40);
    }

    #[test]
    fn errors_have_the_path_in_the_file() {
        for (vision, path) in [
            (json!({"dim_embed": [1, "2"]}), "vision_config.dim_embed[1]"),
            (
                json!({"image_pos_embed": {"max_pos_embeddings": null}, "embed_dim": [8]}),
                "vision_config.image_pos_embed.max_pos_embeddings",
            ),
            (json!({"embed_dim": [null]}), "vision_config.embed_dim[0]"),
        ] {
            let error = vision_config(&vision).unwrap_err();
            assert!(error.contains(path), "{vision}: {error}");
        }
    }
}
