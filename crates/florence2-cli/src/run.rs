//! `florence2 run`: runs a task on images. An image that fails does not stop the others.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use florence2::{Answer, Coordinates, Image, Shape};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::args::{CoordinatesArg, Format, RunArgs};
use crate::failure::Failure;
use crate::output::print;
use crate::{draw, model};

pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let prompt = args.question.prompt()?;
    let model = model::load(&args.model)?;
    let progress = progress_bar(args.images.len());
    let decoding = args.decoding.options();
    let mut collected = Vec::new();
    let mut failed = 0;
    let mut unwritten = None;
    let stream = model.stream(args.images.iter().enumerate(), |(_, path)| {
        Ok((Image::open_with(path, &decoding)?, prompt.clone()))
    });
    stream
        .batch_size(args.batch_size.get())
        .generation(args.generation.overrides())
        .coordinates(match args.coordinates {
            CoordinatesArg::BinCenters => Coordinates::BinCenters,
            CoordinatesArg::HfIntegers => Coordinates::HfIntegers,
        })
        .location_tolerance(args.location_tolerance)
        .run(|(index, path), outcome| {
            let outcome = outcome.map_err(Failure::from).and_then(|(image, answer)| {
                report(args, path, index, &image, &answer, &mut collected)
            });
            match outcome {
                Ok(()) => {}
                // The output of every other image would fail too.
                Err(failure @ Failure::Output(_)) => {
                    unwritten = Some(failure);
                    return ControlFlow::Break(());
                }
                Err(failure) => {
                    failed += 1;
                    progress.suspend(|| eprintln!("florence2: {}", failure.message()));
                }
            }
            progress.inc(1);
            ControlFlow::Continue(())
        })?;
    if let Some(failure) = unwritten {
        return Err(failure);
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
        draw::draw(image, &answer.regions, &out)?;
    }
    Ok(())
}

fn print_text(name: &str, named: bool, answer: &Answer) -> Result<(), Failure> {
    if named {
        print(name)?;
    }
    print_answer(answer)?;
    for (index, alternative) in answer.alternatives.iter().enumerate() {
        print(format_args!("alternative {}", index + 1))?;
        print_answer(alternative)?;
    }
    Ok(())
}

fn print_answer(answer: &Answer) -> Result<(), Failure> {
    let percent = |score: f32| format!("{:3.0} %", 100.0 * score);
    let regions = &answer.regions;
    if regions.is_empty() {
        let score = answer.score.map_or(String::new(), percent);
        let text = match answer.text.as_str() {
            "" => "(empty answer)",
            text => text,
        };
        print(format_args!("{score}  {text}"))?;
    }
    for region in regions {
        let score = region
            .score
            .map_or(String::new(), |score| percent(score.overall));
        let kind = match region.shape {
            Shape::Box(_) => "box",
            Shape::Quad(_) => "quad",
            Shape::Polygon(_) => "polygon",
        };
        let points = region.shape.points().into_iter();
        let points: Vec<String> = points.map(|[x, y]| format!("({x:.0}, {y:.0})")).collect();
        let (label, points) = (&region.label, points.join(" "));
        print(format_args!("{score}  {kind:7} {label:24} {points}"))?;
    }
    Ok(())
}

/// Adds the index of an image to a file name: `out.png` becomes `out-3.png`.
fn numbered(path: &Path, index: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |extension| {
        format!(".{}", extension.to_string_lossy())
    });
    path.with_file_name(format!("{stem}-{index}{extension}"))
}

/// A progress bar for several images. It is hidden if standard error is not a terminal.
fn progress_bar(images: usize) -> ProgressBar {
    if images < 2 {
        return ProgressBar::hidden();
    }
    // INVARIANT: the template is a constant that parses.
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} images, {eta} left")
        .expect("a valid template");
    ProgressBar::new(images as u64).with_style(style)
}
