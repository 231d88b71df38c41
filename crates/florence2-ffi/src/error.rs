//! Statuses and errors.

use std::ffi::{CStr, CString, c_char};
use std::fmt::Display;

use florence2::{Error, ModelError, ProcessorError};

use crate::boundary::{self, Handle};
use crate::text::c_string;

/// The status of a call. The numbers are fixed. Later versions may add values.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum florence2_status {
    /// The call succeeded.
    Ok = 0,
    /// An argument, an option or a combination of them is invalid. The message names it.
    InvalidArgument = 1,
    /// A file could not be opened or read.
    Io = 2,
    /// A file of the model is malformed, or the weights do not match the configuration.
    InvalidModel = 3,
    /// An image cannot be decoded, has no pixels, or has more pixels than the limit.
    InvalidImage = 4,
    /// The device is not available in this build or on this machine, does not support the dtype, or
    /// has too little memory for the model.
    UnsupportedDevice = 5,
    /// The library was built without the feature that the call requires.
    NotInThisBuild = 6,
    /// The cancel token was fired, or a callback returned a number other than 0.
    Cancelled = 7,
    /// The deadline passed before the call completed.
    DeadlineExceeded = 8,
    /// The model computed NaN or infinity, because its weights or its input contain such numbers.
    NotFinite = 9,
    /// The library has a bug. All handles remain valid.
    Panic = 10,
    /// The model's device failed: it ran out of memory, or its driver reported an error. All
    /// further runs of the model fail. Load the model again.
    DeviceFailed = 11,
    /// The process was forked after a model was loaded, and has none of the library's threads. Load
    /// the model in a process that was not forked after the first load.
    Forked = 12,
}

impl florence2_status {
    /// The name in the header.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Ok => c"FLORENCE2_STATUS_OK",
            Self::InvalidArgument => c"FLORENCE2_STATUS_INVALID_ARGUMENT",
            Self::Io => c"FLORENCE2_STATUS_IO",
            Self::InvalidModel => c"FLORENCE2_STATUS_INVALID_MODEL",
            Self::InvalidImage => c"FLORENCE2_STATUS_INVALID_IMAGE",
            Self::UnsupportedDevice => c"FLORENCE2_STATUS_UNSUPPORTED_DEVICE",
            Self::NotInThisBuild => c"FLORENCE2_STATUS_NOT_IN_THIS_BUILD",
            Self::Cancelled => c"FLORENCE2_STATUS_CANCELLED",
            Self::DeadlineExceeded => c"FLORENCE2_STATUS_DEADLINE_EXCEEDED",
            Self::NotFinite => c"FLORENCE2_STATUS_NOT_FINITE",
            Self::Panic => c"FLORENCE2_STATUS_PANIC",
            Self::DeviceFailed => c"FLORENCE2_STATUS_DEVICE_FAILED",
            Self::Forked => c"FLORENCE2_STATUS_FORKED",
        }
    }

    fn from_number(number: i32) -> Option<Self> {
        [
            Self::Ok,
            Self::InvalidArgument,
            Self::Io,
            Self::InvalidModel,
            Self::InvalidImage,
            Self::UnsupportedDevice,
            Self::NotInThisBuild,
            Self::Cancelled,
            Self::DeadlineExceeded,
            Self::NotFinite,
            Self::Panic,
            Self::DeviceFailed,
            Self::Forked,
        ]
        .into_iter()
        .find(|status| *status as i32 == number)
    }
}

/// An error: a status, and a message of one line that names the argument, file or key, the value
/// found and the value expected.
///
/// Ownership: the failed call creates it; the caller frees it with florence2_error_free. Thread
/// safety: immutable; any number of threads may read it at the same time.
pub struct florence2_error {
    status: florence2_status,
    message: CString,
}

impl Handle for florence2_error {
    const NAME: &'static str = "error";
}

impl From<Failure> for florence2_error {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status,
            message: c_string(&failure.message),
        }
    }
}

/// Returns the error's status; FLORENCE2_STATUS_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_status(error: *const florence2_error) -> florence2_status {
    // SAFETY: the header requires a live error or NULL.
    unsafe { boundary::read(error, florence2_status::Ok, |error| error.status) }
}

/// Returns the error's message.
///
/// Returns one line of UTF-8, borrowed from the error; the empty string for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_message(error: *const florence2_error) -> *const c_char {
    // SAFETY: the header requires a live error or NULL.
    unsafe { boundary::read(error, c"".as_ptr(), |error| error.message.as_ptr()) }
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_error_free(error: *mut florence2_error) {
    // SAFETY: the header requires an error that no other thread uses, or NULL.
    unsafe { boundary::free(error) };
}

/// Returns the name of a status, such as "FLORENCE2_STATUS_IO".
///
/// `status`: a florence2_status.
/// Returns a static string; NULL if no status has the number. Thread safety: callable from any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn florence2_status_name(status: i32) -> *const c_char {
    boundary::value(std::ptr::null(), || {
        let status = florence2_status::from_number(status);
        status.map_or(std::ptr::null(), |status| status.name().as_ptr())
    })
}

/// A failure before its conversion to a [`florence2_error`].
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: florence2_status,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: florence2_status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn argument(argument: &str, found: impl Display, expected: impl Display) -> Self {
        let message = format!("argument `{argument}`: found {found}, expected {expected}");
        Self::new(florence2_status::InvalidArgument, message)
    }

    pub(crate) fn panic(message: &str) -> Self {
        let message = format!("a fault of the library: {message}");
        Self::new(florence2_status::Panic, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(status_of(&error), error.to_string())
    }
}

impl From<ProcessorError> for Failure {
    fn from(error: ProcessorError) -> Self {
        Error::from(error).into()
    }
}

fn status_of(error: &Error) -> florence2_status {
    match error {
        Error::Request { source, .. } => status_of(source),
        Error::Device { .. } | Error::DeviceUnavailable { .. } | Error::Dtype { .. } => {
            florence2_status::UnsupportedDevice
        }
        Error::DeviceFailed { .. } => florence2_status::DeviceFailed,
        Error::ProcessorFiles { .. } => florence2_status::Io,
        Error::Forked { .. } => florence2_status::Forked,
        Error::Processor(error) => match error {
            ProcessorError::Io { .. } => florence2_status::Io,
            ProcessorError::Image { .. } | ProcessorError::TooManyPixels { .. } => {
                florence2_status::InvalidImage
            }
            ProcessorError::Malformed { .. } => florence2_status::InvalidModel,
            _ => florence2_status::InvalidArgument,
        },
        Error::Model(error) => match error {
            ModelError::Io { .. } => florence2_status::Io,
            ModelError::Malformed { .. } | ModelError::Config { .. } | ModelError::Weights(_) => {
                florence2_status::InvalidModel
            }
            ModelError::NotFinite { .. } => florence2_status::NotFinite,
            ModelError::Cancelled => florence2_status::Cancelled,
            ModelError::DeadlineExceeded => florence2_status::DeadlineExceeded,
            _ => florence2_status::InvalidArgument,
        },
        _ => florence2_status::InvalidArgument,
    }
}
