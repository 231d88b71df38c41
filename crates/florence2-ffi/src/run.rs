//! Running a model.

use std::ops::ControlFlow;

use florence2::{GenerationEvent, GenerationObserver, Request, TextStream};

use crate::boundary::{self, Outcome};
use crate::error::{Failure, florence2_error, florence2_status};
use crate::image::{florence2_image, florence2_image_features};
use crate::model::florence2_model;
use crate::options::{
    Callbacks, ReadOptions, florence2_progress, florence2_run_options, read as read_options,
};
use crate::request::{ReadRequest, florence2_request, read, read_all};
use crate::result::{florence2_result, florence2_token};
use crate::text::c_string;

/// Answers a request.
///
/// `model`: used by any number of threads at once. `request`, `options`: read during the call only;
/// `options` may be NULL. `result`: where the answer goes, to be freed with florence2_result_free.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT naming what cannot be,
/// FLORENCE2_STATUS_CANCELLED, FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_NOT_FINITE,
/// FLORENCE2_STATUS_DEVICE_FAILED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_run(
    model: *const florence2_model,
    request: *const florence2_request,
    options: *const florence2_run_options,
    result: *mut *mut florence2_result,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for living handles, structs of their own size and writable outputs.
    unsafe {
        boundary::create(result, error, || {
            let model = boundary::borrow(model)?;
            let requests = [read(request)?];
            let results = run(model, &requests, &read_options(options)?)?;
            // INVARIANT: one request, one answer.
            Ok(results.into_iter().next().expect("an answer per request"))
        })
    }
}

/// Answers many requests in one batch: each answer equals the one that its request gets alone. An
/// image that several requests share is encoded once.
///
/// `requests`: an array of `requests_len`, at most 65536, all of one struct_size. `results`: an array
/// of as many places, each to be freed with florence2_result_free; when one request fails, the call
/// fails, the message names the request, and all places are NULL. `options` hold for all requests.
/// Memory grows with the number of requests. Otherwise as florence2_model_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_run_batch(
    model: *const florence2_model,
    requests: *const florence2_request,
    requests_len: usize,
    options: *const florence2_run_options,
    results: *mut *mut florence2_result,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for living handles, structs of their own size and writable outputs.
    unsafe {
        if !results.is_null() && requests_len <= boundary::MAX_COUNT {
            (0..requests_len).for_each(|index| results.add(index).write(std::ptr::null_mut()));
        }
        boundary::call(error, || {
            let model = boundary::borrow(model)?;
            let requests = read_all(requests, requests_len)?;
            if results.is_null() && requests_len > 0 {
                let expected = format!("{requests_len} places");
                return Err(Failure::argument("results", "NULL", expected));
            }
            let answers = run(model, &requests, &read_options(options)?)?;
            for (index, answer) in answers.into_iter().enumerate() {
                results.add(index).write(boundary::into_handle(answer));
            }
            Ok(())
        })
    }
}

/// Sends an image through the model's vision tower, once for any number of requests about it.
///
/// `options`: its `deadline_ms` and `cancel` hold; NULL is allowed. `image_features`: where the
/// features go, to be freed with florence2_image_features_free. Otherwise as florence2_model_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_encode_image(
    model: *const florence2_model,
    image: *const florence2_image,
    options: *const florence2_run_options,
    image_features: *mut *mut florence2_image_features,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for living handles, structs of their own size and writable outputs.
    unsafe {
        boundary::create(image_features, error, || {
            let model = boundary::borrow(model)?;
            let image = boundary::borrow(image)?;
            let options = read_options(options)?;
            let features = model
                .model
                .encode_image(&image.image, &options.run.cancel)?;
            Ok(florence2_image_features {
                features,
                name: image.name.clone(),
            })
        })
    }
}

fn run(
    model: &florence2_model,
    requests: &[ReadRequest<'_>],
    options: &ReadOptions,
) -> Outcome<Vec<florence2_result>> {
    let names = requests.iter().map(|request| request.image_name);
    let requests: Vec<Request<'_>> = requests
        .iter()
        .map(|request| request.request.clone())
        .collect();
    let tokenizer = &model.model.processor().tokenizer;
    let mut texts: Vec<TextStream<'_>> = requests
        .iter()
        .map(|_| TextStream::new(tokenizer))
        .collect();
    let callbacks = options.callbacks;
    let mut tell = |event| notify(&callbacks, &mut texts, event);
    let mut observer = match (callbacks.on_token, callbacks.on_progress) {
        (None, None) => GenerationObserver::default(),
        _ => GenerationObserver::new(&mut tell),
    };
    let answers = model
        .model
        .run_requests(&requests, &options.run, &mut observer)?;
    let results = answers.into_iter().zip(names);
    Ok(results
        .map(|(answer, name)| florence2_result::new(answer, name))
        .collect())
}

/// Tells the caller of an event, on the caller's thread.
fn notify(
    callbacks: &Callbacks,
    texts: &mut [TextStream<'_>],
    event: GenerationEvent,
) -> ControlFlow<()> {
    let go_on = match event {
        GenerationEvent::Token {
            entry,
            token_id,
            log_prob,
        } => callbacks.on_token.is_none_or(|on_token| {
            let text = c_string(&texts[entry].push(token_id));
            let token = florence2_token {
                request: entry,
                text: text.as_ptr(),
                token_id,
                log_prob,
            };
            // SAFETY: the header asks for a function of this type that does not unwind.
            unsafe { on_token(&raw const token, callbacks.user) == 0 }
        }),
        GenerationEvent::Progress {
            new_tokens,
            max_new_tokens,
        } => callbacks.on_progress.is_none_or(|on_progress| {
            let progress = florence2_progress {
                new_tokens,
                max_new_tokens,
            };
            // SAFETY: the header asks for a function of this type that does not unwind.
            unsafe { on_progress(&raw const progress, callbacks.user) == 0 }
        }),
    };
    match go_on {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}
