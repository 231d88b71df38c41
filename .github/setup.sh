#!/usr/bin/env bash
# Installs in a container of the image rust:1-bookworm what the scripts of CI require and do not install themselves.
set -euo pipefail
apt-get -qq update
apt-get -qq install --no-install-recommends cmake g++ pkg-config python3-pip python3-venv zip > /dev/null
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
rustup component add clippy rustfmt
rustup toolchain install nightly "$oldest.0" --profile minimal
# The checkout belongs to the user of the host.
git config --global --add safe.directory "$PWD"
# Debian's pip otherwise refuses to install the tools of CI in folders of their own.
echo PIP_BREAK_SYSTEM_PACKAGES=1 >> "$GITHUB_ENV"
