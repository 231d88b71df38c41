//! The arguments of `train`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use florence2::{Dtype, ModelError, Task};
use florence2_core::weights::ModuleMatcher;
use florence2_dataset::{AugmentOptions, DatasetOptions, Format, Split};
use florence2_train::{CacheLimits, InvalidArgument, Method, TrainingArguments};

use super::lora_args::LoraArgs;
use super::training_args::TrainingArgs;
use super::values::bytes;
use crate::common_args::{DecodingArgs, ModelFilesArgs, dtype};

#[derive(Args)]
pub(crate) struct TrainArgs {
    /// The data set: a folder, or its file of annotations (.jsonl, COCO .json, YOLO .yaml).
    #[arg(value_name = "DATASET")]
    pub(crate) dataset: PathBuf,
    /// The model's folder, or its name on the hub.
    #[arg(long, value_name = "DIR|HUB_ID")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) files: ModelFilesArgs,
    /// The folder of the result, of checkpoints, metrics.jsonl and loss.svg; empty or new, except with
    /// --resume. Required except with --check.
    #[arg(long, value_name = "DIR", required_unless_present = "check")]
    pub(crate) output: Option<PathBuf>,
    /// Continue from the newest checkpoint of --output. The other arguments must be the same.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Read the whole data set, print what it contains and what is wrong with it, and train nothing.
    #[arg(long)]
    pub(crate) check: bool,
    /// Output format of --check.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text, requires = "check")]
    pub(crate) report_format: ReportFormat,
    /// The parameters that are trained.
    #[arg(long, value_enum, default_value_t = MethodArg::Lora)]
    pub(crate) method: MethodArg,
    /// Device: auto, or a name that `florence2 devices` lists.
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Threads of the training. Default: the processors, or RAYON_NUM_THREADS.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Number type of the frozen weights with LoRA: f32, f16, bf16 or int8; int8 on the CPU only.
    #[arg(long, default_value = "f32", value_parser = dtype)]
    pub(crate) dtype: Dtype,
    /// Memory for image features of a frozen vision tower, in bytes; K, M, G: powers of 1024.
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "1G")]
    pub(crate) feature_cache_memory: u64,
    /// Disk space in --output for features that exceed the memory, in bytes; it is freed at the end.
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "16G")]
    pub(crate) feature_cache_disk: u64,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// A data set on which the model is evaluated, in the same format; by default none.
    #[arg(long, value_name = "DATASET")]
    pub(crate) eval_dataset: Option<PathBuf>,
    /// The format: jsonl, coco, yolo or text; by default, it is detected.
    #[arg(long)]
    format: Option<Format>,
    /// The split of DATASET: train, valid or test. Default: the folder itself, else train.
    #[arg(long)]
    split: Option<Split>,
    /// The split of --eval-dataset. Default: valid if it has this split, else the folder itself.
    #[arg(long, requires = "eval_dataset")]
    eval_split: Option<Split>,
    /// The task of which COCO's and YOLO's examples are made, and the prefix of entries without one.
    /// Default: OD, or CAPTION for captions of COCO.
    #[arg(long)]
    task: Option<Task>,
    /// The prefix of entries without one (jsonl and text), in place of --task.
    #[arg(long)]
    prefix: Option<String>,
    /// The folder of the images of COCO, if it is not near the annotations.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Leave out images without objects (COCO and YOLO).
    #[arg(long)]
    skip_background: bool,
    /// The probability of a horizontal flip, with its boxes; 0.5 without a value. Images of tasks that
    /// read text or of answers that say left or right are not flipped. Image features are not cached.
    #[arg(long, value_name = "SHARE", num_args = 0..=1, require_equals = true, default_value_t = 0.0,
        default_missing_value = "0.5", hide_default_value = true)]
    flip: f64,
    /// The probability of a crop, with its boxes; 0.5 without a value. Only images of tasks that locate
    /// regions are cropped. Image features are not cached.
    #[arg(long, value_name = "SHARE", num_args = 0..=1, require_equals = true, default_value_t = 0.0,
        default_missing_value = "0.5", hide_default_value = true)]
    crop: f64,
    /// The minimum width and height of a crop, as a share of the image's.
    #[arg(long, value_name = "SHARE", default_value_t = AugmentOptions::default().min_crop_side,
        allow_negative_numbers = true)]
    min_crop_side: f64,
    /// The minimum share of an object's area within a crop. Objects below it are dropped.
    #[arg(long, value_name = "SHARE", default_value_t = AugmentOptions::default().min_visible_share,
        allow_negative_numbers = true)]
    min_visible_share: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per data set and line.
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// An adapter; the weights of the model are frozen.
    Lora,
    /// All parameters.
    Full,
    /// All parameters but those of the vision tower.
    FrozenVision,
}

impl TrainArgs {
    pub(crate) fn method(&self) -> Method {
        match self.method {
            MethodArg::Lora => Method::Lora(self.lora.config(self.model.display().to_string())),
            MethodArg::Full => Method::Full,
            MethodArg::FrozenVision => Method::FrozenVision,
        }
    }

    pub(crate) fn training_arguments(&self) -> TrainingArguments {
        let is_lora = self.method == MethodArg::Lora;
        self.training
            .arguments(is_lora, self.data.eval_dataset.is_some())
    }

    pub(crate) fn cache_limits(&self) -> CacheLimits {
        CacheLimits {
            memory: self.feature_cache_memory,
            disk: self.feature_cache_disk,
        }
    }

    /// Every argument that is out of range, does not go with another one or is not supported. The names
    /// are those of flags.
    pub(crate) fn invalid(&self) -> Vec<InvalidArgument> {
        let arguments = self.training_arguments();
        let results = [
            arguments.validate(),
            arguments.check_supported(),
            self.method().check_dtype(self.dtype),
        ];
        let errors = results.into_iter().filter_map(Result::err);
        let mut invalid: Vec<InvalidArgument> =
            errors.flat_map(|invalid| invalid.arguments).collect();
        for argument in &mut invalid {
            argument.argument = flag(&argument.argument);
        }
        invalid.extend(self.invalid_lora());
        invalid.extend(self.data.invalid_augmentation());
        let evaluates = arguments.eval_strategy != florence2_train::IntervalStrategy::No;
        if evaluates && self.data.eval_dataset.is_none() {
            let found = arguments.eval_strategy.to_string();
            let expected = "no, or --eval-dataset";
            invalid.push(invalid_argument("--eval-strategy", found, expected));
        }
        invalid
    }

    fn invalid_lora(&self) -> Vec<InvalidArgument> {
        let Method::Lora(config) = self.method() else {
            let method = match self.method {
                MethodArg::FrozenVision => "frozen-vision",
                _ => "full",
            };
            let given = self.lora.given().into_iter();
            let expected = format!("no setting of LoRA with --method {method}");
            return given
                .map(|flag| invalid_argument(flag, "a value".to_owned(), &expected))
                .collect();
        };
        let settings = config.invalid_settings().into_iter();
        let settings = settings.map(|(setting, found, expected)| match setting {
            "r" => invalid_argument("--lora-rank", found, expected),
            setting => invalid_argument(&flag(setting), found, expected),
        });
        let settings: Vec<InvalidArgument> = settings.collect();
        match ModuleMatcher::new(&config) {
            // A regular expression, which is checked after the settings.
            Err(ModelError::Argument {
                argument,
                found,
                expected,
            }) if settings.is_empty() => {
                vec![invalid_argument(&flag(argument), found, &expected)]
            }
            _ => settings,
        }
    }
}

impl DataArgs {
    /// The options of the training set.
    pub(crate) fn options(&self) -> DatasetOptions {
        let mut options = DatasetOptions::default().keep_background(!self.skip_background);
        options.format = self.format;
        options.split = self.split;
        options.task = self.task;
        options.prefix.clone_from(&self.prefix);
        options.images.clone_from(&self.images);
        options
    }

    /// The options of the evaluation set, whose images are near its own annotations. `splits` are those
    /// that it has.
    pub(crate) fn evaluation_options(&self, splits: &[Split]) -> DatasetOptions {
        let mut options = self.options();
        options.images = None;
        let valid = splits.iter().copied().find(|split| *split == Split::Valid);
        options.split = self.eval_split.or(valid);
        options
    }

    pub(crate) fn augment(&self) -> AugmentOptions {
        AugmentOptions::default()
            .flip_probability(self.flip)
            .crop_probability(self.crop)
            .min_crop_side(self.min_crop_side)
            .min_visible_share(self.min_visible_share)
    }

    fn invalid_augmentation(&self) -> Vec<InvalidArgument> {
        let share = 0.0..=1.0;
        let checks = [
            ("--flip", self.flip, share.contains(&self.flip)),
            ("--crop", self.crop, share.contains(&self.crop)),
            (
                "--min-crop-side",
                self.min_crop_side,
                share.contains(&self.min_crop_side) && self.min_crop_side > 0.0,
            ),
            (
                "--min-visible-share",
                self.min_visible_share,
                share.contains(&self.min_visible_share),
            ),
        ];
        let invalid = checks.into_iter().filter(|(_, _, is_valid)| !is_valid);
        let expected = |flag| match flag {
            "--min-crop-side" => "a share above 0 and at most 1",
            _ => "a number from 0 to 1",
        };
        invalid
            .map(|(flag, found, _)| invalid_argument(flag, found.to_string(), expected(flag)))
            .collect()
    }
}

fn invalid_argument(flag: &str, found: String, expected: &str) -> InvalidArgument {
    InvalidArgument {
        argument: flag.to_owned(),
        found,
        expected: expected.to_owned(),
    }
}

/// The flag of an argument or a setting.
fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}
