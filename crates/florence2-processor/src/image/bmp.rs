//! Corrections of decoded BMP files with 16 bits per pixel, to match Pillow.

/// Bits per channel (red, green, blue) of a BMP file of 16 bits per pixel.
pub(crate) fn channel_bits(bytes: &[u8]) -> Option<[u32; 3]> {
    const FIELDS: u32 = 3;
    let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    if !bytes.starts_with(b"BM") || long(14)? < 40 || short(28)? != 16 {
        return None;
    }
    if long(30)? != FIELDS {
        return Some([5; 3]);
    }
    Some([long(54)?, long(58)?, long(62)?].map(u32::count_ones))
}

/// Recomputes the channel values with Pillow's rounding, which is downwards. The decoder rounds to
/// the nearest value.
pub(crate) fn round_levels_down(rgb: &mut [u8], bits: [u32; 3]) {
    for (channel, bits) in bits.into_iter().enumerate() {
        if !(5..=6).contains(&bits) {
            continue;
        }
        let highest = (1 << bits) - 1;
        for value in rgb.iter_mut().skip(channel).step_by(3) {
            let level = (u32::from(*value) * highest + 127) / 255;
            *value = (level * 255 / highest) as u8;
        }
    }
}
