//! The decoded pixels of every format and mode equal Pillow's: `tests/fixtures/images.py`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{bytes, fixture, fixture_path, picture};
use florence2_processor::{DecodeOptions, Error, Image, PixelBuffer, PixelFormat};
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

/// The largest difference from Pillow's values. Lossless files are equal; JPEG does not specify the
/// rounding of the cosine transform and the upsampling of colours.
fn tolerance(file: &str) -> u8 {
    match file.contains("jpg") || file.contains("jpeg.tiff") {
        true => 3,
        false => 0,
    }
}

/// A file with a compression that the `tiff` crate does not support. The error names the
/// compression.
const UNREADABLE: &str = "fax-3.tiff";

#[test]
fn files_are_read_as_pillow_reads_them() {
    let decoding: Decoding = fixture("decode.json");
    assert!(decoding.cases.len() > 140);
    let mut wrong = Vec::new();
    for DecodeCase { file, size, rgb } in decoding.cases {
        let image = match Image::open(fixture_path("decode").join(&file)) {
            Err(error) if file == UNREADABLE => {
                assert!(error.to_string().contains("Fax3"), "{error}");
                continue;
            }
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

#[derive(Deserialize)]
struct Cuts {
    cases: Vec<Cut>,
}

#[derive(Deserialize)]
struct Cut {
    name: String,
    file: String,
    /// The shortest length that Pillow reads.
    from: usize,
}

/// A PNG must contain all its pixels, but nothing after them.
#[test]
fn cut_files_are_read_where_pillow_reads_them() {
    let cuts: Cuts = fixture("cuts.json");
    assert!(cuts.cases.len() >= 5);
    for Cut { name, file, from } in cuts.cases {
        let file = bytes(&file);
        let whole = Image::from_bytes(&file).unwrap();
        for length in 0..file.len() {
            let image = Image::from_bytes(&file[..length]);
            assert_eq!(image.is_ok(), length >= from, "{name} of {length} bytes");
            if let Ok(image) = image {
                assert_eq!(image, whole, "{name} of {length} bytes");
            }
        }
    }
}

/// Damaged image data is detected by the checksum of its chunk.
#[test]
fn damaged_image_data_of_a_png_is_an_error() {
    let mut png = std::fs::read(fixture_path("decode/rgb.png")).unwrap();
    let data = png.windows(4).position(|name| name == b"IDAT").unwrap() + 4;
    let end = png.len() - 12;
    for index in data..end {
        png[index] ^= 1;
        for length in [png.len(), end] {
            let image = Image::from_bytes(&png[..length]);
            assert!(matches!(image, Err(Error::Image { .. })), "byte {index}");
        }
        png[index] ^= 1;
    }
}

#[test]
fn an_unknown_format_is_an_error_with_the_accepted_formats() {
    let icon = [&b"\0\0\x01\0"[..], &[0; 64]].concat();
    for (bytes, found) in [
        (&b"no image"[..], "an unknown format"),
        (b"", "an unknown format"),
        (&icon, "the format Ico"),
    ] {
        let error = Image::from_bytes(bytes).unwrap_err();
        let expected = "expected one of JPEG, PNG, WebP, BMP, GIF, TIFF";
        let message = format!("image: not a readable image: found {found}, {expected}");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn the_limit_of_pixels_is_an_option() {
    let decode = fixture_path("decode");
    for file in [
        "rgb.png",
        "gray.jpg",
        "palette.tiff",
        "palette.gif",
        "lossless.webp",
        "rgb.bmp",
    ] {
        let path = decode.join(file);
        let pixels = 21 * 13;
        let within = DecodeOptions::default().max_pixels(pixels);
        assert_eq!(
            Image::open_with(&path, &within).unwrap(),
            Image::open(&path).unwrap(),
            "{file}"
        );
        let below = DecodeOptions::default().max_pixels(pixels - 1);
        let content = std::fs::read(&path).unwrap();
        for error in [
            Image::open_with(&path, &below).unwrap_err(),
            Image::from_bytes_with(&content, &below).unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::TooManyPixels { limit: 272, .. }),
                "{error}"
            );
            assert!(error.to_string().contains("21x13"), "{error}");
        }
    }
    assert_eq!(DecodeOptions::default().max_pixels, 178_956_970);
}

/// 64 million pixels of 8 bytes exceed the default memory limits of the `image` and `tiff` crates.
#[test]
fn files_within_the_limit_are_decoded_whatever_their_memory() {
    let (width, height) = (1 << 15, 1 << 11);
    let size = |format: &str| {
        let mut file = std::io::Cursor::new(Vec::new());
        let pixels = image::ImageBuffer::<image::Rgba<u16>, _>::new(width, height);
        let format = image::ImageFormat::from_extension(format).unwrap();
        pixels.write_to(&mut file, format).unwrap();
        let image = Image::from_bytes(file.get_ref()).unwrap();
        (image.width(), image.height())
    };
    assert_eq!(size("png"), (width, height));
    assert_eq!(size("tiff"), (width, height));
}

/// Converts `rgb` to another channel order, with `gap` bytes of padding after each row.
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
                other => panic!("found {other:?}, expected a format of this test"),
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
            // The last row may end after its last pixel.
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
            "data",
        ),
    ] {
        let error = Image::from_pixels(&pixels).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    let error = Image::from_rgb(5, 3, vec![0; 44]).unwrap_err().to_string();
    assert!(error.contains("44") && error.contains("45"), "{error}");
}

/// A file that is truncated at any length, or has changed bytes, results in an error or an image,
/// never in a panic.
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
