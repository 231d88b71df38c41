//! Thousands of random changes to small files: each result is read or rejected, and none panics,
//! hangs or exceeds the limits of memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use florence2_checkpoint::Checkpoint;

use crate::fixtures;

const MUTATIONS: u64 = 4000;

/// The SplitMix64 generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Bytes that make numbers large, negative or zero, and opcodes that copy, build and fill.
const INTERESTING: [u8; 20] = [
    0, 1, 0x7f, 0x80, 0xff, b'(', b'.', b'2', b'R', b'Q', b'e', b'j', b'q', b's', b't', b'u', b'}',
    b']', 0x8b, 0x8d,
];

fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] = INTERESTING[random.below(INTERESTING.len())],
            2 => bytes.truncate(at.max(1)),
            3 => {
                let end = (at + random.below(16)).min(bytes.len());
                let copied = bytes[at..end].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => {
                let end = (at + 1 + random.below(8)).min(bytes.len() - 1).max(at);
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

fn read(name: &str, bytes: Vec<u8>) -> Result<usize, florence2_checkpoint::Error> {
    let bytes: Arc<[u8]> = bytes.into();
    let checkpoint = Checkpoint::from_files(vec![(name.to_owned(), bytes)])?;
    let tensors = checkpoint.tensors.values();
    Ok(tensors.filter(|tensor| tensor.to_f32().is_ok()).count())
}

#[test]
fn mutated_files_are_read_or_refused() {
    // Without checksums, mutations reach the pickle.
    for name in [
        "no-crc.bin",
        "views.bin",
        "numbers.bin",
        "protocol-4.bin",
        "legacy.bin",
        "legacy-protocol-1.bin",
        "numbers.safetensors",
    ] {
        let bytes = std::fs::read(fixtures().join(name)).unwrap();
        let mut random = Random(bytes.len() as u64);
        let start = Instant::now();
        let (mut readable, mut refused) = (0, 0);
        for _ in 0..MUTATIONS {
            match read(name, mutate(&bytes, &mut random)) {
                Ok(_) => readable += 1,
                Err(error) => {
                    assert!(error.to_string().contains(name), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(
            readable > 0 && refused > MUTATIONS / 4,
            "{name}: {readable} readable"
        );
        let limit = Duration::from_mins(1);
        assert!(start.elapsed() < limit, "{name}: {:?}", start.elapsed());
    }
}

/// Pickles with declared lengths or numbers of values beyond the limits.
#[test]
fn pickles_that_claim_more_than_they_hold_are_refused() {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    let repeated = |bytes: &[u8], count: usize| bytes.repeat(count);
    let claims: [(&str, Vec<u8>); 6] = [
        ("a text of 4 GiB", b"X\xff\xff\xff\xff".to_vec()),
        (
            "a text of 2^64 bytes",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
        ("values without end", repeated(b"}", 3 << 20)),
        ("marks without end", repeated(b"(", 3 << 20)),
        (
            "memo entries without end",
            [b"}".to_vec(), repeated(b"\x94", 3 << 20)].concat(),
        ),
        (
            "copies without end",
            [b"N".to_vec(), repeated(b"2", 3 << 20)].concat(),
        ),
    ];
    for (claim, opcodes) in claims {
        let file = [magic.to_vec(), opcodes, b".".to_vec()].concat();
        let error = read("claim.bin", file).unwrap_err().to_string();
        assert!(
            error.contains("claim.bin") && error.contains("pickle"),
            "{claim}: {error}"
        );
    }
}

/// Deeply nested values and values that contain themselves are read like others.
#[test]
fn nested_and_cyclic_values_are_read() {
    let plain = std::fs::read(fixtures().join("legacy-protocol-2.bin")).unwrap();
    // The state dict's pickle begins with an empty dictionary, its memo entry and a mark.
    let at = plain
        .windows(4)
        .position(|bytes| bytes == b"}q\x00(")
        .unwrap();
    let at = plain[at + 1..]
        .windows(4)
        .position(|bytes| bytes == b"}q\x00(")
        .map_or(at, |next| at + 1 + next);
    let nested = [
        b"X\x01\0\0\0n".to_vec(),
        b"]".repeat(100_000),
        b"a".repeat(99_999),
    ]
    .concat();
    let cyclic = b"X\x01\0\0\0nh\x00".to_vec();
    for added in [nested, cyclic] {
        let file = [&plain[..at + 4], &added, &plain[at + 4..]].concat();
        assert_eq!(read("nested.bin", file).unwrap(), 3);
    }
}
