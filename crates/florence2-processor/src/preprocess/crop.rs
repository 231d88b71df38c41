//! The crop of an image's centre.

/// Crops the centre and pads with zeros where the image is smaller: HF `center_crop`.
pub(super) fn center_crop(
    rgb: &[u8],
    (width, height): (u32, u32),
    (to_width, to_height): (u32, u32),
) -> Vec<u8> {
    let offset = |from: u32, to: u32| (i64::from(from) - i64::from(to)).div_euclid(2);
    let (left, top) = (offset(width, to_width), offset(height, to_height));
    let mut cropped = Vec::with_capacity(to_width as usize * to_height as usize * 3);
    for y in top..top + i64::from(to_height) {
        for x in left..left + i64::from(to_width) {
            let inside = (0..i64::from(width)).contains(&x) && (0..i64::from(height)).contains(&y);
            if inside {
                let index = (y * i64::from(width) + x) as usize * 3;
                cropped.extend_from_slice(&rgb[index..index + 3]);
            } else {
                cropped.extend_from_slice(&[0; 3]);
            }
        }
    }
    cropped
}
