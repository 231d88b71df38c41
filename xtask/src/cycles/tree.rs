//! The modules of one crate: the names that each declares and imports, and the paths that its code
//! contains.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The index of a module in [`Tree::modules`].
pub(crate) type ModuleId = usize;

/// The index of a file in [`Tree::files`].
pub(crate) type FileId = usize;

/// The crate root's module.
pub(crate) const ROOT: ModuleId = 0;

/// One target of a crate, a library or a program, with all of its files.
#[derive(Default)]
pub(crate) struct Tree {
    pub files: Vec<PathBuf>,
    pub modules: Vec<Module>,
    pub mentions: Vec<Mention>,
}

/// A module: a file, or `mod x { .. }` within one.
pub(crate) struct Module {
    pub name: String,
    pub file: FileId,
    pub parent: Option<ModuleId>,
    pub bindings: BTreeMap<String, Vec<Binding>>,
    pub globs: Vec<Glob>,
}

/// A name that a module declares or imports.
pub(crate) struct Binding {
    pub target: Target,
    /// True for every visibility except private.
    pub exported: bool,
}

/// The meaning of a [`Binding`].
pub(crate) enum Target {
    /// An item that is defined in the module.
    Item(Namespace),
    Module(ModuleId),
    /// The path of a `use`, relative to the module.
    Import(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    Type,
    Value,
    Macro,
}

/// `use path::*`.
pub(crate) struct Glob {
    pub path: Vec<String>,
    pub exported: bool,
}

/// A path in the source.
pub(crate) struct Mention {
    pub module: ModuleId,
    pub path: Vec<String>,
    pub line: usize,
    pub kind: MentionKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MentionKind {
    /// A private `use`.
    Import,
    /// `pub use`, `pub(crate) use` and the like.
    ReExport,
    /// A path in an expression, type, pattern or bound.
    Code,
    /// A path in the tokens of a macro or of an attribute.
    Tokens,
    /// The name of a called macro.
    MacroCall,
}

impl Tree {
    /// Adds a module and its binding in the parent.
    pub(crate) fn add_module(
        &mut self,
        name: &str,
        file: FileId,
        parent: Option<ModuleId>,
        exported: bool,
    ) -> ModuleId {
        let id = self.modules.len();
        self.modules.push(Module {
            name: name.to_owned(),
            file,
            parent,
            bindings: BTreeMap::new(),
            globs: Vec::new(),
        });
        if let Some(parent) = parent {
            self.bind(parent, name, Target::Module(id), exported);
        }
        id
    }

    /// Declares a name in a module.
    pub(crate) fn bind(&mut self, module: ModuleId, name: &str, target: Target, exported: bool) {
        let bindings = self.modules[module].bindings.entry(name.to_owned());
        bindings.or_default().push(Binding { target, exported });
    }

    /// Returns whether `inner` is `outer` or a module within it.
    pub(crate) fn is_within(&self, inner: ModuleId, outer: ModuleId) -> bool {
        self.ancestors(inner).any(|module| module == outer)
    }

    /// Returns a module, its parent, and so on to the crate root.
    pub(crate) fn ancestors(&self, module: ModuleId) -> impl Iterator<Item = ModuleId> {
        std::iter::successors(Some(module), |module| self.modules[*module].parent)
    }

    /// Returns the path of an item in the crate, such as `decoder::Decoder`.
    pub(crate) fn item_path(&self, module: ModuleId, name: &str) -> String {
        let mut path: Vec<&str> = self
            .ancestors(module)
            .filter(|module| *module != ROOT)
            .map(|module| self.modules[module].name.as_str())
            .collect();
        path.reverse();
        path.push(name);
        path.join("::")
    }
}
