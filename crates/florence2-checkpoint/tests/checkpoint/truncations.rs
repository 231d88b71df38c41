//! Files truncated at every length.

use std::sync::Arc;

use florence2_checkpoint::Checkpoint;

use crate::fixtures;

/// A truncated archive or safetensors file is always an error on opening. A truncated file of the
/// older format is one too, because all its storages belong to tensors.
#[test]
fn a_file_that_is_cut_anywhere_is_an_error_that_names_it() {
    for name in [
        "views.bin",
        "plain.bin",
        "no-crc.bin",
        "legacy.bin",
        "legacy-protocol-4.bin",
        "numbers.safetensors",
    ] {
        let bytes = std::fs::read(fixtures().join(name)).unwrap();
        let whole: Arc<[u8]> = bytes.clone().into();
        assert!(Checkpoint::from_files(vec![(name.to_owned(), whole)]).is_ok());
        for length in 0..bytes.len() {
            let cut: Arc<[u8]> = bytes[..length].into();
            let Err(error) = Checkpoint::from_files(vec![(name.to_owned(), cut)]) else {
                panic!("{name} cut to {length} bytes: expected an error");
            };
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

/// The error names the tensors of every storage of the older format that is truncated or missing.
#[test]
fn a_cut_file_of_the_older_format_names_its_tensors() {
    let name = "legacy-protocol-2.bin";
    let bytes = std::fs::read(fixtures().join(name)).unwrap();
    // The three storages take 48, 20 and 16 bytes, each with 8 bytes before it.
    let storages = bytes.len() - (48 + 20 + 16 + 3 * 8);
    for (length, cut) in [(bytes.len() - 1, 1), (storages + 1, 3)] {
        let file = vec![(name.to_owned(), bytes[..length].into())];
        let error = Checkpoint::from_files(file).unwrap_err().to_string();
        let keys = ["`a.weight`", "`b.weight`", "`c.bias`"];
        let named = keys.iter().filter(|key| error.contains(**key)).count();
        assert_eq!(named, cut, "{error}");
    }
}
