//! The builders of requests and batches: callbacks, deadlines, features and errors.
#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use florence2::{
    CancelToken, Error, Florence2, Image, LoadOptions, ModelError, Prompt, Result, RunEvent, Task,
    TaskInput, error_chain,
};

fn scene() -> Image {
    let scenes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-model/scenes");
    Image::open(scenes.join("scene-1.png")).unwrap()
}

fn is_cancelled<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Model(ModelError::Cancelled)))
}

fn is_too_long<T>(result: &Result<T>) -> bool {
    matches!(
        result,
        Err(Error::Model(ModelError::TooManyPositions { .. }))
    )
}

fn is_late<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Model(ModelError::DeadlineExceeded)))
}

/// The callbacks of a model with its own threads are called on the thread of the caller too.
#[test]
fn tokens_are_emitted_with_their_text() {
    let own_threads = LoadOptions::default().threads(NonZeroUsize::new(2));
    for options in [LoadOptions::default(), own_threads] {
        let model = Florence2::demo_with(&options).unwrap();
        let (mut texts, mut ids, mut steps) = (String::new(), Vec::new(), 0);
        let image = scene();
        let caller = std::thread::current().id();
        let request = model.request(&image, Task::DetailedCaption).num_beams(1);
        let request = request.on_token(|token| {
            assert_eq!(std::thread::current().id(), caller);
            assert_eq!(token.entry, 0);
            texts += token.text;
        });
        let request = request.on_event(|event| {
            match event {
                RunEvent::Token(token) => ids.push(token.token_id),
                RunEvent::Progress { .. } => steps += 1,
                _ => {}
            }
            ControlFlow::Continue(())
        });
        let answer = request.run().unwrap();
        assert_eq!(texts.trim(), answer.text);
        assert_eq!(ids, answer.token_ids[1..]);
        assert!(steps > 0);
    }
}

#[test]
fn a_callback_cancels_a_run() {
    let model = Florence2::demo().unwrap();
    let mut tokens = 0;
    let image = scene();
    let request = model.request(&image, Task::DetailedCaption).num_beams(1);
    let ended = request.on_event(|event| {
        tokens += usize::from(matches!(event, RunEvent::Token(_)));
        match tokens {
            3 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert!(is_cancelled(&ended.run()));
    assert_eq!(tokens, 3);
}

/// The order of the setters does not matter, and the earlier of two deadlines counts.
#[test]
fn deadlines_and_cancellation_end_a_run() {
    let model = Florence2::demo().unwrap();
    let image = scene();
    let request = || model.request(&image, Task::Caption);
    let (now, hour) = (Instant::now(), Duration::from_hours(1));
    let token = CancelToken::default();
    assert!(is_late(
        &request().timeout(Duration::ZERO).cancel(&token).run()
    ));
    assert!(is_late(&request().deadline(now).timeout(hour).run()));
    assert!(is_late(
        &request()
            .cancel(&CancelToken::with_deadline(now))
            .deadline(now + hour)
            .run()
    ));
    assert!(is_late(
        &request().timeout(Duration::ZERO).score("a circle")
    ));
    assert!(request().timeout(Duration::MAX).run().is_ok());
    token.cancel();
    assert!(is_cancelled(&request().cancel(&token).run()));
    assert!(is_cancelled(&request().cancel(&token).score("a circle")));
    assert!(is_cancelled(&model.encode_image_with(&image, &token)));
    let batch = model.batch([(&image, Task::Caption)]).cancel(&token);
    assert!(is_cancelled(&batch.run()));
}

/// Runs with a timeout and a callback, which waits for the timeout when it is first called. A timeout
/// that passes before the first call, on a slow machine, is doubled. Returns the number of calls.
fn run_until_late<T>(run: impl Fn(Duration, &mut dyn FnMut()) -> Result<T>) -> (usize, Result<T>) {
    let mut timeout = Duration::from_secs(1);
    while timeout < Duration::from_mins(4) {
        let mut calls = 0;
        let result = run(timeout, &mut || {
            calls += 1;
            if calls == 1 {
                std::thread::sleep(timeout);
            }
        });
        if calls > 0 {
            return (calls, result);
        }
        timeout *= 2;
    }
    panic!("no token within {timeout:?}");
}

#[test]
fn timeouts_and_deadlines_that_pass_during_the_generation_end_a_run() {
    let model = Florence2::demo().unwrap();
    let image = scene();
    let request = || model.request(&image, Task::DetailedCaption);
    let (tokens, ended) = run_until_late(|timeout, wait| {
        let request = request().num_beams(1).timeout(timeout);
        request.on_token(|_| wait()).run()
    });
    assert!(is_late(&ended));
    assert_eq!(tokens, 1);
    let (tokens, ended) = run_until_late(|timeout, wait| {
        let request = request().num_beams(1).deadline(Instant::now() + timeout);
        request.on_token(|_| wait()).run()
    });
    assert!(is_late(&ended));
    assert_eq!(tokens, 1);
    // A search with beams emits its tokens at its end.
    let (steps, ended) = run_until_late(|timeout, wait| {
        let request = request().num_beams(3).timeout(timeout);
        let request = request.on_event(|event| {
            if let RunEvent::Progress { .. } = event {
                wait();
            }
            ControlFlow::Continue(())
        });
        request.run()
    });
    assert!(is_late(&ended));
    assert_eq!(steps, 1);
    // Both requests emit a token in the first step.
    let (tokens, ended) = run_until_late(|timeout, wait| {
        let batch = model.batch([Task::Caption, Task::Ocr].map(|task| (&image, task)));
        let batch = batch.num_beams(1).timeout(timeout);
        batch.on_token(|_| wait()).run()
    });
    assert!(is_late(&ended));
    assert_eq!(tokens, 2);
}

#[test]
fn features_replace_their_image() {
    let model = Florence2::demo().unwrap();
    let image = scene();
    let features = model.encode_image(&image).unwrap();
    assert_eq!(features.size(), image.size());
    let [found, expected] = [
        model.run(&features, Task::ObjectDetection),
        model.run(&image, Task::ObjectDetection),
    ]
    .map(|answer| answer.unwrap().token_ids);
    assert_eq!(found, expected);
    let target = "a white circle";
    let [found, expected] = [
        model.request(&features, Task::Caption).score(target),
        model.request(&image, Task::Caption).score(target),
    ]
    .map(|score| score.unwrap().loss);
    assert_eq!(found, expected);
    let other = Florence2::demo().unwrap();
    let error = other.run(&features, Task::Caption).unwrap_err();
    assert!(error.to_string().contains("another model's"), "{error}");
}

/// The second request lacks its input. The tokens of the others have their indices in the batch.
#[test]
fn a_failed_request_of_a_batch_does_not_affect_the_others() {
    let model = Florence2::demo().unwrap();
    let image = scene();
    let tasks = [Task::Caption, Task::RegionToOcr, Task::ObjectDetection];
    let batch = || model.batch(tasks.map(|task| (&image, task))).num_beams(1);
    let mut streamed = [const { String::new() }; 3];
    let batch_run = batch().on_token(|token| streamed[token.entry] += token.text);
    let results = batch_run.run().unwrap();
    for ((task, result), streamed) in tasks.into_iter().zip(results).zip(streamed) {
        match model.request(&image, task).num_beams(1).run() {
            Ok(expected) => {
                assert_eq!(result.unwrap().token_ids, expected.token_ids);
                assert_eq!(streamed.trim(), expected.text);
            }
            Err(expected) => {
                assert_eq!(result.unwrap_err().to_string(), expected.to_string());
                assert_eq!(streamed, "");
            }
        }
    }
    let error = batch().run_all().unwrap_err();
    assert!(matches!(error, Error::Request { index: 1, .. }), "{error}");
    assert_eq!(error.to_string(), "requests[1]");
    let message = error_chain(&error);
    assert!(
        message.starts_with("requests[1]: task <REGION_TO_OCR>: no input given, "),
        "{message}"
    );
    let none: [(&Image, Task); 0] = [];
    assert!(model.batch(none).run().unwrap().is_empty());
    assert!(model.batch(none).run_all().unwrap().is_empty());
}

/// A cancelled token ends a run at the vision tower, so these errors are found before it.
#[test]
fn prompts_without_positions_are_found_before_the_vision_tower() {
    let model = Florence2::demo().unwrap();
    let (image, token) = (scene(), CancelToken::default());
    token.cancel();
    let target = "star ".repeat(500);
    let input = || TaskInput::Text(target.clone());
    let long = || Prompt::with_input(Task::CaptionToPhraseGrounding, input());
    let alone = model.request(&image, long()).cancel(&token).run();
    let message = error_chain(&alone.unwrap_err());
    assert!(
        message.contains("positions are needed, the model has 256"),
        "{message}"
    );
    let prompts = [
        Prompt::from(Task::Caption),
        long(),
        Prompt::from(Task::Caption),
    ];
    let batch = || model.batch(prompts.clone().map(|prompt| (&image, prompt)));
    let error = batch().cancel(&token).run_all().unwrap_err();
    assert_eq!(error_chain(&error), format!("requests[1]: {message}"));
    let errors = model
        .batch([(&image, long())])
        .cancel(&token)
        .run()
        .unwrap();
    assert!(errors.iter().all(is_too_long), "{errors:?}");
    let score = model
        .request(&image, Task::Caption)
        .cancel(&token)
        .score(&target);
    assert!(is_too_long(&score), "{score:?}");

    let results = batch().num_beams(1).run().unwrap();
    assert!(is_too_long(&results[1]), "{results:?}");
    let expected = model.request(&image, Task::Caption).num_beams(1).run();
    let expected = expected.unwrap().token_ids;
    for index in [0, 2] {
        assert_eq!(results[index].as_ref().unwrap().token_ids, expected);
    }
}

#[test]
fn an_answer_has_its_text_and_its_json() {
    let model = Florence2::demo().unwrap();
    let answer = model.run(&scene(), Task::ObjectDetection).unwrap();
    assert!(answer.raw_text.starts_with("</s>"), "{}", answer.raw_text);
    assert!(!answer.text.contains("</s>"), "{}", answer.text);
    let json = answer.to_json("scene-1.png");
    assert_eq!(json["schema"], florence2::JSON_SCHEMA);
    assert_eq!(json["text"], answer.text);
    assert_eq!(json["raw_text"], answer.raw_text);
    assert_eq!(json["result"], answer.to_hf_json());
    assert_eq!(
        json["regions"].as_array().unwrap().len(),
        answer.regions.len()
    );
    assert!(json.get("plain_text").is_none());
}
