//! The message for a flag with an invalid value: the flag, the value, and the accepted values.

use std::error::Error as _;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Returns the message for an invalid value, and `None` for any other error of the command line.
pub(crate) fn message(error: &Error) -> Option<String> {
    let is_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
    );
    let (argument, found) = match (
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
    ) {
        (Some(ContextValue::String(argument)), Some(ContextValue::String(found))) if is_value => {
            (argument, found)
        }
        _ => return None,
    };
    let expected = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if values.is_empty() => return None,
        Some(ContextValue::Strings(values)) => format!("one of {}", values.join(", ")),
        _ => expected(&error.source()?.to_string(), found)?,
    };
    let flag = flag(argument);
    Some(format!("{flag}: found `{found}`, expected {expected}"))
}

/// The flag of an argument as clap shows it, such as `--num-beams <NUMBER>` or `--do-sample[=<..>]`.
fn flag(argument: &str) -> &str {
    if !argument.starts_with("--") {
        return argument;
    }
    argument.split([' ', '[', '=']).next().unwrap_or(argument)
}

/// The accepted values, from the message of a parser: those of this crate, of the standard library
/// and of clap's ranges.
fn expected(reason: &str, found: &str) -> Option<String> {
    if let Some((_, expected)) = reason.split_once(", expected ") {
        return Some(expected.to_owned());
    }
    if let Some((_, range)) = reason.split_once(" is not in ") {
        return Some(format!("a whole number in {range}"));
    }
    let expected = match reason {
        "invalid digit found in string" if found.parse::<i128>().is_ok() => {
            "a whole number of at least 0"
        }
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "a whole number"
        }
        "number would be zero for non-zero type" => "a whole number of at least 1",
        "number too large to fit in target type" => "a smaller whole number",
        "number too small to fit in target type" => "a larger whole number",
        "invalid float literal" | "cannot parse float from empty string" => "a number",
        _ => return None,
    };
    Some(expected.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::{Args, Command, Parser};

    use super::*;
    use crate::command::Cli;
    use crate::generation_args::GenerationArgs;

    fn message_of(arguments: &[&str]) -> String {
        let arguments = ["florence2", "run", "image.png"].iter().chain(arguments);
        let error = Cli::try_parse_from(arguments).err().unwrap();
        message(&error).unwrap()
    }

    #[test]
    fn the_flag_the_value_and_the_accepted_values_are_named() {
        for (arguments, expected) in [
            (
                ["--num-beams", "x"],
                "--num-beams: found `x`, expected a whole number",
            ),
            (
                ["--num-beams", ""],
                "--num-beams: found ``, expected a whole number",
            ),
            (
                ["--num-beams", "-1"],
                "--num-beams: found `-1`, expected a whole number of at least 0",
            ),
            (
                ["--num-beams", "1.5"],
                "--num-beams: found `1.5`, expected a whole number",
            ),
            (
                ["--num-beams", "99999999999999999999999"],
                "--num-beams: found `99999999999999999999999`, expected a smaller whole number",
            ),
            (
                ["--forced-eos-token-id", "4294967296"],
                "--forced-eos-token-id: found `4294967296`, expected a whole number in 0..=4294967295",
            ),
            (
                ["--suppress-tokens", "1,x"],
                "--suppress-tokens: found `x`, expected a whole number",
            ),
            (
                ["--temperature", "warm"],
                "--temperature: found `warm`, expected a number",
            ),
            (
                ["--batch-size", "0"],
                "--batch-size: found `0`, expected a whole number of at least 1",
            ),
            (
                ["--dtype", "int4"],
                "--dtype: found `int4`, expected f32, f16, bf16 or int8",
            ),
            (
                ["--format", "xml"],
                "--format: found `xml`, expected one of text, json, jsonl",
            ),
            (
                ["--early-stopping", "maybe"],
                "--early-stopping: found `maybe`, expected true, false or never",
            ),
            (
                ["--bad-words-ids", "a"],
                "--bad-words-ids: found `a`, expected ids separated by commas",
            ),
            (
                ["--box", "1,2,3"],
                "--box: found `1,2,3`, expected four numbers x1,y1,x2,y2",
            ),
        ] {
            assert_eq!(message_of(&arguments), expected);
        }
        let boolean = message_of(&["--do-sample=x"]);
        assert_eq!(
            boolean,
            "--do-sample: found `x`, expected one of true, false"
        );
    }

    /// Every generation option but those of text rejects this value.
    #[test]
    fn every_generation_option_has_the_message() {
        let command = GenerationArgs::augment_args(Command::new("florence2"));
        let mut rejected = 0;
        for argument in command.get_arguments() {
            let flag = format!("--{}", argument.get_long().unwrap());
            let result = command
                .clone()
                .try_get_matches_from(["florence2", &format!("{flag}=%")]);
            let Err(error) = result else {
                assert_eq!(flag, "--stop-strings");
                continue;
            };
            let message = message(&error).unwrap();
            let start = format!("{flag}: found `%`, expected ");
            assert!(message.starts_with(&start), "{message}");
            rejected += 1;
        }
        assert!(rejected > 30, "{rejected}");
    }

    #[test]
    fn other_errors_have_no_such_message() {
        for arguments in [
            &["florence2", "run"][..],
            &["florence2", "--help"],
            &["florence2", "walk"],
        ] {
            let error = Cli::try_parse_from(arguments).err().unwrap();
            assert_eq!(message(&error), None);
        }
        let missing = ["florence2", "run", "image.png", "--num-beams"];
        assert_eq!(message(&Cli::try_parse_from(missing).err().unwrap()), None);
    }
}
