//! The distribution for C toolchains: `lib/`, `include/`, and the files of pkg-config and CMake.

use std::path::{Path, PathBuf};

use crate::build::{LIBRARY, build};
use crate::files::{copy, copy_into, empty_folder, link, make_folder, remove, run};
use crate::licences::{Linked, third_party};
use crate::portable::{self, Product};
use crate::target::{System, Target};
use crate::workspace::{Failure, read, root, write};

const PKG_CONFIG: &str = include_str!("florence2.pc");
const PKG_CONFIG_STATIC: &str = include_str!("florence2-static.pc");
const CMAKE_CONFIG: &str = include_str!("florence2Config.cmake");
const CMAKE_CONFIG_WINDOWS: &str = include_str!("florence2Config-windows.cmake");
const CMAKE_VERSION: &str = include_str!("florence2ConfigVersion.cmake");

/// The system libraries that the static library requires. For Windows, these are the ones that rustc
/// links for the standard library and mimalloc.
const UNIX_LIBRARIES: &str = "-lpthread -lm -ldl";
const WINDOWS_LIBRARIES: &str = "-lpsapi -lshell32 -luser32 -ladvapi32 -lbcrypt -lkernel32 -lntdll -luserenv -lws2_32 -ldbghelp";

/// Where the files for C toolchains are placed.
pub(crate) struct Layout {
    /// The folder of libraries, relative to the prefix.
    pub(crate) libraries: String,
    /// The prefix in the files of pkg-config. By default, it is relative to them, so that the folder
    /// can be moved.
    pub(crate) prefix: Option<String>,
}

impl Layout {
    pub(crate) fn relocatable() -> Self {
        Self {
            libraries: "lib".to_owned(),
            prefix: None,
        }
    }

    /// The prefix, relative to a folder within the folder of libraries.
    fn prefix_from(&self, inner: &str) -> String {
        let depth = Path::new(&self.libraries).join(inner).components().count();
        vec![".."; depth].join("/")
    }
}

/// Builds the library with these features and copies its files to `folder`. The library of a named
/// platform runs on old systems too.
pub(crate) fn dist(target: &Target, folder: &Path, features: &[String]) -> Result<(), Failure> {
    build(target, &LIBRARY, features)?;
    let library = Product {
        packages: &LIBRARY,
        features,
        file: target.shared_library(),
    };
    let shared = match target.triple {
        Some(_) => portable::link(target, &library)?,
        None => target.release().join(library.file),
    };
    let parts = prepare(target, &shared)?;
    lay_out(target, &parts, &Layout::relocatable(), folder)?;
    let linked = Linked {
        triple: target.triple,
        packages: &LIBRARY[..1],
        features,
    };
    let third_party = third_party(&linked)?;
    write_licences(&folder.join("share/licenses/florence2"), &third_party)
}

/// Strips the libraries and creates import libraries, in a folder below cargo's target directory,
/// which the tools of other platforms can access. Returns the folder.
pub(crate) fn prepare(target: &Target, shared: &Path) -> Result<PathBuf, Failure> {
    let parts = target.work("parts");
    empty_folder(&parts)?;
    let archive = parts.join("libflorence2.a");
    copy(&target.release().join("libflorence2.a"), &archive)?;
    // `--strip-debug`, which the strip of macOS does not accept.
    run(target.tool("strip").arg("-S").arg(&archive))?;
    if target.system == System::Linux {
        localise_symbols(target, &archive)?;
    }
    let stripped = parts.join(target.shared_library());
    copy(shared, &stripped)?;
    strip_shared(target, &stripped)?;
    if target.system == System::Windows {
        import_libraries(target, &parts)?;
    }
    Ok(parts)
}

/// Removes the symbols and debug information of a shared library or a program.
pub(crate) fn strip_shared(target: &Target, file: &Path) -> Result<(), Failure> {
    // The strip of macOS has no long options.
    let symbols = match target.system {
        System::MacOs => "-x",
        _ => "--strip-unneeded",
    };
    run(target.tool("strip").arg(symbols).arg(file))
}

/// Turns the static library into one object that exports only the C API, so that a program can link
/// it beside another Rust library or another mimalloc. The linker has no such option for Windows,
/// where the static library exports the symbols of its dependencies too.
fn localise_symbols(target: &Target, archive: &Path) -> Result<(), Failure> {
    let object = archive.with_file_name("libflorence2.o");
    let symbols = exported_symbols()?;
    let mut link = target.tool("ld");
    // A linker would merge COMDAT groups with groups of the same names in other objects.
    link.args(["--relocatable", "--force-group-allocation"]);
    link.args(symbols.lines().map(|name| format!("--undefined={name}")));
    run(link.arg(archive).arg("--output").arg(&object))?;
    let mut localise = target.tool("objcopy");
    localise.args(["--wildcard", "--keep-global-symbol=florence2_*"]);
    // The link concatenates the standard library's bitcode. An `ar` with LLVM's plugin reads these
    // sections and aborts.
    localise.args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd"]);
    run(localise.arg("--strip-unneeded").arg(&object))?;
    remove(archive)?;
    run(target.tool("ar").arg("crsD").arg(archive).arg(&object))?;
    remove(&object)
}

/// Creates the import libraries. MSVC and MinGW read the same format under different names.
fn import_libraries(target: &Target, parts: &Path) -> Result<(), Failure> {
    let definitions = parts.join("florence2.def");
    let exports = format!("LIBRARY florence2.dll\nEXPORTS\n{}", exported_symbols()?);
    write(&definitions, exports.as_bytes())?;
    let import = parts.join("florence2.lib");
    let mut tool = target.command("llvm-dlltool");
    tool.args(["-m", "i386:x86-64", "-D", "florence2.dll", "-d"]);
    run(tool.arg(&definitions).arg("-l").arg(&import))?;
    copy(&import, &parts.join("libflorence2.dll.a"))?;
    remove(&definitions)
}

/// The functions of the C API, one on each line.
fn exported_symbols() -> Result<String, Failure> {
    read(&root().join("tests/c/symbols.txt"))
}

/// Copies the prepared libraries, the headers, and the files of pkg-config and CMake to `folder`.
pub(crate) fn lay_out(
    target: &Target,
    parts: &Path,
    layout: &Layout,
    folder: &Path,
) -> Result<(), Failure> {
    let lib = folder.join(&layout.libraries);
    make_folder(&lib.join("pkgconfig"))?;
    make_folder(&lib.join("cmake/florence2"))?;
    copy_into(&parts.join("libflorence2.a"), &lib)?;
    let shared = lay_out_shared(target, parts, folder, &lib)?;
    let include = folder.join("include");
    make_folder(&include)?;
    for header in ["include/florence2.h", "bindings/cpp/florence2.hpp"] {
        copy_into(&root().join(header), &include)?;
    }
    let (config, libraries) = match target.system {
        System::Windows => (CMAKE_CONFIG_WINDOWS, WINDOWS_LIBRARIES),
        _ => (CMAKE_CONFIG, UNIX_LIBRARIES),
    };
    let relative = format!("${{pcfiledir}}/{}", layout.prefix_from("pkgconfig"));
    let prefix = layout.prefix.clone().unwrap_or(relative);
    for (template, path) in [
        (PKG_CONFIG, "pkgconfig/florence2.pc"),
        (PKG_CONFIG_STATIC, "pkgconfig/florence2-static.pc"),
        (config, "cmake/florence2/florence2Config.cmake"),
        (
            CMAKE_VERSION,
            "cmake/florence2/florence2ConfigVersion.cmake",
        ),
    ] {
        let text = template
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@SHARED@", &shared)
            .replace("@PREFIX@", &prefix)
            .replace("@LIBDIR@", &layout.libraries)
            .replace(
                "@PREFIX_FROM_CMAKE@",
                &layout.prefix_from("cmake/florence2"),
            )
            .replace("@SYSTEM_LIBRARIES@", libraries)
            .replace(
                "@SYSTEM_LIBRARY_LIST@",
                &libraries.replace("-l", "").replace(' ', ";"),
            )
            // All platforms have 64-bit pointers.
            .replace("@POINTER_BYTES@", "8");
        write(&lib.join(path), text.as_bytes())?;
    }
    Ok(())
}

/// Writes the licences of the library and of its dependencies to `folder`.
pub(crate) fn write_licences(folder: &Path, third_party: &str) -> Result<(), Failure> {
    make_folder(folder)?;
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy_into(&root().join(licence), folder)?;
    }
    write(&folder.join("THIRD-PARTY.txt"), third_party.as_bytes())
}

/// Copies the shared library under its SONAME, and links the name that linkers use to it. On Windows,
/// copies the DLL and its import libraries; rustc writes no PDB file for windows-gnu. Returns the
/// name of the shared library.
fn lay_out_shared(
    target: &Target,
    parts: &Path,
    folder: &Path,
    lib: &Path,
) -> Result<String, Failure> {
    let plain = target.shared_library();
    let abi = abi_version()?;
    let versioned = match target.system {
        System::Linux => format!("libflorence2.so.{abi}"),
        System::MacOs => format!("libflorence2.{abi}.dylib"),
        System::Windows => {
            let bin = folder.join("bin");
            make_folder(&bin)?;
            copy_into(&parts.join(plain), &bin)?;
            for import in ["libflorence2.dll.a", "florence2.lib"] {
                copy_into(&parts.join(import), lib)?;
            }
            return Ok(plain.to_owned());
        }
    };
    copy(&parts.join(plain), &lib.join(&versioned))?;
    link(&versioned, &lib.join(plain))?;
    Ok(versioned)
}

/// The value of `FLORENCE2_ABI_VERSION` in the header.
pub(crate) fn abi_version() -> Result<String, Failure> {
    let header = read(&root().join("include/florence2.h"))?;
    header
        .lines()
        .find_map(|line| line.strip_prefix("#define FLORENCE2_ABI_VERSION "))
        .map(ToOwned::to_owned)
        .ok_or_else(|| {
            "include/florence2.h: expected a line `#define FLORENCE2_ABI_VERSION`".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::Layout;

    #[test]
    fn the_prefix_is_relative_to_the_folder_of_libraries() {
        assert_eq!(Layout::relocatable().prefix_from("pkgconfig"), "../..");
        let multiarch = Layout {
            libraries: "lib/x86_64-linux-gnu".to_owned(),
            prefix: None,
        };
        assert_eq!(multiarch.prefix_from("cmake/florence2"), "../../../..");
    }
}
