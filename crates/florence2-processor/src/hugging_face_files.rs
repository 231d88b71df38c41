//! The files of the image processor and of the tokenizer for transformers.

use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{PREPROCESSOR_CONFIG, PROCESSOR_CONFIG, read};
use crate::error::{Error, Result};
use crate::ordered_json::{Json, Object};
use crate::processor::Florence2Processor;
use crate::tokenizer::Tokenizer;
use crate::tokenizer_files::{NAMES as TOKENIZER_FILES, TOKENIZER_CONFIG, TokenizerFiles};

/// The token that marks image positions in transformers' input.
const IMAGE_TOKEN: &str = "<image>";

/// The key of the tokens with a role of their own, and its older name.
const OWN_ROLES: [&str; 2] = ["model_specific_special_tokens", "extra_special_tokens"];

/// The files of the image processor and of the tokenizer as transformers 5.17's
/// `Florence2Processor.from_pretrained` reads them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HuggingFaceFiles {
    /// Name and content of each file.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// The id of the token that marks image positions, `<image>`.
    pub image_token_id: u32,
}

impl HuggingFaceFiles {
    /// Reads the files of a model folder. Those of Microsoft's layout are changed: the tokenizer
    /// receives the token `<image>`, with the next free id, as in transformers; and `auto_map`, which
    /// names Python files of that folder, is removed.
    ///
    /// # Errors
    /// Those of [`Florence2Processor::from_dir`], and [`Error::Malformed`] if
    /// `tokenizer_config.json` has model-specific tokens without `image_token`.
    pub fn from_dir(directory: &Path) -> Result<Self> {
        // Reports missing and invalid files.
        Florence2Processor::from_dir(directory)?;
        let mut files = Vec::new();
        for name in Florence2Processor::file_names() {
            let path = directory.join(name);
            if path.exists() {
                files.push((name, read(&path)?));
            }
        }
        let config = files.iter().find(|(name, _)| *name == TOKENIZER_CONFIG);
        let config = config.map_or(&b"{}"[..], |(_, content)| content);
        let path = directory.join(TOKENIZER_CONFIG).display().to_string();
        let (config, image_token) = with_image_token(config, &path)?;
        files.retain(|(name, _)| *name != TOKENIZER_CONFIG);
        files.push((TOKENIZER_CONFIG, config));
        for (name, content) in &mut files {
            if [PREPROCESSOR_CONFIG, PROCESSOR_CONFIG].contains(name) {
                remove_auto_map(content, &directory.join(name).display().to_string())?;
            }
        }
        let find = |name: &str| {
            let is_tokenizer = TOKENIZER_FILES.contains(&name);
            let mut files = files.iter().filter(|_| is_tokenizer);
            let file = files.find(|(file, _)| *file == name);
            file.map(|(_, content)| content.as_slice())
        };
        let tokenizer = Tokenizer::from_files(&TokenizerFiles::new(find))?;
        let image_token_id = tokenizer.token_to_id(&image_token).ok_or_else(|| {
            let reason = format!("`image_token`: found `{image_token}`, expected a token");
            Error::malformed(path, reason)
        })?;
        Ok(Self {
            files,
            image_token_id,
        })
    }
}

/// Returns `tokenizer_config.json` with an `image_token`, and this token. The order of the other
/// entries, which determines the ids of added tokens, is unchanged.
fn with_image_token(json: &[u8], file: &str) -> Result<(Vec<u8>, String)> {
    let settings: Json =
        serde_json::from_slice(json).map_err(|error| Error::malformed(file, error))?;
    let Json::Object(settings) = settings else {
        let reason = format!("found {}, expected an object", settings.kind());
        return Err(Error::malformed(file, reason));
    };
    for key in OWN_ROLES {
        let Some(Json::Object(roles)) = settings.get(key) else {
            continue;
        };
        return match roles.get("image_token").and_then(content_of) {
            Some(token) => Ok((json.to_vec(), token)),
            None => {
                let reason = format!("`{key}`: found no `image_token`, expected one");
                Err(Error::malformed(file, reason))
            }
        };
    }
    let entry = format!(r#""{}": {{"image_token": "{IMAGE_TOKEN}"}}"#, OWN_ROLES[0]);
    let separator = if is_empty(&settings) { "" } else { ", " };
    // INVARIANT: a JSON object starts with a brace.
    let start = json.iter().position(|byte| *byte == b'{').unwrap_or(0) + 1;
    let mut written = json[..start].to_vec();
    written.extend(format!("{entry}{separator}").bytes());
    written.extend(&json[start..]);
    Ok((written, IMAGE_TOKEN.to_owned()))
}

/// The text of a token, which is a string or an object with its flags.
fn content_of(token: &Json) -> Option<String> {
    match token {
        Json::Text(content) => Some(content.clone()),
        Json::Object(fields) => match fields.get("content") {
            Some(Json::Text(content)) => Some(content.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn is_empty(object: &Object) -> bool {
    object.iter().next().is_none()
}

/// Removes `auto_map`. A file without it is unchanged.
fn remove_auto_map(content: &mut Vec<u8>, file: &str) -> Result<()> {
    let mut fields: Map<String, Value> =
        serde_json::from_slice(content).map_err(|error| Error::malformed(file, error))?;
    if fields.remove("auto_map").is_some() {
        *content = format!("{:#}\n", Value::from(fields)).into_bytes();
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn changed(json: &str) -> Result<(String, String), String> {
        let (json, token) = with_image_token(json.as_bytes(), "tokenizer_config.json")
            .map_err(|error| error.to_string())?;
        Ok((String::from_utf8(json).unwrap(), token))
    }

    #[test]
    fn the_image_token_is_added_unless_it_has_a_role() {
        let added = r#""model_specific_special_tokens": {"image_token": "<image>"}"#;
        let image = "<image>".to_owned();
        for (json, expected) in [
            ("{}", format!("{{{added}}}")),
            (
                r#" {"extra_special_tokens": ["<a>"], "a": 1}"#,
                format!(r#" {{{added}, "extra_special_tokens": ["<a>"], "a": 1}}"#),
            ),
        ] {
            assert_eq!(changed(json), Ok((expected, image.clone())));
        }
        for (json, token) in [
            (r#"{"extra_special_tokens": {"image_token": "<i>"}}"#, "<i>"),
            (
                r#"{"model_specific_special_tokens": {"image_token": {"content": "<i>"}}}"#,
                "<i>",
            ),
        ] {
            assert_eq!(changed(json), Ok((json.to_owned(), token.to_owned())));
        }
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        for (json, expected) in [
            ("[]", "found a list, expected an object"),
            (
                r#"{"extra_special_tokens": {"a": "b"}}"#,
                "`extra_special_tokens`: found no `image_token`, expected one",
            ),
        ] {
            let expected = format!("tokenizer_config.json: {expected}");
            assert_eq!(changed(json), Err(expected));
        }
    }

    #[test]
    fn auto_map_is_removed() {
        let mut content = br#"{"auto_map": {"AutoProcessor": "a.B"}, "size": 3}"#.to_vec();
        remove_auto_map(&mut content, "preprocessor_config.json").unwrap();
        assert_eq!(content, b"{\n  \"size\": 3\n}\n");
        let mut content = b"{ \"size\": 3 }".to_vec();
        remove_auto_map(&mut content, "preprocessor_config.json").unwrap();
        assert_eq!(content, b"{ \"size\": 3 }");
    }
}
