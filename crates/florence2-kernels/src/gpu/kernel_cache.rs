//! Compiled kernels and autotune results, stored between runs: the first run of a model takes
//! minutes, later runs take seconds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// The environment variable with the folder of the caches, instead of the user's cache folder.
const VARIABLE: &str = "FLORENCE2_CACHE_DIR";

/// Sets the folder of cubecl's caches, unless the program has already set it.
pub(super) fn keep_on_disk() {
    let mut stored = CubeClRuntimeConfig::storage().lock();
    if stored.is_some() {
        return;
    }
    // cubecl's own default is a `target` folder in a parent of the current folder.
    let folder = folder(|name| std::env::var_os(name)).filter(|folder| is_writable(folder));
    let folder = folder.unwrap_or_else(|| {
        let folder = std::env::temp_dir().join("florence2");
        log::warn!(
            "no cache folder to write to: kernels are kept in {}",
            folder.display()
        );
        folder
    });
    let mut config = CubeClRuntimeConfig::default().override_from_env();
    config.autotune.cache = CacheConfig::File(folder.clone());
    config.compilation.cache = Some(CacheConfig::File(folder));
    *stored = Some(Arc::new(config));
}

/// `FLORENCE2_CACHE_DIR`, else `florence2` in the user's cache folder.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| {
        let value = variable(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let home = || path("HOME");
    let caches = || match () {
        () if cfg!(windows) => path("LOCALAPPDATA"),
        () if cfg!(target_os = "macos") => home().map(|home| home.join("Library/Caches")),
        () => path("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache"))),
    };
    path(VARIABLE).or_else(|| caches().map(|caches| caches.join("florence2")))
}

/// Returns whether files can be created in the folder, which is created if it is missing.
fn is_writable(folder: &Path) -> bool {
    let probe = folder.join(format!(".writable-{}", std::process::id()));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&probe, b""));
    drop(std::fs::remove_file(&probe));
    written.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        folder(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_variable_goes_before_the_users_folder() {
        let folder = folder_with(&[(VARIABLE, "/kernels"), ("HOME", "/home/ann")]);
        assert_eq!(folder, Some(PathBuf::from("/kernels")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_users_folder_is_where_the_system_says() {
        let home = ("HOME", "/home/ann");
        assert_eq!(
            folder_with(&[home, (VARIABLE, "")]),
            Some(PathBuf::from("/home/ann/.cache/florence2"))
        );
        assert_eq!(
            folder_with(&[home, ("XDG_CACHE_HOME", "/cache")]),
            Some(PathBuf::from("/cache/florence2"))
        );
        assert_eq!(folder_with(&[]), None);
    }
}
