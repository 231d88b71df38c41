//! The settings of the hub in environment variables, with the names, values and precedence of
//! huggingface_hub.

use std::fs;
use std::path::{Path, PathBuf};

use super::settings::Hub;

const ENDPOINT: &str = "https://huggingface.co";

impl Hub {
    /// Creates a hub from environment variables by huggingface_hub's rules: `HF_ENDPOINT`;
    /// `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME` or `XDG_CACHE_HOME`; `HF_TOKEN`,
    /// `HUGGING_FACE_HUB_TOKEN`, or the file of `HF_TOKEN_PATH`, unless
    /// `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set; `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`;
    /// `HF_HUB_DISABLE_SYMLINKS`. In paths, `~` and `$NAME` are expanded, and on Windows `%NAME%`.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Like [`Self::from_env`], with `get` in place of the variables of this process.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Self {
        read(&get)
    }
}

/// Reads environment variables. An empty variable counts as unset.
struct Variables<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.get)(name).filter(|value| !value.is_empty())
    }

    /// A path after the expansion of `~` and of variables.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let path = self.text(name)?;
        Some(self.expand_variables(&self.expand_home(&path)).into())
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| is_true(&value))
    }

    fn home(&self) -> Option<String> {
        let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.text(name).or_else(|| {
            let home = std::env::home_dir()?;
            Some(home.to_string_lossy().into_owned())
        })
    }

    /// Replaces `~` and `~user` at the start of a path as `os.path.expanduser` does.
    fn expand_home(&self, path: &str) -> String {
        let Some(rest) = path.strip_prefix('~') else {
            return path.to_owned();
        };
        let end = rest.find(std::path::is_separator).unwrap_or(rest.len());
        let (user, rest) = rest.split_at(end);
        let home = if user.is_empty() {
            self.home()
        } else {
            self.home_of(user)
        };
        match home {
            Some(home) => home.trim_end_matches(std::path::is_separator).to_owned() + rest,
            None => path.to_owned(),
        }
    }

    /// The home folder of a user by name, from the file of all users.
    #[cfg(not(windows))]
    #[allow(clippy::unused_self, reason = "it reads variables on Windows")]
    fn home_of(&self, user: &str) -> Option<String> {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let entry = users.lines().map(|line| line.split(':'));
        entry
            .filter_map(|mut fields| Some((fields.next()?, fields.nth(4)?)))
            .find(|(name, _)| *name == user)
            .map(|(_, home)| home.to_owned())
    }

    /// The home folder of a user by name: that of the current user, or the folder beside it if the
    /// current user's folder has the user's name.
    #[cfg(windows)]
    fn home_of(&self, user: &str) -> Option<String> {
        let home = self.home()?;
        let current = self.text("USERNAME");
        if current.as_deref() == Some(user) {
            return Some(home);
        }
        let home = Path::new(&home);
        let is_profile = home.file_name()?.to_str() == current.as_deref();
        let other = is_profile.then(|| home.with_file_name(user))?;
        other.to_str().map(ToOwned::to_owned)
    }

    /// Replaces `$NAME` and `${NAME}`, and on Windows `%NAME%`, as `os.path.expandvars` does: unset
    /// variables are kept.
    fn expand_variables(&self, path: &str) -> String {
        let mut expanded = String::new();
        let mut rest = path;
        let is_reference = |c: char| c == '$' || cfg!(windows) && c == '%';
        while let Some(start) = rest.find(is_reference) {
            expanded += &rest[..start];
            rest = &rest[start..];
            let (length, name) = variable(rest);
            match name.and_then(|name| (self.get)(name)) {
                Some(value) => expanded += &value,
                None => expanded += &rest[..length],
            }
            rest = &rest[length..];
        }
        expanded + rest
    }
}

/// The length of the reference at the start of `text`, which begins with `$` or `%`, and its
/// variable.
fn variable(text: &str) -> (usize, Option<&str>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(enclosed) = text.strip_prefix('%') {
        return match enclosed.find('%') {
            Some(end) => (end + 2, Some(&enclosed[..end])),
            None => (1, None),
        };
    }
    if let Some(braced) = text.strip_prefix("${") {
        return match braced.find('}') {
            Some(end) => (end + 3, Some(&braced[..end])),
            None => (1, None),
        };
    }
    let name = &text[1..];
    let end = name.find(|c| !is_name(c)).unwrap_or(name.len());
    let found = (end > 0).then_some(&name[..end]);
    (end + 1, found)
}

fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_uppercase().as_str(),
        "1" | "ON" | "YES" | "TRUE"
    )
}

/// Reads the settings of [`Hub::from_env`].
fn read(get: &dyn Fn(&str) -> Option<String>) -> Hub {
    let variables = Variables { get };
    let home = variables
        .path("HF_HOME")
        .unwrap_or_else(|| default_home(&variables));
    let cache = variables
        .path("HF_HUB_CACHE")
        .or_else(|| variables.path("HUGGINGFACE_HUB_CACHE"))
        .unwrap_or_else(|| home.join("hub"));
    let endpoint = variables.text("HF_ENDPOINT");
    let offline = variables
        .text("HF_HUB_OFFLINE")
        .or_else(|| variables.text("TRANSFORMERS_OFFLINE"));
    Hub {
        token: token(&variables, &home),
        offline: offline.is_some_and(|value| is_true(&value)),
        symlinks: !variables.flag("HF_HUB_DISABLE_SYMLINKS"),
        ..Hub::new(endpoint.as_deref().unwrap_or(ENDPOINT), cache)
    }
}

/// `~/.cache/huggingface`, or `huggingface` in `XDG_CACHE_HOME`.
fn default_home(variables: &Variables<'_>) -> PathBuf {
    let cache = variables.path("XDG_CACHE_HOME").or_else(|| {
        let home = variables.home()?;
        Some(Path::new(&home).join(".cache"))
    });
    cache.unwrap_or_else(|| ".cache".into()).join("huggingface")
}

fn token(variables: &Variables<'_>, home: &Path) -> Option<String> {
    if variables.flag("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
        return None;
    }
    let file = variables
        .path("HF_TOKEN_PATH")
        .unwrap_or_else(|| home.join("token"));
    variables
        .text("HF_TOKEN")
        .or_else(|| variables.text("HUGGING_FACE_HUB_TOKEN"))
        .or_else(|| fs::read_to_string(file).ok())
        .map(|token| token.replace(['\r', '\n'], "").trim().to_owned())
        .filter(|token| !token.is_empty())
}
