//! `florence2 pull`, and the hub models of other commands.

use std::path::PathBuf;

use florence2::{DownloadProgress, Hub};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// The default revision of a model.
pub(crate) const REVISION: &str = "main";

/// Downloads a model, or completes and checks the cached one.
pub(crate) fn pull(id: &str, revision: &str) -> Result<PathBuf, Failure> {
    with_progress(|show| Hub::from_env().pull(id, revision, show))
}

/// Returns a complete cached model unchanged, and downloads any other.
pub(crate) fn resolve(id: &str, revision: &str) -> Result<PathBuf, Failure> {
    with_progress(|show| Hub::from_env().resolve(id, revision, show))
}

/// Returns a complete cached adapter unchanged, and downloads any other.
pub(crate) fn resolve_adapter(id: &str) -> Result<PathBuf, Failure> {
    with_progress(|show| Hub::from_env().resolve_adapter(id, REVISION, show))
}

fn with_progress(
    work: impl FnOnce(&mut dyn FnMut(DownloadProgress<'_>)) -> florence2::Result<PathBuf>,
) -> Result<PathBuf, Failure> {
    // INVARIANT: the template is a constant that parses.
    let style = ProgressStyle::with_template("{msg:28} {bar:30} {bytes}/{total_bytes}, {eta} left")
        .expect("a valid template");
    let bar = ProgressBar::new(0).with_style(style);
    let folder = work(&mut |download| {
        let file = download.file;
        bar.set_message(match download.waited {
            Some(_) => format!("{file} (another process)"),
            None => file.to_owned(),
        });
        bar.set_length(download.size);
        bar.set_position(download.received);
    });
    bar.finish_and_clear();
    Ok(folder?)
}
