//! Links the shared library with its SONAME, which carries the ABI's version, and so that `dlclose`
//! does not unload it. On Windows, `src/unload.rs` does the latter.

use std::env;

/// `FLORENCE2_ABI_VERSION` of `src/version.rs`; the tests compare the two.
const ABI_VERSION: u32 = 1;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target_os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match target_os.as_str() {
        "macos" | "ios" => println!(
            "cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libflorence2.{ABI_VERSION}.dylib"
        ),
        "windows" => {}
        _ => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libflorence2.so.{ABI_VERSION}");
            // The threads of its pools run its code until the process ends.
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        }
    }
}
