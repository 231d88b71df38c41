//! Cargo builds dependencies of build scripts only for packages that have a build script.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
