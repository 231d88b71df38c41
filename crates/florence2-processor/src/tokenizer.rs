//! Text to ids and back, by the `tokenizers` crate over either layout's files.

use std::ops::Range;
use std::path::Path;

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper, PreTokenizerWrapper};

use crate::error::{Error, Result};

/// Location tokens `<loc_0>` to `<loc_999>`.
const LOCATIONS: usize = 1000;
const BEFORE_LOCATIONS: [&str; 4] = ["<od>", "</od>", "<ocr>", "</ocr>"];
/// The misspelling is the model's.
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

/// BART's own special tokens; only `<mask>` takes the space before it.
const BASE_SPECIAL: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

/// Byte-level BPE with Florence-2's added tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    bos_token_id: u32,
    pad_token_id: u32,
    eos_token_id: u32,
}

impl Tokenizer {
    /// Reads a model folder's `tokenizer.json`, else its `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// [`Error::Io`] when none is there, [`Error::Malformed`] naming the file.
    pub fn from_dir(directory: &Path) -> Result<Self> {
        let json = directory.join("tokenizer.json");
        if json.exists() {
            let bytes = std::fs::read(&json).map_err(|source| Error::Io {
                path: json.clone(),
                source,
            })?;
            return Self::from_json(&bytes, &json.display().to_string());
        }
        let (vocab, merges) = (directory.join("vocab.json"), directory.join("merges.txt"));
        if !(vocab.exists() && merges.exists()) {
            let source = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "no tokenizer.json, nor vocab.json with merges.txt",
            );
            return Err(Error::Io {
                path: directory.to_owned(),
                source,
            });
        }
        Self::from_vocab_and_merges(&vocab, &merges)
    }

    /// Reads a `tokenizer.json`. `file` is named in errors.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the file.
    pub fn from_json(json: &[u8], file: &str) -> Result<Self> {
        let tokenizer = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|error| Error::malformed(file, error))?;
        Self::new(tokenizer, file)
    }

    fn from_vocab_and_merges(vocab: &Path, merges: &Path) -> Result<Self> {
        let file = vocab.display().to_string();
        let bpe = BPE::from_file(&vocab.display().to_string(), &merges.display().to_string())
            .build()
            .map_err(|error| Error::malformed(&file, error))?;
        let mut tokenizer = tokenizers::Tokenizer::new(ModelWrapper::BPE(bpe));
        let byte_level = ByteLevel::new(false, true, true);
        tokenizer
            .with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(byte_level)))
            .with_decoder(Some(DecoderWrapper::ByteLevel(byte_level)));
        let special = BASE_SPECIAL.map(|token| added(token).lstrip(token == "<mask>"));
        tokenizer.add_special_tokens(&special);
        Self::new(tokenizer, &file)
    }

    fn new(mut tokenizer: tokenizers::Tokenizer, file: &str) -> Result<Self> {
        // A prompt that is too long is an error of the model, never silently cut.
        tokenizer
            .with_truncation(None)
            .map_err(|error| Error::malformed(file, error))?
            .with_padding(None);
        append_missing(&mut tokenizer, file)?;
        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| {
                let reason = format!("token `{token}` is missing, expected BART's special tokens");
                Error::malformed(file, reason)
            })
        };
        let (bos_token_id, pad_token_id, eos_token_id) = (id("<s>")?, id("<pad>")?, id("</s>")?);
        Ok(Self {
            tokenizer,
            bos_token_id,
            pad_token_id,
            eos_token_id,
        })
    }

    /// The ids of a prompt: `<s>` text `</s>`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the tokenizer cannot represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| Error::malformed("tokenizer", error))?;
        let mut ids = Vec::with_capacity(encoding.len() + 2);
        ids.push(self.bos_token_id);
        ids.extend_from_slice(encoding.get_ids());
        ids.push(self.eos_token_id);
        Ok(ids)
    }

    /// The text of ids, special tokens kept.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_spans(ids).0
    }

    /// The text of ids, special tokens kept, and the bytes of it that each id wrote.
    ///
    /// A character written by several ids belongs to the one that completes it. Bytes that are no
    /// UTF-8 become U+FFFD; ids outside the vocabulary write nothing.
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
            // The last character that is complete by this byte.
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

    /// Entries, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The padding token.
    pub fn pad_token_id(&self) -> u32 {
        self.pad_token_id
    }
}

/// The texts of tokens as they come, for a reader who watches an answer grow.
///
/// A character that several tokens write comes with the last of them. The tokens that frame every
/// answer, `<s>`, `</s>` and `<pad>`, write nothing.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// Bytes of a character that is not complete yet.
    pending: Vec<u8>,
}

impl<'a> TextStream<'a> {
    /// The beginning of an answer.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            pending: Vec::new(),
        }
    }

    /// What the next token adds to the text.
    pub fn push(&mut self, token_id: u32) -> String {
        let Tokenizer {
            tokenizer,
            bos_token_id,
            pad_token_id,
            eos_token_id,
        } = self.tokenizer;
        let complete = if [*bos_token_id, *pad_token_id, *eos_token_id].contains(&token_id) {
            // Nothing completes the character any more.
            self.pending.len()
        } else {
            if let Some(token) = tokenizer.id_to_token(token_id) {
                self.pending.extend(token_bytes(&token));
            }
            complete_length(&self.pending)
        };
        let (text, _) = decode_lossy(&self.pending[..complete]);
        self.pending.drain(..complete);
        text
    }
}

/// The bytes before a character that further bytes may complete.
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

fn added(token: &str) -> AddedToken {
    AddedToken::from(token, true).normalized(false)
}

/// Microsoft's `tokenizer.json` lacks Florence-2's tokens: its processor appends them. Whoever has
/// them must have them in a row, or every location would be another.
fn append_missing(tokenizer: &mut tokenizers::Tokenizer, file: &str) -> Result<()> {
    let tokens: Vec<String> = BEFORE_LOCATIONS
        .iter()
        .map(|token| (*token).to_owned())
        .chain((0..LOCATIONS).map(|bin| format!("<loc_{bin}>")))
        .chain(AFTER_LOCATIONS.iter().map(|token| (*token).to_owned()))
        .collect();
    let missing: Vec<AddedToken> = tokens
        .iter()
        .filter(|token| tokenizer.token_to_id(token).is_none())
        .map(|token| added(token))
        .collect();
    tokenizer.add_special_tokens(&missing);
    let first = tokenizer.token_to_id(&tokens[0]).unwrap_or_default();
    for (expected, token) in (first..).zip(&tokens) {
        let found = tokenizer.token_to_id(token);
        if found != Some(expected) {
            // INVARIANT: those that were missing have been added.
            let found = found.expect("an id per token");
            let reason = format!("token `{token}`: found id {found}, expected {expected}");
            return Err(Error::malformed(file, reason));
        }
    }
    Ok(())
}

/// The bytes that a token stands for: GPT-2's alphabet writes each byte as one printable character.
fn token_bytes(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(char_byte).collect();
    // An added token may hold characters outside the alphabet: it stands for itself.
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// Bytes that the alphabet writes as themselves.
const PRINTABLE: [std::ops::RangeInclusive<u32>; 3] = [0x21..=0x7E, 0xA1..=0xAC, 0xAE..=0xFF];

fn char_byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    if PRINTABLE.iter().any(|range| range.contains(&code)) {
        return Some(code as u8);
    }
    // The others follow from U+0100 on, in order.
    let index = code.checked_sub(0x100)? as usize;
    (0..=255u32)
        .filter(|byte| !PRINTABLE.iter().any(|range| range.contains(byte)))
        .nth(index)
        .map(|byte| byte as u8)
}

/// UTF-8 with U+FFFD for what is not, and (bytes read, text written) after every character.
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
