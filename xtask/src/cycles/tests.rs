//! Planted cycles, and dependencies that are none.

use std::collections::BTreeSet;

use super::*;

/// Returns the reports on a crate with these files, given by path and source.
fn reports_on(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (path, source) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, source).unwrap();
    }
    reports(&folder.path().join("lib.rs"), folder.path()).unwrap()
}

/// Returns the files of the only cycle in a crate.
fn cycle_in(files: &[(&str, &str)]) -> BTreeSet<String> {
    let reports = reports_on(files);
    assert_eq!(reports.len(), 1, "{reports:?}");
    let edges = reports[0].lines().skip(1);
    edges
        .map(|edge| edge.trim().split(':').next().unwrap().to_owned())
        .collect()
}

fn assert_acyclic(files: &[(&str, &str)]) {
    assert_eq!(reports_on(files), Vec::<String>::new());
}

#[test]
fn a_cycle_of_two_files_is_described_by_names_and_lines() {
    let reports = reports_on(&[
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "use crate::b::Foo;\n\npub struct Bar(Foo);\n"),
        ("b.rs", "pub struct Foo;\npub fn f(_: super::a::Bar) {}\n"),
    ]);
    let expected = "cycle of 2 files\n  \
                    a.rs:1,3 names b::Foo (b.rs)\n  \
                    b.rs:2 names a::Bar (a.rs)";
    assert_eq!(reports, [expected]);
}

#[test]
fn a_cycle_of_three_files_leaves_out_what_only_depends_on_it() {
    let cycle = cycle_in(&[
        ("lib.rs", "mod a; mod b; mod c; mod user; mod used;"),
        (
            "a.rs",
            "use crate::b::{self, used::Leaf}; pub fn a() { b::b(); }",
        ),
        ("b.rs", "pub use crate::used; pub fn b() { crate::c::c(); }"),
        ("c.rs", "use super::a as other; pub fn c() { other::a(); }"),
        ("user.rs", "pub fn user() { crate::a::a(); }"),
        ("used.rs", "pub struct Leaf;"),
    ]);
    assert_eq!(cycle, ["a.rs", "b.rs", "c.rs"].map(String::from).into());
}

#[test]
fn a_re_export_counts_as_the_file_that_defines_the_item() {
    let cycle = cycle_in(&[
        (
            "lib.rs",
            "mod a; mod b; pub use a::Bar as Renamed; pub use b::*;",
        ),
        ("a.rs", "pub struct Bar(crate::Foo);"),
        ("b.rs", "pub enum Foo { One(Box<crate::Renamed>) }"),
    ]);
    assert_eq!(cycle, ["a.rs", "b.rs"].map(String::from).into());
}

#[test]
fn a_glob_counts_where_its_names_are_used() {
    let with_use = |code: &'static str| {
        [
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "pub const LIMIT: u32 = crate::b::B; pub fn limit() {}",
            ),
            ("b.rs", code),
        ]
    };
    let found = |code| reports_on(&with_use(code)).len();
    for cyclic in [
        "use super::a::*; pub const B: u32 = LIMIT;",
        "use super::a::*; pub const B: u32 = 1; fn f() { limit(); }",
        "use super::a::*; pub const B: u32 = 1; fn f() { println!(\"{}\", LIMIT); }",
        "use super::a::*; pub const B: u32 = 1; fn f(x: u32) { match x { LIMIT => {} _ => {} } }",
        "pub const B: u32 = 1; mod inner { use crate::a::*; fn f() { matches!(2, LIMIT if true); } }",
    ] {
        assert_eq!(found(cyclic), 1, "{cyclic}");
    }
    for acyclic in [
        "use super::a::*; pub const B: u32 = 1;",
        "use super::a::*; pub const B: u32 = 1; fn f() { let limit = 2; g(limit); }",
        "use super::a::*; pub const B: u32 = 1; fn f(x: X) { x.limit(); }",
    ] {
        assert_eq!(found(acyclic), 0, "{acyclic}");
    }
}

#[test]
fn a_parent_may_re_export_what_its_child_defines() {
    let child = "use super::Shared; pub struct Child(Shared); pub fn f() {}";
    assert_acyclic(&[
        (
            "lib.rs",
            "mod child; pub use child::{Child, f}; pub struct Shared;",
        ),
        ("child.rs", child),
    ]);
    for use_in_code in [
        "mod child; use child::Child; pub struct Shared;",
        "mod child; pub use child::Child; pub struct Shared; fn g() { child::f(); }",
        "mod child; pub use child::f; pub struct Shared; fn g() { f(); }",
        "mod child; pub use child::Child; pub struct Shared; impl From<Child> for Shared {}",
    ] {
        let cycle = cycle_in(&[("lib.rs", use_in_code), ("child.rs", child)]);
        assert_eq!(cycle, ["lib.rs", "child.rs"].map(String::from).into());
    }
}

#[test]
fn tests_are_left_out() {
    let with_test = |test: &'static str| {
        [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct Foo(crate::b::Bar);"),
            ("b.rs", test),
        ]
    };
    for test in [
        "pub struct Bar; #[cfg(test)] mod tests { use crate::a::Foo; fn f(_: Foo) {} }",
        "pub struct Bar; #[cfg(all(unix, test))] use crate::a::Foo;",
        "pub struct Bar; #[cfg(not(not(test)))] fn f(_: crate::a::Foo) {}",
        "pub struct Bar; #[test] fn f() { crate::a::Foo; }",
        "pub struct Bar; impl Bar { #[cfg(test)] fn f(_: crate::a::Foo) {} }",
    ] {
        assert_acyclic(&with_test(test));
    }
    for code in [
        "pub struct Bar; #[cfg(any(test, feature = \"x\"))] use crate::a::Foo;",
        "pub struct Bar; #[cfg(not(test))] use crate::a::Foo;",
        "pub struct Bar; #[cfg(unix)] use crate::a::Foo;",
    ] {
        assert_eq!(cycle_in(&with_test(code)).len(), 2, "{code}");
    }
}

#[test]
fn macros_count_where_they_are_defined() {
    let cycle = cycle_in(&[
        ("lib.rs", "#[macro_use]\nmod macros;\nmod a;"),
        (
            "macros.rs",
            "macro_rules! declare { ($name:ident) => { struct $name($crate::a::Foo); } }",
        ),
        ("a.rs", "pub struct Foo; declare!(Bar);"),
    ]);
    assert_eq!(cycle, ["a.rs", "macros.rs"].map(String::from).into());
    assert_acyclic(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "macro_rules! run { () => { crate::b::f() } } pub fn g() { run!() }",
        ),
        (
            "b.rs",
            "macro_rules! run { () => { 1 } } pub fn f() { run!(); println!(); }",
        ),
    ]);
}

#[test]
fn names_that_macros_declare_are_found() {
    let cycle = cycle_in(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::{Made, SLOT}; pub struct Foo(Made);"),
        (
            "b.rs",
            "thread_local! { pub static SLOT: crate::a::Foo = make() }
             macro_rules! made { () => { pub struct Made; } }
             made!();",
        ),
    ]);
    assert_eq!(cycle, ["a.rs", "b.rs"].map(String::from).into());
}

#[test]
fn modules_are_found_in_folders_and_by_path() {
    let cycle = cycle_in(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a/mod.rs",
            "pub mod inner; #[path = \"../elsewhere.rs\"] mod other;",
        ),
        (
            "a/inner.rs",
            "use super::super::b::deep::Deep; pub struct Inner(Deep);",
        ),
        ("elsewhere.rs", "pub struct Other;"),
        ("b.rs", "pub mod deep; mod inline { mod deeper; }"),
        ("b/deep.rs", "pub struct Deep; use crate::a::inner::Inner;"),
        ("b/inline/deeper.rs", "use crate::b::deep::Deep;"),
    ]);
    assert_eq!(cycle, ["a/inner.rs", "b/deep.rs"].map(String::from).into());
}

#[test]
fn a_path_to_nothing_is_reported() {
    let found = reports_on(&[(
        "lib.rs",
        "use std::fmt;\nuse crate::missing::Foo;\nfn f() { self::g() }\n",
    )]);
    let expected = [
        "lib.rs:2: found no item `crate::missing::Foo`",
        "lib.rs:3: found no item `self::g`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_targets_of_this_workspace_are_found() {
    let (workspace, roots) = crate_roots(&crate::workspace::root()).unwrap();
    for root in ["xtask/src/main.rs", "crates/florence2-core/src/lib.rs"] {
        assert!(roots.contains(&workspace.join(root)), "{roots:?}");
    }
    let is_test = |root: &PathBuf| root.components().any(|part| part.as_os_str() == "tests");
    assert!(!roots.iter().any(is_test), "{roots:?}");
}
