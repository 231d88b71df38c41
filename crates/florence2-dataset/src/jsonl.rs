//! maestro's layout: a line of JSON per example.

use std::path::Path;

use serde_json::{Map, Value};

use crate::contents::Contents;
use crate::error::Result;
use crate::example::Example;
use crate::files::{missing_image, read, utf8};
use crate::report::{Finding, FindingKind, Source};

/// The form of a line.
const EXPECTED: &str = r#"{"image": "..", "prefix": "..", "suffix": ".."}"#;

/// Reads a file of lines. Image paths are relative to its folder. Empty lines are skipped.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn read_jsonl(file: &Path, default_prefix: Option<&str>) -> Result<Contents> {
    let bytes = read(file)?;
    let mut contents = Contents::default();
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (index, line) in lines {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let source = Source::line(file, index + 1);
        match example(line, file, source.clone(), default_prefix) {
            Ok(example) => match missing_image(&source, &example.image) {
                Some(finding) => contents.findings.push(finding),
                None => contents.examples.push(example),
            },
            Err((found, expected)) => contents.findings.push(Finding::error(
                source,
                FindingKind::Malformed,
                found,
                expected,
            )),
        }
    }
    Ok(contents)
}

/// Parses a line; otherwise returns what was found and what was expected.
fn example(
    line: &[u8],
    file: &Path,
    source: Source,
    default_prefix: Option<&str>,
) -> Result<Example, (String, String)> {
    let line = utf8(line).map_err(|found| (found, "UTF-8".to_owned()))?;
    let value: Value =
        serde_json::from_str(line).map_err(|error| (json_error(&error), EXPECTED.to_owned()))?;
    let Value::Object(keys) = value else {
        return Err((json_type(&value).to_owned(), EXPECTED.to_owned()));
    };
    let image = text(&keys, "image")?;
    let prefix = match (keys.contains_key("prefix"), default_prefix) {
        (false, Some(prefix)) => prefix.to_owned(),
        _ => text(&keys, "prefix")?,
    };
    let suffix = text(&keys, "suffix")?;
    let folder = file.parent().unwrap_or(Path::new(""));
    Ok(Example::new(folder.join(image), prefix, suffix, source))
}

fn text(keys: &Map<String, Value>, key: &str) -> Result<String, (String, String)> {
    let found = match keys.get(key) {
        Some(Value::String(text)) => return Ok(text.clone()),
        Some(other) => json_type(other),
        None => "nothing",
    };
    Err((format!("{found} at `{key}`"), "a string".to_owned()))
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The message of a syntax error in one line, with the column instead of serde's line and column.
fn json_error(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    format!("invalid JSON at column {}: {reason}", error.column())
}
