//! Prints the library's warnings to standard error: settings and tensors that were ignored when a
//! model was loaded, and the reason why `auto` selected the CPU.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct StandardError;

impl Log for StandardError {
    /// Messages of the drivers' libraries are not printed.
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

/// Installs the logger that prints warnings.
pub(crate) fn print_to_standard_error() {
    log::set_logger(&StandardError).expect("the command sets its only logger once");
    log::set_max_level(LevelFilter::Warn);
}
