//! The guide's blocks of Rust as tests. `build.rs` generates them from `docs/src`.

#[cfg(test)]
#[allow(unused, clippy::all, clippy::pedantic, clippy::unwrap_used, reason = "the blocks are examples")]
mod blocks {
    include!(concat!(env!("OUT_DIR"), "/blocks.rs"));
}
