//! Detection of the layout of a data set.

use std::fs;
use std::path::{Path, PathBuf};

use florence2_postprocess::PostProcessingType;

use crate::error::{Error, Result};
use crate::files::{has_extension, is_image, with_extension};
use crate::options::{DatasetOptions, Format, Split};
use crate::yolo::has_split;

/// The layout of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) format: Format,
    /// The file of annotations, `data.yaml`, or the folder of images with texts.
    pub(crate) path: PathBuf,
}

/// Files of YOLO data sets.
const YOLO_FILES: [&str; 4] = ["data.yaml", "data.yml", "dataset.yaml", "dataset.yml"];

/// Finds the layout of a folder or file.
///
/// # Errors
/// [`Error::Io`], [`Error::Layout`] if there is no data set or several.
pub(crate) fn find(path: &Path, options: &DatasetOptions) -> Result<Layout> {
    let metadata = fs::metadata(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    if !metadata.is_dir() {
        return of_file(path, options);
    }
    let formats = match options.format {
        Some(format) => vec![format],
        None => Format::ALL.to_vec(),
    };
    for format in formats {
        if let Some(path) = in_folder(path, format, options)? {
            return Ok(Layout { format, path });
        }
    }
    let split = match options.split {
        Some(split) => format!(" of the split {split}"),
        None => String::new(),
    };
    let format = match options.format {
        Some(format) => format!("a data set of the format {format}"),
        None => "annotations.jsonl, COCO JSON, data.yaml, or images with .txt files".to_owned(),
    };
    Err(Error::Layout {
        path: path.to_owned(),
        found: format!("no data set{split}"),
        expected: format,
    })
}

fn of_file(file: &Path, options: &DatasetOptions) -> Result<Layout> {
    let by_extension = [
        (&["jsonl"] as &[&str], Format::Jsonl),
        (&["json"], Format::Coco),
        (&["yaml", "yml"], Format::Yolo),
    ];
    let format = by_extension
        .into_iter()
        .find(|(extensions, _)| has_extension(file, extensions));
    let format = options.format.or(format.map(|(_, format)| format));
    match format {
        None | Some(Format::Text) => Err(Error::Layout {
            path: file.to_owned(),
            found: "a file of another type".to_owned(),
            expected: "a folder, or a .jsonl, .json or .yaml file".to_owned(),
        }),
        Some(format) => Ok(Layout {
            format,
            path: file.to_owned(),
        }),
    }
}

/// The file or folder of a format within a folder.
fn in_folder(folder: &Path, format: Format, options: &DatasetOptions) -> Result<Option<PathBuf>> {
    let folders = || split_folders(folder, options.split).into_iter();
    match format {
        Format::Jsonl => {
            let files = folders().map(|folder| folder.join("annotations.jsonl"));
            Ok(files.into_iter().find(|file| file.exists()))
        }
        Format::Coco => {
            let files = folders().map(|folder| folder.join("_annotations.coco.json"));
            match files.into_iter().find(|file| file.exists()) {
                Some(file) => Ok(Some(file)),
                None => coco_file(folder, options),
            }
        }
        Format::Yolo => {
            let files = YOLO_FILES.iter().map(|name| folder.join(name));
            let has_split =
                |file: &PathBuf| options.split.is_none_or(|split| has_split(file, split));
            let file = files.into_iter().find(|file| file.exists());
            // A broken file is reported by the reader.
            Ok(file.filter(|file| {
                options.format.is_some() || options.split.is_none() || has_split(file)
            }))
        }
        Format::Text => Ok(folders().find(|folder| has_texts(folder))),
    }
}

/// The folders of a split: those named after it, or without a split the folder itself and then those
/// of the training split.
fn split_folders(folder: &Path, split: Option<Split>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if split.is_none() {
        folders.push(folder.to_owned());
    }
    let names = split.unwrap_or(Split::Train).names();
    folders.extend(names.iter().map(|name| folder.join(name)));
    folders
}

/// Returns whether a folder itself has an image with a `.txt` file of the same name.
fn has_texts(folder: &Path) -> bool {
    let texts = with_extension(folder, &["txt"]);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut images = entries
        .map(|entry| entry.path())
        .filter(|path| is_image(path));
    images.any(|image| texts.binary_search(&image.with_extension("txt")).is_ok())
}

/// The only COCO file of a folder or of its folder `annotations` that fits the split and the task.
fn coco_file(folder: &Path, options: &DatasetOptions) -> Result<Option<PathBuf>> {
    let is_stated = options.format == Some(Format::Coco);
    let is_coco = |file: &PathBuf| {
        let name = name(file);
        let names = ["annotations", "instances", "captions", "coco"];
        is_stated || names.iter().any(|part| name.contains(part))
    };
    let mut files = with_extension(folder, &["json"]);
    files.retain(is_coco);
    files.extend(with_extension(&folder.join("annotations"), &["json"]));
    // Panoptic, key point and other annotations of COCO have no boxes with names, or no annotations.
    let others = ["panoptic", "stuff_", "keypoints", "image_info", "unlabeled"];
    files.retain(|file| !others.iter().any(|part| name(file).contains(part)));

    let of_split = |split: Split| {
        let files = files.iter().cloned();
        let has_name = |file: &PathBuf| split.names().iter().any(|part| name(file).contains(part));
        files.filter(has_name).collect::<Vec<PathBuf>>()
    };
    let mut candidates = match options.split {
        Some(split) => of_split(split),
        None if files.len() > 1 && !of_split(Split::Train).is_empty() => of_split(Split::Train),
        None => files.clone(),
    };
    let wants_captions = options.task.map(|task| {
        task.post_processing_type() == PostProcessingType::PureText && !task.needs_region()
    });
    if candidates.len() > 1 {
        let has_captions = |file: &PathBuf| name(file).contains("caption");
        candidates.retain(|file| has_captions(file) == wants_captions.unwrap_or(false));
    }
    match candidates.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            Err(Error::Layout {
                path: folder.to_owned(),
                found: format!("several files of annotations: {}", names.join(", ")),
                expected: "one; state the file instead of its folder, or the split".to_owned(),
            })
        }
    }
}

fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().to_ascii_lowercase()
}
