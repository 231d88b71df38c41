//! Resolves paths to the items that they name.

use super::tree::{ModuleId, Namespace, ROOT, Target, Tree};

/// The result of a resolution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Definition {
    Module(ModuleId),
    /// An item by the module that defines it, and its name there.
    Item(ModuleId, String),
    /// Something of another crate.
    External,
}

/// Returns the items and modules that a path in a module names: several if a name stands for a type
/// and a function, or for one item per target. Empty if the path begins in this crate and ends
/// nowhere.
pub(crate) fn resolve(tree: &Tree, module: ModuleId, path: &[String]) -> Vec<Definition> {
    let mut resolver = Resolver {
        tree,
        active: Vec::new(),
    };
    resolver.path(module, path)
}

/// Returns the `macro_rules` that a macro call in a module names if its path resolves to nothing:
/// the definition in the nearest module around it, else those in any module.
pub(crate) fn resolve_macro(tree: &Tree, module: ModuleId, name: &str) -> Vec<Definition> {
    let defines = |module: &ModuleId| {
        let bindings = tree.modules[*module].bindings.get(name);
        bindings.is_some_and(|bindings| {
            let mut targets = bindings.iter().map(|binding| &binding.target);
            targets.any(|target| matches!(target, Target::Item(Namespace::Macro)))
        })
    };
    let definition = |module| Definition::Item(module, name.to_owned());
    match tree.ancestors(module).find(defines) {
        Some(nearest) => vec![definition(nearest)],
        None => {
            let modules = 0..tree.modules.len();
            modules.filter(defines).map(definition).collect()
        }
    }
}

struct Resolver<'t> {
    tree: &'t Tree,
    /// The imports that are being resolved, so that none is followed twice.
    active: Vec<Step>,
}

/// A step of a resolution: the module, the name, and the number of its binding or, after those, of
/// the module's glob.
type Step = (ModuleId, String, usize);

impl Resolver<'_> {
    fn path(&mut self, from: ModuleId, path: &[String]) -> Vec<Definition> {
        let mut found = vec![Definition::Module(from)];
        let mut at_start = true;
        for (position, segment) in path.iter().enumerate() {
            let is_last = position + 1 == path.len();
            found = match segment.as_str() {
                "crate" => vec![Definition::Module(ROOT)],
                "self" => found,
                "super" => self.parents(&found),
                name => {
                    let mut next: Vec<Definition> = found
                        .iter()
                        .flat_map(|scope| self.member(scope, name, from, is_last, at_start))
                        .collect();
                    next.sort();
                    next.dedup();
                    if next.is_empty() && at_start {
                        next.push(Definition::External);
                    }
                    next
                }
            };
            at_start = false;
        }
        found
    }

    fn parents(&self, modules: &[Definition]) -> Vec<Definition> {
        let parent = |definition: &Definition| match definition {
            Definition::Module(module) => self.tree.modules[*module].parent.map(Definition::Module),
            Definition::Item(..) | Definition::External => None,
        };
        modules.iter().filter_map(parent).collect()
    }

    /// Returns the meanings of `scope::name`. A member of a type counts as the type.
    fn member(
        &mut self,
        scope: &Definition,
        name: &str,
        from: ModuleId,
        is_last: bool,
        at_start: bool,
    ) -> Vec<Definition> {
        match scope {
            Definition::Module(module) => {
                let accessor = if at_start { *module } else { from };
                self.name(*module, name, accessor, is_last)
            }
            Definition::Item(..) | Definition::External => vec![scope.clone()],
        }
    }

    /// Returns the meanings of a name in a module: those that it declares or imports by name, else
    /// those of its globs. Only types and modules have members, so that only they count before the
    /// last segment of a path.
    fn name(
        &mut self,
        module: ModuleId,
        name: &str,
        accessor: ModuleId,
        is_last: bool,
    ) -> Vec<Definition> {
        let tree = self.tree;
        let contents = &tree.modules[module];
        let is_inside = tree.is_within(accessor, module);
        let bindings = contents.bindings.get(name).map_or(&[][..], Vec::as_slice);
        let mut found = Vec::new();
        for (number, binding) in bindings.iter().enumerate() {
            if !(binding.exported || is_inside) {
                continue;
            }
            match &binding.target {
                Target::Item(Namespace::Value | Namespace::Macro) if !is_last => {}
                Target::Item(_) => found.push(Definition::Item(module, name.to_owned())),
                Target::Module(inner) => found.push(Definition::Module(*inner)),
                Target::Import(path) => {
                    let step = (module, name.to_owned(), number);
                    found.extend(self.step(step, |resolver| resolver.path(module, path)));
                }
            }
        }
        if found.is_empty() {
            for (number, glob) in contents.globs.iter().enumerate() {
                if glob.exported || is_inside {
                    let step = (module, name.to_owned(), bindings.len() + number);
                    found.extend(self.step(step, |resolver| {
                        resolver.through_glob(module, &glob.path, name, is_last)
                    }));
                }
            }
        }
        found
    }

    fn through_glob(
        &mut self,
        module: ModuleId,
        glob: &[String],
        name: &str,
        is_last: bool,
    ) -> Vec<Definition> {
        let mut found = Vec::new();
        for scope in self.path(module, glob) {
            match scope {
                Definition::Module(scope) => {
                    found.extend(self.name(scope, name, module, is_last));
                }
                Definition::External => found.push(Definition::External),
                Definition::Item(..) => {}
            }
        }
        found
    }

    /// Takes a step, unless it is being taken.
    fn step(
        &mut self,
        step: Step,
        take: impl FnOnce(&mut Self) -> Vec<Definition>,
    ) -> Vec<Definition> {
        if self.active.contains(&step) {
            return Vec::new();
        }
        self.active.push(step);
        let found = take(self);
        self.active.pop();
        found
    }
}
