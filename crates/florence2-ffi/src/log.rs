//! The log callback, which receives the library's log messages.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::{Once, PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::boundary;
use crate::error::florence2_error;
use crate::failure::Failure;
use crate::status::florence2_status;
use crate::text::c_string;

/// The severity of a log message.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_log_level {
    /// No messages.
    Off = 0,
    /// Errors that no status reports, and the messages of panics. Debug builds of the library also
    /// report a handle that is freed twice; in other builds, the behavior is undefined.
    Error = 1,
    /// Settings and files that are probably unintended, such as settings of a model that have no
    /// effect.
    Warn = 2,
    /// Completed operations, such as a loaded model.
    Info = 3,
    /// Details, such as every failed call.
    Debug = 4,
    /// All messages.
    Trace = 5,
}

/// Called once per log message.
///
/// - `level`: the severity.
/// - `target`: the part of the library that logs the message. Valid only during the callback.
/// - `message`: one line. Valid only during the callback.
/// - `user`: the argument `user` of florence2_log_set.
///
/// Any thread may call it, and several threads may call it at the same time. It must not unwind:
/// neither an exception nor longjmp may leave it. It must not call florence2_log_set, load or run a
/// model, or call florence2_trim, which can wait forever for a thread that logs. It may read objects,
/// fire cancel tokens and free other objects. Messages that the library logs on the same thread
/// during the callback are dropped.
pub type florence2_log_callback = Option<
    unsafe extern "C" fn(
        level: florence2_log_level,
        target: *const c_char,
        message: *const c_char,
        user: *mut c_void,
    ),
>;

/// The callback, its argument, and the lowest severity that it receives.
struct Listener {
    callback: florence2_log_callback,
    user: *mut c_void,
    level: LevelFilter,
}

// SAFETY: rule 6 of lib.rs: any thread may call the log callback with its `user`.
unsafe impl Send for Listener {}
// SAFETY: rule 6 of lib.rs: several threads may call the log callback at the same time.
unsafe impl Sync for Listener {}

static LISTENER: RwLock<Listener> = RwLock::new(Listener {
    callback: None,
    user: std::ptr::null_mut(),
    level: LevelFilter::Off,
});

thread_local! {
    /// True while this thread is in the callback. Messages of the thread are then dropped, because
    /// they would lead to endless recursion.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// The logger that forwards messages to the callback.
struct Forward;

impl Log for Forward {
    /// Returns true for messages of this project. Those of other libraries, such as GPU drivers'
    /// wrappers, may have several lines.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("florence2")
    }

    fn log(&self, record: &Record<'_>) {
        if IN_CALLBACK.get() || !self.enabled(record.metadata()) {
            return;
        }
        let listener = LISTENER.read().unwrap_or_else(PoisonError::into_inner);
        let Some(callback) = listener.callback else {
            return;
        };
        if record.level() > listener.level {
            return;
        }
        let (target, message) = (
            c_string(record.target()),
            c_string(&record.args().to_string()),
        );
        IN_CALLBACK.set(true);
        // SAFETY: rule 6 of lib.rs.
        unsafe {
            callback(
                level(record.level()),
                target.as_ptr(),
                message.as_ptr(),
                listener.user,
            );
        }
        IN_CALLBACK.set(false);
    }

    fn flush(&self) {}
}

/// Sets the log callback of the process. It replaces the previous callback. At first, there is
/// none.
///
/// When the function returns, the previous callback is not running and is not called again. Its
/// `user` may then be freed.
///
/// - `callback`: the callback. NULL for no callback.
/// - `user`: passed to the callback unchanged. It must remain valid until the callback is replaced.
/// - `max_level`: a florence2_log_level. The callback receives the messages of this level and of
///   more severe levels.
///
/// Returns FLORENCE2_STATUS_INVALID_ARGUMENT if `max_level` is no level, or if the function is
/// called from within the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_log_set(
    callback: florence2_log_callback,
    user: *mut c_void,
    max_level: i32,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rule 5 of lib.rs.
    unsafe {
        boundary::call(error, || {
            let Some(level) = LevelFilter::iter().nth(max_level as usize) else {
                let expected = "a florence2_log_level";
                return Err(Failure::argument("max_level", max_level, expected));
            };
            if IN_CALLBACK.get() {
                let found = "a call from within the callback";
                return Err(Failure::argument(
                    "callback",
                    found,
                    "a call from outside of it",
                ));
            }
            // Only a program that links this library statically can already have a logger: its own.
            INSTALL.call_once(|| drop(log::set_logger(&Forward)));
            *LISTENER.write().unwrap_or_else(PoisonError::into_inner) = Listener {
                callback,
                user,
                level,
            };
            log::set_max_level(match callback {
                Some(_) => level,
                None => LevelFilter::Off,
            });
            Ok(())
        })
    }
}

/// Installs [`Forward`] once.
static INSTALL: Once = Once::new();

fn level(level: Level) -> florence2_log_level {
    match level {
        Level::Error => florence2_log_level::Error,
        Level::Warn => florence2_log_level::Warn,
        Level::Info => florence2_log_level::Info,
        Level::Debug => florence2_log_level::Debug,
        Level::Trace => florence2_log_level::Trace,
    }
}
