//! The masks of answers and of the truth.

use florence2_dataset::{Outline, TruthObject};
use florence2_metrics::MaskError;
use florence2_metrics::mask::{Mask, MaskSample};
use florence2_postprocess::{BoundingBox, ImageSize, Shape};

use crate::error::{Error, Result};
use crate::record::Record;

/// The masks of a record; `None` if it has no true object.
///
/// # Errors
/// [`Error::Mask`].
pub(crate) fn mask_sample(record: &Record) -> Result<Option<MaskSample>> {
    let class = match record.true_objects().next() {
        Some(first) => class(record, first),
        None => return Ok(None),
    };
    let masks = masks(record).map_err(|source| Error::Mask {
        example: record.source.clone(),
        source,
    });
    let (prediction, reference) = masks?;
    Ok(Some(MaskSample {
        class,
        prediction,
        reference,
    }))
}

/// The label of all true objects, if it is one.
fn class(record: &Record, first: &TruthObject) -> Option<String> {
    let is_one = record
        .true_objects()
        .all(|object| object.label == first.label);
    let label = first.label.trim();
    (is_one && !label.is_empty()).then(|| label.to_owned())
}

/// The mask of the answer and the true one, both without the pixels of crowds.
fn masks(record: &Record) -> Result<(Mask, Mask), MaskError> {
    let size = record.image_size;
    let rings: Vec<Vec<[f64; 2]>> = record
        .regions()
        .iter()
        .map(|region| ring(&region.shape))
        .collect();
    let prediction = Mask::from_polygons(size.height, size.width, &rings)?;
    let reference = union(size, record.true_objects())?;
    let crowds = record.truth.objects.iter().filter(|object| object.is_crowd);
    let crowd = union(size, crowds)?;
    if crowd.area() == 0 {
        return Ok((prediction, reference));
    }
    Ok((without(&prediction, &crowd)?, without(&reference, &crowd)?))
}

/// The corners of a shape as a closed ring.
fn ring(shape: &Shape) -> Vec<[f64; 2]> {
    match shape {
        Shape::Box(bounding_box) => corners(*bounding_box),
        other => other.points(),
    }
}

fn corners(BoundingBox { x1, y1, x2, y2 }: BoundingBox) -> Vec<[f64; 2]> {
    vec![[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
}

/// The union of the masks of objects.
fn union<'a>(
    size: ImageSize,
    objects: impl Iterator<Item = &'a TruthObject>,
) -> Result<Mask, MaskError> {
    let mut union = Mask::empty(size.height, size.width)?;
    for object in objects {
        union = union.union(&mask(size, object)?)?;
    }
    Ok(union)
}

fn mask(size: ImageSize, object: &TruthObject) -> Result<Mask, MaskError> {
    let ImageSize { width, height } = size;
    match &object.outline {
        Outline::Polygons(rings) => Mask::from_polygons(height, width, rings),
        Outline::Quad(corners) => Mask::from_polygons(height, width, &[corners.to_vec()]),
        Outline::Rle(rle) => Mask::from_counts(rle.size.height, rle.size.width, &rle.counts),
        _ => Mask::from_polygons(height, width, &[corners(object.bounding_box)]),
    }
}

/// The pixels of a mask that another one does not have.
fn without(mask: &Mask, excluded: &Mask) -> Result<Mask, MaskError> {
    let pixels = mask.to_bitmap().into_iter().zip(excluded.to_bitmap());
    let kept: Vec<bool> = pixels
        .map(|(pixel, is_excluded)| pixel && !is_excluded)
        .collect();
    Mask::from_bitmap(mask.height(), mask.width(), &kept)
}
