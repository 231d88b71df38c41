//! The options in C++.

use std::fmt::Write as _;

use super::table::{GenerationOption, Kind, Style, Table};
use super::text::comment;
use crate::workspace::Failure;

/// The width of the code.
const WIDTH: usize = 110;

const STYLE: Style = Style {
    reference: |option| option.name.clone(),
    is_c: false,
};

/// The generated parts of `florence2.hpp`: `members` and `conversion`.
pub(crate) fn parts(table: &Table, title: &str) -> Result<String, Failure> {
    match title {
        "members" => Ok(members(table)),
        "conversion" => Ok(conversion(table)),
        _ => Err("expected `members` or `conversion`".to_owned()),
    }
}

fn members(table: &Table) -> String {
    let mut code = String::new();
    for option in table.grouped() {
        code += &comment("    /// ", &table.paragraph(option, STYLE), WIDTH);
        let value = value_type(option);
        let _ = writeln!(code, "    std::optional<{value}> {};", option.name);
    }
    code
}

fn value_type(option: &GenerationOption) -> &'static str {
    match option.kind {
        Kind::Count => "std::uint32_t",
        Kind::Integer => "std::int32_t",
        Kind::Seed => "std::uint64_t",
        Kind::F32 => "float",
        Kind::F64 => "double",
        Kind::Boolean => "bool",
        Kind::EarlyStopping => "florence2::early_stopping",
        Kind::TokenIds => "std::vector<std::uint32_t>",
        Kind::TokenSequences => "std::vector<std::vector<std::uint32_t>>",
        Kind::SequenceBiases => "std::vector<florence2::sequence_bias>",
        Kind::Texts => "std::vector<std::string>",
        Kind::Decay => "florence2::exponential_decay",
    }
}

/// The statements that set the fields of the C struct.
fn conversion(table: &Table) -> String {
    let mut code = String::new();
    for option in &table.options {
        let (name, bit) = (&option.name, option.c_bit());
        let fields = option.c_fields();
        let field = &fields[0];
        let second = fields.get(1).map_or("", String::as_str);
        let statement = match option.kind {
            Kind::Boolean | Kind::EarlyStopping => {
                format!("set(options.{name}, native.{field});")
            }
            Kind::Decay => {
                format!("set(options.{name}, native.{field}, native.{second}, {bit});")
            }
            Kind::Texts => {
                format!("set(\"{name}\", options.{name}, native.{field}, native.{second}, {bit});")
            }
            _ if option.is_list() => {
                format!("set(options.{name}, native.{field}, native.{second}, {bit});")
            }
            _ => format!("set(options.{name}, native.{field}, {bit});"),
        };
        let _ = writeln!(code, "        {statement}");
    }
    code
}
