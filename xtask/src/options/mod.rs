//! The lists of generation options in all languages, generated from one table.

mod c;
mod cpp;
mod documents;
mod go;
mod markdown;
mod python;
mod rust;
mod swift;
mod table;
mod text;

use std::path::Path;

use crate::workspace::{self, Failure, read};
use documents::DOCUMENTS;
use table::Table;
pub(crate) use text::comment;

/// The path of the table in the project.
const TABLE: &str = "crates/florence2-core/generation_options.toml";

/// Writes the generated files of the project in `root`.
pub(crate) fn write(root: &Path) -> Result<(), Failure> {
    let table = read_table(root)?;
    DOCUMENTS.iter().try_for_each(|document| {
        let text = document.generate(&table, root)?;
        workspace::write(&root.join(document.path), text.as_bytes())
    })
}

/// Returns an error that names the generated files on disk that are out of date.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let table = read_table(root)?;
    let mut outdated = Vec::new();
    for document in &DOCUMENTS {
        if read(&root.join(document.path))? != document.generate(&table, root)? {
            outdated.push(document.path);
        }
    }
    if outdated.is_empty() {
        return Ok(());
    }
    let files = outdated.join(", ");
    Err(format!("{files}: out of date: run `cargo xtask options`"))
}

fn read_table(root: &Path) -> Result<Table, Failure> {
    let text = read(&root.join(TABLE))?;
    Table::parse(&text).map_err(|error| format!("{TABLE}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;

    /// Two further options.
    const DUMMIES: &str = "
[[option]]
name = \"dummy_token_id\"
type = \"token_ids\"
group = \"tokens\"
doc = \"A dummy. With `num_beams`.\"

[[option]]
name = \"dummy_limit\"
type = \"f64\"
unit = \"s\"
group = \"sampling\"
doc = \"A dummy limit.\"
default = 0
";

    /// The texts that the generated files have with [`DUMMIES`].
    const EXPECTED: &[(&str, &str)] = &[
        (
            "crates/florence2-core/src/generate/config_fields.rs",
            "pub dummy_limit: f64,",
        ),
        (
            "crates/florence2-core/src/generate/config_fields.rs",
            "pub dummy_token_id: Option<Vec<u32>>,",
        ),
        (
            "crates/florence2-core/src/generate/config_fields.rs",
            "dummy_limit: 0.0,",
        ),
        (
            "crates/florence2-core/src/generate/key_table.rs",
            "option(\"dummy_token_id\", Form::Ids),",
        ),
        (
            "crates/florence2/src/generation_overrides.rs",
            "pub dummy_limit: Option<f64>,",
        ),
        (
            "crates/florence2/src/generation_overrides.rs",
            "\"dummy_limit\",",
        ),
        (
            "crates/florence2/src/generation_setters.rs",
            "pub fn dummy_limit(mut self",
        ),
        (
            "crates/florence2-cli/src/generation_args.rs",
            "dummy_limit: Option<f64>,",
        ),
        (
            "crates/florence2-cli/src/generation_args.rs",
            "With --num-beams.",
        ),
        (
            "crates/florence2-ffi/src/options.rs",
            "pub dummy_limit_s: f64,",
        ),
        (
            "crates/florence2-ffi/src/options.rs",
            "pub dummy_token_ids: *const u32,",
        ),
        (
            "crates/florence2-ffi/src/options.rs",
            "FLORENCE2_SET_DUMMY_TOKEN_IDS: u64 = 2_147_483_648;",
        ),
        (
            "crates/florence2-ffi/src/generation_options.rs",
            "overrides.dummy_limit =",
        ),
        (
            "crates/florence2-ffi/src/test_hooks.rs",
            "dummy_token_ids_len",
        ),
        (
            "tests/c/suite.c",
            "FIELD(florence2_run_options, dummy_limit_s);",
        ),
        (
            "bindings/cpp/florence2.hpp",
            "std::optional<double> dummy_limit;",
        ),
        ("bindings/cpp/florence2.hpp", "FLORENCE2_SET_DUMMY_LIMIT"),
        ("bindings/go/generation_options.go", "DummyTokenID []uint32"),
        (
            "bindings/swift/Sources/Florence2/RunOptions.swift",
            "public var dummyLimit: Double?",
        ),
        (
            "bindings/swift/Sources/Florence2/RunOptions.swift",
            "(\"dummy_limit\", dummyLimit)",
        ),
        (
            "bindings/python/src/florence2/_generation_options.py",
            "dummy_limit: float",
        ),
        ("docs/src/generation.md", "| `dummy_token_id` |"),
    ];

    /// Copies the files that take part to a scratch folder.
    fn scratch() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let documents = DOCUMENTS.iter().map(|document| document.path);
        for path in documents.chain([TABLE]) {
            let copy = folder.path().join(path);
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            std::fs::copy(root().join(path), copy).unwrap();
        }
        folder
    }

    #[test]
    fn committed_files_are_up_to_date() {
        check(&root()).unwrap();
    }

    /// A new option in the table appears in every language, the command and the documentation.
    #[test]
    fn an_option_of_the_table_is_everywhere() {
        let folder = scratch();
        let at = |path: &str| folder.path().join(path);
        let mut table = read(&at(TABLE)).unwrap();
        table += DUMMIES;
        workspace::write(&at(TABLE), table.as_bytes()).unwrap();
        assert!(check(folder.path()).is_err());
        write(folder.path()).unwrap();
        check(folder.path()).unwrap();
        for (path, expected) in EXPECTED {
            let text = read(&at(path)).unwrap();
            assert!(text.contains(expected), "{path}: {expected}");
        }
    }

    #[test]
    fn an_edited_file_is_out_of_date() {
        let folder = scratch();
        check(folder.path()).unwrap();
        let path = folder.path().join("bindings/go/generation_options.go");
        let text = read(&path).unwrap().replace("NumBeams", "Beams");
        workspace::write(&path, text.as_bytes()).unwrap();
        let error = check(folder.path()).unwrap_err();
        assert!(
            error.starts_with("bindings/go/generation_options.go: out of date"),
            "{error}"
        );
    }

    #[test]
    fn errors_of_the_table_name_the_option() {
        let option = "[[option]]\nname = \"x\"\ntype = \"count\"\ngroup = \"search\"\n";
        let parse = |rest: &str| {
            Table::parse(&format!("key = []\n{option}{rest}"))
                .err()
                .unwrap()
        };
        assert!(parse("doc = \"A count.\"\ndefault = true").contains("x: expected a default"));
        assert!(parse("doc = \"A count.\"\nform = \"only_true\"").contains("x: expected a form"));
        assert!(parse("doc = \"A count\"").contains("x: expected a full stop"));
        assert!(parse("doc = \"A count.\"\nsize = 3").contains("size"));
    }
}
