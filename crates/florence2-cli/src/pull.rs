//! `florence2 pull`: a model of the hub into its cache.

use std::path::PathBuf;

use florence2::{Download, Hub};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;

/// The revision of a model that is named without one.
const REVISION: &str = "main";

pub(crate) fn pull(id: &str, revision: &str) -> Result<PathBuf, Failure> {
    // INVARIANT: the template is a constant that parses.
    let style = ProgressStyle::with_template("{msg:28} {bar:30} {bytes}/{total_bytes}, {eta} left")
        .expect("a valid template");
    let bar = ProgressBar::new(0).with_style(style);
    let mut show = |download: Download<'_>| {
        bar.set_message(download.file.to_owned());
        bar.set_length(download.size);
        bar.set_position(download.received);
    };
    let folder = Hub::from_env().pull(id, revision, &mut show);
    bar.finish_and_clear();
    Ok(folder?)
}

/// What is there is used as it is: `florence2 pull` brings what is newer.
pub(crate) fn cached_or_pull(id: &str) -> Result<PathBuf, Failure> {
    match Hub::from_env().cached(id, REVISION) {
        Some(folder) => Ok(folder),
        None => pull(id, REVISION),
    }
}
