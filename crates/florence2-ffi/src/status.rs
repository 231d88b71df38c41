//! The statuses of calls.

use std::ffi::CStr;

/// The status of a call. The numbers are fixed. Later versions may add statuses.
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
    /// The deadline passed before the call was complete.
    DeadlineExceeded = 8,
    /// The model computed no usable score, because its weights or its input contain NaN or
    /// infinity.
    NotFinite = 9,
    /// The library has a bug (a Rust panic). All handles remain valid.
    Panic = 10,
    /// The device failed during a run: it ran out of memory, or its driver reported an error. All
    /// later runs of the model fail too. Load the model again.
    DeviceFailed = 11,
    /// The process was forked after a model was loaded, and does not have the library's threads.
    /// Load and run models in a process that is not such a fork.
    Forked = 12,
}

impl florence2_status {
    /// Returns the name in the header.
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

    /// Returns the status with a number; `None` if there is none.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
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
