//! Ctrl-C: the first one ends the training after its current step, the second one ends the process.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// The exit status of a process that Ctrl-C ended, as shells report it.
const INTERRUPTED: i32 = 130;

/// True after the user has requested the end of the training.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the handler of Ctrl-C and, on Unix, of SIGTERM and SIGHUP.
    pub(crate) fn install() -> Result<Self, Failure> {
        let requested = Arc::new(AtomicBool::new(false));
        let interrupt = Self(Arc::clone(&requested));
        let handler = move || {
            if requested.swap(true, Ordering::SeqCst) {
                process::exit(INTERRUPTED);
            }
            eprintln!(
                "florence2: stopping after the current step, with a checkpoint; Ctrl-C again stops at once"
            );
        };
        ctrlc::set_handler(handler).map_err(|error| Failure::Interrupt(error.to_string()))?;
        Ok(interrupt)
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
