//! Planted cycles.
