//! Runs of a model.

use std::ops::ControlFlow;

use florence2::{BatchBuilder, Request, RunEvent};

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::failure::{Failure, Outcome};
use crate::handle;
use crate::image::{florence2_image, florence2_image_features};
use crate::model::florence2_model;
use crate::options::{florence2_progress, florence2_run_options};
use crate::request::{self, ReadRequest, florence2_request};
use crate::result::{florence2_result, florence2_token};
use crate::run_options::{self, Callbacks, ReadOptions};
use crate::status::florence2_status;
use crate::text::c_string;

/// Runs a request: preprocesses the image, runs the vision tower, generates tokens and parses the
/// answer.
///
/// - `model`: the model. Required.
/// - `request`: the request. Required.
/// - `options`: NULL for the defaults.
/// - `result`: receives the result. Required. Free it with florence2_result_free.
///
/// Returns:
/// - FLORENCE2_STATUS_INVALID_ARGUMENT if the request or an option is invalid, if the prompt is too
///   long for the model, or if the image features are those of another model. The message names the
///   argument.
/// - FLORENCE2_STATUS_INVALID_IMAGE if the model's image processor cannot resize the image.
/// - FLORENCE2_STATUS_INVALID_MODEL if the model's tokenizer cannot represent the prompt.
/// - FLORENCE2_STATUS_CANCELLED if the cancel token was fired or a callback ended the run.
/// - FLORENCE2_STATUS_DEADLINE_EXCEEDED if `deadline_ms` passed.
/// - FLORENCE2_STATUS_NOT_FINITE if the model computed no usable score.
/// - FLORENCE2_STATUS_DEVICE_FAILED if the device failed, in this run or an earlier one.
/// - FLORENCE2_STATUS_FORKED in a process that was forked after a model was loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_run(
    model: *const florence2_model,
    request: *const florence2_request,
    options: *const florence2_run_options,
    result: *mut *mut florence2_result,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
    unsafe {
        boundary::create(result, error, || {
            let model = handle::borrow(model)?;
            let request = request::read(request)?;
            let options = run_options::read(options)?;
            let ReadRequest {
                request,
                image_name,
            } = request;
            let mut run = model.model.request(request.image, request.prompt);
            run = run.options(options.run);
            if options.callbacks.are_set() {
                run = run.on_event(|event| notify(&options.callbacks, &[0], event));
            }
            Ok(florence2_result::new(run.run()?, image_name))
        })
    }
}

/// Runs several requests in one batch. Each result equals that of florence2_model_run. An image
/// that several requests share is encoded once. The required memory grows with the number of
/// requests. `errors` determines the effect of a request that fails.
///
/// - `model`: the model. Required.
/// - `requests`: an array of requests with the same `struct_size`.
/// - `requests_len`: the number of requests, at most 65536. 0 is allowed.
/// - `options`: the options of all requests. NULL for the defaults.
/// - `results`: an array of `requests_len` elements, which receives the results. The element of a
///   request that failed is NULL. Required unless `requests_len` is 0. Free each result with
///   florence2_result_free.
/// - `errors`: NULL, or an array of `requests_len` elements, which receives the errors. The element
///   of a request that did not fail is NULL. Free each error with florence2_error_free.
///
/// With `errors`, a request that fails does not affect the others: the function returns
/// FLORENCE2_STATUS_OK, and each request has either a result or an error. If the batch fails, the
/// function runs its requests one by one, which determines the requests that fail. The call fails
/// only for reasons that concern all requests:
/// - FLORENCE2_STATUS_INVALID_ARGUMENT if an option is invalid.
/// - FLORENCE2_STATUS_CANCELLED, FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_DEVICE_FAILED
///   and FLORENCE2_STATUS_FORKED, as florence2_model_run.
///
/// Without `errors`, one request that fails fails the call, with the statuses of
/// florence2_model_run. The message names the request if it is invalid.
///
/// If the call fails, all elements of `results` and `errors` are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_run_batch(
    model: *const florence2_model,
    requests: *const florence2_request,
    requests_len: usize,
    options: *const florence2_run_options,
    results: *mut *mut florence2_result,
    errors: *mut *mut florence2_error,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
    unsafe {
        boundary::call(error, || {
            clear_places(results, requests_len);
            clear_places(errors, requests_len);
            let model = handle::borrow(model)?;
            let requests = request::read_each(requests, requests_len)?;
            check_places(results, requests_len)?;
            let options = run_options::read(options)?;
            if errors.is_null() {
                let answers = run_all(model, request::valid(requests)?, options)?;
                for (index, answer) in answers.into_iter().enumerate() {
                    results.add(index).write(handle::into_handle(answer));
                }
                return Ok(());
            }
            let answers = run_each(model, requests, options)?;
            for (index, answer) in answers.into_iter().enumerate() {
                match answer {
                    Ok(answer) => results.add(index).write(handle::into_handle(answer)),
                    Err(failure) => {
                        let failure = handle::into_handle(florence2_error::from(failure));
                        errors.add(index).write(failure);
                    }
                }
            }
            Ok(())
        })
    }
}

/// Checks that the array of results exists if there are requests.
fn check_places(results: *mut *mut florence2_result, count: usize) -> Outcome<()> {
    if results.is_null() && count > 0 {
        let expected = format!("an array of {count} elements");
        return Err(Failure::argument("results", "NULL", expected));
    }
    Ok(())
}

/// Sets the elements of an array of outputs to NULL.
///
/// # Safety
/// `places` is null, or `count` pointers are writable there. A count above the limit is not used.
unsafe fn clear_places<T>(places: *mut *mut T, count: usize) {
    if !places.is_null() && count <= arguments::MAX_COUNT {
        // SAFETY: guaranteed by the caller.
        (0..count).for_each(|index| unsafe { places.add(index).write(std::ptr::null_mut()) });
    }
}

/// Runs an image through the model's vision tower. The features serve any number of requests about
/// the image.
///
/// - `model`: the model. Required.
/// - `image`: the image. Required.
/// - `options`: only `deadline_ms` and `cancel` have an effect. NULL for the defaults.
/// - `image_features`: receives the features. Required. Free them with
///   florence2_image_features_free.
///
/// Returns FLORENCE2_STATUS_INVALID_IMAGE, FLORENCE2_STATUS_CANCELLED,
/// FLORENCE2_STATUS_DEADLINE_EXCEEDED, FLORENCE2_STATUS_DEVICE_FAILED and FLORENCE2_STATUS_FORKED,
/// as florence2_model_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_model_encode_image(
    model: *const florence2_model,
    image: *const florence2_image,
    options: *const florence2_run_options,
    image_features: *mut *mut florence2_image_features,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rules 1, 3, 4, 5 and 6 of lib.rs.
    unsafe {
        boundary::create(image_features, error, || {
            let model = handle::borrow(model)?;
            let image = handle::borrow(image)?;
            let options = run_options::read(options)?;
            let cancel = &options.run.cancel;
            let features = model.model.encode_image_with(&image.image, cancel)?;
            Ok(florence2_image_features {
                features,
                name: image.name.clone(),
            })
        })
    }
}

/// Runs requests in one batch, which fails if one of them fails.
fn run_all(
    model: &florence2_model,
    requests: Vec<ReadRequest<'_>>,
    options: ReadOptions,
) -> Outcome<Vec<florence2_result>> {
    let entries: Vec<usize> = (0..requests.len()).collect();
    let batch = requests.iter().map(|request| request.request.clone());
    let batch = batch_of(model, batch, &entries, options);
    let results = batch.run_all()?.into_iter().zip(requests);
    Ok(results
        .map(|(answer, request)| florence2_result::new(answer, request.image_name))
        .collect())
}

/// Runs requests in one batch, with a failure for each request that fails.
fn run_each(
    model: &florence2_model,
    requests: Vec<Outcome<ReadRequest<'_>>>,
    mut options: ReadOptions,
) -> Outcome<Vec<Outcome<florence2_result>>> {
    let entries: Vec<usize> = (0..requests.len())
        .filter(|index| requests[*index].is_ok())
        .collect();
    let starts = &mut options.run.generation.decoder_start_token_id;
    select_start_tokens(starts, &entries, requests.len())?;
    let batch = requests.iter().flatten();
    let batch = batch.map(|request| request.request.clone());
    let mut answers = batch_of(model, batch, &entries, options).run()?.into_iter();
    let result = |request: Outcome<ReadRequest<'_>>| -> Outcome<florence2_result> {
        let request = request?;
        // INVARIANT: each valid request has an answer or an error.
        let answer = answers.next().expect("a result per request")?;
        Ok(florence2_result::new(answer, request.image_name))
    };
    Ok(requests.into_iter().map(result).collect())
}

/// Keeps the start tokens of the requests at `entries` if each of the caller's `count` requests has
/// one.
fn select_start_tokens(
    starts: &mut Option<Vec<u32>>,
    entries: &[usize],
    count: usize,
) -> Outcome<()> {
    let Some(starts) = starts.as_mut().filter(|starts| starts.len() > 1) else {
        return Ok(());
    };
    if starts.len() != count {
        let argument = "options.decoder_start_token_ids_len";
        let expected = format!("1, or {count} for as many requests");
        return Err(Failure::argument(argument, starts.len(), expected));
    }
    *starts = entries.iter().map(|index| starts[*index]).collect();
    Ok(())
}

/// Creates the batch of the facade. `entries` has the index of each request in the caller's array.
fn batch_of<'a>(
    model: &'a florence2_model,
    requests: impl Iterator<Item = Request<'a>>,
    entries: &'a [usize],
    options: ReadOptions,
) -> BatchBuilder<'a> {
    let ReadOptions { run, callbacks } = options;
    let batch = model.model.batch(requests).options(run);
    if callbacks.are_set() {
        return batch.on_event(move |event| notify(&callbacks, entries, event));
    }
    batch
}

/// Calls the caller's callback for an event, on the caller's thread. `entries` has the index of each
/// request in the caller's array.
fn notify(callbacks: &Callbacks, entries: &[usize], event: RunEvent<'_>) -> ControlFlow<()> {
    let go_on = match event {
        RunEvent::Token(token) => callbacks.on_token.is_none_or(|on_token| {
            let text = c_string(token.text);
            let token = florence2_token {
                request: entries[token.entry],
                text: text.as_ptr(),
                token_id: token.token_id,
                log_prob: token.log_prob,
            };
            // SAFETY: rule 6 of lib.rs.
            unsafe { on_token(&raw const token, callbacks.user) == 0 }
        }),
        RunEvent::Progress {
            new_tokens,
            max_new_tokens,
        } => callbacks.on_progress.is_none_or(|on_progress| {
            let progress = florence2_progress {
                new_tokens,
                max_new_tokens,
            };
            // SAFETY: rule 6 of lib.rs.
            unsafe { on_progress(&raw const progress, callbacks.user) == 0 }
        }),
        // The C API has no other events.
        _ => true,
    };
    if go_on {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}
