//! Repair of truncated PNG files: Pillow requires no bytes after the last pixel.

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
const IMAGE_DATA: [u8; 4] = *b"IDAT";
const IMAGE_END: [u8; 4] = *b"IEND";
/// The size of a chunk's checksum in bytes.
const CHECKSUM: usize = 4;

/// Returns a copy of a truncated PNG that ends with `IEND`. If its last chunk is truncated image
/// data, the copy has the length and the checksum of the bytes that exist. `None` if the bytes are
/// not a PNG or contain `IEND`.
///
/// Missing image data is not replaced: the decoder rejects such a file. The checksums of complete
/// chunks are not changed, because the decoder verifies the data by them alone.
pub(crate) fn repaired(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes.strip_prefix(&SIGNATURE)?;
    let mut copy = SIGNATURE.to_vec();
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, name @ ..] = *header;
        if name == IMAGE_END {
            return None;
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let whole = length
            .checked_add(CHECKSUM)
            .filter(|length| *length <= after.len());
        match whole {
            Some(length) => {
                copy.extend_from_slice(&rest[..header.len() + length]);
                rest = &after[length..];
            }
            None => {
                if name == IMAGE_DATA {
                    push_chunk(&mut copy, name, &after[..length.min(after.len())]);
                }
                break;
            }
        }
    }
    push_chunk(&mut copy, IMAGE_END, &[]);
    Some(copy)
}

fn push_chunk(png: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    png.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let begin = png.len();
    png.extend_from_slice(&name);
    png.extend_from_slice(data);
    let checksum = crc32(&png[begin..]);
    png.extend_from_slice(&checksum.to_be_bytes());
}

/// The CRC-32 of PNG (polynomial 0xEDB88320, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = crc_table();
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = value & 1;
            value >>= 1;
            if carry == 1 {
                value ^= 0xEDB8_8320;
            }
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
    }

    #[test]
    fn only_pngs_that_end_too_early_are_repaired() {
        let mut png = SIGNATURE.to_vec();
        push_chunk(&mut png, *b"IHDR", &[0; 13]);
        push_chunk(&mut png, IMAGE_DATA, b"data");
        push_chunk(&mut png, IMAGE_END, &[]);
        assert_eq!(repaired(&png), None);
        assert_eq!(repaired(b"not a PNG"), None);
        // Truncated before IEND, and within the checksum of the image data.
        let end = png.len() - 12;
        assert_eq!(repaired(&png[..end]).as_deref(), Some(&png[..]));
        assert_eq!(repaired(&png[..end - 2]).as_deref(), Some(&png[..]));
        // A wrong checksum stays wrong.
        png[end - 1] ^= 1;
        assert_eq!(repaired(&png), None);
        assert_eq!(repaired(&png[..end]).as_deref(), Some(&png[..]));
    }
}
