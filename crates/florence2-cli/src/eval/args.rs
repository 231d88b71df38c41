//! The arguments of `eval`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use florence2::{LOCATION_TOLERANCE, Task};
use florence2_dataset::{Dataset, DatasetOptions, Format, Split};

use crate::args::ModelArgs;
use crate::common_args::DecodingArgs;
use crate::failure::Failure;
use crate::generation_args::GenerationArgs;

#[derive(Args)]
pub(crate) struct EvalArgs {
    /// The data set: a folder, or its file of annotations (.jsonl, COCO .json, YOLO .yaml).
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) generation: GenerationArgs,
    /// Samples per batch.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) batch_size: NonZeroUsize,
    /// Evaluate the first N samples only.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Rank detections by their order in the answer instead of by their scores.
    #[arg(long)]
    pub(crate) no_scores: bool,
    /// Number of bins (of 1000) on each side of a coordinate that count as the same in the scores.
    #[arg(long, value_name = "N", default_value_t = LOCATION_TOLERANCE)]
    pub(crate) location_tolerance: u32,
    /// Format of the result on standard output.
    #[arg(long, value_enum, default_value_t = ResultFormat::Text)]
    pub(crate) format: ResultFormat,
    /// Also write the result to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write the prompt, the answer and the truth of each sample to a file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) predictions: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
    // The last one: its heading applies to all arguments after it.
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultFormat {
    /// A table per task.
    Text,
    /// A JSON object.
    Json,
}

#[derive(Args)]
#[command(next_help_heading = "Data")]
struct DataArgs {
    /// The format: jsonl, coco, yolo or text; by default, it is detected.
    #[arg(long, value_name = "FORMAT")]
    dataset_format: Option<Format>,
    /// The split: train, valid or test. Default: valid, else test, else the folder itself.
    #[arg(long)]
    split: Option<Split>,
    /// The task of which COCO's and YOLO's samples are made, and the prompt of entries without one.
    /// Default: OD, or CAPTION for captions of COCO.
    #[arg(long)]
    task: Option<Task>,
    /// The prompt of entries without one (jsonl and text), in place of --task.
    #[arg(long)]
    prefix: Option<String>,
    /// The folder of the images of COCO, if it is not near the annotations.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
}

impl DataArgs {
    fn options(&self, dataset: &Path) -> DatasetOptions {
        let mut options = DatasetOptions::default();
        options.format = self.dataset_format;
        options.task = self.task;
        options.prefix.clone_from(&self.prefix);
        options.images.clone_from(&self.images);
        options.split = self.split.or_else(|| default_split(dataset, &options));
        options
    }
}

/// The split of a data set that is for evaluation.
fn default_split(dataset: &Path, options: &DatasetOptions) -> Option<Split> {
    let splits = Dataset::splits(dataset, options);
    let wanted = [Split::Valid, Split::Test];
    wanted.into_iter().find(|split| splits.contains(split))
}

impl EvalArgs {
    /// Opens the data set.
    pub(crate) fn open(&self) -> Result<Dataset, Failure> {
        let options = self.data.options(&self.dataset);
        Ok(Dataset::open(&self.dataset, &options)?)
    }
}
