//! The files that `eval` writes.

use std::fs::{File, OpenOptions};
use std::io::{self, LineWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;

/// A file that is opened before the evaluation, so that a path that cannot be written is an error at
/// once.
pub(crate) struct OutputFile {
    path: PathBuf,
    file: LineWriter<File>,
}

impl OutputFile {
    /// Opens or creates a file. Its contents remain until the first line is written.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path);
        Ok(Self {
            file: LineWriter::new(file.map_err(|error| unwritable(path, &error))?),
            path: path.to_owned(),
        })
    }

    /// Empties the file.
    pub(crate) fn clear(&mut self) -> Result<(), Failure> {
        let cleared = self.file.get_ref().set_len(0);
        cleared.map_err(|error| unwritable(&self.path, &error))
    }

    /// Writes a line of JSON, which can be read at once.
    pub(crate) fn write_line(&mut self, value: &Value) -> Result<(), Failure> {
        let written = writeln!(self.file, "{value}");
        written.map_err(|error| unwritable(&self.path, &error))
    }

    /// Replaces the contents by indented JSON.
    pub(crate) fn replace(mut self, value: &Value) -> Result<(), Failure> {
        self.clear()?;
        let written = writeln!(self.file, "{value:#}");
        written.map_err(|error| unwritable(&self.path, &error))?;
        self.finish()
    }

    /// Writes the rest of the buffer.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.file.flush();
        flushed.map_err(|error| unwritable(&self.path, &error))
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::Write {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
