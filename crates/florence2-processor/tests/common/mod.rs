//! Helpers of the tests. The pictures and the hash are those of `tests/fixtures/images.py`.

#![allow(dead_code, reason = "every test binary uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// The path of a fixture.
pub(crate) fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// Parses a JSON fixture.
pub(crate) fn fixture<T: DeserializeOwned>(name: &str) -> T {
    let json = fs::read(fixture_path(name)).expect("the fixture is committed");
    serde_json::from_slice(&json).expect("the fixture is as its script writes it")
}

/// Draws the pictures of `images.py`.
pub(crate) fn picture(kind: &str, width: u32, height: u32) -> Vec<u8> {
    let value = |x: u32, y: u32, c: u32| -> u8 {
        match kind {
            "noise" => {
                let mixed = x.wrapping_mul(73_856_093)
                    ^ y.wrapping_mul(19_349_663)
                    ^ c.wrapping_mul(83_492_791);
                (mixed.wrapping_mul(2_654_435_761) >> 24) as u8
            }
            "ramp" => ((x * 3 + y * 5 + c * 40) % 256) as u8,
            "edges" => (255 * ((x / 7 + y / 5 + c) % 2)) as u8,
            _ => panic!("unknown picture {kind}"),
        }
    };
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        for x in 0..width {
            rgb.extend((0..3).map(|c| value(x, y, c)));
        }
    }
    rgb
}

/// Decodes hexadecimal digits.
pub(crate) fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a digit") as u8;
    let (pairs, _) = hexadecimal.as_bytes().as_chunks::<2>();
    pairs
        .iter()
        .map(|[high, low]| digit(*high) << 4 | digit(*low))
        .collect()
}

/// The FNV-1a hash of bytes, in hexadecimal.
pub(crate) fn fnv1a(bytes: &[u8]) -> String {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}
