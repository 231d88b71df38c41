//! The tables in the documentation.

use std::fmt::Write as _;

use super::table::{GenerationOption, Group, Kind, Literal, Style, Table, Treatment};
use crate::workspace::Failure;

const STYLE: Style = Style {
    reference: |option| format!("`{}`", option.name),
    is_c: false,
};

/// The generated parts of the page: `options` and `other keys`.
pub(crate) fn parts(table: &Table, title: &str) -> Result<String, Failure> {
    match title {
        "options" => Ok(options(table)),
        "other keys" => Ok(other_keys(table)),
        _ => Err("expected `options` or `other keys`".to_owned()),
    }
}

fn options(table: &Table) -> String {
    let mut page = String::new();
    let mut group = None;
    for option in table.grouped() {
        if group.replace(option.group) != Some(option.group) {
            let _ = write!(
                page,
                "\n### {}\n\n| option | value | effect |\n|---|---|---|\n",
                heading(option.group)
            );
        }
        let text = table.paragraph(option, STYLE).replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {text} |",
            option.name,
            value_type(option)
        );
    }
    page + "\n"
}

fn heading(group: Group) -> &'static str {
    match group {
        Group::Length => "Length of answers",
        Group::Search => "Search",
        Group::Sampling => "Sampling",
        Group::Scores => "Scores of tokens",
        Group::Tokens => "Allowed tokens",
    }
}

fn value_type(option: &GenerationOption) -> &'static str {
    match option.kind {
        Kind::Count | Kind::Integer | Kind::Seed => "integer",
        Kind::F32 | Kind::F64 => "number",
        Kind::Boolean => "boolean",
        Kind::EarlyStopping => "true, false or \"never\"",
        Kind::TokenIds => "list of ids",
        Kind::TokenSequences => "list of lists of ids",
        Kind::SequenceBiases => "list of `[[ids], bias]`",
        Kind::Texts => "list of texts",
        Kind::Decay => "`[number, base]`",
    }
}

fn other_keys(table: &Table) -> String {
    let mut page = "\n| key | treatment | neutral | notes |\n|---|---|---|---|\n".to_owned();
    for key in &table.keys {
        let treatment = match key.treatment {
            Treatment::Files => "files alone",
            Treatment::Ignored => "ignored",
            Treatment::Warning => "warning",
            Treatment::Error => "error",
        };
        let neutral: Vec<String> = key.neutral.iter().map(neutral_word).collect();
        let neutral = match (neutral.join(", "), key.treatment) {
            (none, Treatment::Error) if none.is_empty() => "null".to_owned(),
            (values, _) => values,
        };
        let (name, note) = (&key.name, &key.note);
        let row = format!("| `{name}` | {treatment} | {neutral} | {note} |\n");
        page += &row.replace("|  |", "| |").replace("|  |", "| |");
    }
    page + "\n"
}

fn neutral_word(value: &Literal) -> String {
    match value {
        Literal::Boolean(value) => value.to_string(),
        Literal::Integer(number) => number.to_string(),
        Literal::Number(number) => number.to_string(),
        Literal::List(_) => "[]".to_owned(),
    }
}
