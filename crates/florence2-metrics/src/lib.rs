//! Metrics
mod bbox;
pub mod caption;
pub mod detection;
mod error;
pub mod grounding;
mod group;
pub mod mask;
mod table;
pub mod text;
mod unicode;
pub use bbox::{box_iou, box_iou_with_crowd};
pub use error::{InvalidValue, MaskError, MetricsError};
pub use group::Group;
