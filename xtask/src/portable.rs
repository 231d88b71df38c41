//! Links the library and the command for Linux against an old glibc, with zig's linker.
//!
//! Only the crates of the products are compiled again. The crates that they depend on come from
//! cargo's release profile, as for any other build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::build_arguments;
use crate::files::{
    PIP_ENVIRONMENT, copy, empty_folder, entries, make_folder, remove, rename, run,
};
use crate::target::{System, Target};
use crate::workspace::{Failure, root, target, write};

/// The newest glibc whose symbols the products may require. Rust's standard library requires it.
const GLIBC: &str = "2.17";

const ZIG_PACKAGES: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.1"];

/// A product of a package: a shared library or a program.
pub(crate) struct Product<'a> {
    /// The package, and others that are selected with it.
    pub(crate) packages: &'a [&'a str],
    pub(crate) features: &'a [String],
    pub(crate) file: &'a str,
}

/// Links a product, which cargo has built, for an old glibc and returns its path. On other systems than
/// Linux, this is the product of cargo.
pub(crate) fn link(target: &Target, product: &Product) -> Result<PathBuf, Failure> {
    let built = target.release().join(product.file);
    if target.system != System::Linux {
        return Ok(built);
    }
    let tools = install_linker(target)?;
    let folder = target.work("portable");
    make_folder(&folder)?;
    let portable = folder.join(product.file);
    // cargo links a product that is absent. Afterwards the native product is put back, so that later
    // builds find it.
    let original = original(&built)?;
    let native = original.with_extension("native");
    rename(&original, &native)?;
    let linked = relink(target, &tools, product).and_then(|()| copy(&built, &portable));
    rename(&native, &original)?;
    copy_over(&original, &built)?;
    linked.map(|()| portable)
}

/// Builds a product with the linker in the folder `tools`.
fn relink(target: &Target, tools: &Path, product: &Product) -> Result<(), Failure> {
    let mut shell = target.command("sh");
    shell.args(["-c", "PATH=$1:$PATH; shift; exec \"$@\"", "sh"]);
    shell.arg(tools);
    shell.args([target.cargo_program(), "build", "--release"]);
    shell.args(target.cargo_arguments());
    run(shell.args(build_arguments(product.packages, product.features)))
}

/// The file in `deps` that cargo hard-links `built` to.
fn original(built: &Path) -> Result<PathBuf, Failure> {
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    let wanted = identity(built);
    let deps = built.with_file_name("deps");
    entries(&deps)?
        .into_iter()
        .find(|path| {
            wanted.is_some() && path.extension() == built.extension() && identity(path) == wanted
        })
        .ok_or_else(|| {
            format!(
                "{}: found no file with the length and the time of {}",
                deps.display(),
                built.display()
            )
        })
}

/// Replaces a file by a hard link.
fn copy_over(original: &Path, link: &Path) -> Result<(), Failure> {
    if link.exists() {
        remove(link)?;
    }
    fs::hard_link(original, link).map_err(|error| format!("{}: {error}", link.display()))
}

/// Installs zig, and writes a program that links with it under the name of the target's linker.
/// Returns the program's folder.
fn install_linker(platform: &Target) -> Result<PathBuf, Failure> {
    let zig = target().join("zig");
    let program = zig.join("bin/cargo-zigbuild");
    if !program.exists() {
        empty_folder(&zig)?;
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
        pip.envs(PIP_ENVIRONMENT);
        run(pip
            .arg("--target")
            .arg(&zig)
            .args(ZIG_PACKAGES)
            .current_dir(root()))?;
    }
    let tools = platform.work("linker");
    make_folder(&tools)?;
    let folder = zig.display();
    let script = format!(
        "#!/bin/sh\n\
         ZIG_GLOBAL_CACHE_DIR=\"{folder}/cache\" ZIG_LOCAL_CACHE_DIR=\"{folder}/cache\" \\\n\
         CARGO_ZIGBUILD_ZIG_PATH=\"{folder}/ziglang/zig\" \\\n\
         exec \"{folder}/bin/cargo-zigbuild\" zig cc -- -target {} \"$@\"\n",
        zig_target(platform)
    );
    let linker = tools.join(platform.linker);
    write(&linker, script.as_bytes())?;
    run(Command::new("chmod").arg("+x").arg(&linker))?;
    Ok(tools)
}

/// zig's name of a platform and the version of glibc.
fn zig_target(target: &Target) -> String {
    let triple = target.triple.unwrap_or(std::env::consts::ARCH);
    let processor = triple.split('-').next().unwrap_or(triple);
    format!("{processor}-linux-gnu.{GLIBC}")
}

#[cfg(test)]
mod tests {
    use super::{Target, zig_target};

    #[test]
    fn the_linker_is_for_the_old_glibc() {
        let target = Target::named("aarch64-unknown-linux-gnu").unwrap();
        assert_eq!(zig_target(&target), "aarch64-linux-gnu.2.17");
    }
}
