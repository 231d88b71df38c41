#!/usr/bin/env bash
# Installs the requirements that the CI scripts do not install themselves, in a container of the image rust:1-bookworm.
set -euo pipefail
apt-get -qq update
apt-get -qq install --no-install-recommends cmake g++ pkg-config python3-pip python3-venv > /dev/null
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
rustup component add clippy rustfmt
rustup toolchain install nightly "$oldest.0" --profile minimal
# The checkout belongs to the user of the host.
git config --global --add safe.directory "$PWD"
