//! Builds in cargo's release profile.

use crate::files::run;
use crate::target::Target;
use crate::workspace::Failure;

/// The packages that the C library is built from. workspace-hack shares the dependencies with the
/// builds of the command and the tests.
pub(crate) const LIBRARY: [&str; 2] = ["florence2-ffi", "workspace-hack"];

/// Builds packages in cargo's release profile.
pub(crate) fn build(
    target: &Target,
    packages: &[&str],
    features: &[String],
) -> Result<(), Failure> {
    let mut cargo = target.cargo();
    cargo.args(["build", "--release"]);
    cargo.args(target.cargo_arguments());
    cargo.args(build_arguments(packages, features));
    run(&mut cargo)
}

/// The arguments of `cargo build` that select packages and features.
pub(crate) fn build_arguments(packages: &[&str], features: &[String]) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    for package in packages {
        arguments.extend(["--package".to_owned(), (*package).to_owned()]);
    }
    if !features.is_empty() {
        arguments.extend(["--features".to_owned(), features.join(",")]);
    }
    arguments
}
