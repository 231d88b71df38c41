//! `florence2 run`: images in, answers out; one bad image does not stop the rest.

use std::path::{Path, PathBuf};

use florence2::{Answer, Compat, Florence2, Image, Prompt, RegionKind, RunOptions};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::args::{CompatArg, Format, RunArgs};
use crate::{Failure, draw, model, print};

pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let prompt = args.question.prompt()?;
    let model = model::load(&args.model)?;
    let options = RunOptions {
        generation: args.generation.overrides(),
        compat: match args.compat {
            CompatArg::Centers => Compat::Centers,
            CompatArg::Hf => Compat::Hf,
        },
        ..RunOptions::default()
    };
    let progress = progress_bar(args.images.len());
    let mut collected = Vec::new();
    let mut failed = 0;
    let batch_size = args.batch_size.get();
    for (batch, paths) in args.images.chunks(batch_size).enumerate() {
        let first = batch * batch_size;
        for (index, outcome) in run_batch(&model, paths, &prompt, &options)
            .into_iter()
            .enumerate()
        {
            let path = &paths[index];
            let outcome = outcome.map_err(Failure::from).and_then(|(image, answer)| {
                report(args, path, first + index, &image, &answer, &mut collected)
            });
            match outcome {
                Ok(()) => {}
                // No other image could be answered either.
                Err(failure @ Failure::Output(_)) => return Err(failure),
                Err(failure) => {
                    failed += 1;
                    progress.suspend(|| eprintln!("florence2: {failure}"));
                }
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    if args.format == Format::Json {
        let several = args.images.len() > 1;
        match (several, collected.pop()) {
            (false, Some(answer)) => print(format_args!("{answer:#}"))?,
            (false, None) => {}
            (true, last) => {
                collected.extend(last);
                print(format_args!("{:#}", Value::Array(collected)))?;
            }
        }
    }
    match (failed, args.images.len()) {
        (0, _) => Ok(()),
        (failed, total) => Err(Failure::Images { failed, total }),
    }
}

/// Runs one batch; images that cannot be read, and only those, fail.
fn run_batch(
    model: &Florence2,
    paths: &[PathBuf],
    prompt: &Prompt,
    options: &RunOptions,
) -> Vec<Result<(Image, Answer), florence2::Error>> {
    let images: Vec<Result<Image, florence2::Error>> =
        paths.iter().map(|path| Ok(Image::open(path)?)).collect();
    let readable: Vec<(&Image, Prompt)> = images
        .iter()
        .flatten()
        .map(|image| (image, prompt.clone()))
        .collect();
    let answers: Vec<Result<Answer, florence2::Error>> = match model.run_batch(&readable, options) {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        // Alone, each image says what is wrong with it, and the others go on.
        Err(_) => readable
            .iter()
            .map(|(image, prompt)| model.run_with(image, prompt.clone(), options))
            .collect(),
    };
    let mut answers = answers.into_iter();
    let mut outcomes = Vec::with_capacity(images.len());
    for image in images {
        outcomes.push(match image {
            Err(error) => Err(error),
            // INVARIANT: one answer per readable image, in order.
            Ok(image) => {
                let answer = answers.next().expect("an answer per readable image");
                answer.map(|answer| (image, answer))
            }
        });
    }
    outcomes
}

fn report(
    args: &RunArgs,
    path: &Path,
    index: usize,
    image: &Image,
    answer: &Answer,
    collected: &mut Vec<Value>,
) -> Result<(), Failure> {
    let name = path.display().to_string();
    match args.format {
        Format::Text => print_text(&name, args.images.len() > 1, answer)?,
        Format::Json => collected.push(answer.to_json(&name)),
        Format::Jsonl => print(answer.to_json(&name))?,
    }
    if let Some(out) = &args.draw {
        let out = match args.images.len() {
            1 => out.clone(),
            _ => numbered(out, index),
        };
        draw::draw(image, &answer.result.regions, &out)?;
    }
    Ok(())
}

fn print_text(name: &str, named: bool, answer: &Answer) -> Result<(), Failure> {
    if named {
        print(name)?;
    }
    let percent = |score: f32| format!("{:3.0} %", 100.0 * score);
    let regions = &answer.result.regions;
    if regions.is_empty() {
        let score = answer.result.score.map_or(String::new(), percent);
        print(format_args!("{score}  {}", answer.result.text))?;
    }
    for region in regions {
        let score = region
            .score
            .map_or(String::new(), |score| percent(score.overall));
        let kind = match region.kind {
            RegionKind::Box => "box",
            RegionKind::Quad => "quad",
            RegionKind::Polygon => "polygon",
        };
        let points: Vec<String> = region
            .points
            .iter()
            .map(|[x, y]| format!("({x:.0}, {y:.0})"))
            .collect();
        let (label, points) = (&region.label, points.join(" "));
        print(format_args!("{score}  {kind:7} {label:24} {points}"))?;
    }
    Ok(())
}

/// `out.png` as `out-3.png`.
fn numbered(path: &Path, index: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |extension| {
        format!(".{}", extension.to_string_lossy())
    });
    path.with_file_name(format!("{stem}-{index}{extension}"))
}

/// A bar for several images; hidden where standard error is no terminal.
fn progress_bar(images: usize) -> ProgressBar {
    if images < 2 {
        return ProgressBar::hidden();
    }
    // INVARIANT: the template is a constant that parses.
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} images, {eta} left")
        .expect("a valid template");
    ProgressBar::new(images as u64).with_style(style)
}
