//! TIFF files as Pillow reads them.
//!
//! The `tiff` crate decompresses. This module maps samples to RGB, expands palettes and reverses
//! the bits of files with fill order 2, none of which that crate does.

use std::io::Cursor;
use std::ops::Range;

use image::metadata::Orientation;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

/// The largest size of a pixel in bytes: four channels of 16 bits.
const MAX_PIXEL_BYTES: u64 = 8;

const WHITE_IS_ZERO: u16 = 0;
const BLACK_IS_ZERO: u16 = 1;
const RGB: u16 = 2;
const PALETTE: u16 = 3;
const CMYK: u16 = 5;
const YCBCR: u16 = 6;
/// The value of `ExtraSamples` for premultiplied alpha.
const ASSOCIATED_ALPHA: u16 = 1;
/// The JPEG compressions, to which the fill order does not apply.
const JPEGS: [u16; 2] = [6, 7];

/// A TIFF file whose header has been read.
pub(crate) struct Tiff<'a> {
    bytes: &'a [u8],
    decoder: Decoder<Cursor<&'a [u8]>>,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// The tags that determine the conversion of samples to colours.
struct Layout {
    photometric: u16,
    fill_order: u16,
    compression: u16,
    bits: u16,
    extra_samples: Vec<u16>,
    /// The red values, then the green values, then the blue values.
    color_map: Vec<u16>,
}

/// Returns true if the bytes start with the signature of a TIFF file.
pub(crate) fn is_tiff(bytes: &[u8]) -> bool {
    [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]
        .iter()
        .any(|magic| bytes.starts_with(*magic))
}

impl<'a> Tiff<'a> {
    /// Reads the header of a file.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(text)?;
        let (width, height) = decoder.dimensions().map_err(text)?;
        Ok(Self {
            bytes,
            decoder,
            width,
            height,
        })
    }

    /// The value of the orientation tag.
    pub(crate) fn orientation(&mut self) -> Orientation {
        let value = self.decoder.find_tag_unsigned::<u8>(Tag::Orientation);
        let orientation = value.ok().flatten().and_then(Orientation::from_exif);
        orientation.unwrap_or(Orientation::NoTransforms)
    }

    /// The first image as RGB, before its orientation is applied.
    pub(crate) fn rgb(mut self) -> Result<Vec<u8>, String> {
        let layout = self.layout()?;
        let mut changed = Vec::new();
        if layout.fill_order == 2 && !JPEGS.contains(&layout.compression) {
            changed = self.with_reversed_bits()?;
        }
        if layout.photometric == PALETTE {
            if changed.is_empty() {
                self.bytes.clone_into(&mut changed);
            }
            // The decoder rejects palettes. Decoded as gray, the samples are the palette's indices.
            self.set_photometric(&mut changed, BLACK_IS_ZERO)?;
        }
        let source = if changed.is_empty() {
            self.bytes
        } else {
            &changed
        };
        let samples = self.samples(source)?;
        to_rgb(&samples, &layout, self.width as usize)
    }

    fn layout(&mut self) -> Result<Layout, String> {
        let list = |decoder: &mut Decoder<_>, tag| {
            let values = decoder.find_tag_unsigned_vec::<u16>(tag).map_err(text)?;
            Ok::<Vec<u16>, String>(values.unwrap_or_default())
        };
        let mut first = |tag, default| {
            let values = list(&mut self.decoder, tag)?;
            Ok::<u16, String>(values.first().copied().unwrap_or(default))
        };
        Ok(Layout {
            photometric: first(Tag::PhotometricInterpretation, WHITE_IS_ZERO)?,
            fill_order: first(Tag::FillOrder, 1)?,
            compression: first(Tag::Compression, 1)?,
            bits: first(Tag::BitsPerSample, 1)?,
            extra_samples: list(&mut self.decoder, Tag::ExtraSamples)?,
            color_map: list(&mut self.decoder, Tag::ColorMap)?,
        })
    }

    /// Returns a copy of the file in which the bits of every byte of image data are reversed.
    fn with_reversed_bits(&mut self) -> Result<Vec<u8>, String> {
        let mut copy = self.bytes.to_vec();
        let mut list = |tag| {
            let values = self
                .decoder
                .find_tag_unsigned_vec::<u64>(tag)
                .map_err(text)?;
            Ok::<Vec<u64>, String>(values.unwrap_or_default())
        };
        let mut reversed = 0;
        for (offsets, lengths) in [
            (Tag::StripOffsets, Tag::StripByteCounts),
            (Tag::TileOffsets, Tag::TileByteCounts),
        ] {
            for (offset, length) in list(offsets)?.into_iter().zip(list(lengths)?) {
                let part = byte_range(offset, length).and_then(|range| copy.get_mut(range));
                let part = part.ok_or("a strip lies beyond the end of the file")?;
                reversed += part.len();
                if reversed > self.bytes.len() {
                    return Err("strips overlap".to_owned());
                }
                for byte in part {
                    *byte = byte.reverse_bits();
                }
            }
        }
        Ok(copy)
    }

    /// Overwrites the photometric interpretation in a copy of the file.
    fn set_photometric(&mut self, copy: &mut [u8], value: u16) -> Result<(), String> {
        let pointer = self.decoder.ifd_pointer().map_or(0, |pointer| pointer.0);
        let entry = photometric_entry(copy, pointer).ok_or("the image directory is damaged")?;
        let little_endian = copy.starts_with(b"I");
        // A value of one short is stored in the entry itself, left-aligned.
        let value = if little_endian {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        };
        copy[entry][..2].copy_from_slice(&value);
        Ok(())
    }

    /// The samples of the first image, interleaved.
    fn samples(&self, source: &[u8]) -> Result<Samples, String> {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let limit = usize::try_from(pixels.saturating_mul(MAX_PIXEL_BYTES)).unwrap_or(usize::MAX);
        let mut limits = Limits::default();
        limits.decoding_buffer_size = limit;
        limits.intermediate_buffer_size = limit.max(source.len());
        limits.ifd_value_size = source.len();
        let mut decoder = Decoder::new(Cursor::new(source))
            .map_err(text)?
            .with_limits(limits);
        let color = decoder.colortype().map_err(text)?;
        let mut data = DecodingResult::U8(Vec::new());
        let planes = decoder.read_image_to_buffer(&mut data).map_err(text)?;
        let values = match data {
            DecodingResult::U8(values) => values,
            DecodingResult::I8(values) => values.into_iter().map(|value| value as u8).collect(),
            DecodingResult::U16(values) => high_bytes(&values),
            _ => return Err(unsupported(color)),
        };
        let channels = usize::from(color.num_samples());
        if planes.planes > 1 {
            if color.bit_depth() < 8 {
                return Err(unsupported(color));
            }
            return Ok(Samples {
                color,
                channels,
                values: interleaved(&values, channels, pixels as usize)?,
            });
        }
        Ok(Samples {
            color,
            channels,
            values,
        })
    }
}

/// Decoded samples: one byte each, or packed if they have fewer than 8 bits.
struct Samples {
    color: ColorType,
    channels: usize,
    values: Vec<u8>,
}

fn text(error: tiff::TiffError) -> String {
    error.to_string()
}

fn unsupported(color: ColorType) -> String {
    format!("found {color:?} samples, expected a TIFF of 1 to 8 or 16 bits per sample")
}

fn byte_range(offset: u64, length: u64) -> Option<Range<usize>> {
    let begin = usize::try_from(offset).ok()?;
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    Some(begin..end)
}

fn high_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().map(|value| (value >> 8) as u8).collect()
}

/// Converts planar samples to interleaved samples.
fn interleaved(values: &[u8], channels: usize, pixels: usize) -> Result<Vec<u8>, String> {
    if pixels.checked_mul(channels) != Some(values.len()) {
        return Err("the planes are incomplete".to_owned());
    }
    let mut result = vec![0; values.len()];
    for (channel, plane) in values.chunks_exact(pixels).enumerate() {
        let places = result.iter_mut().skip(channel).step_by(channels);
        places.zip(plane).for_each(|(place, value)| *place = *value);
    }
    Ok(result)
}

/// The byte range of the photometric tag's value in the image directory at `pointer`.
fn photometric_entry(file: &[u8], pointer: u64) -> Option<Range<usize>> {
    let little_endian = file.starts_with(b"I");
    let big_tiff = file.get(2..4)?.contains(&b'+');
    let number = |range: Range<usize>| {
        let bytes = file.get(range)?;
        let push = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        Some(if little_endian {
            bytes.iter().rev().fold(0, push)
        } else {
            bytes.iter().fold(0, push)
        })
    };
    let (count_size, entry_size, value_offset) = if big_tiff { (8, 20, 12) } else { (2, 12, 8) };
    let begin = usize::try_from(pointer).ok()?;
    let entries = begin.checked_add(count_size)?;
    let count = number(begin..entries)?.min(file.len() as u64) as usize;
    (0..count)
        .map(|index| entries + index * entry_size)
        .take_while(|entry| entry + entry_size <= file.len())
        .find(|entry| {
            let tag = number(*entry..entry + 2);
            tag == Some(u64::from(Tag::PhotometricInterpretation.to_u16()))
        })
        .map(|entry| entry + value_offset..entry + entry_size)
}

fn to_rgb(samples: &Samples, layout: &Layout, width: usize) -> Result<Vec<u8>, String> {
    let unpacked;
    let (channels, values) = match (layout.bits, samples.channels) {
        (1 | 2 | 4, 1) => {
            unpacked = unpack(&samples.values, layout.bits, width);
            (1, &unpacked)
        }
        (8 | 16, channels) => (channels, &samples.values),
        _ => return Err(unsupported(samples.color)),
    };
    let pixels = values.chunks_exact(channels);
    match (layout.photometric, channels) {
        (WHITE_IS_ZERO | BLACK_IS_ZERO, _) => {
            // Gray of fewer than 8 bits is scaled to 0 to 255.
            let scale = match layout.bits {
                1 | 2 | 4 => 255 / ((1 << layout.bits) - 1) as u8,
                _ => 1,
            };
            Ok(pixels.flat_map(|pixel| [pixel[0] * scale; 3]).collect())
        }
        (RGB, 4..) if layout.extra_samples.first() == Some(&ASSOCIATED_ALPHA) => {
            Ok(pixels.flat_map(divided_by_alpha).collect())
        }
        (RGB, 3..) => Ok(pixels.flat_map(|p| [p[0], p[1], p[2]]).collect()),
        (PALETTE, _) => {
            let colors = 1 << layout.bits.min(8);
            let map = high_bytes(&layout.color_map);
            if layout.bits > 8 || map.len() < 3 * colors {
                let found = map.len();
                return Err(format!(
                    "ColorMap: found {found} values, expected {}",
                    3 * colors
                ));
            }
            let color = |index: usize| [map[index], map[colors + index], map[2 * colors + index]];
            Ok(pixels.flat_map(|pixel| color(pixel[0].into())).collect())
        }
        // Only the JPEG decoder upsamples all channels to the size of the image.
        (YCBCR, 3) if JPEGS.contains(&layout.compression) => {
            Ok(pixels.flat_map(ycbcr_to_rgb).collect())
        }
        (CMYK, 4..) => Ok(pixels.flat_map(cmyk_to_rgb).collect()),
        _ => Err(unsupported(samples.color)),
    }
}

/// Unpacks samples of 1, 2 or 4 bits to one byte each. Rows start at whole bytes.
fn unpack(packed: &[u8], bits: u16, width: usize) -> Vec<u8> {
    let per_byte = usize::from(8 / bits);
    let mask = ((1 << bits) - 1) as u8;
    let row_bytes = width.div_ceil(per_byte).max(1);
    let value = |row: &[u8], x: usize| {
        let shift = 8 - bits as usize * (x % per_byte + 1);
        (row[x / per_byte] >> shift) & mask
    };
    packed
        .chunks_exact(row_bytes)
        .flat_map(|row| (0..width).map(move |x| value(row, x)))
        .collect()
}

/// Divides premultiplied colours by their alpha, with Pillow's arithmetic.
fn divided_by_alpha(pixel: &[u8]) -> [u8; 3] {
    let alpha = u32::from(pixel[3]);
    let divided = |value: u8| match alpha {
        0 => 0,
        255 => value,
        _ => (u32::from(value) * 255 / alpha).min(255) as u8,
    };
    [divided(pixel[0]), divided(pixel[1]), divided(pixel[2])]
}

/// Converts CMYK to RGB with Pillow's arithmetic.
fn cmyk_to_rgb(pixel: &[u8]) -> [u8; 3] {
    let white = 255 - u32::from(pixel[3]);
    let ink = |value: u8| {
        let product = u32::from(value) * white + 128;
        (white - ((product + (product >> 8)) >> 8)) as u8
    };
    [ink(pixel[0]), ink(pixel[1]), ink(pixel[2])]
}

/// Converts YCbCr to RGB by JFIF's equations.
fn ycbcr_to_rgb(pixel: &[u8]) -> [u8; 3] {
    let [luma, blue, red] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
    let (blue, red) = (blue - 128.0, red - 128.0);
    [
        luma + 1.402 * red,
        luma - 0.344_136 * blue - 0.714_136 * red,
        luma + 1.772 * blue,
    ]
    .map(|value| value.round() as u8)
}
