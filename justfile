# What CI does.
check:
    bash .ci/run

# Known flaws of the dependencies, by a database that cargo-deny brings from the network.
advisories:
    cargo deny check advisories

# Fuzzes the post-processing and the readers of weights files, for some minutes each. Needs cargo-fuzz and Rust's nightly.
fuzz seconds="180":
    cargo +nightly fuzz run postprocess -- -dict=fuzz/postprocess.dict -max_total_time={{seconds}}
    mkdir -p fuzz/corpus/checkpoint
    cargo +nightly fuzz run checkpoint fuzz/corpus/checkpoint tests/fixtures/weights-files -- -max_total_time={{seconds}}

# Whether every backend compiles alone, and two GPU backends together.
features:
    bash tests/features.sh
