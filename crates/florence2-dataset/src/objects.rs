//! Examples from annotated objects: prefixes and suffixes of each task.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use florence2_postprocess::{ImageSize, Region, Shape, WriteError, WriteOptions, write_regions};
use florence2_processor::{Task, region_text};

use crate::contents::Contents;
use crate::error::{Error, Result};
use crate::example::{Annotation, Example, Outline, TruthObject};
use crate::geometry::box_fault;
use crate::options::DatasetOptions;
use crate::report::{Finding, FindingKind, Severity, Source};

/// An object and its place in the file.
pub(crate) struct SourcedObject {
    pub(crate) source: Source,
    pub(crate) object: TruthObject,
}

/// An image and its objects.
pub(crate) struct AnnotatedImage {
    pub(crate) image: PathBuf,
    pub(crate) source: Source,
    /// The size of the image if the objects are in pixels; `None` if they are in fractions of the
    /// size.
    pub(crate) image_size: Option<ImageSize>,
    pub(crate) objects: Vec<SourcedObject>,
    /// Whether an object was left out, so that an image without objects is no background image.
    pub(crate) has_faults: bool,
}

/// The objects that an example is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grouping {
    Image,
    Class,
    Object,
}

/// Makes the examples of one task.
pub(crate) struct ExampleMaker<'a> {
    task: Task,
    grouping: Grouping,
    write_options: WriteOptions,
    options: &'a DatasetOptions,
}

impl<'a> ExampleMaker<'a> {
    /// # Errors
    /// [`Error::Option`] if objects are no examples of the task.
    pub(crate) fn new(options: &'a DatasetOptions) -> Result<Self> {
        let task = options.task.unwrap_or(Task::ObjectDetection);
        let grouping = match task {
            Task::ObjectDetection | Task::DenseRegionCaption | Task::RegionProposal => {
                Grouping::Image
            }
            Task::OpenVocabularyDetection | Task::ReferringExpressionSegmentation => {
                Grouping::Class
            }
            Task::RegionToSegmentation | Task::RegionToCategory | Task::RegionToDescription => {
                Grouping::Object
            }
            other => {
                return Err(Error::Option {
                    option: "task",
                    found: other.to_string(),
                    expected: "one of <OD>, <DENSE_REGION_CAPTION>, <REGION_PROPOSAL>, \
                               <OPEN_VOCABULARY_DETECTION>, <REFERRING_EXPRESSION_SEGMENTATION>, \
                               <REGION_TO_SEGMENTATION>, <REGION_TO_CATEGORY>, \
                               <REGION_TO_DESCRIPTION> for annotated objects"
                        .to_owned(),
                });
            }
        };
        let label_style = options.label_style;
        Ok(Self {
            task,
            grouping,
            write_options: WriteOptions::default().label_style(label_style),
            options,
        })
    }

    /// Adds the examples of an image. Objects that cannot be used are findings. An image of which no
    /// object can be used is left out, since it is no image without objects.
    pub(crate) fn add_examples(&self, annotated: AnnotatedImage, contents: &mut Contents) {
        let findings = &mut contents.findings;
        let AnnotatedImage {
            image,
            source,
            image_size,
            objects,
            has_faults,
        } = annotated;
        add_duplicates(&objects, findings);
        let count = objects.len();
        let objects = self.usable(objects, image_size, findings);
        let has_faults = has_faults || objects.len() < count;
        for (source, group) in self.groups(&source, objects) {
            if group.iter().all(|object| object.object.is_crowd) {
                if self.grouping != Grouping::Image {
                    continue;
                }
                if has_faults {
                    findings.push(no_usable_object(source));
                    continue;
                }
                if !self.options.keep_background {
                    continue;
                }
            }
            let example = self.example(&image, image_size, source, group);
            contents.examples.push(example);
        }
    }

    /// The objects with a valid box and outline whose label the task can have. Crowds are kept, since
    /// an evaluation needs them.
    fn usable(
        &self,
        mut objects: Vec<SourcedObject>,
        image_size: Option<ImageSize>,
        findings: &mut Vec<Finding>,
    ) -> Vec<SourcedObject> {
        objects.retain(|object| {
            let faults = [
                box_finding(object, image_size),
                self.label_finding(object, image_size),
            ];
            let faults = faults.into_iter().flatten();
            // The first error suffices: what follows from it is no fault of its own.
            for fault in faults {
                let is_error = fault.severity == Severity::Error;
                findings.push(fault);
                if is_error {
                    return false;
                }
            }
            true
        });
        objects
    }

    /// The fault of an object that cannot be written in the grammar of the task.
    fn label_finding(
        &self,
        SourcedObject { source, object }: &SourcedObject,
        image_size: Option<ImageSize>,
    ) -> Option<Finding> {
        if object.is_crowd {
            return None;
        }
        match self.regions(object, 0) {
            Ok(regions) => {
                let error = self.write(&regions, image_size).err()?;
                Some(label_error(source, &error))
            }
            Err(found) => {
                let (kind, expected) = (FindingKind::Region, "polygons for a segmentation");
                Some(Finding::error(source.clone(), kind, found, expected))
            }
        }
    }

    /// The groups of objects of which each is an example, with the source of the example.
    fn groups(
        &self,
        source: &Source,
        objects: Vec<SourcedObject>,
    ) -> Vec<(Source, Vec<SourcedObject>)> {
        match self.grouping {
            Grouping::Image => vec![(source.clone(), objects)],
            Grouping::Class => {
                let mut groups: Vec<(Source, Vec<SourcedObject>)> = Vec::new();
                let mut places: HashMap<String, usize> = HashMap::new();
                for object in objects {
                    let label = object.object.label.clone();
                    let place = *places.entry(label).or_insert(groups.len());
                    if place == groups.len() {
                        let source = of_class(source, &object.object.label);
                        groups.push((source, Vec::new()));
                    }
                    groups[place].1.push(object);
                }
                groups
            }
            Grouping::Object => {
                let objects = objects.into_iter().filter(|object| !object.object.is_crowd);
                objects
                    .map(|object| (object.source.clone(), vec![object]))
                    .collect()
            }
        }
    }

    fn example(
        &self,
        image: &Path,
        image_size: Option<ImageSize>,
        source: Source,
        group: Vec<SourcedObject>,
    ) -> Example {
        let mut regions = Vec::new();
        let individuals = group.iter().filter(|object| !object.object.is_crowd);
        for (instance, SourcedObject { object, .. }) in individuals.enumerate() {
            // INVARIANT: `usable` has removed objects without the task's regions.
            regions.extend(self.regions(object, instance).expect("regions of the task"));
        }
        let prefix = self.prefix(&group, image_size);
        let suffix = self.write(&regions, image_size);
        // INVARIANT: `usable` has written the regions of each object.
        let suffix = suffix.expect("regions that can be written");
        let mut example = Example::new(image, prefix, suffix, source);
        let objects = group.into_iter().map(|object| object.object).collect();
        example.annotation = match image_size {
            Some(image_size) => Annotation::Pixels {
                objects,
                image_size,
            },
            None => Annotation::Fractions(objects),
        };
        example
    }

    /// The task's token and its input: a class, or the box of an object.
    fn prefix(&self, group: &[SourcedObject], image_size: Option<ImageSize>) -> String {
        let token = self.task.token();
        let Some(SourcedObject { object, .. }) = group.first() else {
            return token.to_owned();
        };
        match self.grouping {
            Grouping::Image => token.to_owned(),
            Grouping::Class => format!("{token}{}", object.label.trim()),
            Grouping::Object => {
                let corners = object.bounding_box.into();
                // INVARIANT: `usable` has checked the box.
                let region = region_text(corners, written_size(image_size)).expect("a valid box");
                format!("{token}{region}")
            }
        }
    }

    /// The regions of an object; otherwise what was found instead of polygons.
    fn regions(&self, object: &TruthObject, instance: usize) -> Result<Vec<Region>, String> {
        let label = object.label.as_str();
        let shape = Shape::Box(object.bounding_box);
        match self.task {
            Task::RegionProposal => Ok(vec![Region::new(shape, "", instance)]),
            Task::ReferringExpressionSegmentation | Task::RegionToSegmentation => {
                let found = match &object.outline {
                    Outline::Polygons(rings) => {
                        let rings = rings.iter().cloned().map(Shape::Polygon);
                        return Ok(rings.map(|ring| Region::new(ring, "", instance)).collect());
                    }
                    Outline::Rle(_) => "a run-length encoded mask",
                    Outline::Box | Outline::Quad(_) => "no polygon",
                };
                Err(found.to_owned())
            }
            _ => Ok(vec![Region::new(shape, label, instance)]),
        }
    }

    fn write(
        &self,
        regions: &[Region],
        image_size: Option<ImageSize>,
    ) -> Result<String, WriteError> {
        let post_processing_type = self.task.post_processing_type();
        let size = written_size(image_size);
        write_regions(regions, post_processing_type, size, &self.write_options)
    }
}

/// The fault of an object's box.
fn box_finding(
    SourcedObject { source, object }: &SourcedObject,
    image_size: Option<ImageSize>,
) -> Option<Finding> {
    let (severity, found) = box_fault(object.bounding_box, extent(image_size))?;
    let expected = expected_box(image_size);
    Some(Finding {
        severity,
        ..Finding::error(source.clone(), FindingKind::Region, found, expected)
    })
}

fn no_usable_object(source: Source) -> Finding {
    Finding::error(
        source,
        FindingKind::EmptySuffix,
        "no object that can be used",
        "at least one, or an image without annotations",
    )
}

/// Reports objects with the class and the box of an earlier one.
fn add_duplicates(objects: &[SourcedObject], findings: &mut Vec<Finding>) {
    let mut seen = HashSet::new();
    for SourcedObject { source, object } in objects {
        let corners = <[f64; 4]>::from(object.bounding_box).map(f64::to_bits);
        if !seen.insert((object.label.as_str(), corners, object.is_crowd)) {
            findings.push(Finding::warning(
                source.clone(),
                FindingKind::Duplicate,
                format!("a second object of {:?} with the same box", object.label),
                "different objects",
            ));
        }
    }
}

/// The source of an example of one class of an image.
fn of_class(source: &Source, label: &str) -> Source {
    let image = source.entry.as_ref().map(|entry| format!("{entry}, "));
    Source {
        entry: Some(format!("{}class {label}", image.unwrap_or_default())),
        ..source.clone()
    }
}

/// The size by which coordinates are quantised: fractions are pixels of an image of one pixel.
fn written_size(image_size: Option<ImageSize>) -> ImageSize {
    image_size.unwrap_or(ImageSize {
        width: 1,
        height: 1,
    })
}

fn extent(image_size: Option<ImageSize>) -> [f64; 2] {
    let ImageSize { width, height } = written_size(image_size);
    [f64::from(width), f64::from(height)]
}

fn expected_box(image_size: Option<ImageSize>) -> String {
    match image_size {
        Some(ImageSize { width, height }) => {
            format!("a box with an area within the image of {width}x{height} pixels")
        }
        None => "a box with an area, in fractions of the image's size from 0 to 1".to_owned(),
    }
}

fn label_error(source: &Source, error: &WriteError) -> Finding {
    let (found, expected) = match error {
        WriteError::Regions(errors) if errors.len() == 1 => {
            (errors[0].found.clone(), errors[0].expected.to_owned())
        }
        other => (other.to_string(), "regions that can be written".to_owned()),
    };
    Finding::error(source.clone(), FindingKind::Label, found, expected)
}
