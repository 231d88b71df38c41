//! A key of `generation_config.json`: its treatment, and the forms of its value.

use serde_json::Value;

/// A key of `generation_config.json`.
#[derive(Debug, Clone, Copy)]
pub struct GenerationKey {
    /// The key.
    pub name: &'static str,
    /// The treatment of its value.
    pub treatment: KeyTreatment,
    pub(super) form: Form,
    /// Values other than null that have no effect. Booleans count as 0 and 1.
    neutral: &'static [f64],
}

/// The treatment of the value of a [`GenerationKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyTreatment {
    /// It is an option of [`GenerationConfig`](super::GenerationConfig), and each run can set it.
    Supported,
    /// It is read only from the model's files.
    File,
    /// It is not read, because it never changes a result.
    Ignored,
    /// It is not read; a value that is not neutral is a [`Warning`](crate::Warning).
    Warned,
    /// It is not supported; a value that is not neutral is an error.
    Rejected,
}

/// The forms of a value that transformers treats as equal.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// The value as it is written.
    Plain,
    /// An integer, possibly written as `50.0`.
    Integer,
    /// An integer; negative values mean 0.
    Count,
    /// A boolean; numbers other than 0 mean true.
    Truth,
    /// A boolean; only `true` enables it, because transformers compares with `is True`.
    OnlyTrue,
    /// `early_stopping`: numbers mean false, because transformers compares with `is True`.
    EarlyStopping,
    /// One id or a list of ids.
    Ids,
    /// Like `Ids`; negative ids are no tokens and have no effect.
    TokenSet,
    /// One text or a list of texts.
    Texts,
}

pub(super) const fn key(name: &'static str, treatment: KeyTreatment, form: Form) -> GenerationKey {
    GenerationKey {
        name,
        treatment,
        form,
        neutral: &[],
    }
}

pub(super) const fn option(name: &'static str, form: Form) -> GenerationKey {
    key(name, KeyTreatment::Supported, form)
}

pub(super) const fn ignored(name: &'static str) -> GenerationKey {
    key(name, KeyTreatment::Ignored, Form::Plain)
}

pub(super) const fn warned(name: &'static str, neutral: &'static [f64]) -> GenerationKey {
    GenerationKey {
        neutral,
        ..key(name, KeyTreatment::Warned, Form::Plain)
    }
}

pub(super) const fn rejected(name: &'static str, neutral: &'static [f64]) -> GenerationKey {
    GenerationKey {
        neutral,
        ..key(name, KeyTreatment::Rejected, Form::Plain)
    }
}

impl GenerationKey {
    /// True if the value has no effect.
    pub(super) fn is_neutral(&self, value: &Value) -> bool {
        let number = match value {
            Value::Bool(value) => Some(f64::from(u8::from(*value))),
            other => other.as_f64(),
        };
        number.is_some_and(|number| self.neutral.contains(&number))
    }
}

impl Form {
    pub(super) fn canonical(self, value: Value) -> Value {
        match self {
            Self::Plain => value,
            Self::Integer => integer(value),
            Self::Count => match integer(value) {
                value if value.as_i64().is_some_and(|count| count < 0) => Value::from(0),
                value => value,
            },
            Self::Truth => match value.as_f64() {
                Some(number) => Value::from(number != 0.0),
                None => value,
            },
            Self::OnlyTrue => match value.as_f64() {
                Some(_) => Value::from(false),
                None => value,
            },
            Self::EarlyStopping => match value.as_f64() {
                Some(number) if number == 0.0 || number == 1.0 => Value::from(false),
                _ => value,
            },
            Self::Ids => list(value).into_iter().map(integer).collect(),
            Self::TokenSet => list(value)
                .into_iter()
                .map(integer)
                .filter(|id| id.as_i64().is_none_or(|id| id >= 0))
                .collect(),
            Self::Texts => Value::from(list(value)),
        }
    }
}

/// Converts a float without a fraction to an integer; other values are unchanged.
fn integer(value: Value) -> Value {
    /// Floats up to this size represent every integer exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() <= EXACT => {
            Value::from(number as i64)
        }
        _ => value,
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        one => vec![one],
    }
}
