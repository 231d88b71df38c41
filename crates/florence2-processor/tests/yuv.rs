//! The RGB values of YUV frames equal those in double precision: `tests/fixtures/yuv.py`.

#![allow(clippy::unwrap_used)]

mod common;

use common::fixture;
use florence2_processor::{
    ChromaPlanes, Error, Image, PixelBuffer, PixelFormat, PixelRect, Plane, YuvBuffer, YuvMatrix,
    YuvRange,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    conversions: Vec<Conversion>,
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Conversion {
    matrix: String,
    full: bool,
    samples: Vec<[u8; 6]>,
}

#[derive(Deserialize)]
struct Frame {
    width: u32,
    height: u32,
    y: Vec<Vec<u8>>,
    u: Vec<Vec<u8>>,
    v: Vec<Vec<u8>>,
    rgb: Vec<Vec<[u8; 3]>>,
}

fn goldens() -> Goldens {
    fixture("yuv.json")
}

/// Joins rows with `gap` bytes of padding between them. Returns the bytes and the stride.
fn with_gaps(rows: &[Vec<u8>], gap: usize) -> (Vec<u8>, usize) {
    let data = rows.join(vec![0xA5; gap].as_slice());
    (data, rows[0].len() + gap)
}

/// Interleaves U and V samples.
fn interleaved(u: &[Vec<u8>], v: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let rows = u.iter().zip(v);
    let interleave =
        |(u, v): (&Vec<u8>, &Vec<u8>)| u.iter().zip(v).flat_map(|(u, v)| [*u, *v]).collect();
    rows.map(interleave).collect()
}

/// Calls `check` with a frame as NV12 and as I420.
fn for_both_layouts(frame: &Frame, gap: usize, check: impl Fn(YuvBuffer<'_>)) {
    let (y, y_stride) = with_gaps(&frame.y, gap);
    let (u, u_stride) = with_gaps(&frame.u, gap + 1);
    let (v, v_stride) = with_gaps(&frame.v, gap + 2);
    let (uv, uv_stride) = with_gaps(&interleaved(&frame.u, &frame.v), gap + 3);
    let plane = |data, stride| Plane { data, stride };
    for chroma in [
        ChromaPlanes::Nv12(plane(&uv, uv_stride)),
        ChromaPlanes::I420(plane(&u, u_stride), plane(&v, v_stride)),
    ] {
        let luma = plane(&y, y_stride);
        check(YuvBuffer::new(frame.width, frame.height, luma, chroma));
    }
}

fn regions(width: u32, height: u32) -> impl Iterator<Item = PixelRect> {
    let spans = |limit: u32| (0..limit).flat_map(move |a| (1..=limit - a).map(move |b| (a, b)));
    spans(width).flat_map(move |(x, width)| {
        spans(height).map(move |(y, height)| PixelRect {
            x,
            y,
            width,
            height,
        })
    })
}

/// The expected RGB values of a region of a frame.
fn cut(frame: &Frame, region: PixelRect) -> Vec<u8> {
    let columns = region.x as usize..(region.x + region.width) as usize;
    let rows = &frame.rgb[region.y as usize..(region.y + region.height) as usize];
    rows.iter()
        .flat_map(|row| row[columns.clone()].concat())
        .collect()
}

#[test]
fn samples_are_converted_as_in_double_precision() {
    let mut checked = 0;
    for conversion in goldens().conversions {
        let matrix = match conversion.matrix.as_str() {
            "bt601" => YuvMatrix::Bt601,
            _ => YuvMatrix::Bt709,
        };
        let range = match conversion.full {
            true => YuvRange::Full,
            false => YuvRange::Limited,
        };
        for [y, u, v, red, green, blue] in conversion.samples {
            let plane = |data, stride| Plane { data, stride };
            let (luma, chroma) = ([y], [u, v]);
            let chroma = ChromaPlanes::Nv12(plane(&chroma, 2));
            let buffer = YuvBuffer::new(1, 1, plane(&luma, 1), chroma);
            let image = Image::from_yuv(&buffer.matrix(matrix).range(range));
            assert_eq!(
                image.unwrap().as_rgb(),
                [red, green, blue],
                "{matrix:?} {range:?} {y} {u} {v}"
            );
            checked += 1;
        }
    }
    assert!(checked > 800, "{checked}");
}

#[test]
fn frames_and_their_regions_are_converted() {
    for frame in goldens().frames {
        for gap in [0, 5] {
            for_both_layouts(&frame, gap, |buffer| {
                let image = Image::from_yuv(&buffer).unwrap();
                assert_eq!((image.width(), image.height()), (frame.width, frame.height));
                assert_eq!(image.as_rgb(), frame.rgb.concat().concat());
                for region in regions(frame.width, frame.height) {
                    let region_of = buffer.region(Some(region));
                    let image = Image::from_yuv(&region_of).unwrap();
                    assert_eq!(image.as_rgb(), cut(&frame, region), "{region:?}");
                }
            });
        }
    }
}

#[test]
fn regions_of_packed_pixels_are_cut() {
    for frame in goldens().frames {
        let rows: Vec<Vec<u8>> = frame.rgb.iter().map(|row| row.concat()).collect();
        let (data, stride) = with_gaps(&rows, 4);
        let buffer = PixelBuffer {
            data: &data,
            width: frame.width,
            height: frame.height,
            stride,
            format: PixelFormat::Rgb,
        };
        for region in regions(frame.width, frame.height) {
            let image = Image::from_pixels(&buffer.region(region).unwrap()).unwrap();
            assert_eq!(image.as_rgb(), cut(&frame, region), "{region:?}");
        }
    }
}

/// The field that an error names.
fn refused(result: Result<Image, Error>) -> &'static str {
    match result {
        Err(Error::PixelBuffer { field, .. }) => field,
        other => panic!("found {other:?}, expected a refusal of a field"),
    }
}

#[test]
fn planes_that_are_too_short_are_refused() {
    let frame = &goldens().frames[0];
    for_both_layouts(frame, 2, |buffer| {
        let mut short = buffer;
        short.luma.data = &buffer.luma.data[1..];
        assert_eq!(refused(Image::from_yuv(&short)), "y");
        let mut narrow = buffer;
        narrow.luma.stride = frame.width as usize - 1;
        assert_eq!(refused(Image::from_yuv(&narrow)), "y");
        narrow.luma.stride = usize::MAX;
        assert_eq!(refused(Image::from_yuv(&narrow)), "y");
        let mut without = buffer;
        let field = match &mut without.chroma {
            ChromaPlanes::Nv12(plane) => {
                plane.data = &plane.data[1..];
                "uv"
            }
            ChromaPlanes::I420(_, v) => {
                v.data = &v.data[1..];
                "v"
            }
            other => panic!("found {other:?}, expected planes of this test"),
        };
        assert_eq!(refused(Image::from_yuv(&without)), field);
    });
}

#[test]
fn regions_beyond_the_frame_are_refused() {
    let frame = &goldens().frames[0];
    let rect = |x, y, width, height| PixelRect {
        x,
        y,
        width,
        height,
    };
    let beyond = [
        rect(0, 0, 0, 1),
        rect(0, 0, 1, 0),
        rect(0, 0, 8, 5),
        rect(0, 0, 7, 6),
        rect(7, 0, 1, 1),
        rect(0, 5, 1, 1),
        rect(u32::MAX, 0, 1, 1),
        rect(1, 1, u32::MAX, 1),
    ];
    for region in beyond {
        for_both_layouts(frame, 0, |buffer| {
            let result = Image::from_yuv(&buffer.region(Some(region)));
            assert_eq!(refused(result), "region");
        });
        let packed = PixelBuffer {
            data: &[0; 105],
            width: 7,
            height: 5,
            stride: 21,
            format: PixelFormat::Rgb,
        };
        let refused = packed.region(region).unwrap_err();
        assert!(matches!(
            refused,
            Error::PixelBuffer {
                field: "region",
                ..
            }
        ));
    }
    let empty = PixelBuffer {
        data: &[],
        width: 7,
        height: 5,
        stride: 21,
        format: PixelFormat::Rgb,
    };
    assert!(empty.region(rect(3, 3, 1, 1)).is_err());
}

#[test]
fn a_frame_without_pixels_is_refused() {
    let frame = &goldens().frames[0];
    for (width, height) in [(0, 0), (0, 5), (7, 0)] {
        for_both_layouts(frame, 0, |buffer| {
            let luma = Plane {
                data: &[],
                stride: 0,
            };
            let buffer = YuvBuffer::new(width, height, luma, buffer.chroma);
            assert!(matches!(Image::from_yuv(&buffer), Err(Error::Image { .. })));
        });
    }
}
