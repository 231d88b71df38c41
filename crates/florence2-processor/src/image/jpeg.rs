//! Detection of truncated JPEG files.

/// Returns true if the file is a truncated JPEG. The decoder would fill the missing part with gray;
/// Pillow rejects the file.
pub(super) fn is_truncated(bytes: &[u8]) -> bool {
    const START_OF_IMAGE: [u8; 2] = [0xFF, 0xD8];
    const END_OF_IMAGE: u8 = 0xD9;
    if !bytes.starts_with(&START_OF_IMAGE) {
        return false;
    }
    let mut at = START_OF_IMAGE.len();
    // Entropy-coded data contains no markers except restarts (D0 to D7): any other 0xFF in it is
    // followed by 0.
    while let [byte, marker, rest @ ..] = &bytes[at..] {
        match (byte, marker) {
            (0xFF, &END_OF_IMAGE) => return false,
            (0xFF, 0xC0..=0xCF | 0xDA..=0xFE) => {
                let [high, low, ..] = rest else { return true };
                at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
                at = at.min(bytes.len());
            }
            _ => at += 1,
        }
    }
    true
}
