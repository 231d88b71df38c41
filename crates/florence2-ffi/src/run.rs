//! Running a model.

use std::ops::ControlFlow;

use florence2::{GenerationEvent, GenerationObserver, Request, TextStream};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::handle;
use crate::image::{florence2_image, florence2_image_features};
use crate::model::florence2_model;
use crate::options::{
    Callbacks, ReadOptions, florence2_progress, florence2_run_options, read as read_options,
};
use crate::request::{ReadRequest, florence2_request, read, read_all, read_each};
use crate::result::{florence2_result, florence2_token};
use crate::status::florence2_status;
use crate::text::c_string;

/// Answers a request.
///
/// `model`: used by any number of threads at once. `request`, `options`: read during the call only;
/// `options` may be NULL. `result`: where the answer goes, to be freed with florence2_result_free.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT naming what cannot be,
/// FLORENCE2_STATUS_CANCELLED, FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_NOT_FINITE,
/// FLORENCE2_STATUS_DEVICE_FAILED, FLORENCE2_STATUS_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_run(
    model: *const florence2_model,
    request: *const florence2_request,
    options: *const florence2_run_options,
    result: *mut *mut florence2_result,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires live handles, structs of their own size and writable outputs.
    unsafe {
        boundary::create(result, error, || {
            let model = handle::borrow(model)?;
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
    // SAFETY: the header requires live handles, structs of their own size and writable outputs.
    unsafe {
        boundary::call(error, || {
            clear_places(results, requests_len);
            let model = handle::borrow(model)?;
            let requests = read_all(requests, requests_len)?;
            check_places(results, requests_len)?;
            let answers = run(model, &requests, &read_options(options)?)?;
            for (index, answer) in answers.into_iter().enumerate() {
                results.add(index).write(handle::into_handle(answer));
            }
            Ok(())
        })
    }
}

/// Answers many requests in one batch, as florence2_model_run_batch does, but a request that fails
/// leaves the others their answers.
///
/// `results`: as of florence2_model_run_batch; the place of a request that failed is NULL. `errors`:
/// an array of as many places; the place of a request that failed gets its error, to be freed with
/// florence2_error_free, the others are NULL. `errors` may be NULL.
/// Succeeds when every request has an answer or an error. Fails, with NULL in all places, for what
/// concerns all requests: the options, FLORENCE2_STATUS_CANCELLED,
/// FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_DEVICE_FAILED, FLORENCE2_STATUS_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_run_batch_each(
    model: *const florence2_model,
    requests: *const florence2_request,
    requests_len: usize,
    options: *const florence2_run_options,
    results: *mut *mut florence2_result,
    errors: *mut *mut florence2_error,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires live handles, structs of their own size and writable outputs.
    unsafe {
        boundary::call(error, || {
            clear_places(results, requests_len);
            clear_places(errors, requests_len);
            let model = handle::borrow(model)?;
            let requests = read_each(requests, requests_len)?;
            check_places(results, requests_len)?;
            let answers = run_each(model, requests, &read_options(options)?)?;
            for (index, answer) in answers.into_iter().enumerate() {
                match answer {
                    Ok(answer) => results.add(index).write(handle::into_handle(answer)),
                    Err(failure) if !errors.is_null() => {
                        let failure = handle::into_handle(florence2_error::from(failure));
                        errors.add(index).write(failure);
                    }
                    Err(_) => {}
                }
            }
            Ok(())
        })
    }
}

fn check_places(results: *mut *mut florence2_result, count: usize) -> Outcome<()> {
    if results.is_null() && count > 0 {
        let expected = format!("{count} places");
        return Err(Failure::argument("results", "NULL", expected));
    }
    Ok(())
}

/// Sets the places of a batch's outputs to NULL.
///
/// # Safety
/// `places` is null, or `count` pointers can be written there, unless they are too many.
unsafe fn clear_places<T>(places: *mut *mut T, count: usize) {
    if !places.is_null() && count <= arguments::MAX_COUNT {
        // SAFETY: the caller guarantees it.
        (0..count).for_each(|index| unsafe { places.add(index).write(std::ptr::null_mut()) });
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
    // SAFETY: the header requires live handles, structs of their own size and writable outputs.
    unsafe {
        boundary::create(image_features, error, || {
            let model = handle::borrow(model)?;
            let image = handle::borrow(image)?;
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
    let answers = observed(model, requests.len(), &options.callbacks, |observer| {
        model.model.run_requests(&requests, &options.run, observer)
    })?;
    let results = answers.into_iter().zip(names);
    Ok(results
        .map(|(answer, name)| florence2_result::new(answer, name))
        .collect())
}

/// [`run`], with a failure for each request that fails.
fn run_each(
    model: &florence2_model,
    requests: Vec<Outcome<ReadRequest<'_>>>,
    options: &ReadOptions,
) -> Outcome<Vec<Outcome<florence2_result>>> {
    let count = requests.len();
    let places: Vec<usize> = (0..count)
        .filter(|index| requests[*index].is_ok())
        .collect();
    let readable: Vec<Request<'_>> = requests
        .iter()
        .flatten()
        .map(|request| request.request.clone())
        .collect();
    let answers = observed(model, count, &options.callbacks, |observer| {
        let is_listening = observer.is_listening();
        // Events name the places among the readable requests.
        let mut forward = |event| match observer.notify(at_place(&places, event)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let mut observer = match is_listening {
            true => GenerationObserver::new(&mut forward),
            false => GenerationObserver::default(),
        };
        model
            .model
            .run_requests_each(&readable, &options.run, &mut observer)
    })?;
    let mut answers = answers.into_iter();
    let result = |request: Outcome<ReadRequest<'_>>| -> Outcome<florence2_result> {
        let request = request?;
        // INVARIANT: every readable request has an answer or an error.
        let answer = answers.next().expect("a result per request")?;
        Ok(florence2_result::new(answer, request.image_name))
    };
    Ok(requests.into_iter().map(result).collect())
}

/// An event about the request at one of these places.
fn at_place(places: &[usize], event: GenerationEvent) -> GenerationEvent {
    match event {
        GenerationEvent::Token {
            entry,
            token_id,
            log_prob,
        } => GenerationEvent::Token {
            entry: places[entry],
            token_id,
            log_prob,
        },
        event @ GenerationEvent::Progress { .. } => event,
    }
}

/// Runs `requests` requests with an observer that calls the caller's callbacks.
fn observed<R>(
    model: &florence2_model,
    requests: usize,
    callbacks: &Callbacks,
    run: impl FnOnce(&mut GenerationObserver<'_>) -> R,
) -> R {
    let tokenizer = &model.model.processor().tokenizer;
    let mut texts: Vec<TextStream<'_>> =
        (0..requests).map(|_| TextStream::new(tokenizer)).collect();
    let mut forward = |event| notify(callbacks, &mut texts, event);
    let mut observer = match (callbacks.on_token, callbacks.on_progress) {
        (None, None) => GenerationObserver::default(),
        _ => GenerationObserver::new(&mut forward),
    };
    run(&mut observer)
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
            // SAFETY: the header requires a function of this type that does not unwind.
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
            // SAFETY: the header requires a function of this type that does not unwind.
            unsafe { on_progress(&raw const progress, callbacks.user) == 0 }
        }),
    };
    match go_on {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}
