//! Requests: an image and a task.

use std::ffi::c_char;

use florence2::{ImageInput, Prompt, Request, Task, TaskInput};

use crate::arguments;
use crate::boundary;
use crate::failure::{Failure, Outcome};
use crate::handle;
use crate::image::{florence2_image, florence2_image_features};
use crate::option_struct::{self, Options, first_size};

/// The unit of the field `region` of a request.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_region_unit {
    /// The request has no box as its input.
    None = 0,
    /// Pixels of the image.
    Px = 1,
    /// Fractions of the image's width and height, 0 to 1.
    Normalized = 2,
}

/// A request: an image and a task or a prompt. Initialise it with florence2_request_init. Then set
/// either `image` or `image_features`, either `task` or `prompt`, and, if the task needs an input,
/// either `input` or `region`.
///
/// The library reads the struct and everything that it points to only during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_request {
    /// The size of this struct in bytes. florence2_request_init sets it.
    pub struct_size: usize,
    /// The image.
    pub image: *const florence2_image,
    /// The features of the image, from florence2_model_encode_image of the same model.
    pub image_features: *const florence2_image_features,
    /// The task: its token, such as "<OD>", or its name, such as "OD" or "od". florence2_task_token
    /// lists the tokens.
    pub task: *const c_char,
    /// A prompt instead of a task, as Hugging Face's processor reads it. If it contains the token
    /// of a task, the rest of the prompt is the input of the task, such as
    /// "<OPEN_VOCABULARY_DETECTION>a red bus". A task without an input must have no further text.
    /// Any other prompt is passed to the model unchanged, and the answer is text.
    pub prompt: *const c_char,
    /// The input of the task as text: a phrase, or a box as four location tokens such as
    /// "<loc_52><loc_333><loc_932><loc_774>". florence2_task_input_of returns which of them a task
    /// needs. Must be NULL if `prompt` is set.
    pub input: *const c_char,
    /// The box that the prompt names, for tasks with the input FLORENCE2_TASK_INPUT_REGION: x1, y1,
    /// x2, y2 with x1 <= x2 and y1 <= y2, from the upper left corner of the image. The model still
    /// processes the whole image. A box that extends beyond the image is clipped. A box outside of the
    /// image is an error. It has no effect without `region_unit`.
    pub region: [f64; 4],
    /// A florence2_region_unit: the unit of `region`. Must be FLORENCE2_REGION_UNIT_NONE if `prompt`
    /// or `input` is set. Default: FLORENCE2_REGION_UNIT_NONE, no box.
    pub region_unit: i32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, `struct_size` first, only numbers and pointers.
unsafe impl Options for florence2_request {
    const NAME: &'static str = "request";
    const FIRST_SIZE: usize = first_size(88, 64);
}

/// Clears a florence2_request and sets its `struct_size`.
///
/// - `request`: the struct. If it is NULL, the function does nothing.
/// - `size`: sizeof(florence2_request).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_request_init(request: *mut florence2_request, size: usize) {
    // SAFETY: rule 4 of lib.rs.
    unsafe { boundary::init_struct(request, size) };
}

/// A request of the facade, and the name of its image.
pub(crate) struct ReadRequest<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) image_name: &'a str,
}

/// Converts a request to that of the facade.
///
/// # Safety
/// `request` follows the rules 1, 3 and 4 of lib.rs.
pub(crate) unsafe fn read<'a>(request: *const florence2_request) -> Outcome<ReadRequest<'a>> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let Some(request) = option_struct::read_struct(request)? else {
            return Err(Failure::argument("request", "NULL", "a florence2_request"));
        };
        option_struct::check_reserved("request.reserved", request.reserved)?;
        let (image, image_name) = image(&request)?;
        let prompt = prompt(&request)?;
        Ok(ReadRequest {
            request: Request::new(image, prompt),
            image_name,
        })
    }
}

/// Converts an array of requests, with a failure for each invalid request. Each request begins
/// `struct_size` bytes after the one before, which is the size of the struct in the caller's header.
///
/// # Safety
/// `requests` and `count` follow the rules 1, 3 and 4 of lib.rs.
pub(crate) unsafe fn read_each<'a>(
    requests: *const florence2_request,
    count: usize,
) -> Outcome<Vec<Outcome<ReadRequest<'a>>>> {
    if count > arguments::MAX_COUNT {
        let expected = format!("at most {}", arguments::MAX_COUNT);
        return Err(Failure::argument("requests_len", count, expected));
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    if requests.is_null() {
        let expected = format!("{count} elements, as in `requests_len`");
        return Err(Failure::argument("requests", "NULL", expected));
    }
    // SAFETY: guaranteed by the caller.
    let stride = unsafe { (*requests).struct_size };
    option_struct::check_size::<florence2_request>(stride)?;
    let alignment = align_of::<florence2_request>();
    if !stride.is_multiple_of(alignment) {
        let expected = format!("a multiple of {alignment}");
        return Err(Failure::argument("request.struct_size", stride, expected));
    }
    let read_one = |index: usize| {
        // SAFETY: guaranteed by the caller. The size is compared before the rest of the struct is
        // read.
        unsafe {
            let request = requests.byte_add(index * stride);
            if (*request).struct_size != stride {
                let expected = format!("{stride}, as in requests[0]");
                let found = (*request).struct_size;
                return Err(Failure::argument("request.struct_size", found, expected));
            }
            read(request)
        }
    };
    Ok((0..count).map(read_one).collect())
}

/// Returns the requests if all are valid. The failure names the first invalid request.
pub(crate) fn valid(requests: Vec<Outcome<ReadRequest<'_>>>) -> Outcome<Vec<ReadRequest<'_>>> {
    let at = |index: usize, failure: Failure| {
        Failure::new(
            failure.status,
            format!("requests[{index}]: {}", failure.message),
        )
    };
    let requests = requests.into_iter().enumerate();
    requests
        .map(|(index, request)| request.map_err(|failure| at(index, failure)))
        .collect()
}

/// Returns the image or the features of a request, and the name of the image.
///
/// # Safety
/// `request` follows rule 1 of lib.rs.
unsafe fn image<'a>(request: &florence2_request) -> Outcome<(ImageInput<'a>, &'a str)> {
    // SAFETY: guaranteed by the caller.
    let (image, features) = unsafe {
        (
            handle::borrow_optional(request.image)?,
            handle::borrow_optional(request.image_features)?,
        )
    };
    match (image, features) {
        (Some(image), None) => Ok((ImageInput::Image(&image.image), &image.name)),
        (None, Some(features)) => Ok((ImageInput::Features(&features.features), &features.name)),
        (None, None) => Err(Failure::argument(
            "request.image",
            "NULL",
            "an image or image features",
        )),
        (Some(_), Some(_)) => {
            let found = "both `image` and `image_features`";
            Err(Failure::argument("request.image", found, "one of them"))
        }
    }
}

/// Returns the prompt of a request.
///
/// # Safety
/// `request` follows rule 3 of lib.rs.
unsafe fn prompt(request: &florence2_request) -> Outcome<Prompt> {
    // SAFETY: guaranteed by the caller.
    let (task, prompt) = unsafe {
        (
            arguments::optional_text("request.task", request.task)?,
            arguments::optional_text("request.prompt", request.prompt)?,
        )
    };
    // SAFETY: guaranteed by the caller.
    let input = unsafe { input(request)? };
    match (task, prompt, input) {
        (Some(task), None, input) => Ok(Prompt::Task {
            task: task.parse::<Task>()?,
            input,
        }),
        (None, Some(prompt), None) => Ok(Prompt::parse(prompt)?),
        (None, Some(_), Some(_)) => {
            let found = "an input besides `prompt`";
            Err(Failure::argument("request.input", found, "none"))
        }
        (None, None, _) => Err(Failure::argument(
            "request.task",
            "NULL",
            "a task, or a prompt",
        )),
        (Some(_), Some(_), _) => Err(Failure::argument(
            "request.task",
            "both `task` and `prompt`",
            "one of them",
        )),
    }
}

/// Returns the input of a request's task; `None` if there is none.
///
/// # Safety
/// `request` follows rule 3 of lib.rs.
unsafe fn input(request: &florence2_request) -> Outcome<Option<TaskInput>> {
    const NONE: i32 = florence2_region_unit::None as i32;
    const PX: i32 = florence2_region_unit::Px as i32;
    const NORMALIZED: i32 = florence2_region_unit::Normalized as i32;
    // SAFETY: guaranteed by the caller.
    let text = unsafe { arguments::optional_text("request.input", request.input)? };
    let region = match request.region_unit {
        NONE => None,
        PX => Some(TaskInput::Region(request.region)),
        NORMALIZED => Some(TaskInput::NormalizedRegion(request.region)),
        other => {
            let expected = "a florence2_region_unit";
            return Err(Failure::argument("request.region_unit", other, expected));
        }
    };
    match (text, region) {
        (Some(_), Some(_)) => Err(Failure::argument(
            "request.input",
            "both a text and a region",
            "one of them",
        )),
        (text, region) => Ok(text.map(|text| TaskInput::Text(text.to_owned())).or(region)),
    }
}
