//! The configuration of the post-processor: `post_processor_config` in `processor_config.json`.

use std::path::Path;

use florence2_postprocess::PostProcessorConfig;
use serde_json::{Map, Value};

use crate::config::{PROCESSOR_CONFIG, read};
use crate::error::{Error, Result};

/// The default of `ocr.PATTERN`. The parser has no other pattern.
const OCR_PATTERN: &str = r"(.+?)<loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)><loc_(\d+)>";

/// Reads `post_processor_config` of a folder's `processor_config.json`. The result is the default if
/// the file or the key is missing.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Malformed`] naming the file and the key.
pub(crate) fn from_dir(directory: &Path) -> Result<PostProcessorConfig> {
    let path = directory.join(PROCESSOR_CONFIG);
    if !path.exists() {
        return Ok(PostProcessorConfig::default());
    }
    from_json(&read(&path)?, &path.display().to_string())
}

/// As [`from_dir`], from files in memory.
pub(crate) fn from_files<'a>(
    file: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<PostProcessorConfig> {
    match file(PROCESSOR_CONFIG) {
        Some(json) => from_json(json, PROCESSOR_CONFIG),
        None => Ok(PostProcessorConfig::default()),
    }
}

/// Reads `post_processor_config` of a `processor_config.json`. A null means that a key is not set.
/// Other keys than those of `Florence2PostProcessor` are ignored, as in transformers. The published
/// files contain `pattern` and `area_threshold` in lower case, which transformers ignores too.
///
/// As in transformers, a `phrase_grounding` without `banned_grounding_tokens` bans no phrase. A
/// configuration without `phrase_grounding`, with which transformers rejects the task, has the
/// default phrases.
fn from_json(json: &[u8], file: &str) -> Result<PostProcessorConfig> {
    let fields = serde_json::from_slice(json).map_err(|error| Error::malformed(file, error))?;
    let root = Object {
        file,
        path: String::new(),
        fields: &fields,
    };
    let mut config = PostProcessorConfig::default();
    let Some(tasks) = root.object("post_processor_config")? else {
        return Ok(config);
    };
    if let Some(grounding) = tasks.object("phrase_grounding")? {
        config = config.banned_phrases(grounding.texts("banned_grounding_tokens")?);
    }
    if let Some(ocr) = tasks.object("ocr")? {
        check_pattern(&ocr)?;
        config = config.ocr_area_threshold(ocr.number("AREA_THRESHOLD")?.unwrap_or(0.0));
    }
    Ok(config)
}

/// Returns an error for a pattern that the parser does not have.
fn check_pattern(ocr: &Object<'_>) -> Result<()> {
    match ocr.text("PATTERN")? {
        Some(pattern) if pattern != OCR_PATTERN => {
            let expected = format!("{OCR_PATTERN:?}, the only supported pattern");
            Err(ocr.error("PATTERN", &format!("{pattern:?}"), &expected))
        }
        _ => Ok(()),
    }
}

/// A JSON object of a file. Its methods return the value of a key; `None` if the key is missing or
/// its value is null; [`Error::Malformed`] if the value has another type.
struct Object<'a> {
    file: &'a str,
    /// The path of the object within the file, with a dot at its end unless it is empty.
    path: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    fn get<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.fields.get(key).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let wrong_type = || {
            let found = match value {
                Value::Array(_) => "an array".to_owned(),
                Value::Object(_) => "an object".to_owned(),
                scalar => scalar.to_string(),
            };
            self.error(key, &found, expected)
        };
        convert(value).map(Some).ok_or_else(wrong_type)
    }

    fn object(&self, key: &str) -> Result<Option<Self>> {
        let fields = self.get(key, "an object", Value::as_object)?;
        Ok(fields.map(|fields| Self {
            file: self.file,
            path: format!("{}{key}.", self.path),
            fields,
        }))
    }

    fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::as_f64)
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a string", Value::as_str)
    }

    /// The strings of an array; none if the key is missing.
    fn texts(&self, key: &str) -> Result<Vec<&'a str>> {
        let texts = |value: &'a Value| value.as_array()?.iter().map(Value::as_str).collect();
        Ok(self
            .get(key, "an array of strings", texts)?
            .unwrap_or_default())
    }

    fn error(&self, key: &str, found: &str, expected: &str) -> Error {
        let path = &self.path;
        let reason = format!("`{path}{key}`: found {found}, expected {expected}");
        Error::malformed(self.file, reason)
    }
}
