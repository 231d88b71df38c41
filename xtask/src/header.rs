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
    let mut config = cbindgen::Config::from_file(crate_folder.join("cbindgen.toml"))?;
    config.after_includes = Some(version_macros(env!("CARGO_PKG_VERSION"))?);
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

/// The macros that tell the version of the header: Cargo's version of the workspace.
fn version_macros(version: &str) -> Result<String, Failure> {
    let numbers: Vec<&str> = version
        .split(['-', '+'])
        .take(1)
        .flat_map(|numbers| numbers.split('.'))
        .collect();
    let [major, minor, patch] = numbers.as_slice() else {
        return Err(format!(
            "version {version}: expected a major, a minor and a patch version"
        ));
    };
    Ok(format!(
        "
/**
 * The version of this header: florence2_version is that of the loaded library.
 */
#define FLORENCE2_VERSION_MAJOR {major}
#define FLORENCE2_VERSION_MINOR {minor}
#define FLORENCE2_VERSION_PATCH {patch}
#define FLORENCE2_VERSION_STRING \"{version}\""
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn version_macros_are_the_parts_of_the_version() {
        let macros = super::version_macros("1.20.3-rc.1").unwrap();
        for line in [
            "#define FLORENCE2_VERSION_MAJOR 1",
            "#define FLORENCE2_VERSION_MINOR 20",
            "#define FLORENCE2_VERSION_PATCH 3",
            "#define FLORENCE2_VERSION_STRING \"1.20.3-rc.1\"",
        ] {
            assert!(macros.lines().any(|found| found == line), "{macros}");
        }
        assert!(super::version_macros("1.20").is_err());
    }

    #[test]
    fn committed_header_is_what_the_crate_makes() {
        super::check().unwrap();
    }
}
