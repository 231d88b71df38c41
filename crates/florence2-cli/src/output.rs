//! Standard output.

use std::fmt::Display;
use std::io::{self, Write};

use crate::failure::Failure;

/// Prints a line.
pub(crate) fn print(line: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)
}
