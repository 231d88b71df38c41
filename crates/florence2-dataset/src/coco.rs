//! COCO JSON: instances and captions.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use florence2_postprocess::{BoundingBox, ImageSize, PostProcessingType, Shape, write_text};
use florence2_processor::Task;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

use crate::contents::Contents;
use crate::error::{Error, Result};
use crate::example::{Annotation, Example, Outline, Rle, TruthObject};
use crate::files::{missing, read};
use crate::objects::{AnnotatedImage, ExampleMaker, SourcedObject};
use crate::options::DatasetOptions;
use crate::report::{Finding, FindingKind, Source};

/// An id: a number, or a string in some exports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// An entry of a list, or the fault that it has.
struct Entry<T>(Result<T, String>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if !value.is_object() {
            return Ok(Self(Err(format!("{}, not an object", shortened(&value)))));
        }
        Ok(Self(serde_path_to_error::deserialize(value).map_err(
            |error| match error.path().to_string().as_str() {
                "." => error.inner().to_string(),
                path => format!("{path}: {}", error.inner()),
            },
        )))
    }
}

/// The beginning of a value's JSON.
fn shortened(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[derive(Deserialize)]
struct CocoFile {
    images: Vec<Entry<CocoImage>>,
    annotations: Vec<Entry<CocoAnnotation>>,
    #[serde(default)]
    categories: Vec<Entry<CocoCategory>>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: Id,
    file_name: String,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
struct CocoCategory {
    id: Id,
    name: String,
}

#[derive(Deserialize)]
struct CocoAnnotation {
    id: Option<Id>,
    image_id: Id,
    category_id: Option<Id>,
    bbox: Option<Vec<f64>>,
    segmentation: Option<CocoSegmentation>,
    iscrowd: Option<CocoFlag>,
    area: Option<f64>,
    caption: Option<String>,
}

/// 0 and 1, or a boolean in some exports.
#[derive(Deserialize)]
#[serde(untagged)]
enum CocoFlag {
    Number(u8),
    Boolean(bool),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CocoSegmentation {
    Polygons(Vec<Vec<f64>>),
    Rle { size: [u32; 2], counts: CocoCounts },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CocoCounts {
    Runs(Vec<u32>),
    Compressed(String),
}

/// A listed image.
struct ListedImage {
    source: Source,
    path: PathBuf,
    size: ImageSize,
}

/// An annotation of a listed image, with its source.
type Sourced = (Source, CocoAnnotation);

/// Reads a file of instances or captions.
///
/// # Errors
/// [`Error::Io`], [`Error::Malformed`] if the file is no JSON with `images` and `annotations`,
/// [`Error::Option`] if the annotations do not fit the task.
pub(crate) fn read_coco(file: &Path, options: &DatasetOptions) -> Result<Contents> {
    let bytes = read(file)?;
    let coco: CocoFile = serde_json::from_slice(&bytes).map_err(|error| Error::Malformed {
        path: file.to_owned(),
        found: error.to_string(),
        expected: "a JSON object with the lists `images` and `annotations`".to_owned(),
    })?;
    drop(bytes);
    let mut contents = Contents::default();
    let names = categories(coco.categories, file, &mut contents);
    let folders = image_folders(file, options);
    let (images, index) = images(coco.images, file, &folders, &mut contents.findings);
    let annotations = annotations(
        coco.annotations,
        file,
        &index,
        images.len(),
        &mut contents.findings,
    );
    let has_captions = annotations
        .iter()
        .flatten()
        .any(|(_, a)| a.caption.is_some());
    let has_objects = annotations
        .iter()
        .flatten()
        .any(|(_, a)| a.caption.is_none());
    let task = options.task;
    let wants_captions = task.map_or(has_captions && !has_objects, |task| {
        task.post_processing_type() == PostProcessingType::PureText && !task.needs_region()
    });
    let pairs = images.into_iter().zip(annotations);
    if wants_captions {
        let task = task.unwrap_or(Task::Caption);
        pairs.for_each(|(image, annotations)| {
            add_captions(&image, annotations, task, &mut contents);
        });
    } else {
        let maker = ExampleMaker::new(options)?;
        for (image, annotations) in pairs {
            let count = annotations.len();
            let annotations = annotations.into_iter();
            let objects = annotations
                .filter_map(|annotation| object(annotation, &names, &mut contents.findings))
                .collect::<Vec<_>>();
            let annotated = AnnotatedImage {
                has_faults: objects.len() < count,
                objects,
                image: image.path,
                source: image.source,
                image_size: Some(image.size),
            };
            maker.add_examples(annotated, &mut contents);
        }
    }
    Ok(contents)
}

/// The valid entries of a list with their sources: `kind` and the id, or the index in the list.
fn valid<T>(
    entries: Vec<Entry<T>>,
    file: &Path,
    (kind, list): (&str, &str),
    id: impl Fn(&T) -> Option<Id>,
    findings: &mut Vec<Finding>,
) -> Vec<(Source, T)> {
    let mut valid = Vec::with_capacity(entries.len());
    for (index, Entry(entry)) in entries.into_iter().enumerate() {
        let at_index = || Source::entry(file, format!("{list}[{index}]"));
        match entry {
            Ok(entry) => {
                let source = id(&entry)
                    .map_or_else(at_index, |id| Source::entry(file, format!("{kind} {id}")));
                valid.push((source, entry));
            }
            Err(found) => findings.push(Finding::error(
                at_index(),
                FindingKind::Malformed,
                found,
                format!("COCO's keys of an entry of `{list}`"),
            )),
        }
    }
    valid
}

/// The names of the categories by id.
fn categories(
    entries: Vec<Entry<CocoCategory>>,
    file: &Path,
    contents: &mut Contents,
) -> HashMap<Id, String> {
    let kind = ("category", "categories");
    let id = |category: &CocoCategory| Some(category.id.clone());
    let mut names = HashMap::new();
    for (source, category) in valid(entries, file, kind, id, &mut contents.findings) {
        contents.classes.push(category.name.clone());
        if names.insert(category.id, category.name).is_some() {
            contents.findings.push(duplicate(source, "an id"));
        }
    }
    names
}

fn duplicate(source: Source, found: &str) -> Finding {
    Finding::error(
        source,
        FindingKind::Duplicate,
        format!("{found} that an earlier entry has"),
        "one entry per id",
    )
}

/// The images that exist, and the index of each id. Ids of other images have no index.
fn images(
    entries: Vec<Entry<CocoImage>>,
    file: &Path,
    folders: &[PathBuf],
    findings: &mut Vec<Finding>,
) -> (Vec<ListedImage>, HashMap<Id, Option<usize>>) {
    let (mut images, mut index) = (Vec::new(), HashMap::new());
    let id = |image: &CocoImage| Some(image.id.clone());
    for (source, image) in valid(entries, file, ("image", "images"), id, findings) {
        if index.contains_key(&image.id) {
            findings.push(duplicate(source, "an id"));
            continue;
        }
        let size = ImageSize {
            width: image.width,
            height: image.height,
        };
        let path = existing(&image.file_name, folders);
        let fault = if size.width == 0 || size.height == 0 {
            let found = format!("{}x{} pixels", size.width, size.height);
            Some((FindingKind::ImageSize, found, "at least 1x1"))
        } else {
            let reason = missing(&path);
            reason.map(|reason| {
                let found = format!("{reason} at {}", path.display());
                (FindingKind::MissingImage, found, "an image")
            })
        };
        let place = fault.is_none().then_some(images.len());
        index.insert(image.id, place);
        match fault {
            Some((kind, found, expected)) => {
                findings.push(Finding::error(source, kind, found, expected));
            }
            None => images.push(ListedImage { source, path, size }),
        }
    }
    (images, index)
}

/// The folders in which images are searched for, in order.
fn image_folders(file: &Path, options: &DatasetOptions) -> Vec<PathBuf> {
    if let Some(folder) = &options.images {
        return vec![folder.clone()];
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let above = folder.join("..");
    let mut folders = vec![folder.to_owned(), folder.join("images")];
    // `annotations/instances_train2017.json` belongs to `train2017`.
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    if let Some((_, split)) = stem.and_then(|stem| stem.rsplit_once('_')) {
        folders.push(folder.join(split));
        folders.push(folder.join("images").join(split));
        folders.push(above.join(split));
        folders.push(above.join("images").join(split));
    }
    folders.push(above.join("images"));
    folders.push(above);
    folders
}

/// The path of an image in the first folder that has it, otherwise in the first folder.
fn existing(file_name: &str, folders: &[PathBuf]) -> PathBuf {
    let mut paths = folders.iter().map(|folder| folder.join(file_name));
    let first = paths.next().unwrap_or_default();
    if missing(&first).is_none() {
        return first;
    }
    paths.find(|path| missing(path).is_none()).unwrap_or(first)
}

/// The annotations of each image.
fn annotations(
    entries: Vec<Entry<CocoAnnotation>>,
    file: &Path,
    index: &HashMap<Id, Option<usize>>,
    images: usize,
    findings: &mut Vec<Finding>,
) -> Vec<Vec<Sourced>> {
    let mut annotations: Vec<Vec<Sourced>> = Vec::new();
    annotations.resize_with(images, Vec::new);
    let mut seen = HashSet::new();
    let kind = ("annotation", "annotations");
    let id = |annotation: &CocoAnnotation| annotation.id.clone();
    for (source, annotation) in valid(entries, file, kind, id, findings) {
        if let Some(id) = &annotation.id
            && !seen.insert(id.clone())
        {
            findings.push(duplicate(source, "an id"));
            continue;
        }
        match index.get(&annotation.image_id) {
            Some(Some(image)) => annotations[*image].push((source, annotation)),
            // The image has its own finding.
            Some(None) => {}
            None => {
                let found = format!("the image_id {}", annotation.image_id);
                let (kind, expected) =
                    (FindingKind::MissingImage, "the id of an entry of `images`");
                findings.push(Finding::error(source, kind, found, expected));
            }
        }
    }
    annotations
}

/// Adds an example per caption of an image.
fn add_captions(
    image: &ListedImage,
    annotations: Vec<Sourced>,
    task: Task,
    contents: &mut Contents,
) {
    let mut captions = Vec::new();
    for (source, annotation) in annotations {
        let (found, expected) = match annotation.caption.as_deref().map(write_text) {
            Some(Ok(caption)) if caption.is_empty() => ("an empty caption".to_owned(), "a text"),
            Some(Ok(caption)) => {
                captions.push((source, caption));
                continue;
            }
            Some(Err(error)) => (error.to_string(), "a plain text"),
            None => ("no `caption`".to_owned(), "a caption"),
        };
        let kind = FindingKind::Malformed;
        contents
            .findings
            .push(Finding::error(source, kind, found, expected));
    }
    let references: Arc<[String]> = captions
        .iter()
        .map(|(_, caption)| caption.clone())
        .collect();
    for (source, caption) in captions {
        let mut example = Example::new(&image.path, task.token(), caption, source);
        example.annotation = Annotation::Captions(Arc::clone(&references));
        contents.examples.push(example);
    }
}

/// The object of an annotation; `None`, with a finding, if it has none.
fn object(
    (source, annotation): Sourced,
    names: &HashMap<Id, String>,
    findings: &mut Vec<Finding>,
) -> Option<SourcedObject> {
    let error = |kind: FindingKind, found: String, expected: &str| {
        Finding::error(source.clone(), kind, found, expected)
    };
    let label = match annotation.category_id.as_ref() {
        None => Err("no `category_id`".to_owned()),
        Some(id) => names.get(id).ok_or_else(|| format!("the category_id {id}")),
    };
    let label = match label {
        Ok(label) => label.clone(),
        Err(found) => {
            let expected = "the id of an entry of `categories`";
            findings.push(error(FindingKind::UnknownClass, found, expected));
            return None;
        }
    };
    let is_crowd = match annotation.iscrowd {
        Some(CocoFlag::Number(number)) => number != 0,
        Some(CocoFlag::Boolean(flag)) => flag,
        None => false,
    };
    let outline = match annotation.segmentation.map(outline).transpose() {
        Ok(outline) => outline.unwrap_or(Outline::Box),
        Err((found, expected)) => {
            findings.push(error(FindingKind::Malformed, found, expected));
            return None;
        }
    };
    let bounding_box = match (annotation.bbox.as_deref(), &outline) {
        (Some([x, y, width, height]), _) => BoundingBox::from([*x, *y, x + width, y + height]),
        (None | Some([]), Outline::Polygons(rings)) => {
            Shape::Polygon(rings.concat()).bounding_box()
        }
        (found, _) => {
            let found = match found {
                Some(found) => format!("{} numbers at `bbox`", found.len()),
                None => "no `bbox`".to_owned(),
            };
            findings.push(error(
                FindingKind::Malformed,
                found,
                "[x, y, width, height]",
            ));
            return None;
        }
    };
    let mut object = TruthObject::new(label, bounding_box, outline);
    object.is_crowd = is_crowd;
    object.area = annotation.area.unwrap_or(object.area);
    Some(SourcedObject { source, object })
}

/// Converts a segmentation; otherwise returns what was found and what was expected.
fn outline(segmentation: CocoSegmentation) -> Result<Outline, (String, &'static str)> {
    match segmentation {
        CocoSegmentation::Polygons(rings) if rings.is_empty() => Ok(Outline::Box),
        CocoSegmentation::Polygons(rings) => {
            let wrong = rings
                .iter()
                .find(|ring| ring.len() % 2 != 0 || ring.len() < 6);
            if let Some(ring) = wrong {
                let found = format!("a polygon of {} numbers", ring.len());
                return Err((found, "an even number of coordinates, at least 6"));
            }
            let points = |ring: Vec<f64>| ring.as_chunks::<2>().0.to_vec();
            Ok(Outline::Polygons(rings.into_iter().map(points).collect()))
        }
        CocoSegmentation::Rle {
            size: [height, width],
            counts,
        } => {
            let counts = match counts {
                CocoCounts::Runs(counts) => Some(counts),
                CocoCounts::Compressed(text) => decompressed(&text),
            };
            let pixels = u64::from(width) * u64::from(height);
            let total = |counts: &[u32]| counts.iter().copied().map(u64::from).sum::<u64>();
            match counts {
                Some(counts) if total(&counts) == pixels => Ok(Outline::Rle(Rle {
                    size: ImageSize { width, height },
                    counts,
                })),
                Some(counts) => Err((
                    format!(
                        "a mask of {} pixels with the size {height}x{width}",
                        total(&counts)
                    ),
                    "counts whose sum is the number of pixels",
                )),
                None => Err((
                    "a compressed mask that cannot be decoded".to_owned(),
                    "counts as pycocotools compresses them",
                )),
            }
        }
    }
}

/// Decodes pycocotools' compressed counts (`rleFrString`): numbers of 5 bits per character, signed,
/// from the fourth on as differences from the number two before. `None` if the text is malformed.
fn decompressed(text: &str) -> Option<Vec<u32>> {
    let mut counts: Vec<u32> = Vec::new();
    let (mut value, mut shift) = (0_i64, 0_u32);
    for byte in text.bytes() {
        let bits = i64::from(byte.checked_sub(48).filter(|bits| *bits < 64)?);
        if shift > 30 {
            return None;
        }
        value |= (bits & 31) << shift;
        shift += 5;
        if bits & 32 != 0 {
            continue;
        }
        if bits & 16 != 0 {
            value |= -1_i64 << shift;
        }
        if counts.len() > 2 {
            value += i64::from(counts[counts.len() - 2]);
        }
        counts.push(u32::try_from(value).ok()?);
        (value, shift) = (0, 0);
    }
    (shift == 0).then_some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mask.encode` of pycocotools 2.0.11: of a mask of 40 rows and 50 columns with 1 in rows 5 to 19
    /// of columns 10 to 29, and in rows 25 to 37 of columns 3 to 44, but 0 at row 7 of column 12.
    #[test]
    fn counts_are_decompressed_as_by_pycocotools() {
        let text = "a4=k000000000000\\O2NN22NN2EJ:4122NN22NN22NN22NN22NN22NN22NN22NN22NN22NN22NN22NN\
                    22NN22NN22NN22NN22NNf000000000000000000000000000000_5";
        let mut mask = vec![false; 40 * 50];
        for column in 0..50 {
            for row in 0..40 {
                let upper = (10..30).contains(&column) && (5..20).contains(&row);
                let lower = (3..45).contains(&column) && (25..38).contains(&row);
                mask[column * 40 + row] = (upper || lower) && (row, column) != (7, 12);
            }
        }
        let runs = mask.chunk_by(|a, b| a == b);
        let expected: Vec<u32> = runs.map(|run| run.len() as u32).collect();
        assert_eq!(decompressed(text), Some(expected));
    }

    #[test]
    fn malformed_counts_are_rejected() {
        for malformed in ["P", "\u{7f}", " ", "oooooooooooo", "O"] {
            assert_eq!(decompressed(malformed), None, "{malformed:?}");
        }
        assert_eq!(decompressed(""), Some(Vec::new()));
    }
}
