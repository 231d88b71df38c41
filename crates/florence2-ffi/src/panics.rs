//! Panics of the library. They are caught at the boundary and reported to the log callback instead
//! of the process's standard error.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use crate::failure::Failure;
use crate::unload;

thread_local! {
    /// The number of calls of exported functions that are active on this thread. It can be more
    /// than one, because callbacks may call the library.
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Prefixes of the names of threads that the library or its GPU backends start.
const THREAD_NAMES: [&str; 3] = ["florence2-", "DSU-", "DSD-"];

/// Runs the body of an exported function and converts a panic to a failure. The first call prepares
/// the process.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, Failure> {
    static PREPARE: Once = Once::new();
    PREPARE.call_once(|| {
        unload::prevent();
        install_hook();
    });
    CALLS.set(CALLS.get() + 1);
    let outcome = panic::catch_unwind(AssertUnwindSafe(body));
    CALLS.set(CALLS.get() - 1);
    outcome.map_err(|payload| {
        let failure = Failure::panic(&text_of(payload.as_ref()));
        // The payload's destructor may panic, and so may the destructor of that panic's payload.
        if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        failure
    })
}

/// Installs a panic hook before the existing one. The existing hook still receives the panics
/// outside of the library's calls and threads.
fn install_hook() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if is_own_thread() {
            report(info);
        } else {
            previous(info);
        }
    }));
}

/// Returns true if this thread is in a call of the library or belongs to one of its thread pools.
fn is_own_thread() -> bool {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    CALLS.get() > 0
        || rayon::current_thread_index().is_some()
        || THREAD_NAMES.iter().any(|prefix| name.starts_with(prefix))
}

/// Logs a panic with its location and message.
fn report(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(
        || "an unknown place".to_owned(),
        |location| format!("{}:{}", location.file(), location.line()),
    );
    let message = one_line(&text_of(info.payload()));
    log::error!(target: "florence2::panic", "panic at {place}: {message}");
}

/// Returns the message of a panic.
fn text_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

/// Replaces line breaks and repeated white space by single spaces.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
