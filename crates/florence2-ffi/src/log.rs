//! Log messages of the library, passed to a callback of the program.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::{Once, PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::boundary;
use crate::error::{Failure, florence2_error, florence2_status};
use crate::text::c_string;

/// The severity of a message.
#[repr(i32)]
#[derive(Debug, Clone, Copy)]
pub enum florence2_log_level {
    /// Nothing at all.
    Off = 0,
    /// A fault of the program or the library, such as a handle freed twice.
    Error = 1,
    /// A setting or file that is probably unintended.
    Warn = 2,
    /// Completed operations, such as a loaded model.
    Info = 3,
    /// Details, such as every failed call.
    Debug = 4,
    /// All messages.
    Trace = 5,
}

/// Receives a message: `target` names the part of the library, `message` is one line; both are UTF-8,
/// borrowed for the call. Called on whichever thread has something to say, on several at once. Must
/// not unwind, and must not call florence2_log_set.
pub type florence2_log_callback = Option<
    unsafe extern "C" fn(
        level: florence2_log_level,
        target: *const c_char,
        message: *const c_char,
        user: *mut c_void,
    ),
>;

/// Who listens, to what.
struct Listener {
    callback: florence2_log_callback,
    user: *mut c_void,
    level: LevelFilter,
}

// SAFETY: the header asks for a callback that any thread may call with its `user`.
unsafe impl Send for Listener {}
// SAFETY: as above.
unsafe impl Sync for Listener {}

static LISTENER: RwLock<Listener> = RwLock::new(Listener {
    callback: None,
    user: std::ptr::null_mut(),
    level: LevelFilter::Off,
});

thread_local! {
    /// Whether this thread is in the callback: what is said from there is not heard, or it would
    /// never end.
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

struct Forward;

impl Log for Forward {
    /// What the drivers' libraries say has lines of its own, and is no part of this one.
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
        // SAFETY: the header asks for a function of this type that does not unwind.
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

/// Sets the receiver of the library's messages, for the whole process; there is none at first. When it
/// returns, the callback before it is not called any more, and its `user` may be freed.
///
/// `callback`: NULL for nobody. `user`: passed to the callback as it is. `max_level`: the
/// florence2_log_level of the least important messages to be heard.
/// Fails with FLORENCE2_STATUS_INVALID_ARGUMENT for no such level, and from within the callback.
/// Callable from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_log_set(
    callback: florence2_log_callback,
    user: *mut c_void,
    max_level: i32,
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: the header asks for a writable error or NULL.
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
            // Only a program that links this library statically can have a logger already: its own.
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
