//! Streams of images: the next batch is read while the model runs on the current one.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use florence2::{
    CancelToken, Error, Florence2, Image, ModelError, Prompt, Result, RunOptions, Task, TaskInput,
};

/// A timeout that only a hang exceeds.
const HANGS: Duration = Duration::from_mins(2);

fn scene(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../assets/demo-model/scenes/{name}"))
}

/// Options for short runs, so that tests with many runs finish soon.
fn options() -> RunOptions {
    RunOptions::default().num_beams(1)
}

fn read((path, task): &(PathBuf, Task)) -> Result<(Image, Task)> {
    Ok((Image::open(path)?, *task))
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
            let (image, task) = read(source).ok()?;
            let request = model.request(&image, task).options(options());
            Some(request.run().unwrap().raw_text)
        })
        .collect();
    for batch_size in [1, 2, 4, 100] {
        let mut received = Vec::new();
        let stream = model.stream(sources.clone(), read).batch_size(batch_size);
        let ended = stream.options(options()).run(|source, outcome| {
            if let Err(error) = &outcome {
                assert!(error.to_string().contains("missing.png"), "{error}");
            }
            received.push((source, outcome.ok().map(|(_, answer)| answer.raw_text)));
            ControlFlow::Continue(())
        });
        ended.unwrap();
        let (order, texts): (Vec<_>, Vec<_>) = received.into_iter().unzip();
        assert_eq!(order, sources, "in batches of {batch_size}");
        assert_eq!(texts, alone, "in batches of {batch_size}");
    }
}

/// A prompt without its input fails the run of its batch; the other prompts are answered
/// nevertheless.
#[test]
fn an_invalid_request_fails_alone() {
    let model = Florence2::demo().unwrap();
    let tasks = [Task::Caption, Task::CaptionToPhraseGrounding, Task::Caption];
    let sources = tasks.map(|task| (scene("scene-1.png"), task));
    let mut received = Vec::new();
    let stream = model.stream(sources, read).batch_size(3);
    let ended = stream.options(options()).run(|_, outcome| {
        received.push(outcome.is_ok());
        ControlFlow::Continue(())
    });
    ended.unwrap();
    assert_eq!(received, [true, false, true]);
}

/// The other images of the batch are answered.
#[test]
fn a_prompt_that_is_too_long_fails_alone() {
    let model = Florence2::demo().unwrap();
    let path = scene("scene-1.png");
    let stream = model.stream([1, 500, 1], |words| {
        let phrase = TaskInput::Text("star ".repeat(*words));
        let prompt = Prompt::with_input(Task::CaptionToPhraseGrounding, phrase);
        Ok((Image::open(&path)?, prompt))
    });
    let mut received = Vec::new();
    let ended = stream
        .batch_size(3)
        .options(options())
        .run(|words, outcome| {
            if let Err(error) = &outcome {
                let message = error.to_string();
                assert!(
                    message.contains("positions are needed, the model has 256"),
                    "{message}"
                );
            }
            received.push((words, outcome.is_ok()));
            ControlFlow::Continue(())
        });
    ended.unwrap();
    assert_eq!(received, [(1, true), (500, false), (1, true)]);
}

/// The second image is read before the callback of the first returns, and the third before that of
/// the second.
#[test]
fn the_next_image_is_read_while_the_model_runs() {
    let model = Florence2::demo().unwrap();
    let (sender, reads) = mpsc::channel();
    let source = (scene("scene-1.png"), Task::Caption);
    let mut answered = 0;
    let stream = model.stream([0_usize, 1, 2], |index| {
        let item = read(&source);
        sender.send(*index).unwrap();
        item
    });
    let ended = stream.options(options()).run(|index, _| {
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
    });
    ended.unwrap();
    assert_eq!(answered, 3);
}

#[test]
fn an_endless_stream_ends_on_break_and_reads_one_batch_ahead() {
    let model = Florence2::demo().unwrap();
    let source = (scene("scene-1.png"), Task::Caption);
    let taken = AtomicUsize::new(0);
    let endless = std::iter::repeat_with(|| taken.fetch_add(1, Ordering::Relaxed));
    let mut received = Vec::new();
    let stream = model.stream(endless, |_| read(&source)).batch_size(2);
    let ended = stream.options(options()).run(|index, outcome| {
        outcome.unwrap();
        received.push(index);
        match index {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    ended.unwrap();
    assert_eq!(received, [0, 1, 2]);
    // The batch in which the callback stops, and at most the one after it.
    assert!(taken.load(Ordering::Relaxed) <= 6);
}

#[test]
fn a_cancelled_stream_ends_with_an_error() {
    let model = Florence2::demo().unwrap();
    let source = (scene("scene-1.png"), Task::Caption);
    let cancel = CancelToken::default();
    let stream = model.stream(std::iter::repeat(source), read);
    let ended = stream.options(options()).cancel(&cancel);
    let ended = ended.run(|_, outcome| {
        outcome.unwrap();
        cancel.cancel();
        ControlFlow::Continue(())
    });
    assert!(ended.unwrap_err().to_string().contains("cancelled"));
}

/// The callback of the first image waits until the timeout has passed. A timeout that passes before
/// the first answer, on a slow machine, is doubled.
#[test]
fn a_timeout_that_passes_within_a_stream_ends_it() {
    let model = Florence2::demo().unwrap();
    let source = (scene("scene-1.png"), Task::Caption);
    let mut timeout = Duration::from_secs(1);
    let received = loop {
        let mut received = Vec::new();
        let stream = model.stream(std::iter::repeat(source.clone()), read);
        let stream = stream.options(options()).timeout(timeout);
        let ended = stream.run(|_, outcome| {
            thread::sleep(timeout);
            received.push(outcome.map(|(_, answer)| answer.token_ids));
            ControlFlow::Continue(())
        });
        let late = matches!(ended, Err(Error::Model(ModelError::DeadlineExceeded)));
        assert!(late, "{ended:?}");
        if !received.is_empty() {
            break received;
        }
        timeout *= 2;
        assert!(timeout < HANGS, "no answer");
    };
    let (image, task) = read(&source).unwrap();
    let expected = model.request(&image, task).options(options()).run();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].as_ref().unwrap(), &expected.unwrap().token_ids);
}

/// The deadline passes while the first batch is read.
#[test]
fn a_deadline_that_passes_before_the_first_answer_ends_a_stream() {
    let model = Florence2::demo().unwrap();
    let source = (scene("scene-1.png"), Task::Caption);
    let wait = Duration::from_millis(200);
    let stream = model.stream([0, 1], |_| {
        thread::sleep(wait);
        read(&source)
    });
    let stream = stream.options(options()).deadline(Instant::now() + wait);
    let ended = stream.run(|_, _| panic!("found an answer, expected none"));
    let late = matches!(ended, Err(Error::Model(ModelError::DeadlineExceeded)));
    assert!(late, "{ended:?}");
}

#[test]
fn a_batch_size_of_zero_is_an_error() {
    let model = Florence2::demo().unwrap();
    let stream = model.stream([(scene("scene-1.png"), Task::Caption)], read);
    let ended = stream.batch_size(0).run(|_, _| ControlFlow::Continue(()));
    let error = ended.unwrap_err().to_string();
    assert_eq!(error, "argument `batch_size`: found 0, expected at least 1");
}
