# Runs all checks of CI.
check:
    bash .ci/run

# Checks the dependencies for known vulnerabilities. cargo-deny downloads the database.
advisories:
    cargo deny check advisories

# Fuzzes the post-processing and the weights file readers, for `seconds` each. Requires cargo-fuzz and nightly Rust.
fuzz seconds="180":
    cargo +nightly fuzz run postprocess -- -dict=fuzz/postprocess.dict -max_total_time={{seconds}}
    mkdir -p fuzz/corpus/checkpoint
    cargo +nightly fuzz run checkpoint fuzz/corpus/checkpoint tests/fixtures/weights-files -- -max_total_time={{seconds}}

# Checks that every backend compiles alone, and with a second backend in one build.
features:
    bash tests/features.sh
