//! Masks as run lengths, and the intersection over union of predicted and true masks.

mod polygon;
mod rle;
mod score;

pub use rle::Mask;
pub use score::{MaskSample, MaskScores, MaskSummary, evaluate};
