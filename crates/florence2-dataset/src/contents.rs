//! The findings and examples of a reader.

use crate::example::Example;
use crate::report::Finding;

/// The examples of a data set, the entries that are left out, and the classes.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) examples: Vec<Example>,
    pub(crate) findings: Vec<Finding>,
    /// The names of the classes, in the order of the file; empty for formats without classes.
    pub(crate) classes: Vec<String>,
}
