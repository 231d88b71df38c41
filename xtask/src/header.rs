//! `include/florence2.h`, made by cbindgen from the exported items and their comments.

use std::path::PathBuf;

use crate::{Failure, read, root};

/// What precedes the declarations: the example and the rules that hold for all of them.
const PREAMBLE: &str = include_str!("preamble.h");

fn path() -> PathBuf {
    root().join("include/florence2.h")
}

/// Writes the header.
pub(crate) fn write() -> Result<(), Failure> {
    crate::write(&path(), generate()?.as_bytes())
}

/// Fails when the header on the disk is another.
pub(crate) fn check() -> Result<(), Failure> {
    match read(&path())? == generate()? {
        true => Ok(()),
        false => Err("include/florence2.h is out of date: run `cargo xtask header`".to_owned()),
    }
}

fn generate() -> Result<String, Failure> {
    let example = read(&root().join("examples/c/detect.c"))?;
    let crate_folder = root().join("crates/florence2-ffi");
    let config = cbindgen::Config::from_file(crate_folder.join("cbindgen.toml"))?;
    let bindings = cbindgen::Builder::new()
        .with_crate(crate_folder)
        .with_config(config)
        .generate()
        .map_err(|error| format!("cbindgen: {error}"))?;
    let mut declarations = Vec::new();
    bindings.write(&mut declarations);
    let declarations = String::from_utf8(declarations).map_err(|error| error.to_string())?;
    let example: Vec<String> = example.lines().map(|line| format!("    {line}")).collect();
    let preamble = PREAMBLE.replace("@EXAMPLE@", &example.join("\n"));
    let lines = format!("{preamble}\n{declarations}");
    // An empty line of the example has no blanks at its end.
    let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn committed_header_is_what_the_crate_makes() {
        super::check().unwrap();
    }
}
