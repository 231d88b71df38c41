//! Generates a test from every block of Rust in the README and in the guide (`docs/src`).
//!
//! A block that states its file (`<!-- file: .. -->`) is omitted: `tests/docs.py` compares it with the file. A block
//! after `<!-- not called: REASON -->` is compiled only. The other blocks run in the repository's root folder, with
//! `model`, the demo model, and `image`, its first scene.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A block of Rust in a page.
struct Block {
    page: PathBuf,
    /// The line of the block's first line, from 1.
    line: usize,
    is_called: bool,
    code: String,
}

fn main() -> io::Result<()> {
    let (guide, readme) = (Path::new("../src"), Path::new("../../README.md"));
    for path in [guide, readme] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let mut tests = String::from("use florence2::*;\n");
    let mut all = pages(guide)?;
    all.push(readme.to_owned());
    for page in all {
        for block in blocks(&page, &fs::read_to_string(&page)?) {
            tests += &test(&block);
        }
    }
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("blocks.rs"), tests)
}

/// Returns the Markdown files of a folder and the folders in it, in order.
fn pages(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.append(&mut pages(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn blocks(page: &Path, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut previous = "";
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line == "```rust" {
            let code = lines.by_ref().map(|(_, line)| line);
            let code: Vec<&str> = code.take_while(|line| *line != "```").collect();
            if !previous.starts_with("<!-- file: ") {
                found.push(Block {
                    page: page.to_owned(),
                    line: index + 2,
                    is_called: !previous.starts_with("<!-- not called: "),
                    code: code.join("\n"),
                });
            }
        }
        previous = line;
    }
    found
}

/// Returns a test that runs the block, or a function if the block is not called.
fn test(block: &Block) -> String {
    let Block {
        page,
        line,
        is_called,
        code,
    } = block;
    let stem = page.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{}_line_{line}", stem.replace('-', "_").to_lowercase());
    let mut test = format!("\n// {}, line {line}\n", page.display());
    if *is_called {
        test += "#[test]\n";
    }
    let _ = write!(
        test,
        "fn {name}() -> std::result::Result<(), Box<dyn std::error::Error>> {{\n\
         std::env::set_current_dir(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../..\"))?;\n\
         let model = Florence2::demo()?;\n\
         let image = Image::open(\"assets/demo-model/scenes/scene-1.png\")?;\n\
         {code}\nOk(())\n}}\n"
    );
    test
}
