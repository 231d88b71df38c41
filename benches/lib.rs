//! Benchmarks only: `cargo bench -p florence2-benches`.
