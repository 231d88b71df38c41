//! Draws regions into a copy of the image.

use std::path::Path;

use florence2::{BoundingBox, Image, Region, Shape};
use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::failure::Failure;

/// Colours that are distinguishable on photographs, one for each region in turn.
const COLORS: [[u8; 3]; 8] = [
    [230, 25, 75],
    [0, 130, 200],
    [60, 180, 75],
    [245, 130, 48],
    [145, 30, 180],
    [0, 128, 128],
    [240, 50, 230],
    [128, 128, 0],
];

/// The minimum length of the longer side in pixels. Smaller images are enlarged so that labels are
/// legible.
const MIN_SIDE: u32 = 640;

/// The label's height in pixels.
const LETTER: RasterHeight = RasterHeight::Size16;

pub(crate) fn draw(image: &Image, regions: &[Region], out: &Path) -> Result<(), Failure> {
    let scale = MIN_SIDE.div_ceil(image.width().max(image.height())).max(1);
    let mut canvas = enlarged(image, scale);
    let scaled = |region: &Region| -> Vec<[f64; 2]> {
        let points = outline(&region.shape);
        points
            .into_iter()
            .map(|[x, y]| [x * f64::from(scale), y * f64::from(scale)])
            .collect()
    };
    for region in regions {
        let color = Rgb(COLORS[region.instance % COLORS.len()]);
        polyline(&mut canvas, &scaled(region), color);
    }
    // Labels are drawn last, so that no outline crosses them.
    for region in regions {
        let color = Rgb(COLORS[region.instance % COLORS.len()]);
        if let Some([x, y]) = scaled(region).first() {
            label(&mut canvas, *x as i64, *y as i64, &region.label, color);
        }
    }
    canvas.save(out).map_err(|error| Failure::Write {
        path: out.display().to_string(),
        reason: error.to_string(),
    })
}

fn enlarged(image: &Image, scale: u32) -> RgbImage {
    let (width, height, rgb) = (image.width(), image.height(), image.as_rgb());
    RgbImage::from_fn(width * scale, height * scale, |x, y| {
        let index = ((y / scale) as usize * width as usize + (x / scale) as usize) * 3;
        Rgb([rgb[index], rgb[index + 1], rgb[index + 2]])
    })
}

/// Returns the points to connect. A box is stored as two corners.
fn outline(shape: &Shape) -> Vec<[f64; 2]> {
    if let Shape::Box(BoundingBox { x1, y1, x2, y2 }) = *shape {
        return vec![[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
    }
    shape.points()
}

/// Draws a closed line through the points, three pixels wide.
fn polyline(canvas: &mut RgbImage, points: &[[f64; 2]], color: Rgb<u8>) {
    for (from, to) in points.iter().zip(points.iter().cycle().skip(1)) {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let steps = dx.abs().max(dy.abs()).ceil().max(1.0);
        for step in 0..=steps as u32 {
            let part = f64::from(step) / steps;
            let (x, y) = ((from[0] + part * dx) as i64, (from[1] + part * dy) as i64);
            for (x, y) in (-1..=1).flat_map(|i| (-1..=1).map(move |j| (x + i, y + j))) {
                put(canvas, x, y, color);
            }
        }
    }
}

/// Draws white letters on the region's colour, above the point or, at the upper edge of the image,
/// below it.
fn label(canvas: &mut RgbImage, x: i64, y: i64, text: &str, color: Rgb<u8>) {
    if text.is_empty() {
        return;
    }
    let (letter_width, height) = (get_raster_width(FontWeight::Regular, LETTER), LETTER.val());
    let width = (letter_width * text.chars().count() + 4) as i64;
    let x = x.min(i64::from(canvas.width()) - width).max(0);
    let y = if y >= height as i64 {
        y - height as i64
    } else {
        y
    };
    for (i, j) in (0..width).flat_map(|i| (0..height as i64).map(move |j| (i, j))) {
        put(canvas, x + i, y + j, color);
    }
    for (index, character) in text.chars().enumerate() {
        let raster = |character| get_raster(character, FontWeight::Regular, LETTER);
        let Some(letter) = raster(character).or_else(|| raster('?')) else {
            continue;
        };
        let left = x + 2 + (index * letter_width) as i64;
        for (j, row) in letter.raster().iter().enumerate() {
            for (i, intensity) in row.iter().enumerate() {
                let blend = |channel: u8| channel.max(*intensity);
                if *intensity > 0 {
                    let Rgb([r, g, b]) = color;
                    let ink = Rgb([blend(r), blend(g), blend(b)]);
                    put(canvas, left + i as i64, y + j as i64, ink);
                }
            }
        }
    }
}

fn put(canvas: &mut RgbImage, x: i64, y: i64, color: Rgb<u8>) {
    if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
        && x < canvas.width()
        && y < canvas.height()
    {
        canvas.put_pixel(x, y, color);
    }
}
