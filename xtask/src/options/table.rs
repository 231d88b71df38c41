//! The table of generation options: `crates/florence2-core/generation_options.toml`, which describes
//! its own columns.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::workspace::Failure;

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// The options, in the order of the fields of the C struct.
    #[serde(rename = "option")]
    pub(crate) options: Vec<GenerationOption>,
    /// The other keys of `generation_config.json`.
    #[serde(rename = "key")]
    pub(crate) keys: Vec<OtherKey>,
}

/// A generation option.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerationOption {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    pub(crate) group: Group,
    doc: String,
    pub(crate) default: Option<Literal>,
    default_text: Option<String>,
    must: Option<String>,
    off: Option<i64>,
    pub(crate) form: Option<Form>,
    unit: Option<String>,
    c_name: Option<String>,
    c_off: Option<i64>,
}

/// The type of an option's value.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Count,
    Integer,
    Seed,
    F32,
    F64,
    Boolean,
    EarlyStopping,
    TokenIds,
    TokenSequences,
    SequenceBiases,
    Texts,
    Decay,
}

/// The group of an option, in the order of documentation.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Group {
    Length,
    Search,
    Sampling,
    Scores,
    Tokens,
}

/// A default or neutral value. Lists are empty.
#[derive(Deserialize, Clone, PartialEq)]
#[serde(untagged)]
pub(crate) enum Literal {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    List([(); 0]),
}

/// The further forms of a value.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    Count,
    OnlyTrue,
    TokenSet,
}

/// A key that is no option.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtherKey {
    pub(crate) name: String,
    pub(crate) treatment: Treatment,
    #[serde(default)]
    pub(crate) neutral: Vec<Literal>,
    #[serde(default)]
    pub(crate) note: String,
}

/// The treatment of an [`OtherKey`].
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Treatment {
    Files,
    Ignored,
    Warning,
    Error,
}

/// The names and words of a language in the text of an option.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Converts an option to the form in which a text refers to it.
    pub(crate) reference: fn(&GenerationOption) -> String,
    /// True in C, where 0 means "not set", and truth values are a `florence2_switch`.
    pub(crate) is_c: bool,
}

impl Table {
    /// Parses and checks the table.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let table: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut names = BTreeSet::new();
        let options = table.options.iter().map(|option| &option.name);
        for name in options.chain(table.keys.iter().map(|key| &key.name)) {
            if !names.insert(name) {
                return Err(format!("{name}: found two entries, expected one"));
            }
        }
        table.options.iter().try_for_each(GenerationOption::check)?;
        Ok(table)
    }

    /// The options in the order of documentation: by group, then in the order of the table.
    pub(crate) fn grouped(&self) -> Vec<&GenerationOption> {
        let mut options: Vec<&GenerationOption> = self.options.iter().collect();
        options.sort_by_key(|option| option.group);
        options
    }

    /// The options from one name to another, as `num_beams to top_k`. The last name may be `the
    /// last`.
    pub(crate) fn range(&self, range: &str) -> Result<&[GenerationOption], Failure> {
        let failure = || format!("found `{range}`, expected two options as `A to B`");
        let (first, last) = range.split_once(" to ").ok_or_else(failure)?;
        let position = |name: &str| self.options.iter().position(|option| option.name == name);
        let first = position(first).ok_or_else(failure)?;
        let last = match last {
            "the last" => self.options.len() - 1,
            name => position(name).ok_or_else(failure)?,
        };
        self.options.get(first..=last).ok_or_else(failure)
    }

    /// The text of an option: the sentence that summarises it, and the others.
    pub(crate) fn text(&self, option: &GenerationOption, style: Style) -> (String, String) {
        let mut text = option.doc.clone();
        let mut add = |sentence: &str| {
            text.push(' ');
            text.push_str(sentence);
        };
        // The range does not contain the value that disables the option in C.
        let must = option.must.as_ref();
        if let Some(must) = must.filter(|_| !(style.is_c && option.is_signed_in_c())) {
            add(&format!("Must be {must}."));
        }
        let default = option.default_words(style);
        match option.off_value(style).map(|off| off.to_string()) {
            Some(off) if default == off => {
                add(&format!("Default: {off}, which disables the option."));
            }
            Some(off) => add(&format!("{off} disables the option. Default: {default}.")),
            None => add(&format!("Default: {default}.")),
        }
        for other in &self.options {
            let name = format!("`{}`", other.name);
            if text.contains(&name) {
                text = text.replace(&name, &(style.reference)(other));
            }
        }
        match text.split_once(". ") {
            Some((summary, others)) => (format!("{summary}."), others.to_owned()),
            None => (text, String::new()),
        }
    }

    /// The text of an option as one paragraph.
    pub(crate) fn paragraph(&self, option: &GenerationOption, style: Style) -> String {
        let (summary, others) = self.text(option, style);
        format!("{summary} {others}")
    }
}

impl GenerationOption {
    fn check(&self) -> Result<(), Failure> {
        let name = &self.name;
        let failure = |expected: &str| Err(format!("{name}: expected {expected}"));
        let is_default_valid = match (self.kind, &self.default) {
            (Kind::Count | Kind::Seed, Some(Literal::Integer(number))) => *number >= 0,
            (Kind::Integer, Some(Literal::Integer(_)))
            | (Kind::F32 | Kind::F64, Some(Literal::Integer(_) | Literal::Number(_)))
            | (Kind::Boolean | Kind::EarlyStopping, Some(Literal::Boolean(_)))
            | (_, None) => true,
            (_, Some(Literal::List(_))) => self.is_list(),
            (_, Some(_)) => false,
        };
        if !is_default_valid {
            return failure("a default of the option's type");
        }
        let is_form_valid = match self.form {
            None => true,
            Some(Form::Count) => self.kind == Kind::Count,
            Some(Form::OnlyTrue) => self.kind == Kind::Boolean,
            Some(Form::TokenSet) => self.kind == Kind::TokenIds,
        };
        if !is_form_valid {
            return failure("a form of the option's type");
        }
        if self.kind == Kind::Integer && self.c_off.is_none() {
            return failure("`c_off`: the C API has no other form of an integer");
        }
        if !self.doc.ends_with('.') {
            return failure("a full stop at the end of `doc`");
        }
        Ok(())
    }

    /// True if the value is a list.
    pub(crate) fn is_list(&self) -> bool {
        use Kind::{SequenceBiases, Texts, TokenIds, TokenSequences};
        matches!(
            self.kind,
            TokenIds | TokenSequences | SequenceBiases | Texts
        )
    }

    /// Returns true if 0 is not a valid value.
    pub(crate) fn excludes_zero(&self) -> bool {
        let must = self.must.as_deref().unwrap_or_default();
        let minimum = must.strip_prefix("at least ");
        must.starts_with("greater than 0") || minimum.is_some_and(|text| !text.starts_with('0'))
    }

    /// True if 0 or an empty list can be meant although it means "not set" in C.
    pub(crate) fn has_c_bit(&self) -> bool {
        !matches!(self.kind, Kind::Boolean | Kind::EarlyStopping)
    }

    /// True if C has a value of its own that disables the option.
    pub(crate) fn is_signed_in_c(&self) -> bool {
        self.c_off.is_some()
    }

    /// The name in C, without the unit.
    fn c_stem(&self) -> String {
        match (&self.c_name, self.kind) {
            (Some(name), _) => name.clone(),
            (None, Kind::TokenIds) if self.name.ends_with("_id") => format!("{}s", self.name),
            _ => self.name.clone(),
        }
    }

    /// The name of the field in the C struct. A decay has two, which begin with it.
    pub(crate) fn c_field(&self) -> String {
        let unit = self.unit.as_ref();
        self.c_stem() + &unit.map_or(String::new(), |unit| format!("_{unit}"))
    }

    /// The names of all fields of the option in the C struct.
    pub(crate) fn c_fields(&self) -> Vec<String> {
        let field = self.c_field();
        match self.kind {
            Kind::Decay => vec![format!("{field}_start"), format!("{field}_factor")],
            _ if self.is_list() => vec![field.clone(), format!("{field}_len")],
            _ => vec![field],
        }
    }

    /// The name of the bit in `set` of the C struct.
    pub(crate) fn c_bit(&self) -> String {
        let stem = match self.kind {
            Kind::Decay => self.name.clone(),
            _ => self.c_stem(),
        };
        format!("FLORENCE2_SET_{}", stem.to_uppercase())
    }

    /// The unit of the value as a word.
    pub(crate) fn unit_word(&self) -> Option<&str> {
        match self.unit.as_deref() {
            Some("s") => Some("seconds"),
            other => other,
        }
    }

    fn off_value(&self, style: Style) -> Option<i64> {
        self.c_off.filter(|_| style.is_c).or(self.off)
    }

    fn default_words(&self, style: Style) -> String {
        if let Some(text) = &self.default_text {
            return text.clone();
        }
        let word = match (&self.default, self.kind) {
            (None | Some(Literal::List(_)), _) => "none",
            (Some(Literal::Boolean(false)), Kind::EarlyStopping) if style.is_c => {
                "FLORENCE2_EARLY_STOPPING_FALSE"
            }
            (Some(Literal::Boolean(true)), Kind::EarlyStopping) if style.is_c => {
                "FLORENCE2_EARLY_STOPPING_TRUE"
            }
            (Some(Literal::Boolean(false)), _) if style.is_c => "off",
            (Some(Literal::Boolean(true)), _) if style.is_c => "on",
            (Some(Literal::Boolean(value)), _) => return value.to_string(),
            (Some(Literal::Integer(0)), _) if self.off == Some(0) => {
                return self.off_value(style).unwrap_or_default().to_string();
            }
            (Some(Literal::Integer(number)), _) => return number.to_string(),
            (Some(Literal::Number(number)), _) => return number.to_string(),
        };
        word.to_owned()
    }
}
