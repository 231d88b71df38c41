//! What is asked.

use std::ffi::c_char;

use florence2::{Prompt, Request, Subject, Task, TaskInput};

use crate::arguments;
use crate::boundary;
use crate::failure::{Failure, Outcome};
use crate::handle;
use crate::image::{florence2_image, florence2_image_features};
use crate::option_struct::{self, Options, first_size};

/// The unit of a request's region.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_region_unit {
    /// There is no region.
    None = 0,
    /// Pixels of the image.
    Px = 1,
    /// Fractions of the image's size, 0 to 1.
    Normalized = 2,
}

/// A question about an image. To be cleared with florence2_request_init, then filled in: one of
/// `image` and `image_features`, one of `task` and `prompt`, and the input, where the task needs one,
/// as a text or a region. All is read during the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct florence2_request {
    /// The size of this struct, as florence2_request_init sets it.
    pub struct_size: usize,
    /// The image.
    pub image: *const florence2_image,
    /// The image, encoded by the same model.
    pub image_features: *const florence2_image_features,
    /// A task by its token or name: "<OD>", "OD" or "od". florence2_task_token lists them.
    pub task: *const c_char,
    /// A whole prompt, read as Hugging Face's processor reads it: a task's token followed by its
    /// input, such as "<OPEN_VOCABULARY_DETECTION>a red bus"; any other text goes to the model as it
    /// is, and its answer is text.
    pub prompt: *const c_char,
    /// The task's input as text: a phrase, or a region written as "<loc_..><loc_..><loc_..><loc_..>".
    pub input: *const c_char,
    /// The task's input as a box: x1, y1, x2, y2 with x1 <= x2 and y1 <= y2. What reaches beyond the
    /// image's edge is cut off.
    pub region: [f64; 4],
    /// A florence2_region_unit: in what unit `region` is, or that there is none.
    pub region_unit: i32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: `repr(C)`, `struct_size` first, numbers and pointers alone.
unsafe impl Options for florence2_request {
    const NAME: &'static str = "request";
    const FIRST_SIZE: usize = first_size(88, 64);
}

/// Clears `request` and sets its struct_size: `size` is sizeof(florence2_request). NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_request_init(request: *mut florence2_request, size: usize) {
    // SAFETY: the header requires room for `size` bytes.
    unsafe { boundary::init_struct(request, size) };
}

/// A request in Rust's types, and its image's name.
pub(crate) struct ReadRequest<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) image_name: &'a str,
}

/// # Safety
/// As the header requires a request.
pub(crate) unsafe fn read<'a>(request: *const florence2_request) -> Outcome<ReadRequest<'a>> {
    // SAFETY: the caller guarantees it.
    unsafe {
        let Some(request) = option_struct::read_struct(request)? else {
            return Err(Failure::argument("request", "NULL", "a florence2_request"));
        };
        option_struct::check_reserved("request.reserved", request.reserved)?;
        let (subject, image_name) = subject(&request)?;
        let prompt = prompt(&request)?;
        Ok(ReadRequest {
            request: Request { subject, prompt },
            image_name,
        })
    }
}

/// # Safety
/// As the header requires an array of requests: each begins `struct_size` bytes after the one before.
pub(crate) unsafe fn read_all<'a>(
    requests: *const florence2_request,
    count: usize,
) -> Outcome<Vec<ReadRequest<'a>>> {
    let at = |index: usize, failure: Failure| {
        Failure::new(
            failure.status,
            format!("requests[{index}]: {}", failure.message),
        )
    };
    // SAFETY: the caller guarantees it.
    let requests = unsafe { read_each(requests, count)? };
    let requests = requests.into_iter().enumerate();
    requests
        .map(|(index, request)| request.map_err(|failure| at(index, failure)))
        .collect()
}

/// [`read_all`], with a failure for each request that cannot be read.
///
/// # Safety
/// As [`read_all`].
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
        let expected = format!("{count} of them, as requests_len says");
        return Err(Failure::argument("requests", "NULL", expected));
    }
    // SAFETY: the caller guarantees it: the caller's compiler knows the struct by this size.
    let stride = unsafe { (*requests).struct_size };
    option_struct::check_size::<florence2_request>(stride)?;
    let read_one = |index: usize| {
        // SAFETY: the caller guarantees it. The size is checked before anything behind it is read.
        unsafe {
            let request = requests.byte_add(index * stride);
            if (*request).struct_size != stride {
                let expected = format!("that of requests[0], {stride}");
                let found = (*request).struct_size;
                return Err(Failure::argument("request.struct_size", found, expected));
            }
            read(request)
        }
    };
    Ok((0..count).map(read_one).collect())
}

/// # Safety
/// As the header requires a request.
unsafe fn subject<'a>(request: &florence2_request) -> Outcome<(Subject<'a>, &'a str)> {
    // SAFETY: the caller guarantees it.
    let (image, features) = unsafe {
        (
            handle::borrow_optional(request.image)?,
            handle::borrow_optional(request.image_features)?,
        )
    };
    match (image, features) {
        (Some(image), None) => Ok((Subject::Image(&image.image), &image.name)),
        (None, Some(features)) => Ok((Subject::Features(&features.features), &features.name)),
        (None, None) => Err(Failure::argument(
            "request.image",
            "NULL",
            "an image or its features",
        )),
        (Some(_), Some(_)) => {
            let found = "both `image` and `image_features`";
            Err(Failure::argument("request.image", found, "one of them"))
        }
    }
}

/// # Safety
/// As the header requires a request.
unsafe fn prompt(request: &florence2_request) -> Outcome<Prompt> {
    // SAFETY: the caller guarantees it.
    let (task, prompt) = unsafe {
        (
            arguments::optional_text("request.task", request.task)?,
            arguments::optional_text("request.prompt", request.prompt)?,
        )
    };
    // SAFETY: the caller guarantees it.
    let input = unsafe { input(request)? };
    match (task, prompt, input) {
        (Some(task), None, input) => Ok(Prompt::Task {
            task: task.parse::<Task>()?,
            input,
        }),
        (None, Some(prompt), None) => Ok(Prompt::parse(prompt)?),
        (None, Some(_), Some(_)) => {
            let found = "an input beside `prompt`, which holds its own";
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

/// # Safety
/// As the header requires a request.
unsafe fn input(request: &florence2_request) -> Outcome<Option<TaskInput>> {
    const NONE: i32 = florence2_region_unit::None as i32;
    const PX: i32 = florence2_region_unit::Px as i32;
    const NORMALIZED: i32 = florence2_region_unit::Normalized as i32;
    // SAFETY: the caller guarantees it.
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
