//! What the library warns of, on standard error: only builds with GPUs have something to say, as why `auto` took the CPU.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct StandardError;

impl Log for StandardError {
    /// What the drivers' libraries have to say is for their own developers.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn && metadata.target().starts_with("florence2")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("florence2: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Has them printed from here on.
pub(crate) fn print_to_standard_error() {
    log::set_logger(&StandardError).expect("the command sets its only logger once");
    log::set_max_level(LevelFilter::Warn);
}
