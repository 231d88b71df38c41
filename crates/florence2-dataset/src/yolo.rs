//! YOLO: `data.yaml` with the classes, and a `.txt` file of labels per image.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use florence2_postprocess::{BoundingBox, Shape};

use crate::contents::Contents;
use crate::error::{Error, Result};
use crate::example::{Outline, TruthObject};
use crate::files::{
    images, is_image, missing, missing_image, read, utf8, walk, without_byte_order_mark,
};
use crate::objects::{AnnotatedImage, ExampleMaker, SourcedObject};
use crate::options::{DatasetOptions, Split};
use crate::report::{Finding, FindingKind, Source};
use crate::yaml::{self, Node};

/// `data.yaml`.
struct Config {
    file: PathBuf,
    root: Node,
}

/// The image folders and lists of a split.
struct SplitImages {
    images: Vec<PathBuf>,
    /// The folders of the images, whose folders of labels are checked for labels without image.
    folders: Vec<PathBuf>,
}

/// Reads the labels of a split.
///
/// An image without label file is a background image, as in Ultralytics.
///
/// # Errors
/// [`Error::Io`], [`Error::Malformed`] if `data.yaml` is not valid or has no such split,
/// [`Error::Layout`] if no image has a label file, [`Error::Option`] if objects are no examples of the
/// task.
pub(crate) fn read_yolo(file: &Path, options: &DatasetOptions) -> Result<Contents> {
    let config = Config::open(file)?;
    let classes = config.classes()?;
    let has_key_points = config.root.get("kpt_shape").is_some();
    let maker = ExampleMaker::new(options)?;
    let mut contents = Contents {
        classes,
        ..Contents::default()
    };
    let split = config.split(
        options.split.unwrap_or(Split::Train),
        &mut contents.findings,
    )?;
    let mut label_files = HashSet::new();
    for image in &split.images {
        let labels = label_file(image);
        let source = Source::file(&labels);
        if let Some(finding) = missing_image(&Source::file(image), image) {
            contents.findings.push(finding);
            continue;
        }
        let faults = contents.findings.len();
        let objects = if labels.exists() {
            let parser = LineParser {
                classes: &contents.classes,
                has_key_points,
            };
            let Some(objects) = parser.objects(&labels, &mut contents.findings) else {
                continue;
            };
            label_files.insert(labels);
            objects
        } else {
            Vec::new()
        };
        let annotated = AnnotatedImage {
            image: image.clone(),
            source,
            image_size: None,
            objects,
            has_faults: contents.findings.len() > faults,
        };
        maker.add_examples(annotated, &mut contents);
    }
    if label_files.is_empty() && !split.images.is_empty() {
        let expected = label_file(&split.images[0]);
        return Err(Error::Layout {
            path: file.to_owned(),
            found: format!("{} images, none with a label file", split.images.len()),
            expected: format!("label files such as {}", expected.display()),
        });
    }
    for folder in &split.folders {
        add_labels_without_image(folder, &label_files, &mut contents.findings);
    }
    Ok(contents)
}

/// Returns whether a `data.yaml` has a split.
pub(crate) fn has_split(file: &Path, split: Split) -> bool {
    Config::open(file).is_ok_and(|config| config.split_value(split).is_some())
}

impl Config {
    fn open(file: &Path) -> Result<Self> {
        let bytes = read(file)?;
        let root = utf8(&bytes).and_then(yaml::parse);
        let file = file.to_owned();
        match root {
            Ok(root) => Ok(Self { file, root }),
            Err(found) => Err(Error::Malformed {
                path: file,
                found,
                expected: "YOLO's data.yaml with plain lists and mappings".to_owned(),
            }),
        }
    }

    fn malformed(&self, found: impl Into<String>, expected: impl Into<String>) -> Error {
        Error::Malformed {
            path: self.file.clone(),
            found: found.into(),
            expected: expected.into(),
        }
    }

    /// The names of the classes, by index.
    fn classes(&self) -> Result<Vec<String>> {
        let expected = "`names`: a list of names, or a mapping of the indices 0, 1, .. to names";
        let wrong =
            |node: &Node| self.malformed(format!("{} in `names`", node.describe()), expected);
        let name = |node: &Node| match node {
            Node::Scalar(name) => Ok(name.clone()),
            other => Err(wrong(other)),
        };
        let names = match self.root.get("names") {
            None => return Err(self.malformed("no `names`", expected)),
            Some(Node::Sequence(names)) => names.iter().map(name).collect::<Result<Vec<_>>>()?,
            Some(Node::Mapping(names)) => {
                let mut by_index = vec![None; names.len()];
                for (key, node) in names {
                    let index = key.parse::<usize>().ok();
                    match index.and_then(|index| by_index.get_mut(index)) {
                        Some(place) => *place = Some(name(node)?),
                        None => {
                            return Err(
                                self.malformed(format!("the key `{key}` in `names`"), expected)
                            );
                        }
                    }
                }
                let names: Option<Vec<String>> = by_index.into_iter().collect();
                names.ok_or_else(|| self.malformed("an index twice in `names`", expected))?
            }
            Some(other) => return Err(wrong(other)),
        };
        if let Some(Node::Scalar(count)) = self.root.get("nc")
            && count.parse() != Ok(names.len())
        {
            let expected = format!("{}, the number of `names`", names.len());
            return Err(self.malformed(format!("`nc`: {count}"), expected));
        }
        Ok(names)
    }

    fn split_value(&self, split: Split) -> Option<&Node> {
        split.names().iter().find_map(|name| self.root.get(name))
    }

    /// The images of a split: a folder, a file of paths, or a list of both.
    fn split(&self, split: Split, findings: &mut Vec<Finding>) -> Result<SplitImages> {
        let expected =
            format!("`{split}`: a folder of images or a file of paths, or a list of them");
        let values = match self.split_value(split) {
            Some(Node::Sequence(values)) => values.iter().collect(),
            Some(value) => vec![value],
            None => return Err(self.malformed(format!("no `{split}`"), expected)),
        };
        let mut found = SplitImages {
            images: Vec::new(),
            folders: Vec::new(),
        };
        for value in values {
            let Node::Scalar(value) = value else {
                let value = format!("{} at `{split}`", value.describe());
                return Err(self.malformed(value, expected));
            };
            let path = self.resolve(value);
            if path.is_dir() {
                found.images.extend(images(&path, findings));
                found.folders.push(path);
            } else if path.is_file() {
                found.images.extend(listed_images(&path, findings)?);
            } else {
                let value = format!("`{split}`: {value}, which is not at {}", path.display());
                return Err(self.malformed(value, expected));
            }
        }
        Ok(found)
    }

    /// The path of a split: relative to `path` if that folder exists, otherwise to the file's folder.
    /// Roboflow's exports have `../train/images` for `train/images`.
    fn resolve(&self, value: &str) -> PathBuf {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let root = match self.root.get("path") {
            Some(Node::Scalar(path)) if folder.join(path).is_dir() => folder.join(path),
            _ => folder.to_owned(),
        };
        let path = root.join(value);
        if path.exists() {
            return path;
        }
        let inside = folder.join(value.trim_start_matches("../"));
        if inside.exists() { inside } else { path }
    }
}

/// The images that a file lists, one path per line, relative to the file's folder.
fn listed_images(file: &Path, findings: &mut Vec<Finding>) -> Result<Vec<PathBuf>> {
    let bytes = read(file)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut images = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let error = |found: String, expected: &str| {
            let source = Source::line(file, index + 1);
            Finding::error(source, FindingKind::Malformed, found, expected)
        };
        match utf8(line).map(str::trim) {
            Ok("") => {}
            Ok(path) if is_image(Path::new(path)) => images.push(folder.join(path)),
            Ok(path) => findings.push(error(format!("`{path}`"), "the path of an image")),
            Err(found) => findings.push(error(found, "UTF-8")),
        }
    }
    Ok(images)
}

/// The label file of an image: the last folder `images` of its path replaced by `labels`, and the
/// extension `txt`.
fn label_file(image: &Path) -> PathBuf {
    labels_path(image).with_extension("txt")
}

fn labels_path(path: &Path) -> PathBuf {
    let components: Vec<Component<'_>> = path.components().collect();
    let last = components
        .iter()
        .rposition(|part| part.as_os_str() == "images");
    let replaced = components.iter().enumerate().map(|(index, part)| {
        if Some(index) == last {
            "labels".as_ref()
        } else {
            part.as_os_str()
        }
    });
    replaced.collect()
}

/// Label files of a folder that belong to no image.
fn add_labels_without_image(
    folder: &Path,
    label_files: &HashSet<PathBuf>,
    findings: &mut Vec<Finding>,
) {
    let labels = labels_path(folder);
    if labels == folder || !labels.is_dir() {
        return;
    }
    // Loops have been reported with the images.
    for file in walk(&labels, &["txt"], &mut Vec::new()) {
        if !label_files.contains(&labels_path(&file)) && !label_files.contains(&file) {
            findings.push(Finding::warning(
                Source::file(&file),
                FindingKind::MissingImage,
                "no image of the same name",
                "an image",
            ));
        }
    }
}

/// Parses the lines of label files.
struct LineParser<'a> {
    classes: &'a [String],
    /// Whether key points follow the box.
    has_key_points: bool,
}

impl LineParser<'_> {
    /// The objects of a file in fractions of the image's size; `None`, with a finding, if the file
    /// cannot be read.
    fn objects(&self, file: &Path, findings: &mut Vec<Finding>) -> Option<Vec<SourcedObject>> {
        let bytes = match missing(file) {
            Some(found) => Err(found),
            None => fs::read(file).map_err(|error| error.to_string()),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(found) => {
                let source = Source::file(file);
                findings.push(Finding::error(
                    source,
                    FindingKind::File,
                    found,
                    "a label file",
                ));
                return None;
            }
        };
        let lines = without_byte_order_mark(&bytes).split(|byte| *byte == b'\n');
        let mut objects = Vec::new();
        for (index, line) in lines.enumerate() {
            let source = Source::line(file, index + 1);
            match utf8(line).map(str::trim) {
                Ok("") => {}
                Ok(line) => match self.object(line) {
                    Ok(object) => objects.push(SourcedObject { source, object }),
                    Err((kind, found, expected)) => {
                        findings.push(Finding::error(source, kind, found, expected));
                    }
                },
                Err(found) => {
                    findings.push(Finding::error(
                        source,
                        FindingKind::Malformed,
                        found,
                        "UTF-8",
                    ));
                }
            }
        }
        Some(objects)
    }

    /// Parses `class cx cy w h`, with key points after it if the data set has them, or
    /// `class x1 y1 x2 y2 x3 y3 ..`.
    fn object(&self, line: &str) -> Result<TruthObject, (FindingKind, String, String)> {
        let malformed = |found: String| {
            let expected = "`class cx cy width height` or `class x1 y1 x2 y2 x3 y3 ..`";
            Err((FindingKind::Malformed, found, expected.to_owned()))
        };
        let mut numbers = Vec::new();
        for word in line.split_whitespace() {
            match word.parse::<f64>() {
                Ok(number) if number.is_finite() => numbers.push(number),
                _ => return malformed(format!("`{word}`")),
            }
        }
        let Some((class, coordinates)) = numbers.split_first() else {
            return malformed("nothing".to_owned());
        };
        let label = self.label(*class, line)?;
        match coordinates {
            [cx, cy, width, height] => Ok(boxed(label, [*cx, *cy, *width, *height])),
            [cx, cy, width, height, ..] if self.has_key_points => {
                Ok(boxed(label, [*cx, *cy, *width, *height]))
            }
            ring if ring.len() >= 6 && ring.len() % 2 == 0 => {
                let ring = ring.as_chunks::<2>().0.to_vec();
                let bounding_box = Shape::Polygon(ring.clone()).bounding_box();
                Ok(TruthObject::new(
                    label,
                    bounding_box,
                    Outline::Polygons(vec![ring]),
                ))
            }
            other => malformed(format!("{} numbers after the class", other.len())),
        }
    }

    /// The name of a class of a line.
    fn label(&self, class: f64, line: &str) -> Result<&str, (FindingKind, String, String)> {
        let count = self.classes.len();
        let is_index = class >= 0.0 && class.fract() == 0.0 && class < count as f64;
        if is_index {
            return Ok(&self.classes[class as usize]);
        }
        Err((
            FindingKind::UnknownClass,
            format!(
                "the class {}",
                line.split_whitespace().next().unwrap_or_default()
            ),
            format!("an index of the {count} names, from 0"),
        ))
    }
}

/// The object of a box with a centre, in fractions.
fn boxed(label: &str, [cx, cy, width, height]: [f64; 4]) -> TruthObject {
    let corners = [
        cx - 0.5 * width,
        cy - 0.5 * height,
        cx + 0.5 * width,
        cy + 0.5 * height,
    ];
    TruthObject::new(label, BoundingBox::from(corners), Outline::Box)
}
