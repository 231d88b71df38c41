//! Builds a tokenizer from a model folder's files by the rules of transformers 5.17's
//! `AutoTokenizer`.
//!
//! For the classes of BART and RoBERTa, transformers takes vocabulary, merges and added tokens from
//! the files and builds the rest itself: byte-level pre-tokenization with the `add_prefix_space` of
//! `tokenizer_config.json`, no normalizer, `cls_token` and `sep_token` around every text. For any
//! other class, it uses `tokenizer.json` unchanged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use crate::error::{Error, Result};
use crate::ordered_json::{Json, Object, Ordered};

/// The contents of a tokenizer's files: `tokenizer.json`, or `vocab.json` with `merges.txt`. The
/// others are optional.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`.
    pub tokenizer_json: Option<&'a [u8]>,
    /// `vocab.json`.
    pub vocab_json: Option<&'a [u8]>,
    /// `merges.txt`.
    pub merges_txt: Option<&'a [u8]>,
    /// `added_tokens.json`.
    pub added_tokens: Option<&'a [u8]>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<&'a [u8]>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<&'a [u8]>,
}

/// Names of the files in a model folder.
pub(crate) const NAMES: [&str; 6] = [
    TOKENIZER_JSON,
    VOCAB,
    MERGES,
    ADDED_TOKENS,
    SPECIAL_TOKENS_MAP,
    TOKENIZER_CONFIG,
];
pub(crate) const TOKENIZER_JSON: &str = "tokenizer.json";
pub(crate) const VOCAB: &str = "vocab.json";
pub(crate) const MERGES: &str = "merges.txt";
pub(crate) const ADDED_TOKENS: &str = "added_tokens.json";
pub(crate) const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

impl<'a> TokenizerFiles<'a> {
    /// Takes the files of a model folder by name: `file` returns the contents of the file of a name.
    pub fn new(file: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        Self {
            tokenizer_json: file(TOKENIZER_JSON),
            vocab_json: file(VOCAB),
            merges_txt: file(MERGES),
            added_tokens: file(ADDED_TOKENS),
            special_tokens_map: file(SPECIAL_TOKENS_MAP),
            tokenizer_config: file(TOKENIZER_CONFIG),
        }
    }
}

/// The roles of special tokens in transformers' order, with the defaults of `RobertaTokenizer`.
const ROLES: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("sep_token", "</s>"),
    ("pad_token", "<pad>"),
    ("cls_token", "<s>"),
    ("mask_token", "<mask>"),
];

/// A tokenizer built by transformers' rules, and its tokens with a role.
pub(crate) struct Built {
    pub(crate) tokenizer: tokenizers::Tokenizer,
    /// Role (such as `pad_token`) to token.
    pub(crate) roles: HashMap<String, String>,
    /// One more than the largest id of the vocabulary without added tokens, which may have gaps.
    pub(crate) id_limit: usize,
}

/// Builds the tokenizer. Errors name a file by its path in `folder`.
pub(crate) fn build(files: &TokenizerFiles<'_>, folder: Option<&Path>) -> Result<Built> {
    Builder { files, folder }.build()
}

struct Builder<'a> {
    files: &'a TokenizerFiles<'a>,
    folder: Option<&'a Path>,
}

/// A token in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Token {
    Text(String),
    Full(TokenFields),
}

/// The fields of transformers' `AddedToken`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TokenFields {
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    /// If absent, a token is normalized unless it is special.
    normalized: Option<bool>,
    special: bool,
}

/// The part of `tokenizer.json` that BART's tokenizer classes read.
#[derive(Deserialize)]
struct TokenizerJson {
    model: ModelJson,
    #[serde(default)]
    added_tokens: Vec<AddedTokenJson>,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Vocab,
    #[serde(default)]
    merges: MergesJson,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MergesJson {
    Pairs(Merges),
    Lines(Vec<String>),
}

impl Default for MergesJson {
    fn default() -> Self {
        Self::Pairs(Merges::new())
    }
}

#[derive(Deserialize)]
struct AddedTokenJson {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// The added tokens of the files by id, and every token with a role, in transformers' order.
#[derive(Default)]
struct Tokens {
    added: BTreeMap<u32, TokenFields>,
    roles: Ordered<Token>,
    extra: Vec<Token>,
}

impl Builder<'_> {
    fn build(&self) -> Result<Built> {
        let settings = self.settings()?;
        let class = match settings.get("tokenizer_class") {
            Some(Json::Text(class)) => Some(class.trim_end_matches("Fast").to_owned()),
            _ => None,
        };
        let rebuilt = self.files.tokenizer_json.is_none()
            || matches!(
                class.as_deref(),
                None | Some("BartTokenizer" | "RobertaTokenizer")
            );
        let (mut tokenizer, from_json, id_limit) = if rebuilt {
            let (model, added, id_limit) = self.model()?;
            let prefix = self.flag(&settings, "add_prefix_space")?;
            (byte_level(model, prefix), added, id_limit)
        } else {
            self.whole()?
        };
        let tokens = self.tokens(&settings, from_json, rebuilt)?;
        if self.flag(&settings, "split_special_tokens")? {
            tokenizer.set_encode_special_tokens(true);
        }
        let missing = tokens.missing_in(&tokenizer);
        tokenizer.add_tokens(&missing);
        let roles: HashMap<String, String> = tokens
            .roles
            .iter()
            .map(|(role, token)| (role.to_owned(), token.content().to_owned()))
            .collect();
        if rebuilt {
            let frame = self.frame(&tokenizer, &roles)?;
            tokenizer.with_post_processor(Some(PostProcessorWrapper::Roberta(frame)));
        }
        Ok(Built {
            tokenizer,
            roles,
            id_limit,
        })
    }

    /// The name of a file for error messages.
    fn name(&self, file: &str) -> String {
        match self.folder {
            Some(folder) => folder.join(file).display().to_string(),
            None => file.to_owned(),
        }
    }

    fn malformed(&self, file: &str, reason: impl std::fmt::Display) -> Error {
        Error::malformed(self.name(file), reason)
    }

    fn parse<T: DeserializeOwned>(&self, json: &[u8], file: &str) -> Result<T> {
        serde_json::from_slice(json).map_err(|error| self.malformed(file, error))
    }

    /// Parses a file that contains an object. The result is empty if the file is absent.
    fn object(&self, json: Option<&[u8]>, file: &str) -> Result<Object> {
        let Some(json) = json else {
            return Ok(Object::default());
        };
        match self.parse(json, file)? {
            Json::Object(object) => Ok(object),
            other => {
                let reason = format!("found {}, expected an object", other.kind());
                Err(self.malformed(file, reason))
            }
        }
    }

    /// `tokenizer_config.json`, merged with `special_tokens_map.json` if it has no
    /// `added_tokens_decoder`, as in transformers.
    fn settings(&self) -> Result<Object> {
        let mut settings = self.object(self.files.tokenizer_config, TOKENIZER_CONFIG)?;
        sort_extra_tokens(&mut settings);
        if settings.get("added_tokens_decoder").is_some() {
            return Ok(settings);
        }
        let special = self.object(self.files.special_tokens_map, SPECIAL_TOKENS_MAP)?;
        for (role, token) in special.iter() {
            let token = match (role, token, settings.get(role)) {
                ("extra_special_tokens", Json::List(new), Some(Json::List(known))) => {
                    let unknown = new.iter().filter(|token| !known.contains(token));
                    Json::List(known.iter().chain(unknown).cloned().collect())
                }
                ("extra_special_tokens", ..) => token.clone(),
                (_, Json::Object(fields), _) => {
                    let mut fields = fields.clone();
                    fields.insert("special".to_owned(), Json::Bool(true));
                    Json::Object(fields)
                }
                _ => token.clone(),
            };
            settings.insert(role.to_owned(), token);
        }
        sort_extra_tokens(&mut settings);
        Ok(settings)
    }

    fn flag(&self, settings: &Object, key: &str) -> Result<bool> {
        match settings.get(key) {
            None | Some(Json::Null) => Ok(false),
            Some(Json::Bool(value)) => Ok(*value),
            Some(other) => {
                let reason = format!("`{key}`: found {}, expected a boolean", other.kind());
                Err(self.malformed(TOKENIZER_CONFIG, reason))
            }
        }
    }

    /// Returns the byte-pair encoding of `tokenizer.json`, or of `vocab.json` and `merges.txt`, the
    /// added tokens of the former, and one more than the largest id.
    fn model(&self) -> Result<(BPE, Vec<AddedTokenJson>, usize)> {
        let (vocab, merges, added, file) = match self.files.tokenizer_json {
            Some(json) => self.vocabulary_of_json(json)?,
            None => {
                let (vocab, merges) = self.vocabulary_of_two_files()?;
                (vocab, merges, Vec::new(), MERGES)
            }
        };
        let id_limit = limit_of(vocab.values());
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .build()
            .map_err(|error| self.malformed(file, error))?;
        Ok((bpe, added, id_limit))
    }

    fn vocabulary_of_json(
        &self,
        json: &[u8],
    ) -> Result<(Vocab, Merges, Vec<AddedTokenJson>, &'static str)> {
        let TokenizerJson {
            model,
            added_tokens,
        } = self.parse(json, TOKENIZER_JSON)?;
        if let Some(kind) = model.kind.filter(|kind| kind != "BPE") {
            let reason = format!("`model.type`: found `{kind}`, expected `BPE`");
            return Err(self.malformed(TOKENIZER_JSON, reason));
        }
        let merges = match model.merges {
            MergesJson::Pairs(merges) => merges,
            MergesJson::Lines(lines) => {
                let merges = lines.iter().map(|line| merge(line));
                let merges: Result<Merges, String> = merges.collect();
                merges.map_err(|reason| self.malformed(TOKENIZER_JSON, reason))?
            }
        };
        Ok((model.vocab, merges, added_tokens, TOKENIZER_JSON))
    }

    fn vocabulary_of_two_files(&self) -> Result<(Vocab, Merges)> {
        let (Some(vocab), Some(merges)) = (self.files.vocab_json, self.files.merges_txt) else {
            let source = std::io::Error::new(
                std::io::ErrorKind::NotFound,
                "no tokenizer.json, nor vocab.json with merges.txt",
            );
            let path = self.folder.unwrap_or(Path::new(TOKENIZER_JSON)).to_owned();
            return Err(Error::Io { path, source });
        };
        let vocab = self.parse(vocab, VOCAB)?;
        let merges = std::str::from_utf8(merges).map_err(|error| self.malformed(MERGES, error))?;
        let merges = merges
            .lines()
            .filter(|line| !line.starts_with("#version"))
            .map(merge)
            .collect::<Result<Merges, String>>()
            .map_err(|reason| self.malformed(MERGES, reason))?;
        Ok((vocab, merges))
    }

    /// Returns the tokenizer of an unchanged `tokenizer.json`, its added tokens, and one more than
    /// the largest id.
    fn whole(&self) -> Result<(tokenizers::Tokenizer, Vec<AddedTokenJson>, usize)> {
        let json = self.files.tokenizer_json.unwrap_or_default();
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|error| self.malformed(TOKENIZER_JSON, error))?;
        // A prompt that is too long is an error of the model. It is never truncated.
        tokenizer
            .with_truncation(None)
            .map_err(|error| self.malformed(TOKENIZER_JSON, error))?
            .with_padding(None);
        let added = tokenizer.get_added_tokens_decoder().into_iter();
        let added = added.map(|(id, token)| AddedTokenJson { id, token });
        let added = added.collect();
        let id_limit = limit_of(tokenizer.get_vocab(false).values());
        Ok((tokenizer, added, id_limit))
    }

    /// All tokens that the configuration names.
    fn tokens(
        &self,
        settings: &Object,
        from_json: Vec<AddedTokenJson>,
        rebuilt: bool,
    ) -> Result<Tokens> {
        let mut tokens = Tokens {
            extra: self.extra_tokens(settings)?,
            ..Tokens::default()
        };
        match settings.get("added_tokens_decoder") {
            Some(decoder) => tokens.added = self.added_tokens_decoder(decoder)?,
            None => {
                tokens.added = self.added_tokens_file(settings, &tokens.extra)?;
                for AddedTokenJson { id, token } in from_json {
                    tokens.added.insert(id, TokenFields::from(token));
                }
            }
        }
        tokens.roles = self.roles(settings, &tokens.added, rebuilt)?;
        Ok(tokens)
    }

    /// The list `extra_special_tokens`, named `additional_special_tokens` in older files.
    fn extra_tokens(&self, settings: &Object) -> Result<Vec<Token>> {
        let Some(Json::List(list)) = settings.get("extra_special_tokens") else {
            return Ok(Vec::new());
        };
        list.iter()
            .map(|token| self.token(token, "extra_special_tokens"))
            .collect()
    }

    fn added_tokens_decoder(&self, decoder: &Json) -> Result<BTreeMap<u32, TokenFields>> {
        const KEY: &str = "added_tokens_decoder";
        let Json::Object(decoder) = decoder else {
            let reason = format!("`{KEY}`: found {}, expected an object", decoder.kind());
            return Err(self.malformed(TOKENIZER_CONFIG, reason));
        };
        let mut added = BTreeMap::new();
        for (id, token) in decoder.iter() {
            let parsed = id.parse().map_err(|_| {
                let reason = format!("`{KEY}`: found the key `{id}`, expected a token id");
                self.malformed(TOKENIZER_CONFIG, reason)
            })?;
            let Token::Full(token) = self.token(token, KEY)? else {
                let reason = format!("`{KEY}.{id}`: found a string, expected an object");
                return Err(self.malformed(TOKENIZER_CONFIG, reason));
            };
            added.insert(parsed, token);
        }
        Ok(added)
    }

    /// `added_tokens.json`: tokens with their ids. Those with a role are special.
    fn added_tokens_file(
        &self,
        settings: &Object,
        extra: &[Token],
    ) -> Result<BTreeMap<u32, TokenFields>> {
        let file = self.object(self.files.added_tokens, ADDED_TOKENS)?;
        let mut special: HashSet<String> = HashSet::new();
        for (role, _) in ROLES {
            if let Some(token) = self.role(settings, role)? {
                special.insert(token.content().to_owned());
            }
        }
        special.extend(extra.iter().map(|token| token.content().to_owned()));
        let mut added = BTreeMap::new();
        for (content, id) in file.iter() {
            let parsed = match id {
                Json::Number(number) => number.as_u64().and_then(|id| u32::try_from(id).ok()),
                _ => None,
            };
            let Some(id) = parsed else {
                let reason = format!("`{content}`: expected a token id");
                return Err(self.malformed(ADDED_TOKENS, reason));
            };
            let mut token = TokenFields::new(content);
            token.special = special.contains(content);
            token.normalized = Some(!token.special);
            added.insert(id, token);
        }
        Ok(added)
    }

    /// The tokens with a role: the common roles first, then the model-specific ones (such as
    /// `image_token`).
    fn roles(
        &self,
        settings: &Object,
        added: &BTreeMap<u32, TokenFields>,
        rebuilt: bool,
    ) -> Result<Ordered<Token>> {
        let added: HashMap<&str, &TokenFields> = added
            .values()
            .map(|token| (token.content.as_str(), token))
            .collect();
        let mut roles = Ordered::default();
        for (role, default) in ROLES {
            let token = match settings.get(role) {
                Some(_) => self.role(settings, role)?.map(|token| {
                    let known = added.get(token.content());
                    known.map_or(token.clone(), |known| Token::Full((*known).clone()))
                }),
                None => rebuilt.then(|| Token::Text(default.to_owned())),
            };
            if let Some(token) = token {
                roles.insert(role.to_owned(), token);
            }
        }
        let is_own = |role: &str| {
            role.ends_with("_token") && ROLES.iter().all(|(common, _)| *common != role)
        };
        let own = settings.iter().filter(|(role, _)| is_own(role));
        // transformers places objects before strings.
        let (objects, texts): (Vec<_>, Vec<_>) = own
            .filter(|(_, token)| matches!(token, Json::Text(_) | Json::Object(_)))
            .partition(|(_, token)| matches!(token, Json::Object(_)));
        let extra = match settings.get(OWN_ROLES) {
            Some(Json::Object(extra)) => extra.iter().collect(),
            _ => Vec::new(),
        };
        for (role, token) in objects.into_iter().chain(texts).chain(extra) {
            roles.insert(role.to_owned(), self.token(token, role)?);
        }
        Ok(roles)
    }

    fn role(&self, settings: &Object, role: &str) -> Result<Option<Token>> {
        match settings.get(role) {
            None | Some(Json::Null) => Ok(None),
            Some(token) => self.token(token, role).map(Some),
        }
    }

    /// Parses a token: a string, or an object of `AddedToken`'s fields.
    fn token(&self, json: &Json, key: &str) -> Result<Token> {
        let fail = |reason: String| self.malformed(TOKENIZER_CONFIG, format!("`{key}`: {reason}"));
        let object = match json {
            Json::Text(text) => return Ok(Token::Text(text.clone())),
            Json::Object(object) => object,
            other => return Err(fail(format!("found {}, expected a token", other.kind()))),
        };
        let Some(Json::Text(content)) = object.get("content") else {
            return Err(fail("expected a string in `content`".to_owned()));
        };
        let flag = |name: &str| match object.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(fail(format!(
                "`{name}`: found {}, expected a boolean",
                other.kind()
            ))),
        };
        Ok(Token::Full(TokenFields {
            content: content.clone(),
            single_word: flag("single_word")?.unwrap_or(false),
            lstrip: flag("lstrip")?.unwrap_or(false),
            rstrip: flag("rstrip")?.unwrap_or(false),
            normalized: flag("normalized")?,
            special: flag("special")?.unwrap_or(false),
        }))
    }

    /// The post-processor that adds tokens around every text.
    fn frame(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        roles: &HashMap<String, String>,
    ) -> Result<RobertaProcessing> {
        let token = |role: &str| {
            let token = roles.get(role).cloned();
            let id = token
                .as_deref()
                .and_then(|token| tokenizer.token_to_id(token));
            token.zip(id).ok_or_else(|| {
                let reason = format!("`{role}`: found none, expected a token");
                self.malformed(TOKENIZER_CONFIG, reason)
            })
        };
        Ok(RobertaProcessing::new(
            token("sep_token")?,
            token("cls_token")?,
        ))
    }
}

/// The key for tokens with model-specific roles, from an object under `extra_special_tokens`.
const OWN_ROLES: &str = "model_specific_special_tokens";

/// Moves `extra_special_tokens` to [`OWN_ROLES`] if it is an object. Renames the list
/// `additional_special_tokens` of older files to `extra_special_tokens`.
fn sort_extra_tokens(settings: &mut Object) {
    const EXTRA: &str = "extra_special_tokens";
    const ADDITIONAL: &str = "additional_special_tokens";
    if let Some(additional) = settings.remove(ADDITIONAL)
        && settings.get(EXTRA).is_none()
    {
        settings.insert(EXTRA.to_owned(), additional);
    }
    if matches!(settings.get(EXTRA), Some(Json::Object(_)))
        && let Some(roles) = settings.remove(EXTRA)
    {
        settings.insert(OWN_ROLES.to_owned(), roles);
    }
}

/// One more than the largest id.
pub(crate) fn limit_of<'a>(ids: impl Iterator<Item = &'a u32>) -> usize {
    ids.max().map_or(0, |id| *id as usize + 1)
}

fn byte_level(model: BPE, add_prefix_space: bool) -> tokenizers::Tokenizer {
    let mut tokenizer = tokenizers::Tokenizer::new(ModelWrapper::BPE(model));
    let pre_tokenizer = ByteLevel::new(add_prefix_space, true, true);
    tokenizer
        .with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(pre_tokenizer)))
        .with_decoder(Some(DecoderWrapper::ByteLevel(ByteLevel::default())));
    tokenizer
}

/// Parses a line of `merges.txt`: two tokens separated by a space.
fn merge(line: &str) -> Result<(String, String), String> {
    match line.split_once(' ') {
        Some((first, second)) if !second.contains(' ') => Ok((first.to_owned(), second.to_owned())),
        _ => Err(format!("found the merge `{line}`, expected two tokens")),
    }
}

impl Tokens {
    /// The tokens that are missing in the tokenizer or have other flags there, in transformers'
    /// order, which determines their ids.
    fn missing_in(&self, tokenizer: &tokenizers::Tokenizer) -> Vec<AddedToken> {
        let known = tokenizer.get_added_tokens_decoder();
        let known: HashMap<&str, &AddedToken> = known
            .values()
            .map(|token| (token.content.as_str(), token))
            .collect();
        let is_new = |token: &&TokenFields| {
            let known = known.get(token.content.as_str());
            known.is_none_or(|known| **known != token.to_added())
        };
        let added: Vec<&TokenFields> = self.added.values().filter(is_new).collect();
        let mut contents: HashSet<&str> = known.keys().copied().collect();
        contents.extend(added.iter().map(|token| token.content.as_str()));
        let mut seen = HashSet::new();
        let roles = self.roles.iter().map(|(_, token)| token);
        let missing = roles
            .chain(&self.extra)
            .filter(|token| !contents.contains(token.content()) && seen.insert(*token));
        let named: HashSet<&str> = self
            .roles
            .iter()
            .map(|(_, token)| token.content())
            .collect();
        let added = added.into_iter().cloned().map(Token::Full);
        added
            .chain(missing.cloned())
            .map(|token| {
                let mut fields = match token {
                    Token::Full(fields) => fields,
                    Token::Text(text) => TokenFields {
                        special: true,
                        ..TokenFields::new(&text)
                    },
                };
                fields.special |= named.contains(fields.content.as_str());
                fields.to_added()
            })
            .collect()
    }
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Self::Text(content) => content,
            Self::Full(fields) => &fields.content,
        }
    }
}

impl TokenFields {
    fn new(content: &str) -> Self {
        Self {
            content: content.to_owned(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: false,
        }
    }

    fn to_added(&self) -> AddedToken {
        AddedToken {
            content: self.content.clone(),
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized.unwrap_or(!self.special),
            special: self.special,
        }
    }
}

impl From<AddedToken> for TokenFields {
    fn from(token: AddedToken) -> Self {
        Self {
            content: token.content,
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: Some(token.normalized),
            special: token.special,
        }
    }
}
