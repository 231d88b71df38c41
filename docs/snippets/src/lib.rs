//! The blocks of Rust in the README and in the guide as tests. `build.rs` generates them.

#[cfg(test)]
#[allow(
    unused,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "the blocks are examples"
)]
mod blocks {
    include!(concat!(env!("OUT_DIR"), "/blocks.rs"));
}
