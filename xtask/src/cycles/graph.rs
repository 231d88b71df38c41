//! The dependencies between the files of a crate, and the cycles among them.

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::{Definition, resolve, resolve_macro};
use super::tree::{FileId, Mention, MentionKind, Tree};

/// The lines of a file that name an item of another.
type Lines = BTreeSet<usize>;

/// For each file and each other file that it depends on, the items that it names and the lines.
pub(crate) type Graph = BTreeMap<(FileId, FileId), BTreeMap<String, Lines>>;

/// The dependencies of a crate, and its paths that resolve to nothing.
#[derive(Default)]
pub(crate) struct Dependencies {
    pub graph: Graph,
    pub unresolved: Vec<Unresolved>,
}

/// A path that begins with `crate`, `self` or `super` and names nothing that is known.
pub(crate) struct Unresolved {
    pub file: FileId,
    pub line: usize,
    pub path: String,
}

/// Returns the dependencies between a crate's files.
pub(crate) fn dependencies(tree: &Tree) -> Dependencies {
    let mut found = Dependencies::default();
    for mention in &tree.mentions {
        let file = tree.modules[mention.module].file;
        let definitions = definitions(tree, mention);
        if definitions.is_empty() && must_resolve(mention) {
            found.unresolved.push(Unresolved {
                file,
                line: mention.line,
                path: mention.path.join("::"),
            });
        }
        for definition in definitions {
            let Definition::Item(module, name) = definition else {
                continue;
            };
            let other = tree.modules[module].file;
            let is_re_export_of_child =
                mention.kind == MentionKind::ReExport && tree.is_within(module, mention.module);
            if other != file && !is_re_export_of_child {
                let items = found.graph.entry((file, other)).or_default();
                let lines = items.entry(tree.item_path(module, &name)).or_default();
                lines.insert(mention.line);
            }
        }
    }
    found
}

fn definitions(tree: &Tree, mention: &Mention) -> Vec<Definition> {
    let found = resolve(tree, mention.module, &mention.path);
    let may_be_macro = match mention.kind {
        MentionKind::MacroCall => mention.path.len() == 1 || mention.path[0] == "crate",
        MentionKind::Import | MentionKind::ReExport => true,
        MentionKind::Code | MentionKind::Tokens => false,
    };
    match mention.path.last() {
        Some(name) if is_elsewhere(&found) && may_be_macro && is_of_crate(mention) => {
            let macros = resolve_macro(tree, mention.module, name);
            if macros.is_empty() { found } else { macros }
        }
        _ => found,
    }
}

/// Returns whether a path resolves to nothing in this crate.
fn is_elsewhere(found: &[Definition]) -> bool {
    found
        .iter()
        .all(|definition| *definition == Definition::External)
}

/// Returns whether a path that resolves to nothing may be of this crate.
fn is_of_crate(mention: &Mention) -> bool {
    mention.path.len() == 1 || matches!(mention.path[0].as_str(), "crate" | "self" | "super")
}

/// Returns whether a path names something of this crate for certain. A path in the tokens of a macro
/// may not be one.
fn must_resolve(mention: &Mention) -> bool {
    mention.kind != MentionKind::Tokens && mention.path.len() > 1 && is_of_crate(mention)
}

/// Returns the sets of files that depend on each other: the strongly connected components of more
/// than one file.
pub(crate) fn cycles(graph: &Graph) -> Vec<BTreeSet<FileId>> {
    let starts: BTreeSet<FileId> = graph.keys().map(|(from, _)| *from).collect();
    let reachable: BTreeMap<FileId, BTreeSet<FileId>> = starts
        .into_iter()
        .map(|start| (start, reachable_from(graph, start)))
        .collect();
    let mut cycles: Vec<BTreeSet<FileId>> = Vec::new();
    for (file, reached) in &reachable {
        let cycle: BTreeSet<FileId> = reached
            .iter()
            .copied()
            .filter(|other| reachable.get(other).is_some_and(|back| back.contains(file)))
            .collect();
        if cycle.len() > 1 && !cycles.contains(&cycle) {
            cycles.push(cycle);
        }
    }
    cycles
}

/// Returns the files that a file depends on, directly or through others.
fn reachable_from(graph: &Graph, start: FileId) -> BTreeSet<FileId> {
    let mut reached = BTreeSet::new();
    let mut pending = vec![start];
    while let Some(file) = pending.pop() {
        let next = graph.range((file, FileId::MIN)..=(file, FileId::MAX));
        for ((_, other), _) in next {
            if reached.insert(*other) {
                pending.push(*other);
            }
        }
    }
    reached
}
