//! Finds import cycles between the files of a crate.
//!
//! A file depends on another if it names an item that the other defines. Re-exports count as the
//! item that they re-export, and a module's re-export of an item of its own submodules is no
//! dependency. Code for tests is left out. Methods and associated functions count as their type,
//! which a path names, also if their `impl` is in another file.

mod conditions;
mod graph;
mod resolve;
mod source;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::workspace::{Failure, output};
use graph::{Dependencies, Graph, cycles, dependencies};
use source::read_crate;
use tree::{FileId, Tree};

/// The kinds of a target in Cargo's metadata whose files are not checked.
const UNCHECKED: [&str; 3] = ["test", "bench", "example"];

/// Returns an error if a library or a program of the workspace has import cycles. Prints each cycle
/// with the names and lines that form it.
pub(crate) fn check(workspace: &Path) -> Result<(), Failure> {
    let mut found = 0;
    let (workspace, roots) = crate_roots(workspace)?;
    for root in roots {
        for report in reports(&root, &workspace)? {
            println!("{report}");
            found += 1;
        }
    }
    match found {
        0 => Ok(()),
        _ => Err(format!(
            "found {found} import cycles and unknown paths, expected none"
        )),
    }
}

/// Returns the folder of a workspace, as in the paths of its files, and the root files of its
/// libraries and programs.
fn crate_roots(folder: &Path) -> Result<(PathBuf, BTreeSet<PathBuf>), Failure> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let metadata = output(&mut cargo, folder)?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let targets = metadata.packages.into_iter().flat_map(|p| p.targets);
    let roots = targets
        .filter(|target| !UNCHECKED.iter().any(|kind| target.kind == [*kind]))
        .map(|target| target.src_path);
    Ok((metadata.workspace_root, roots.collect()))
}

/// The output of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

/// Returns a description of each cycle of the crate with this root file, and of each path that cannot
/// be resolved. Paths are relative to `workspace`.
fn reports(root: &Path, workspace: &Path) -> Result<Vec<String>, Failure> {
    let tree = read_crate(root)?;
    let Dependencies { graph, unresolved } = dependencies(&tree);
    let names = Names {
        tree: &tree,
        workspace,
    };
    let unresolved = unresolved.iter().map(|unknown| {
        let (file, line) = (names.file(unknown.file), unknown.line);
        format!("{file}:{line}: found no item `{}`", unknown.path)
    });
    let cycles = cycles(&graph);
    let cycles = cycles.iter().map(|cycle| describe(&names, &graph, cycle));
    Ok(unresolved.chain(cycles).collect())
}

/// The names of a crate's files.
struct Names<'t> {
    tree: &'t Tree,
    workspace: &'t Path,
}

impl Names<'_> {
    fn file(&self, file: FileId) -> String {
        let path = &self.tree.files[file];
        let relative = path.strip_prefix(self.workspace).unwrap_or(path);
        relative.display().to_string()
    }
}

/// Describes a cycle: its files, and one line per item that one of them names in another.
fn describe(names: &Names, graph: &Graph, cycle: &BTreeSet<FileId>) -> String {
    let mut description = format!("cycle of {} files", cycle.len());
    for ((from, to), items) in graph {
        if !(cycle.contains(from) && cycle.contains(to)) {
            continue;
        }
        let (from, to) = (names.file(*from), names.file(*to));
        for (item, lines) in items {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            let lines = lines.join(",");
            let _ = write!(description, "\n  {from}:{lines} names {item} ({to})");
        }
    }
    description
}
