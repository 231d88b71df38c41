//! Streams of images: the next batch is read while the model runs on the current one.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use florence2::{Florence2, Image, Prompt, Result, RunOptions, Task};

/// A timeout that only a hang exceeds.
const HANGS: Duration = Duration::from_mins(2);

fn scene(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../assets/demo-model/scenes/{name}"))
}

fn batches_of(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Options for short runs, so that tests with many runs finish soon.
fn options() -> RunOptions {
    let mut options = RunOptions::default();
    options.generation.num_beams = Some(1);
    options
}

fn read((path, task): &(PathBuf, Task)) -> Result<(Image, Prompt)> {
    Ok((Image::open(path)?, Prompt::from(*task)))
}

#[test]
fn images_of_several_tasks_are_answered_in_order_as_they_are_alone() {
    let model = Florence2::demo().unwrap();
    let images = ["scene-1.png", "missing.png", "scene-2.jpg"];
    let tasks = [Task::ObjectDetection, Task::Caption, Task::Ocr];
    let sources: Vec<(PathBuf, Task)> = tasks
        .iter()
        .flat_map(|task| images.map(|image| (scene(image), *task)))
        .collect();
    let alone: Vec<Option<String>> = sources
        .iter()
        .map(|source| {
            let (image, prompt) = read(source).ok()?;
            Some(model.run_with(&image, prompt, &options()).unwrap().text)
        })
        .collect();
    for batch_size in [1, 2, 4, 100] {
        let mut fed = Vec::new();
        let (size, options) = (batches_of(batch_size), options());
        let ended = model.feed(sources.clone(), size, &options, read, |source, outcome| {
            if let Err(error) = &outcome {
                assert!(error.to_string().contains("missing.png"), "{error}");
            }
            fed.push((source, outcome.ok().map(|(_, answer)| answer.text)));
            ControlFlow::Continue(())
        });
        ended.unwrap();
        let (order, texts): (Vec<_>, Vec<_>) = fed.into_iter().unzip();
        assert_eq!(order, sources, "in batches of {batch_size}");
        assert_eq!(texts, alone, "in batches of {batch_size}");
    }
}

/// A prompt without its input fails the run of its batch; the other prompts are answered
/// nevertheless.
#[test]
fn a_question_that_cannot_be_asked_fails_alone() {
    let model = Florence2::demo().unwrap();
    let tasks = [Task::Caption, Task::CaptionToPhraseGrounding, Task::Caption];
    let sources = tasks.map(|task| (scene("scene-1.png"), task));
    let mut received = Vec::new();
    let ended = model.feed(sources, batches_of(3), &options(), read, |_, outcome| {
        received.push(outcome.is_ok());
        ControlFlow::Continue(())
    });
    ended.unwrap();
    assert_eq!(received, [true, false, true]);
}

/// The second image is read before the callback of the first returns, and the third before that of
/// the second.
#[test]
fn the_next_image_is_read_while_the_model_is_at_the_last() {
    let model = Florence2::demo().unwrap();
    let (sender, reads) = mpsc::channel();
    let source = (scene("scene-1.png"), Task::Caption);
    let mut answered = 0;
    let ended = model.feed(
        [0_usize, 1, 2],
        batches_of(1),
        &options(),
        |index| {
            let item = read(&source);
            sender.send(*index).unwrap();
            item
        },
        |index, _| {
            let read_by_now: &[usize] = match index {
                0 => &[0, 1],
                1 => &[2],
                _ => &[],
            };
            for next in read_by_now {
                assert_eq!(reads.recv_timeout(HANGS).as_ref(), Ok(next));
            }
            answered += 1;
            ControlFlow::Continue(())
        },
    );
    ended.unwrap();
    assert_eq!(answered, 3);
}

#[test]
fn an_endless_feed_ends_when_told_and_reads_one_batch_ahead() {
    let model = Florence2::demo().unwrap();
    let source = (scene("scene-1.png"), Task::Caption);
    let taken = AtomicUsize::new(0);
    let endless = std::iter::repeat_with(|| taken.fetch_add(1, Ordering::Relaxed));
    let mut received = Vec::new();
    let ended = model.feed(
        endless,
        batches_of(2),
        &options(),
        |_| read(&source),
        |index, outcome| {
            outcome.unwrap();
            received.push(index);
            match index {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        },
    );
    ended.unwrap();
    assert_eq!(received, [0, 1, 2]);
    // The batch in which the callback stops, and at most the one after it.
    assert!(taken.load(Ordering::Relaxed) <= 6);
}

#[test]
fn a_cancelled_feed_ends_with_an_error() {
    let model = Florence2::demo().unwrap();
    let source = (scene("scene-1.png"), Task::Caption);
    let options = options();
    let endless = std::iter::repeat(source);
    let ended = model.feed(endless, batches_of(1), &options, read, |_, outcome| {
        outcome.unwrap();
        options.cancel.cancel();
        ControlFlow::Continue(())
    });
    assert!(ended.unwrap_err().to_string().contains("cancelled"));
}
