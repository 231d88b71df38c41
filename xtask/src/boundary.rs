//! Checks that every exported function consists of a call of the boundary that catches panics, and
//! that the exported symbols are those of the committed list.

use std::collections::BTreeSet;

use syn::{Attribute, Expr, Item, ItemFn, Stmt};

use crate::workspace::{read, root};

/// The exported functions in the sources of the C API, by file.
fn exported() -> Vec<(String, ItemFn)> {
    let folder = root().join("crates/florence2-ffi/src");
    let mut exported = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let source = syn::parse_file(&read(&path).unwrap()).unwrap();
        let functions = source.items.into_iter().filter_map(|item| match item {
            Item::Fn(function) if function.attrs.iter().any(is_no_mangle) => Some(function),
            _ => None,
        });
        let file = path.file_name().unwrap().display().to_string();
        exported.extend(functions.map(|function| (file.clone(), function)));
    }
    exported
}

/// Returns true if an attribute is `#[unsafe(no_mangle)]` or `#[no_mangle]`.
fn is_no_mangle(attribute: &Attribute) -> bool {
    attribute.path().is_ident("no_mangle")
        || attribute
            .parse_args::<syn::Ident>()
            .is_ok_and(|argument| argument == "no_mangle")
}

/// Returns true if a block consists of one call of a function of the module `boundary`.
fn is_guarded(statements: &[Stmt]) -> bool {
    let [Stmt::Expr(expression, _)] = statements else {
        return false;
    };
    match expression {
        Expr::Unsafe(block) => is_guarded(&block.block.stmts),
        Expr::Call(call) => match call.func.as_ref() {
            Expr::Path(path) => path
                .path
                .segments
                .first()
                .is_some_and(|first| first.ident == "boundary"),
            _ => false,
        },
        _ => false,
    }
}

#[test]
fn every_exported_function_is_behind_the_boundary() {
    let exported = exported();
    assert!(exported.len() > 60, "found {} functions", exported.len());
    let outside: Vec<String> = exported
        .iter()
        .filter(|(_, function)| !is_guarded(&function.block.stmts))
        .map(|(file, function)| format!("{file}: {}", function.sig.ident))
        .collect();
    assert_eq!(outside, Vec::<String>::new());
}

#[test]
fn unguarded_functions_are_found() {
    for (body, guarded) in [
        ("{ boundary::value(0, || 1) }", true),
        ("{ unsafe { boundary::free(image) } }", true),
        ("{ unsafe { boundary::free(image) }; }", true),
        ("{ 1 }", false),
        ("{ devices().len() }", false),
        ("{ let x = f(); boundary::value(0, || x) }", false),
        ("{ unsafe { f(); boundary::value(0, || 1) } }", false),
        ("{ boundary::value(0, || 1) + f() }", false),
    ] {
        let block: syn::Block = syn::parse_str(body).unwrap();
        assert_eq!(is_guarded(&block.stmts), guarded, "{body}");
    }
}

#[test]
fn exported_symbols_are_the_committed_ones() {
    let committed = read(&root().join("tests/c/symbols.txt")).unwrap();
    let committed: BTreeSet<&str> = committed.lines().collect();
    let exported = exported();
    let found: BTreeSet<String> = exported
        .iter()
        .filter(|(file, _)| file != "test_hooks.rs")
        .map(|(_, function)| function.sig.ident.to_string())
        .collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let removed: Vec<_> = committed.difference(&found).collect();
    let added: Vec<_> = found.difference(&committed).collect();
    assert!(
        removed.is_empty() && added.is_empty(),
        "tests/c/symbols.txt: {removed:?} are not exported, {added:?} are not listed"
    );
}
