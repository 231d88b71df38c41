//! Run-length encoded masks.

use super::polygon::{self, MAX_COORDINATE};
use crate::error::MaskError;

/// Binary mask in COCO's run-length encoding: lengths of runs of background and foreground pixels
/// in turn, column by column. The first run is background and may be empty; no other run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    height: u32,
    width: u32,
    counts: Vec<u32>,
}

impl Mask {
    /// Reads uncompressed run lengths, as `counts` of COCO's annotations of crowds.
    ///
    /// # Errors
    ///
    /// If the mask has no pixels, or if the runs do not add up to `height * width`.
    pub fn from_counts(height: u32, width: u32, counts: &[u32]) -> Result<Self, MaskError> {
        let pixels = pixels(height, width)?;
        let found = counts.iter().map(|&count| u64::from(count)).sum();
        if found != u64::from(pixels) {
            return Err(MaskError::PixelCount {
                height,
                width,
                found,
            });
        }
        Ok(Self {
            height,
            width,
            counts: without_empty_runs(counts),
        })
    }

    /// Reads compressed run lengths, as pycocotools' `mask.encode` writes them. A run is a
    /// variable-length integer with five bits per character, the lowest first. From the fourth run
    /// on, it is the difference from the run two places before.
    ///
    /// # Errors
    ///
    /// As [`Mask::from_counts`], or if the text does not have this format.
    pub fn from_compressed(height: u32, width: u32, text: &str) -> Result<Self, MaskError> {
        let mut counts: Vec<u32> = Vec::new();
        let mut digits = text.char_indices();
        while let Some(value) = read_integer(&mut digits, counts.len())? {
            let base = if counts.len() > 2 {
                i64::from(counts[counts.len() - 2])
            } else {
                0
            };
            let run = u32::try_from(base + value)
                .map_err(|_| MaskError::RunLength { run: counts.len() })?;
            counts.push(run);
        }
        Self::from_counts(height, width, &counts)
    }

    /// Reads pixels row by row.
    ///
    /// # Errors
    ///
    /// If the mask has no pixels, or if their number is not `height * width`.
    pub fn from_bitmap(height: u32, width: u32, bitmap: &[bool]) -> Result<Self, MaskError> {
        let pixels = pixels(height, width)?;
        if bitmap.len() != pixels as usize {
            return Err(MaskError::PixelCount {
                height,
                width,
                found: bitmap.len() as u64,
            });
        }
        let mut counts = vec![0];
        let mut foreground = false;
        for position in 0..pixels as usize {
            let (column, row) = (position / height as usize, position % height as usize);
            if bitmap[row * width as usize + column] != foreground {
                foreground = !foreground;
                counts.push(0);
            }
            *counts.last_mut().expect("counts begins with one run") += 1;
        }
        Ok(Self {
            height,
            width,
            counts,
        })
    }

    /// Rasterises polygons as pycocotools does (`rleFrPoly`), and returns their union. Points are
    /// [x, y] in pixels; the centre of the first pixel is [0.5, 0.5]. A polygon of fewer than three
    /// points covers no pixel. (pycocotools' `annToRLE` reads a list of two points as a box.)
    ///
    /// # Errors
    ///
    /// If the mask has no pixels, or if a coordinate is not finite or beyond a million pixels.
    pub fn from_polygons<P>(height: u32, width: u32, polygons: &[P]) -> Result<Self, MaskError>
    where
        P: AsRef<[[f64; 2]]>,
    {
        let mut union = Self::empty(height, width)?;
        for (index, polygon) in polygons.iter().enumerate() {
            let points = polygon.as_ref();
            check_points(index, points)?;
            let counts = polygon::run_lengths(height, width, points);
            union = union.union(&Self::from_counts(height, width, &counts)?)?;
        }
        Ok(union)
    }

    /// Returns a mask without foreground.
    ///
    /// # Errors
    ///
    /// If the mask has no pixels.
    pub fn empty(height: u32, width: u32) -> Result<Self, MaskError> {
        Ok(Self {
            height,
            width,
            counts: vec![pixels(height, width)?],
        })
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Lengths of the runs, in pixels.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Returns the pixels row by row.
    pub fn to_bitmap(&self) -> Vec<bool> {
        let (height, width) = (self.height as usize, self.width as usize);
        let mut bitmap = vec![false; height * width];
        for (start, end) in self.foreground() {
            for position in start as usize..end as usize {
                bitmap[position % height * width + position / height] = true;
            }
        }
        bitmap
    }

    /// Returns the number of foreground pixels.
    pub fn area(&self) -> u32 {
        self.foreground().map(|(start, end)| end - start).sum()
    }

    /// Returns the smallest box around the foreground as [x, y, width, height] in pixels, as
    /// pycocotools' `mask.toBbox`. It is all zeros if there is no foreground.
    pub fn bounding_box(&self) -> [f64; 4] {
        let height = self.height;
        let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
        for (start, end) in self.foreground() {
            let (first, last) = (start / height, (end - 1) / height);
            let one_column = first == last;
            left = left.min(first);
            right = right.max(last);
            top = top.min(if one_column { start % height } else { 0 });
            bottom = bottom.max(if one_column {
                (end - 1) % height
            } else {
                height - 1
            });
        }
        if left > right {
            return [0.0; 4];
        }
        [left, top, right - left + 1, bottom - top + 1].map(f64::from)
    }

    /// Returns the union of two masks, as pycocotools' `mask.merge`.
    ///
    /// # Errors
    ///
    /// If their sizes differ.
    pub fn union(&self, other: &Self) -> Result<Self, MaskError> {
        self.check_size(other)?;
        let mut counts = Vec::with_capacity(self.counts.len() + other.counts.len());
        self.overlay(other, |length, first, second| {
            // An even number of runs means that the next one is background.
            if (first || second) == (counts.len() % 2 == 0) {
                match counts.last_mut() {
                    Some(run) => *run += length,
                    // The mask begins with foreground.
                    None => counts.extend([0, length]),
                }
            } else {
                counts.push(length);
            }
        });
        Ok(Self { counts, ..*self })
    }

    /// Returns the number of pixels that are foreground in both masks.
    ///
    /// # Errors
    ///
    /// If their sizes differ.
    pub fn intersection_area(&self, other: &Self) -> Result<u32, MaskError> {
        self.check_size(other)?;
        let mut area = 0;
        self.overlay(other, |length, first, second| {
            if first && second {
                area += length;
            }
        });
        Ok(area)
    }

    /// Returns the intersection over union, as pycocotools' `mask.iou`: 0 if both are empty.
    ///
    /// # Errors
    ///
    /// If the sizes differ.
    pub fn iou(&self, other: &Self) -> Result<f64, MaskError> {
        let intersection = self.intersection_area(other)?;
        let sum = u64::from(self.area()) + u64::from(other.area());
        Ok(ratio(intersection, sum - u64::from(intersection)))
    }

    /// Returns the part of this mask that a crowd covers, which COCO uses in place of the
    /// intersection over union with `iscrowd` ground truth: 0 if this mask is empty.
    ///
    /// # Errors
    ///
    /// If the sizes differ.
    pub fn iou_with_crowd(&self, crowd: &Self) -> Result<f64, MaskError> {
        Ok(ratio(
            self.intersection_area(crowd)?,
            u64::from(self.area()),
        ))
    }

    fn check_size(&self, other: &Self) -> Result<(), MaskError> {
        let sizes = [self, other].map(|mask| (mask.height, mask.width));
        if sizes[0] != sizes[1] {
            return Err(MaskError::SizesDiffer {
                first: sizes[0],
                second: sizes[1],
            });
        }
        Ok(())
    }

    /// Yields the first position of each foreground run, and the position after its last.
    fn foreground(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut position = 0;
        self.counts.chunks(2).filter_map(move |runs| {
            let start = position + runs[0];
            position = start + runs.get(1)?;
            Some((start, position))
        })
    }

    /// Calls `visit` with the length and both values of every stretch of pixels in which neither
    /// mask changes. Both masks have the same size.
    fn overlay(&self, other: &Self, mut visit: impl FnMut(u32, bool, bool)) {
        let (mut first, mut second) = (Runs::new(&self.counts), Runs::new(&other.counts));
        while first.left > 0 && second.left > 0 {
            let length = first.left.min(second.left);
            visit(length, first.foreground, second.foreground);
            first.advance(length);
            second.advance(length);
        }
    }
}

/// Position in a list of runs.
struct Runs<'a> {
    next: std::slice::Iter<'a, u32>,
    /// Pixels left in the current run: 0 at the end of the mask.
    left: u32,
    foreground: bool,
}

impl<'a> Runs<'a> {
    fn new(counts: &'a [u32]) -> Self {
        let mut runs = Self {
            next: counts.iter(),
            left: 0,
            foreground: true,
        };
        runs.advance(0);
        runs
    }

    fn advance(&mut self, length: u32) {
        self.left -= length;
        while self.left == 0 {
            let Some(&count) = self.next.next() else {
                return;
            };
            self.left = count;
            self.foreground = !self.foreground;
        }
    }
}

fn pixels(height: u32, width: u32) -> Result<u32, MaskError> {
    match height.checked_mul(width) {
        Some(pixels) if pixels > 0 => Ok(pixels),
        _ => Err(MaskError::Size { height, width }),
    }
}

fn ratio(intersection: u32, union: u64) -> f64 {
    if intersection == 0 {
        return 0.0;
    }
    f64::from(intersection) / union as f64
}

/// Joins the neighbours of every empty run, except before the first.
fn without_empty_runs(counts: &[u32]) -> Vec<u32> {
    let mut joined: Vec<u32> = Vec::with_capacity(counts.len());
    let mut foreground = false;
    for &count in counts {
        let is_next = foreground == (joined.len() % 2 == 1);
        if count > 0 || joined.is_empty() {
            match joined.last_mut() {
                Some(run) if !is_next => *run += count,
                _ => joined.push(count),
            }
        }
        foreground = !foreground;
    }
    joined
}

/// Reads one variable-length integer, or returns `None` at the end of the text.
fn read_integer(
    digits: &mut impl Iterator<Item = (usize, char)>,
    run: usize,
) -> Result<Option<i64>, MaskError> {
    let mut value = 0;
    let mut shift = 0;
    for (position, found) in digits {
        if !('0'..='o').contains(&found) {
            return Err(MaskError::Character { position, found });
        }
        let digit = i64::from(u32::from(found) - u32::from('0'));
        // Seven characters hold any run length and its sign.
        if shift > 30 {
            return Err(MaskError::RunLength { run });
        }
        value |= (digit & 0x1f) << shift;
        shift += 5;
        if digit & 0x20 == 0 {
            let is_negative = digit & 0x10 != 0;
            return Ok(Some(if is_negative {
                value - (1 << shift)
            } else {
                value
            }));
        }
    }
    if shift == 0 {
        Ok(None)
    } else {
        Err(MaskError::RunLength { run })
    }
}

fn check_points(polygon: usize, points: &[[f64; 2]]) -> Result<(), MaskError> {
    let is_valid = |value: &f64| value.abs() <= MAX_COORDINATE;
    match points.iter().position(|point| !point.iter().all(is_valid)) {
        None => Ok(()),
        Some(point) => Err(MaskError::Coordinate {
            polygon,
            point,
            found: points[point],
            limit: MAX_COORDINATE,
        }),
    }
}
