//! Rasterises polygons exactly as the COCO API does (`rleFrPoly` in maskApi.c).
//!
//! The boundary is drawn on a grid that is five times as fine as the pixels. Where it crosses the
//! centre line of a pixel column, the column's runs change between background and foreground.

/// Largest absolute value of a coordinate, in pixels. It bounds the time per edge and keeps all
/// grid coordinates within i32.
pub(super) const MAX_COORDINATE: f64 = 1_000_000.0;

/// Grid points per pixel.
const SCALE: f64 = 5.0;

/// Grid point [x, y].
type GridPoint = [i32; 2];

/// Returns the run lengths of a polygon, of which some may be zero. Points are [x, y] in pixels, and
/// at most [`MAX_COORDINATE`].
pub(super) fn run_lengths(height: u32, width: u32, points: &[[f64; 2]]) -> Vec<u32> {
    // The C code truncates towards zero, as `as` does.
    let corners: Vec<GridPoint> = points
        .iter()
        .map(|point| point.map(|value| (SCALE * value + 0.5) as i32))
        .collect();
    let mut changes = Vec::new();
    let mut previous: Option<GridPoint> = None;
    for (index, &from) in corners.iter().enumerate() {
        let to = corners[(index + 1) % corners.len()];
        for point in edge(from, to) {
            if let Some(previous) = previous {
                changes.extend(change(previous, point, height, width));
            }
            previous = Some(point);
        }
    }
    changes.sort_unstable();
    changes.push(height * width);
    let starts = std::iter::once(0).chain(changes.iter().copied());
    changes
        .iter()
        .zip(starts)
        .map(|(end, start)| end - start)
        .collect()
}

/// Yields the grid points of an edge, one for each step along its longer axis. They are computed
/// from the end with the smaller coordinate in either direction, so that an edge that two polygons
/// share is the same in both.
fn edge(from: GridPoint, to: GridPoint) -> impl Iterator<Item = GridPoint> {
    let lengths = [(to[0] - from[0]).abs(), (to[1] - from[1]).abs()];
    let longer = usize::from(lengths[0] < lengths[1]);
    let shorter = 1 - longer;
    let is_reversed = from[longer] > to[longer];
    let (start, end) = if is_reversed { (to, from) } else { (from, to) };
    let steps = lengths[longer];
    let slope = f64::from(end[shorter] - start[shorter]) / f64::from(steps);
    (0..=steps).map(move |step| {
        let step = if is_reversed { steps - step } else { step };
        let mut point = start;
        point[longer] += step;
        // With a slope of NaN, which is that of an edge of one point, the result has no effect.
        point[shorter] = (f64::from(start[shorter]) + slope * f64::from(step) + 0.5) as i32;
        point
    })
}

/// Returns the position in the mask at which a column's runs change, if the step between two grid
/// points crosses the centre line of a pixel column within the mask.
fn change(from: GridPoint, to: GridPoint, height: u32, width: u32) -> Option<u32> {
    if to[0] == from[0] {
        return None;
    }
    let x = if to[0] < from[0] { to[0] } else { to[0] - 1 };
    let column = (f64::from(x) + 0.5) / SCALE - 0.5;
    if column.floor() != column || column < 0.0 || column > f64::from(width - 1) {
        return None;
    }
    let y = f64::from(to[1].min(from[1]));
    let row = ((y + 0.5) / SCALE - 0.5)
        .clamp(0.0, f64::from(height))
        .ceil();
    Some(column as u32 * height + row as u32)
}
