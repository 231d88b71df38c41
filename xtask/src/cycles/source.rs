//! Reads the files of a crate into a [`Tree`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Expr, ForeignItem, ImplItem, Item, ItemMacro, ItemMod, ItemUse, Lit, Macro, Meta,
    PatIdent, Token, TraitItem, UseTree, Visibility,
};

use super::conditions::{attributes_of_impl_item, attributes_of_item, is_test_only};
use super::tokens::{definitions, paths};
use super::tree::{Glob, Mention, MentionKind, ModuleId, Namespace, Target, Tree};
use crate::workspace::{Failure, read};

/// Reads the crate whose root is this file, and the files of all of its modules. Tests are left out.
pub(crate) fn read_crate(root: &Path) -> Result<Tree, Failure> {
    let mut reader = Reader {
        tree: Tree::default(),
        module: 0,
        folder: root.parent().unwrap_or(Path::new("")).to_owned(),
        locals: BTreeSet::new(),
        failure: None,
    };
    reader.read_file(root, "crate", None, true)?;
    match reader.failure {
        Some(failure) => Err(failure),
        None => Ok(reader.tree),
    }
}

struct Reader {
    tree: Tree,
    /// The module that is being read.
    module: ModuleId,
    /// The folder of the files of this module's modules.
    folder: PathBuf,
    /// The variables of the function that is being read.
    locals: BTreeSet<String>,
    /// The first file that could not be read.
    failure: Option<Failure>,
}

impl Reader {
    fn read_file(
        &mut self,
        path: &Path,
        name: &str,
        parent: Option<ModuleId>,
        exported: bool,
    ) -> Result<(), Failure> {
        let source = syn::parse_file(&read(path)?).map_err(|error| {
            let line = error.span().start().line;
            format!("{}:{line}: {error}", path.display())
        })?;
        if is_test_only(&source.attrs) {
            return Ok(());
        }
        let file = self.tree.files.len();
        self.tree.files.push(path.to_owned());
        let outer = self.module;
        self.module = self.tree.add_module(name, file, parent, exported);
        for item in &source.items {
            self.visit_item(item);
        }
        self.module = outer;
        Ok(())
    }

    /// Reads the file of `mod name;`: `name.rs` or `name/mod.rs` in the folder, or the file of
    /// `#[path]`.
    fn read_module_file(&mut self, module: &ItemMod, name: &str) -> Result<(), Failure> {
        let plain = self.folder.join(format!("{name}.rs"));
        let inner = self.folder.join(name);
        let (path, folder) = if let Some(named) = path_attribute(&module.attrs) {
            let file = &self.tree.files[self.tree.modules[self.module].file];
            let path = file.parent().unwrap_or(Path::new("")).join(named);
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            (path, folder)
        } else if plain.exists() {
            (plain, inner)
        } else {
            (inner.join("mod.rs"), inner)
        };
        let outer = std::mem::replace(&mut self.folder, folder);
        let read = self.read_file(&path, name, Some(self.module), is_exported(&module.vis));
        self.folder = outer;
        read
    }

    fn read_inline_module(&mut self, module: &ItemMod, name: &str, items: &[Item]) {
        let file = self.tree.modules[self.module].file;
        let exported = is_exported(&module.vis);
        let id = self
            .tree
            .add_module(name, file, Some(self.module), exported);
        let outer = (self.module, self.folder.clone());
        self.module = id;
        self.folder.push(name);
        for item in items {
            self.visit_item(item);
        }
        (self.module, self.folder) = outer;
    }

    fn declare(&mut self, item: &Item) {
        use Namespace::{Type, Value};
        let (name, namespace, visibility) = match item {
            Item::Const(item) => (&item.ident, Value, &item.vis),
            Item::Fn(item) => (&item.sig.ident, Value, &item.vis),
            Item::Static(item) => (&item.ident, Value, &item.vis),
            Item::Enum(item) => (&item.ident, Type, &item.vis),
            Item::Struct(item) => (&item.ident, Type, &item.vis),
            Item::Trait(item) => (&item.ident, Type, &item.vis),
            Item::Type(item) => (&item.ident, Type, &item.vis),
            Item::Union(item) => (&item.ident, Type, &item.vis),
            _ => return,
        };
        let target = Target::Item(namespace);
        let exported = is_exported(visibility);
        self.tree
            .bind(self.module, &name.to_string(), target, exported);
    }

    fn import(&mut self, item: &ItemUse, prefix: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(item, &with(&path.ident), &path.tree),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(item, prefix, tree);
                }
            }
            UseTree::Glob(_) => self.tree.modules[self.module].globs.push(Glob {
                path: prefix.to_vec(),
                exported: is_exported(&item.vis),
            }),
            UseTree::Name(name) if name.ident == "self" => {
                let own = prefix.last().cloned().unwrap_or_default();
                self.import_name(item, prefix.to_vec(), &own, &name.ident);
            }
            UseTree::Name(name) => {
                let own = name.ident.to_string();
                self.import_name(item, with(&name.ident), &own, &name.ident);
            }
            UseTree::Rename(rename) => {
                let path = match rename.ident == "self" {
                    true => prefix.to_vec(),
                    false => with(&rename.ident),
                };
                self.import_name(item, path, &rename.rename.to_string(), &rename.ident);
            }
        }
    }

    fn import_name(&mut self, item: &ItemUse, path: Vec<String>, name: &str, at: &syn::Ident) {
        let exported = is_exported(&item.vis);
        let kind = match exported {
            true => MentionKind::ReExport,
            false => MentionKind::Import,
        };
        self.mention(path.clone(), at.span().start().line, kind);
        self.tree
            .bind(self.module, name, Target::Import(path), exported);
    }

    fn mention(&mut self, path: Vec<String>, line: usize, kind: MentionKind) {
        self.tree.mentions.push(Mention {
            module: self.module,
            path,
            line,
            kind,
        });
    }

    /// Adds a path in code, unless it is a variable.
    fn mention_in_code(&mut self, path: Vec<String>, line: usize, kind: MentionKind) {
        let is_local = matches!(path.as_slice(), [name] if self.locals.contains(name));
        if !is_local {
            self.mention(path, line, kind);
        }
    }

    /// Adds the paths of a token stream.
    fn read_tokens(&mut self, tokens: &proc_macro2::TokenStream) {
        for path in paths(tokens.clone()) {
            let kind = match path.is_macro {
                true => MentionKind::MacroCall,
                false => MentionKind::Tokens,
            };
            self.mention_in_code(path.segments, path.line, kind);
        }
    }

    /// Declares a `macro_rules`, or the items in the arguments of a macro that is called where items
    /// stand.
    fn declare_macro(&mut self, item: &ItemMacro) {
        if let Some(name) = &item.ident {
            let exported = item.attrs.iter().any(|a| a.path().is_ident("macro_export"));
            let target = Target::Item(Namespace::Macro);
            self.tree
                .bind(self.module, &name.to_string(), target, exported);
        }
        for (name, namespace) in definitions(item.mac.tokens.clone()) {
            self.tree
                .bind(self.module, &name, Target::Item(namespace), true);
        }
    }

    /// Reads an item with the variables of its function added to those of the functions around it.
    fn with_locals(&mut self, locals: Locals, read: impl FnOnce(&mut Self)) {
        let outer = self.locals.clone();
        self.locals.extend(locals.names);
        read(self);
        self.locals = outer;
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test_only(attributes_of_item(item)) {
            return;
        }
        self.declare(item);
        match item {
            Item::Mod(_) | Item::Use(_) | Item::Impl(_) | Item::Trait(_) => {
                visit::visit_item(self, item);
            }
            _ => {
                let mut locals = Locals::default();
                locals.visit_item(item);
                self.with_locals(locals, |reader| visit::visit_item(reader, item));
            }
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let name = module.ident.to_string();
        match &module.content {
            Some((_, items)) => self.read_inline_module(module, &name, items),
            None => {
                if let Err(failure) = self.read_module_file(module, &name) {
                    self.failure.get_or_insert(failure);
                }
            }
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(item, &[], &item.tree);
        }
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        self.declare_macro(item);
        if item.ident.is_some() {
            self.read_tokens(&item.mac.tokens);
        } else {
            self.visit_macro(&item.mac);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !is_test_only(attributes_of_impl_item(item)) {
            let mut locals = Locals::default();
            locals.visit_impl_item(item);
            self.with_locals(locals, |reader| visit::visit_impl_item(reader, item));
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let mut locals = Locals::default();
        locals.visit_trait_item(item);
        self.with_locals(locals, |reader| visit::visit_trait_item(reader, item));
    }

    fn visit_foreign_item(&mut self, item: &'ast ForeignItem) {
        if let ForeignItem::Fn(function) = item {
            let name = function.sig.ident.to_string();
            let exported = is_exported(&function.vis);
            let target = Target::Item(Namespace::Value);
            self.tree.bind(self.module, &name, target, exported);
        }
        visit::visit_foreign_item(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let line = first.ident.span().start().line;
            let names = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.mention_in_code(names.collect(), line, MentionKind::Code);
        }
        visit::visit_path(self, path);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        if is_constant(pattern) {
            let line = pattern.ident.span().start().line;
            self.mention(vec![pattern.ident.to_string()], line, MentionKind::Code);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let segments = &call.path.segments;
        if call.path.leading_colon.is_none() && !segments.is_empty() {
            let line = segments[0].ident.span().start().line;
            let names = segments.iter().map(|segment| segment.ident.to_string());
            self.mention(names.collect(), line, MentionKind::MacroCall);
        }
        match arguments(call) {
            Some(arguments) => {
                for argument in &arguments {
                    self.visit_expr(argument);
                }
            }
            None => self.read_tokens(&call.tokens),
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            for path in paths(list.tokens.clone()) {
                if path.segments.len() > 1 {
                    self.mention(path.segments, path.line, MentionKind::Tokens);
                }
            }
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// The names of the variables and parameters of a function.
#[derive(Default)]
struct Locals {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Locals {
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        if !is_constant(pattern) {
            self.names.insert(pattern.ident.to_string());
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        for argument in arguments(call).iter().flatten() {
            self.visit_expr(argument);
        }
    }
}

/// Returns whether a pattern of one name is a constant or a variant: by its capital letter.
fn is_constant(pattern: &PatIdent) -> bool {
    let name = pattern.ident.to_string();
    pattern.subpat.is_none() && name.starts_with(|first: char| first.is_uppercase())
}

/// Returns the arguments of a macro if they are expressions, as those of `format!` are.
fn arguments(call: &Macro) -> Option<Punctuated<Expr, Token![,]>> {
    call.parse_body_with(Punctuated::parse_terminated).ok()
}

fn is_exported(visibility: &Visibility) -> bool {
    !matches!(visibility, Visibility::Inherited)
}

/// The value of `#[path = ".."]`.
fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        match &pair.value {
            Expr::Lit(value) if pair.path.is_ident("path") => match &value.lit {
                Lit::Str(path) => Some(path.value()),
                _ => None,
            },
            _ => None,
        }
    })
}
