//! Reads any bytes as a weights file, and as the state dict of a file of torch before 1.6: no
//! panic, no hang, no allocation beyond the limits.

#![no_main]

use florence2_checkpoint::Checkpoint;
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) {
    let file = ("weights".to_owned(), bytes.into());
    if let Ok(checkpoint) = Checkpoint::from_files(vec![file]) {
        for tensor in checkpoint.tensors.values() {
            let _values = tensor.to_f32();
        }
    }
}

/// The start of a file of torch before 1.6, up to the pickle of its state dict.
const LEGACY_HEADER: &[u8] =
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.";

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    read(&[LEGACY_HEADER, bytes].concat());
});
