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

# Compares the public API of the published crates with that of a release: a tag, a commit or a branch. Requires
# cargo-semver-checks 0.49 (`cargo install cargo-semver-checks@0.49.0 --locked`).
semver baseline:
    cargo semver-checks --baseline-rev {{baseline}} --default-features --features demo,hub,mimalloc,ndarray -p florence2
    cargo semver-checks --baseline-rev {{baseline}} --only-explicit-features --features flex,mimalloc,ndarray -p florence2-kernels
    cargo semver-checks --baseline-rev {{baseline}} --default-features \
        -p florence2-checkpoint -p florence2-core -p florence2-dataset -p florence2-eval -p florence2-metrics \
        -p florence2-postprocess -p florence2-processor -p florence2-train

# Checks that every backend compiles alone, and with a second backend in one build.
features:
    bash tests/features.sh

# Writes a version into all files that state it: the crates, the bindings, the lock files, the header and the guide.
set-version version:
    python3 tests/versions.py --set-version {{version}}

# Writes the address of the repository into all files that state it: the manifests, Go's imports and the guide.
set-repository url:
    python3 tests/versions.py --set-repository {{url}}
