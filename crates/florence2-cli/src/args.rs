//! Command-line arguments.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use florence2::{Dtype, LOCATION_TOLERANCE, Prompt, Task, TaskInput};

use crate::common_args::{DecodingArgs, ModelFilesArgs, dtype};
use crate::generation_args::GenerationArgs;

#[derive(Args)]
pub(crate) struct RunArgs {
    /// Image files: JPEG, PNG, WebP, BMP, GIF, TIFF.
    #[arg(required = true)]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Output format of the answers.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Coordinates of regions: bin centres, or the integers that transformers returns.
    #[arg(long, value_enum, default_value_t = CoordinatesArg::BinCenters)]
    pub(crate) coordinates: CoordinatesArg,
    /// Number of bins (of 1000) on each side of a coordinate that count as the same in the scores.
    #[arg(long, value_name = "N", default_value_t = LOCATION_TOLERANCE)]
    pub(crate) location_tolerance: u32,
    /// Draw the regions into a PNG file; with several images, the index is added to the name.
    #[arg(long, value_name = "OUT.png")]
    pub(crate) draw: Option<PathBuf>,
    /// Images per batch.
    #[arg(long, default_value = "1")]
    pub(crate) batch_size: NonZeroUsize,
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
}

#[derive(Args)]
pub(crate) struct ScoreArgs {
    /// The image file.
    pub(crate) image: PathBuf,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    /// The answer to score.
    #[arg(long)]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
    /// Output format of the score.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// The model's folder, or its name on the hub.
    pub(crate) model: PathBuf,
    /// The model's branch, tag, commit or refs/pr/N on the hub; main by default.
    #[cfg_attr(feature = "hub", arg(long))]
    #[cfg_attr(not(feature = "hub"), arg(skip))]
    pub(crate) revision: Option<String>,
    /// A weights file of any name, or an index of shards, instead of those in the model's folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct MergeArgs {
    /// The folder to write; it must be empty or not exist.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The base model's folder, or its name on the hub.
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) files: ModelFilesArgs,
    /// A LoRA adapter's folder, or its name on the hub; may be repeated.
    #[arg(long, value_name = "DIR|HUB_ID", required = true)]
    pub(crate) adapter: Vec<PathBuf>,
    /// Scale of an adapter, 1 by default; the first applies to the first adapter, and so on.
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub(crate) adapter_scale: Vec<f32>,
    /// Number type of the written weights: f32, f16 or bf16.
    #[arg(long, default_value = "f32", value_parser = dtype)]
    pub(crate) dtype: Dtype,
}

#[cfg(feature = "hub")]
#[derive(Args)]
pub(crate) struct PullArgs {
    /// The model, as ORG/NAME.
    #[arg(value_name = "HUB_ID")]
    pub(crate) id: String,
    /// A branch, tag, commit or refs/pr/N.
    #[arg(long, default_value = "main")]
    pub(crate) revision: String,
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// The folder of Florence-2-base or Florence-2-large, or its name on the hub.
    #[arg(value_name = "DIR|HUB_ID")]
    model: PathBuf,
    /// The model's branch, tag, commit or refs/pr/N on the hub; main by default.
    #[cfg_attr(feature = "hub", arg(long))]
    #[cfg_attr(not(feature = "hub"), arg(skip))]
    revision: Option<String>,
    /// The folder with preprocessor_config.json and the tokenizer, if the model's folder lacks them.
    #[arg(long, value_name = "DIR")]
    processor: Option<PathBuf>,
    /// A folder with the images australia.jpg, car.jpg and 000000039769.jpg; images that it lacks are
    /// downloaded from their public addresses.
    #[arg(long, value_name = "DIR")]
    pub(crate) images: Option<PathBuf>,
    /// A file with other cases, in the form of crates/florence2-cli/src/verify/published.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// Device: auto, or a name that `florence2 devices` lists.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Number type of weights and matrix products: f32, f16, bf16 or int8; int8 on the CPU only.
    #[arg(long, default_value = "f32", value_parser = dtype)]
    dtype: Dtype,
}

impl VerifyArgs {
    pub(crate) fn model_args(&self) -> ModelArgs {
        ModelArgs {
            model: Some(self.model.clone()),
            revision: self.revision.clone(),
            weights: None,
            processor: self.processor.clone(),
            adapter: Vec::new(),
            adapter_scale: Vec::new(),
            device: self.device.clone(),
            dtype: self.dtype,
        }
    }
}

#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The model's folder, or its name on the hub; by default, the embedded demo model.
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub(crate) model: Option<PathBuf>,
    /// The model's branch, tag, commit or refs/pr/N on the hub; main by default.
    #[cfg_attr(feature = "hub", arg(long, requires = "model"))]
    #[cfg_attr(not(feature = "hub"), arg(skip))]
    pub(crate) revision: Option<String>,
    /// A weights file of any name, or an index of shards, instead of those in the model's folder.
    #[arg(long, value_name = "FILE", requires = "model")]
    pub(crate) weights: Option<PathBuf>,
    /// The folder with preprocessor_config.json and the tokenizer, if the model's folder lacks them.
    #[arg(long, value_name = "DIR", requires = "model")]
    pub(crate) processor: Option<PathBuf>,
    /// A LoRA adapter's folder, or its name on the hub; merged at load; may be repeated.
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub(crate) adapter: Vec<PathBuf>,
    /// Scale of an adapter, 1 by default; the first applies to the first adapter, and so on.
    #[arg(
        long,
        value_name = "FACTOR",
        requires = "adapter",
        allow_negative_numbers = true
    )]
    pub(crate) adapter_scale: Vec<f32>,
    /// Device: auto, or a name that `florence2 devices` lists.
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Number type of weights and matrix products: f32, f16, bf16 or int8; int8 on the CPU only.
    #[arg(long, default_value = "f32", value_parser = dtype)]
    pub(crate) dtype: Dtype,
}

#[derive(Args)]
pub(crate) struct QuestionArgs {
    /// A task (`OD` or `<OD>`, see `florence2 tasks`), or the prompt of a fine-tuned model.
    #[arg(long, default_value = "OD")]
    pub(crate) task: String,
    /// The task's input: text, or a region as <loc_..>.
    #[arg(long, conflicts_with = "box")]
    pub(crate) input: Option<String>,
    /// The task's input: a region in pixels.
    #[arg(long, value_name = "x1,y1,x2,y2", value_parser = parse_box, allow_hyphen_values = true)]
    pub(crate) r#box: Option<[f64; 4]>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Human-readable text.
    Text,
    /// One JSON object, or an array of them for several images.
    Json,
    /// One JSON object per line.
    Jsonl,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CoordinatesArg {
    /// Bin centres.
    BinCenters,
    /// The integers that transformers returns.
    HfIntegers,
}

impl QuestionArgs {
    /// Returns the prompt: a task by name or token, or the text of a prompt for a fine-tuned model.
    ///
    /// # Errors
    /// The task or its input is invalid.
    pub(crate) fn prompt(&self) -> Result<Prompt, florence2::Error> {
        let input = match (&self.input, self.r#box) {
            (Some(text), _) => Some(TaskInput::Text(text.clone())),
            (None, Some(region)) => Some(TaskInput::Region(region)),
            (None, None) => None,
        };
        let error = match self.task.parse::<Task>() {
            Ok(task) => return Ok(Prompt::Task { task, input }),
            Err(error) => error,
        };
        // `<VQA>question`, or `<VQA>` with the question as input, is a prompt of a fine-tuned
        // model; a bare word is a mistyped task.
        let is_text = self.task.starts_with('<') || self.task.contains(char::is_whitespace);
        match (Prompt::parse(&self.task)?, input) {
            (Prompt::Text(text), None) if is_text => {
                if text.starts_with('<') && text.ends_with('>') {
                    log::warn!(
                        "task: `{text}` is no task of Florence-2; the model receives it as its prompt"
                    );
                }
                Ok(Prompt::Text(text))
            }
            (Prompt::Text(text), Some(TaskInput::Text(input))) if is_text => {
                Ok(Prompt::Text(text + &input))
            }
            (
                Prompt::Task {
                    task,
                    input: written,
                },
                given,
            ) => Ok(Prompt::Task {
                task,
                input: given.or(written),
            }),
            _ => Err(error.into()),
        }
    }
}

fn parse_box(text: &str) -> Result<[f64; 4], String> {
    let numbers: Result<Vec<f64>, _> = text
        .split(',')
        .map(|number| number.trim().parse())
        .collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| format!("found `{text}`, expected four numbers x1,y1,x2,y2"))
}
