//! The size of an image after resizing.

use crate::config::{MAX_SIDE, Size};
use crate::error::{Error, Result};

/// The size (width, height) of an image after resizing, by HF's functions for each form of `size`
/// and in their order of operations.
pub(super) fn output_size(size: Size, width: u32, height: u32) -> Result<(u32, u32)> {
    let (wide, high) = (f64::from(width), f64::from(height));
    let (to_width, to_height) = match size {
        Size::Exact { height, width } => (f64::from(width), f64::from(height)),
        // `get_resize_output_image_size`
        Size::ShortestEdge {
            shortest_edge,
            longest_edge: None,
        } => {
            let edge = f64::from(shortest_edge);
            match width <= height {
                true => (edge, edge * high / wide),
                false => (edge * wide / high, edge),
            }
        }
        Size::ShortestEdge {
            shortest_edge,
            longest_edge: Some(longest_edge),
        } => size_with_aspect_ratio((wide, high), shortest_edge.into(), longest_edge.into()),
        // `get_image_size_for_max_height_width`
        Size::Fit {
            max_height,
            max_width,
        } => {
            let scale = (f64::from(max_height) / high).min(f64::from(max_width) / wide);
            (wide * scale, high * scale)
        }
    };
    let holds = |side: f64| (1.0..=f64::from(MAX_SIDE)).contains(&side);
    if !holds(to_width) || !holds(to_height) {
        return Err(Error::Image {
            name: "image".to_owned(),
            reason: format!(
                "{width}x{height} pixels become {:.0}x{:.0} by `size`, expected 1 to {MAX_SIDE} a side",
                to_width.floor(),
                to_height.floor()
            ),
        });
    }
    Ok((to_width as u32, to_height as u32))
}

/// HF `get_size_with_aspect_ratio`.
fn size_with_aspect_ratio((width, height): (f64, f64), edge: f64, longest: f64) -> (f64, f64) {
    let (short, long) = (width.min(height), width.max(height));
    let raw = (long / short * edge > longest).then(|| longest * short / long);
    let edge = raw.map_or(edge, f64::round_ties_even);
    if short == edge {
        return (width, height);
    }
    let other = raw.unwrap_or(edge);
    match width < height {
        true => (edge, other * height / width),
        false => (other * width / height, edge),
    }
}
