//! `florence2 train`: fine-tunes a model on a data set.

pub(crate) mod args;
mod check;
mod interrupt;
mod left_out;
mod lora_args;
mod output;
mod progress;
mod session;
mod training_args;
mod values;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use florence2::{Florence2Config, Florence2Processor, LoadOptions, ProcessorError};
use florence2_core::weights::Checkpoint;
use florence2_dataset::{Dataset, DatasetOptions};
use florence2_train::{
    ARGUMENTS_FILE, Checkpoints, DatasetSource, DatasetSourceOptions, InvalidArguments, Method,
    ModelFiles, Output, TrainerOptions, TrainingArguments,
};
use serde_json::Value;

use args::TrainArgs;
use interrupt::Interrupt;
use left_out::{print_left_out, reader_errors};
use output::{check_output, resume_command, run_command};
use session::{Session, Trained};

use crate::failure::Failure;
use crate::model;
use crate::output::print;

/// The files of the base model.
struct Base {
    folder: PathBuf,
    processor_folder: PathBuf,
    config: Florence2Config,
    checkpoint: Checkpoint,
    processor: Florence2Processor,
}

pub(crate) fn train(args: &TrainArgs) -> Result<(), Failure> {
    let arguments = args.invalid();
    if !arguments.is_empty() {
        return Err(InvalidArguments { arguments }.into());
    }
    // INVARIANT: the flag is required unless --check is given.
    let output = args.output.as_deref().filter(|_| !args.check);
    if let Some(output) = output {
        check_output(output, args.resume)?;
    }
    let base = Base::open(args)?;
    match output {
        Some(output) => train_into(args, &base, output),
        None => check_all(args, &base),
    }
}

impl Base {
    fn open(args: &TrainArgs) -> Result<Self, Failure> {
        let folder = model::folder(&args.model, args.files.revision.as_deref())?;
        let processor_folder = args
            .files
            .processor
            .clone()
            .unwrap_or_else(|| folder.clone());
        let (config, checkpoint, _) =
            florence2::inspect_with(&folder, args.files.weights.as_deref())?;
        let processor =
            Florence2Processor::from_dir(&processor_folder).map_err(|source| match &source {
                ProcessorError::Io { source: error, .. } if error.kind() == ErrorKind::NotFound => {
                    florence2::Error::ProcessorFiles { source }
                }
                _ => source.into(),
            })?;
        Ok(Self {
            folder,
            processor_folder,
            config,
            checkpoint,
            processor,
        })
    }

    fn source(
        &self,
        dataset: Dataset,
        options: DatasetSourceOptions,
    ) -> Result<DatasetSource<'_>, Failure> {
        Ok(DatasetSource::new(
            dataset,
            &self.processor,
            &self.config,
            options,
        )?)
    }
}

/// The data sets of the arguments with their options: that of the training, and that of the evaluation.
fn datasets(args: &TrainArgs) -> (&Path, DatasetOptions, Option<(&Path, DatasetOptions)>) {
    let evaluation = args.data.eval_dataset.as_deref().map(|path| {
        let splits = Dataset::splits(path, &args.data.options());
        (path, args.data.evaluation_options(&splits))
    });
    (&args.dataset, args.data.options(), evaluation)
}

/// The options of both data sets' images. Only those of the training are augmented.
fn source_options(args: &TrainArgs) -> DatasetSourceOptions {
    DatasetSourceOptions {
        decode: args.decoding.options(),
        ..DatasetSourceOptions::default()
    }
}

/// Checks all data sets.
fn check_all(args: &TrainArgs, base: &Base) -> Result<(), Failure> {
    let (path, options, evaluation) = datasets(args);
    let mut result = Ok(());
    for (path, options) in [(path, options)].into_iter().chain(evaluation) {
        let checked = match Dataset::open(path, &options) {
            Ok(dataset) => {
                let source = base.source(dataset, source_options(args))?;
                check::check(path, &source, args.report_format)
            }
            Err(florence2_dataset::Error::NoExamples { report, .. }) => {
                check::print_report(path, &report, 0, args.report_format)
            }
            Err(error) => Err(error.into()),
        };
        match checked {
            // The other data set is checked, too.
            Err(unusable @ Failure::Unusable { .. }) => result = Err(unusable),
            checked => checked?,
        }
    }
    result
}

/// Opens a data set, and prints its counts.
fn open(what: &str, path: &Path, options: &DatasetOptions) -> Result<Dataset, Failure> {
    let dataset = Dataset::open(path, options).inspect_err(|error| {
        if let florence2_dataset::Error::NoExamples { report, .. } = error {
            eprintln!("{report}");
        }
    })?;
    let report = dataset.report();
    eprintln!(
        "florence2: {what} data: {} ({}): {} examples, {} images, {} faults",
        path.display(),
        dataset.format(),
        report.examples,
        report.images,
        reader_errors(&dataset).len()
    );
    for (task, count) in &report.tasks {
        eprintln!("florence2:   {task}: {count} examples");
    }
    Ok(dataset)
}

fn train_into(args: &TrainArgs, base: &Base, output: &Path) -> Result<(), Failure> {
    let (path, options, evaluation) = datasets(args);
    let train_options = DatasetSourceOptions {
        augment: args.data.augment(),
        seed: args.training_arguments().seed,
        ..source_options(args)
    };
    let train = base.source(open("training", path, &options)?, train_options)?;
    let evaluation = match evaluation {
        None => None,
        Some((path, options)) => {
            let dataset = open("evaluation", path, &options)?;
            Some((path, base.source(dataset, source_options(args))?))
        }
    };
    if args.resume {
        warn_of_other_arguments(output, &args.training_arguments())?;
    }
    let interrupt = Interrupt::install()?;
    let method = args.method();
    let session = Session {
        arguments: args.training_arguments(),
        options: TrainerOptions {
            output_dir: output.to_owned(),
            resume: args.resume,
            pad_token_id: base.processor.tokenizer.pad_token_id(),
            output: result_files(&method, base)?,
            cache: args.cache_limits(),
        },
        method,
        config: &base.config,
        checkpoint: &base.checkpoint,
        dtype: args.dtype,
        train: &train,
        evaluation: evaluation.as_ref().map(|(_, source)| source),
        interrupt: &interrupt,
    };
    let mut device = LoadOptions::default()
        .device(&args.device)
        .dtype(args.dtype);
    device.threads = args.threads;
    let Trained {
        outcome,
        checkpoint,
    } = florence2::run_on_device(&device, session)??;
    print_left_out(path, &train, &outcome.skipped);
    if let Some((path, source)) = &evaluation {
        print_left_out(path, source, &outcome.skipped_evaluation);
    }
    if !outcome.is_complete {
        return Err(Failure::Interrupted {
            step: outcome.state.global_step,
            total: outcome.state.max_steps,
            checkpoint: checkpoint.unwrap_or_else(|| output.to_owned()),
            command: resume_command(),
        });
    }
    print(format_args!("result: {}", output.display()))?;
    print(format_args!(
        "run it with: {}",
        run_command(args, output, train.dataset())
    ))
}

/// Warns of training arguments that differ from those of the newest checkpoint. The result then differs
/// from that of an uninterrupted run.
fn warn_of_other_arguments(output: &Path, arguments: &TrainingArguments) -> Result<(), Failure> {
    let latest = match output.is_dir() {
        true => Checkpoints::new(output)
            .latest()
            .map_err(florence2_train::Error::from)?,
        false => None,
    };
    // The trainer reports files that are missing or malformed.
    let stored = latest.and_then(|latest| std::fs::read(latest.path.join(ARGUMENTS_FILE)).ok());
    let stored: Option<Value> = stored.and_then(|json| serde_json::from_slice(&json).ok());
    let Some(Value::Object(stored)) = stored else {
        return Ok(());
    };
    // INVARIANT: arguments are a struct of numbers and texts.
    let current = serde_json::to_value(arguments).expect("arguments");
    for (name, earlier) in &stored {
        if current[name] != *earlier {
            log::warn!(
                "--{}: found {}, expected {earlier} as before; the result is not that of an uninterrupted run",
                name.replace('_', "-"),
                current[name]
            );
        }
    }
    Ok(())
}

/// The files of the result.
fn result_files(method: &Method, base: &Base) -> Result<Output, Failure> {
    Ok(match method {
        Method::Lora(config) => Output::Adapter(config.clone()),
        Method::Full | Method::FrozenVision => {
            Output::Model(ModelFiles::from_dir(&base.folder, &base.processor_folder)?)
        }
    })
}
