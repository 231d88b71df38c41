//! The log callback: it receives the library's log messages.

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
    /// Errors that no status reports, such as a handle that is freed twice.
    Error = 1,
    /// Probable mistakes, such as settings of a model that have no effect.
    Warn = 2,
    /// Major events, such as a loaded model.
    Info = 3,
    /// Details, such as every failed call.
    Debug = 4,
    /// All messages.
    Trace = 5,
}

/// Called once per log message.
///
/// `level`: the severity. `target`: the module that logs the message. `message`: one line. Both
/// strings are UTF-8 and are valid only during the callback. `user`: the pointer passed to
/// florence2_log_set.
///
/// The callback must not unwind: no exception and no longjmp may leave it. It must not call
/// florence2_log_set. Messages that the library logs on this thread during the callback are
/// dropped. Thread safety: any thread may call it, and several threads may call it at the same
/// time.
pub type florence2_log_callback = Option<
    unsafe extern "C" fn(
        level: florence2_log_level,
        target: *const c_char,
        message: *const c_char,
        user: *mut c_void,
    ),
>;

/// The callback, its argument and the maximum level.
struct Listener {
    callback: florence2_log_callback,
    user: *mut c_void,
    level: LevelFilter,
}

// SAFETY: the header requires that any thread may call the callback with its `user`.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

static LISTENER: RwLock<Listener> = RwLock::new(Listener {
    callback: None,
    user: std::ptr::null_mut(),
    level: LevelFilter::Off,
});

thread_local! {
    /// True while this thread is in the callback. Messages logged then are dropped, because
    /// forwarding them would recurse without end.
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

struct Forward;

impl Log for Forward {
    /// Excludes the messages of dependencies, such as GPU drivers' libraries: they are not part of
    /// the API, and may have several lines.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("florence2")
    }

    fn log(&self, record: &Record<'_>) {
        if LISTENING.get() || !self.enabled(record.metadata()) {
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
        LISTENING.set(true);
        // SAFETY: the header requires a function of this type that does not unwind.
        unsafe {
            callback(
                level(record.level()),
                target.as_ptr(),
                message.as_ptr(),
                listener.user,
            );
        }
        LISTENING.set(false);
    }

    fn flush(&self) {}
}

/// Sets the log callback of the process. It replaces the previous callback. Initially, there is
/// none.
///
/// When the function returns, the previous callback is no longer running and is not called again.
/// Its `user` may then be freed.
///
/// `callback`: NULL for no callback. `user`: passed to the callback unchanged; it must be valid
/// until the callback is replaced. `max_level`: a florence2_log_level; messages of this level and
/// of the more severe levels are forwarded.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT if the level does not exist, or if it is called
/// from within the callback. Thread safety: callable from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_log_set(
    callback: florence2_log_callback,
    user: *mut c_void,
    max_level: i32,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header requires a writable error or NULL.
    unsafe {
        boundary::call(error, || {
            let Some(level) = LevelFilter::iter().nth(max_level as usize) else {
                let expected = "a florence2_log_level";
                return Err(Failure::argument("max_level", max_level, expected));
            };
            if LISTENING.get() {
                let found = "a call from within the callback";
                return Err(Failure::argument("callback", found, "one from outside"));
            }
            // Only a program that links this library statically can have installed another logger.
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

/// Installs [`Forward`] at the first call.
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
