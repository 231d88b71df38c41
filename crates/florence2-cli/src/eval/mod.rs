//! `florence2 eval`: evaluates a model on a data set. A sample that fails does not stop the others.

mod args;
mod output;

use std::ops::ControlFlow;
use std::process;

use florence2::{Answer, CancelToken, DecodeOptions, Error, Florence2, Image, ModelError};
use florence2_dataset::{Dataset, Severity};
use florence2_eval::{
    Evaluation, EvaluationOptions, Prediction, Record, Sample, evaluate, samples,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

pub(crate) use args::EvalArgs;

use crate::failure::Failure;
use crate::model;
use crate::output::print;
use args::ResultFormat;
use output::OutputFile;

/// The version of the structure of the JSON result.
const JSON_SCHEMA: u32 = 1;
/// The exit status of a process that Ctrl-C ended, as shells report it.
const INTERRUPTED: i32 = 130;

pub(crate) fn eval(args: &EvalArgs) -> Result<(), Failure> {
    let dataset = args.open()?;
    let left_out = left_out(&dataset);
    for finding in &left_out {
        eprintln!("florence2: {finding}");
    }
    let output = args.output.as_deref().map(OutputFile::open).transpose()?;
    let predictions = args.predictions.as_deref();
    let predictions = predictions.map(OutputFile::open).transpose()?;
    let mut samples = samples(dataset.examples());
    if let Some(limit) = args.limit {
        samples.truncate(limit.get());
    }
    let model = model::load(&args.model)?;
    let records = answer(args, &model, &samples, predictions)?;
    let failed = records.iter().filter(|record| record.outcome.is_err());
    let (failed, total) = (failed.count(), records.len());
    if failed == total {
        return Err(Failure::Images { failed, total });
    }
    let options = EvaluationOptions::default()
        .classes(dataset.classes())
        .use_scores(!args.no_scores);
    let evaluation = evaluate(&records, &options)?;
    let json = to_json(&dataset, &left_out, &model, args, &evaluation);
    match args.format {
        ResultFormat::Text => print_text(&dataset, &evaluation)?,
        ResultFormat::Json => print(format_args!("{json:#}"))?,
    }
    if let Some(output) = output {
        output.replace(&json)?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::Images { failed, total }),
    }
}

/// The entries of the data set that cannot be used, and are not evaluated.
fn left_out(dataset: &Dataset) -> Vec<String> {
    let findings = dataset.report().findings.iter();
    findings
        .filter(|finding| finding.severity == Severity::Error)
        .map(ToString::to_string)
        .collect()
}

/// Answers all samples, and writes each with its answer to the file of predictions.
fn answer(
    args: &EvalArgs,
    model: &Florence2,
    samples: &[Sample<'_>],
    mut predictions: Option<OutputFile>,
) -> Result<Vec<Record>, Failure> {
    let progress = progress_bar(samples.len());
    let cancel = cancelled_by_ctrl_c()?;
    if let Some(file) = &mut predictions {
        file.clear()?;
    }
    let decoding = args.decoding.options();
    let mut records = Vec::with_capacity(samples.len());
    let mut unwritten = None;
    let stream = model.stream(samples, |sample| {
        let example = sample.example();
        Ok((example.open_image(&decoding)?, example.prompt()?))
    });
    let result = stream
        .batch_size(args.batch_size.get())
        .generation(args.generation.overrides())
        .location_tolerance(args.location_tolerance)
        .cancel(&cancel)
        .run(|sample, outcome| {
            let record = record(sample, outcome, decoding);
            if let Err(reason) = &record.outcome {
                progress.suspend(|| eprintln!("florence2: {}: {reason}", record.source));
            }
            let written = match &mut predictions {
                Some(file) => file.write_line(&record.to_json()),
                None => Ok(()),
            };
            records.push(record);
            progress.inc(1);
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    unwritten = Some(failure);
                    ControlFlow::Break(())
                }
            }
        });
    progress.finish_and_clear();
    if let Some(failure) = unwritten {
        return Err(failure);
    }
    result.map_err(|error| match error {
        Error::Model(ModelError::Cancelled) => Failure::EvaluationInterrupted {
            answered: records.len(),
            total: samples.len(),
        },
        other => other.into(),
    })?;
    if let Some(file) = predictions {
        file.finish()?;
    }
    Ok(records)
}

/// The record of an answer or an error.
fn record(
    sample: &Sample<'_>,
    outcome: Result<(Image, Answer), Error>,
    decoding: DecodeOptions,
) -> Record {
    match outcome {
        Ok((image, answer)) => {
            let prediction = Prediction {
                text: answer.text,
                regions: answer.regions,
            };
            Record::answered(sample, image.size(), prediction)
        }
        Err(error) => {
            let image = sample.example().open_image(&decoding).ok();
            let size = image.map(|image| image.size());
            Record::failed(sample, size, florence2::error_chain(&error))
        }
    }
}

/// A token that Ctrl-C and, on Unix, SIGTERM and SIGHUP cancel. A second signal ends the process.
fn cancelled_by_ctrl_c() -> Result<CancelToken, Failure> {
    let cancel = CancelToken::default();
    let token = cancel.clone();
    let handler = move || {
        if token.is_cancelled() {
            process::exit(INTERRUPTED);
        }
        token.cancel();
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Interrupt(error.to_string()))?;
    Ok(cancel)
}

fn print_text(dataset: &Dataset, evaluation: &Evaluation) -> Result<(), Failure> {
    print(format_args!("{}\n", dataset.path().display()))?;
    print(evaluation)
}

fn to_json(
    dataset: &Dataset,
    left_out: &[String],
    model: &Florence2,
    args: &EvalArgs,
    evaluation: &Evaluation,
) -> Value {
    let name = args.model.model.as_ref();
    json!({
        "schema": JSON_SCHEMA,
        "dataset": dataset.path().display().to_string(),
        "dataset_format": dataset.format(),
        "left_out": left_out,
        "model": name.map_or("demo".to_owned(), |name| name.display().to_string()),
        "device": model.device(),
        "dtype": model.dtype().to_string(),
        "metrics": evaluation.metrics(),
        "tasks": evaluation.tasks,
        "failures": evaluation.failures,
    })
}

/// A progress bar. It is hidden if standard error is not a terminal.
fn progress_bar(samples: usize) -> ProgressBar {
    // INVARIANT: the template is a constant that parses.
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} samples, {per_sec}, {eta} left")
        .expect("a valid template");
    ProgressBar::new(samples as u64).with_style(style)
}
