//! Conversion of text to token ids and back, with the `tokenizers` crate.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use florence2_postprocess::BINS;
use tokenizers::AddedToken;

use crate::error::{Error, Result};
use crate::tokenizer_files::{self as files, Built, TokenizerFiles};

/// Florence-2's tokens before `<loc_0>` to `<loc_999>` in Microsoft's order.
const BEFORE_LOCATIONS: [&str; 4] = ["<od>", "</od>", "<ocr>", "</ocr>"];
/// Florence-2's tokens after the location tokens. The misspelling is the model's.
const AFTER_LOCATIONS: [&str; 20] = [
    "<cap>",
    "</cap>",
    "<ncap>",
    "</ncap>",
    "<dcap>",
    "</dcap>",
    "<grounding>",
    "</grounding>",
    "<seg>",
    "</seg>",
    "<sep>",
    "<region_cap>",
    "</region_cap>",
    "<region_to_desciption>",
    "</region_to_desciption>",
    "<proposal>",
    "</proposal>",
    "<poly>",
    "</poly>",
    "<and>",
];

/// Byte-level BPE with Florence-2's added tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    pad_token_id: u32,
    id_limit: usize,
    /// The ids of the bos, eos and pad tokens, which frame an answer.
    frame_token_ids: Vec<u32>,
    /// The ids of `<loc_0>` to `<loc_999>`, if they are contiguous.
    location_ids: Option<Range<u32>>,
}

impl Tokenizer {
    /// Reads a model folder's `tokenizer.json`, otherwise its `vocab.json` and `merges.txt`, with
    /// the optional files of [`TokenizerFiles`].
    ///
    /// # Errors
    /// [`Error::Io`] if none exists or one cannot be read, [`Error::Malformed`] naming the file.
    pub fn from_dir(directory: &Path) -> Result<Self> {
        let mut stored = HashMap::new();
        for name in files::NAMES {
            if let Some(contents) = read_optional(&directory.join(name))? {
                stored.insert(name, contents);
            }
        }
        let contents = TokenizerFiles::new(|name| stored.get(name).map(Vec::as_slice));
        let name = if contents.tokenizer_json.is_some() {
            files::TOKENIZER_JSON
        } else {
            files::VOCAB
        };
        let file = directory.join(name).display().to_string();
        Self::new(files::build(&contents, Some(directory))?, &file)
    }

    /// Builds a tokenizer from the contents of its files.
    ///
    /// # Errors
    /// [`Error::Io`] if neither `tokenizer.json` nor both `vocab.json` and `merges.txt` are given,
    /// [`Error::Malformed`] naming the file.
    pub fn from_files(contents: &TokenizerFiles<'_>) -> Result<Self> {
        Self::new(files::build(contents, None)?, "tokenizer")
    }

    /// Builds a tokenizer from the contents of a `tokenizer.json`. `file` is the file name for
    /// errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the file.
    pub fn from_json(json: &[u8], file: &str) -> Result<Self> {
        let contents = TokenizerFiles {
            tokenizer_json: Some(json),
            ..TokenizerFiles::default()
        };
        let path = Path::new(file);
        let named = path
            .file_name()
            .is_some_and(|name| name == files::TOKENIZER_JSON);
        let folder = path.parent().filter(|_| named);
        Self::new(files::build(&contents, folder)?, file)
    }

    fn new(built: Built, file: &str) -> Result<Self> {
        let Built {
            mut tokenizer,
            roles,
            id_limit,
        } = built;
        register_florence_tokens(&mut tokenizer);
        let added = tokenizer.get_added_vocabulary().get_vocab();
        let id_limit = id_limit.max(files::limit_of(added.values()));
        let id = |role: &str, default: &str| {
            let token = roles.get(role).map_or(default, String::as_str);
            tokenizer.token_to_id(token)
        };
        let pad_token_id = id("pad_token", "<pad>").ok_or_else(|| {
            Error::malformed(file, "`pad_token`: token `<pad>` is missing, expected one")
        })?;
        let frame_token_ids = [
            id("bos_token", "<s>"),
            id("eos_token", "</s>"),
            Some(pad_token_id),
        ];
        Ok(Self {
            frame_token_ids: frame_token_ids.into_iter().flatten().collect(),
            location_ids: contiguous_locations(&tokenizer),
            pad_token_id,
            id_limit,
            tokenizer,
        })
    }

    /// Encodes a prompt to token ids: `<s>` text `</s>`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the tokenizer cannot represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, true)
            .map_err(|error| Error::malformed("tokenizer", error))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The first location token (`<loc_0>` to `<loc_999>`) in a text that is missing in this
    /// vocabulary.
    pub(crate) fn missing_location<'t>(&self, text: &'t str) -> Option<&'t str> {
        let added = self.tokenizer.get_added_vocabulary().get_vocab();
        text.match_indices("<loc_")
            .filter_map(|(begin, _)| location_at(&text[begin..]))
            .find(|token| !added.contains_key(*token))
    }

    /// Decodes token ids to text. Special tokens are kept.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_spans(ids).0
    }

    /// Decodes token ids to text and returns the byte range of each id in it. Special tokens are
    /// kept.
    ///
    /// A character encoded by several ids belongs to the id that completes it. Invalid UTF-8
    /// becomes U+FFFD. Ids outside the vocabulary have an empty range.
    pub fn decode_spans(&self, ids: &[u32]) -> (String, Vec<Range<usize>>) {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(token) = self.tokenizer.id_to_token(*id) {
                bytes.extend(token_bytes(&token));
            }
            ends.push(bytes.len());
        }
        let (text, boundaries) = decode_lossy(&bytes);
        let mut start = 0;
        let spans = ends.iter().map(|end| {
            // The last character that ends at or before this byte.
            let index = boundaries.partition_point(|(byte, _)| byte <= end) - 1;
            let span = start..boundaries[index].1;
            start = span.end;
            span
        });
        let spans = spans.collect();
        (text, spans)
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The token of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The bytes of text that a token represents; empty for ids outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let token = self.tokenizer.id_to_token(id);
        token.map_or_else(Vec::new, |token| token_bytes(&token))
    }

    /// The number of entries, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// One more than the largest id. Vocabularies may have gaps, so this can exceed
    /// [`Self::vocab_size`].
    pub fn id_limit(&self) -> usize {
        self.id_limit
    }

    /// The ids of `<loc_0>` to `<loc_999>`, in order. `None` if the vocabulary lacks one of them or if
    /// their ids are not contiguous.
    pub fn location_ids(&self) -> Option<Range<u32>> {
        self.location_ids.clone()
    }

    /// The id of the padding token.
    pub fn pad_token_id(&self) -> u32 {
        self.pad_token_id
    }
}

/// An incremental decoder that returns the text of each token, to display an answer during
/// generation.
///
/// A character encoded by several tokens is returned with the last of them. The tokens that frame
/// every answer, `<s>`, `</s>` and `<pad>`, produce no text.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The bytes of an incomplete character.
    pending: Vec<u8>,
}

impl<'a> TextStream<'a> {
    /// Creates a decoder at the start of an answer.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            pending: Vec::new(),
        }
    }

    /// Decodes the next token and returns the text that it adds.
    pub fn push(&mut self, token_id: u32) -> String {
        let complete = if self.tokenizer.frame_token_ids.contains(&token_id) {
            // All bytes are returned: no later token completes the character.
            self.pending.len()
        } else {
            if let Some(token) = self.tokenizer.id_to_token(token_id) {
                self.pending.extend(token_bytes(&token));
            }
            complete_length(&self.pending)
        };
        let (text, _) = decode_lossy(&self.pending[..complete]);
        self.pending.drain(..complete);
        text
    }
}

/// The length of the bytes without an incomplete character at their end.
fn complete_length(bytes: &[u8]) -> usize {
    let tail = bytes
        .utf8_chunks()
        .last()
        .map_or(&[][..], |chunk| chunk.invalid());
    let incomplete = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    match incomplete {
        true => bytes.len() - tail.len(),
        false => bytes.len(),
    }
}

/// Reads a file; `None` if it does not exist.
fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The token `<loc_N>` at the start of a text, with N below [`BINS`].
fn location_at(text: &str) -> Option<&str> {
    const PREFIX: usize = "<loc_".len();
    let digits = text.get(PREFIX..)?.bytes().take_while(u8::is_ascii_digit);
    let end = PREFIX + digits.count();
    let bin: u32 = text[PREFIX..end].parse().ok()?;
    let is_token = bin < BINS && text[end..].starts_with('>');
    is_token.then(|| &text[..=end])
}

/// The ids of `<loc_0>` to `<loc_999>`; `None` if one is missing or if they are not contiguous.
fn contiguous_locations(tokenizer: &tokenizers::Tokenizer) -> Option<Range<u32>> {
    let id = |bin: u32| tokenizer.token_to_id(&format!("<loc_{bin}>"));
    let first = id(0)?;
    let end = first.checked_add(BINS)?;
    (1..BINS)
        .all(|bin| id(bin) == Some(first + bin))
        .then_some(first..end)
}

/// Registers Florence-2's tokens as Microsoft's processor does. Plain entries of the vocabulary
/// become added tokens. If the vocabulary contains no location token (as BART's), all tokens are
/// appended to it. The ids may have any position and order.
fn register_florence_tokens(tokenizer: &mut tokenizers::Tokenizer) {
    let locations: Vec<String> = (0..BINS).map(|bin| format!("<loc_{bin}>")).collect();
    let is_known = |token: &str| tokenizer.token_to_id(token).is_some();
    let append = !locations.iter().any(|token| is_known(token));
    let added = tokenizer.get_added_vocabulary().get_vocab();
    let missing: Vec<AddedToken> = BEFORE_LOCATIONS
        .into_iter()
        .chain(locations.iter().map(String::as_str))
        .chain(AFTER_LOCATIONS)
        .filter(|token| !added.contains_key(*token) && (append || is_known(token)))
        .map(|token| AddedToken::from(token, true))
        .collect();
    if !missing.is_empty() {
        tokenizer.add_special_tokens(&missing);
    }
}

/// The bytes that a token represents: GPT-2's alphabet maps each byte to one printable character.
fn token_bytes(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(char_byte).collect();
    // An added token may contain characters outside the alphabet. It represents its own UTF-8.
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// Bytes that the alphabet maps to the character with the same code.
const PRINTABLE: [std::ops::RangeInclusive<u32>; 3] = [0x21..=0x7E, 0xA1..=0xAC, 0xAE..=0xFF];

fn char_byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    if PRINTABLE.iter().any(|range| range.contains(&code)) {
        return Some(code as u8);
    }
    // The alphabet maps the other bytes to U+0100 onwards, in order.
    let index = code.checked_sub(0x100)? as usize;
    (0..=255u32)
        .filter(|byte| !PRINTABLE.iter().any(|range| range.contains(byte)))
        .nth(index)
        .map(|byte| byte as u8)
}

/// Decodes UTF-8 with U+FFFD for invalid bytes. Returns the text, and the pairs (bytes read, bytes
/// of text) at the start and after every character.
fn decode_lossy(bytes: &[u8]) -> (String, Vec<(usize, usize)>) {
    let mut text = String::with_capacity(bytes.len());
    let mut boundaries = vec![(0, 0)];
    let mut read = 0;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            text.push(character);
            read += character.len_utf8();
            boundaries.push((read, text.len()));
        }
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            read += chunk.invalid().len();
            boundaries.push((read, text.len()));
        }
    }
    (text, boundaries)
}
