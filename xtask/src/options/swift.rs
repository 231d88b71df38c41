//! The options in Swift.

use std::fmt::Write as _;

use super::table::{GenerationOption, Kind, Style, Table};
use super::text::{comment, swift_name};
use crate::workspace::Failure;

/// The width of the code.
const WIDTH: usize = 120;

const STYLE: Style = Style {
    reference: |option| format!("`{}`", swift_name(&option.name)),
    is_c: false,
};

/// The generated parts of `RunOptions.swift`: `properties` and `names`.
pub(crate) fn parts(table: &Table, title: &str) -> Result<String, Failure> {
    match title {
        "properties" => Ok(properties(table)),
        "names" => Ok(names(table)),
        _ => Err("expected `properties` or `names`".to_owned()),
    }
}

fn properties(table: &Table) -> String {
    let mut code = String::new();
    for option in table.grouped() {
        code += &comment("        /// ", &table.paragraph(option, STYLE), WIDTH);
        let (name, value) = (swift_name(&option.name), value_type(option));
        let _ = writeln!(code, "        public var {name}: {value}?");
    }
    code
}

/// The keys and values of the JSON object.
fn names(table: &Table) -> String {
    let mut code = String::new();
    for option in table.grouped() {
        let property = swift_name(&option.name);
        let value = match option.kind {
            Kind::EarlyStopping | Kind::Decay => format!("{property}?.json"),
            Kind::SequenceBiases => format!("{property}?.map(\\.json)"),
            _ => property,
        };
        let _ = writeln!(code, "            (\"{}\", {value}),", option.name);
    }
    code
}

fn value_type(option: &GenerationOption) -> &'static str {
    match option.kind {
        Kind::Count | Kind::Integer => "Int",
        Kind::Seed => "UInt64",
        Kind::F32 => "Float",
        Kind::F64 => "Double",
        Kind::Boolean => "Bool",
        Kind::EarlyStopping => "EarlyStopping",
        Kind::TokenIds => "[UInt32]",
        Kind::TokenSequences => "[[UInt32]]",
        Kind::SequenceBiases => "[SequenceBias]",
        Kind::Texts => "[String]",
        Kind::Decay => "ExponentialDecay",
    }
}
