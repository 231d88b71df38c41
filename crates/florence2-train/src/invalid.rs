//! The error of invalid training arguments.

use std::fmt::{self, Display};

/// An argument with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidArgument {
    /// The argument's name, such as `learning_rate`.
    pub argument: String,
    /// The invalid value.
    pub found: String,
    /// The values that are valid.
    pub expected: String,
}

impl Display for InvalidArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            argument,
            found,
            expected,
        } = self;
        write!(f, "{argument}: found {found}, expected {expected}")
    }
}

/// All invalid arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct InvalidArguments {
    /// At least one argument.
    pub arguments: Vec<InvalidArgument>,
}

impl Display for InvalidArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, argument) in self.arguments.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            argument.fmt(f)?;
        }
        Ok(())
    }
}

impl InvalidArguments {
    /// Adds an argument unless `valid`.
    pub(crate) fn require(
        &mut self,
        valid: bool,
        argument: &str,
        found: impl Display,
        expected: impl Display,
    ) {
        if !valid {
            self.arguments.push(InvalidArgument {
                argument: argument.to_owned(),
                found: found.to_string(),
                expected: expected.to_string(),
            });
        }
    }

    /// Returns an error if there is any invalid argument.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.arguments.is_empty() {
            Ok(())
        } else {
            Err(self)
        }
    }
}
