//! Files of every format and mode give the pixels that Pillow reads: `tests/fixtures/images.py`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{bytes, fixture, fixture_path, picture};
use florence2_processor::{Error, Image, PixelBuffer, PixelFormat};
use serde::Deserialize;

#[derive(Deserialize)]
struct Decoding {
    cases: Vec<DecodeCase>,
}

#[derive(Deserialize)]
struct DecodeCase {
    file: String,
    size: (u32, u32),
    rgb: String,
}

/// How far a value may be from Pillow's. Lossless files are equal; JPEG leaves its decoders free
/// in how they round the cosine transform and spread the colours.
fn tolerance(file: &str) -> u8 {
    match file.contains("jpg") || file == "jpeg.tiff" {
        true => 3,
        false => 0,
    }
}

/// Kinds that the `image` crate does not read: an error, never a wrong picture.
const UNREADABLE: [&str; 2] = ["gray-alpha.tiff", "palette.tiff"];
/// Where a GIF's first frame leaves its screen free, Pillow paints its palette's first colour;
/// here it is black.
const PAINTED_OTHERWISE: &str = "smaller-than-screen.gif";

#[test]
fn files_are_read_as_pillow_reads_them() {
    let decoding: Decoding = fixture("decode.json");
    assert!(decoding.cases.len() > 60);
    let mut wrong = Vec::new();
    for DecodeCase { file, size, rgb } in decoding.cases {
        if file == PAINTED_OTHERWISE {
            continue;
        }
        let image = match Image::open(fixture_path("decode").join(&file)) {
            Err(Error::Image { .. }) if UNREADABLE.contains(&file.as_str()) => continue,
            Err(error) => {
                wrong.push(format!("{file}: {error}"));
                continue;
            }
            Ok(image) => image,
        };
        if (image.width(), image.height()) != size {
            wrong.push(format!("{file}: {:?}, expected {size:?}", image.size()));
            continue;
        }
        let expected = bytes(&rgb);
        let pairs = image.as_rgb().iter().zip(&expected);
        let apart = pairs.map(|(found, expected)| found.abs_diff(*expected));
        let apart = apart.max().unwrap();
        if apart > tolerance(&file) {
            wrong.push(format!("{file}: {apart} apart"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_first_frame_of_a_gif_lies_on_its_screen() {
    let image = Image::open(fixture_path("decode").join(PAINTED_OTHERWISE)).unwrap();
    let frame = Image::open(fixture_path("decode/palette.gif")).unwrap();
    assert_eq!(
        (image.width(), image.height()),
        (frame.width() + 5, frame.height() + 3)
    );
    let row = frame.width() as usize * 3;
    assert_eq!(image.as_rgb()[..row], frame.as_rgb()[..row]);
    assert_eq!(image.as_rgb()[row..row + 15], [0; 15]);
}

/// The bytes of `rgb` in another order, every row followed by a gap.
fn buffer(rgb: &[u8], width: u32, format: PixelFormat, gap: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for row in rgb.chunks(width as usize * 3) {
        for pixel in row.chunks(3) {
            let (red, green, blue) = (pixel[0], pixel[1], pixel[2]);
            match format {
                PixelFormat::Rgb => data.extend([red, green, blue]),
                PixelFormat::Rgba => data.extend([red, green, blue, 7]),
                PixelFormat::Bgr => data.extend([blue, green, red]),
                PixelFormat::Bgra => data.extend([blue, green, red, 7]),
                PixelFormat::Gray => data.push(red),
            }
        }
        data.extend(vec![99; gap]);
    }
    data
}

#[test]
fn callers_pixels_are_read_in_any_order_and_stride() {
    let (width, height) = (5, 3);
    let rgb = picture("noise", width, height);
    for format in [
        PixelFormat::Rgb,
        PixelFormat::Rgba,
        PixelFormat::Bgr,
        PixelFormat::Bgra,
        PixelFormat::Gray,
    ] {
        let expected: Vec<u8> = match format {
            PixelFormat::Gray => rgb.chunks(3).flat_map(|pixel| [pixel[0]; 3]).collect(),
            _ => rgb.clone(),
        };
        for gap in [0, 1, 11] {
            let data = buffer(&rgb, width, format, gap);
            // The last row may end with its last pixel.
            for data in [&data[..], &data[..data.len() - gap]] {
                let stride = width as usize * format.bytes_per_pixel() + gap;
                let pixels = PixelBuffer {
                    data,
                    width,
                    height,
                    stride,
                    format,
                };
                let image = Image::from_pixels(&pixels).unwrap();
                assert_eq!(image.as_rgb(), expected, "{format:?} {gap}");
            }
        }
    }
}

#[test]
fn callers_pixels_that_cannot_be_are_errors_that_name_the_field() {
    let data = [0; 5 * 3 * 3];
    let whole = PixelBuffer {
        data: &data,
        width: 5,
        height: 3,
        stride: 15,
        format: PixelFormat::Rgb,
    };
    assert!(Image::from_pixels(&whole).is_ok());
    for (pixels, named) in [
        (
            PixelBuffer {
                stride: 14,
                ..whole
            },
            "stride",
        ),
        (
            PixelBuffer {
                stride: usize::MAX,
                ..whole
            },
            "data",
        ),
        (
            PixelBuffer {
                data: &data[1..],
                ..whole
            },
            "data",
        ),
        (PixelBuffer { width: 0, ..whole }, "0x3"),
        (PixelBuffer { height: 0, ..whole }, "5x0"),
        (
            PixelBuffer {
                height: u32::MAX,
                ..whole
            },
            "5x4294967295",
        ),
    ] {
        let error = Image::from_pixels(&pixels).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    let error = Image::from_rgb(5, 3, vec![0; 44]).unwrap_err().to_string();
    assert!(error.contains("44") && error.contains("45"), "{error}");
}

/// Every file cut at every length, and with bytes changed: an error or a picture, never a panic.
#[test]
fn damaged_files_never_panic() {
    let decoding: Decoding = fixture("decode.json");
    for case in decoding.cases {
        let whole = std::fs::read(fixture_path("decode").join(&case.file)).unwrap();
        for length in 0..whole.len() {
            let _ = Image::from_bytes(&whole[..length]);
        }
        for (index, change) in (0..whole.len())
            .step_by(3)
            .zip([0xff, 0x80, 1].into_iter().cycle())
        {
            let mut damaged = whole.clone();
            damaged[index] ^= change;
            let _ = Image::from_bytes(&damaged);
        }
    }
}
