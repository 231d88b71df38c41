//! The floating-point formats of stored weights, and their conversion to f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// A floating-point format, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatFormat {
    F64,
    F32,
    F16,
    Bf16,
    /// 4 bits of exponent, 3 of mantissa, NaN but no infinity: torch's `float8_e4m3fn`.
    F8E4M3,
    /// 5 bits of exponent, 2 of mantissa: the upper byte of an f16.
    F8E5M2,
    /// [`Self::F8E4M3`] with one NaN and no negative zero.
    F8E4M3Fnuz,
    /// [`Self::F8E5M2`] with one NaN, no infinity and no negative zero.
    F8E5M2Fnuz,
}

impl FloatFormat {
    /// The names of the formats that weights may have, for error messages.
    pub(crate) const EXPECTED: &str = "F64, F32, F16, BF16, F8_E4M3 or F8_E5M2";

    /// Returns the format with a name, such as `F8_E4M3`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F8_E4M3" => Self::F8E4M3,
            "F8_E5M2" => Self::F8E5M2,
            "F8_E4M3FNUZ" => Self::F8E4M3Fnuz,
            "F8_E5M2FNUZ" => Self::F8E5M2Fnuz,
            _ => return None,
        })
    }

    /// Bytes per value.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::F8E4M3Fnuz | Self::F8E5M2Fnuz => 1,
        }
    }

    /// Converts `values.len()` stored values to f32, as torch's `Tensor.float()` does.
    pub(crate) fn decode(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F64 => decode_each(bytes, values, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::F32 => decode_each(bytes, values, f32::from_le_bytes),
            Self::F16 => little_endian(bytes, f16::from_le_bytes).convert_to_f32_slice(values),
            Self::Bf16 => little_endian(bytes, bf16::from_le_bytes).convert_to_f32_slice(values),
            Self::F8E4M3 => decode_each(bytes, values, |[byte]| F8_E4M3[byte as usize]),
            Self::F8E5M2 => decode_each(bytes, values, |[byte]| F8_E5M2[byte as usize]),
            Self::F8E4M3Fnuz => decode_each(bytes, values, |[byte]| F8_E4M3FNUZ[byte as usize]),
            Self::F8E5M2Fnuz => decode_each(bytes, values, |[byte]| F8_E5M2FNUZ[byte as usize]),
        }
    }
}

fn decode_each<const SIZE: usize>(
    bytes: &[u8],
    values: &mut [f32],
    decode: impl Fn([u8; SIZE]) -> f32,
) {
    let (stored, _) = bytes.as_chunks();
    for (value, stored) in values.iter_mut().zip(stored) {
        *value = decode(*stored);
    }
}

fn little_endian<const SIZE: usize, T>(bytes: &[u8], from: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    let (stored, _) = bytes.as_chunks();
    stored.iter().map(|stored| from(*stored)).collect()
}

static F8_E4M3: [f32; 256] = f8_values(3, 7, Specials::NanOnly);
static F8_E5M2: [f32; 256] = f8_values(2, 15, Specials::Ieee);
static F8_E4M3FNUZ: [f32; 256] = f8_values(3, 8, Specials::NegativeZeroIsNan);
static F8_E5M2FNUZ: [f32; 256] = f8_values(2, 16, Specials::NegativeZeroIsNan);

/// The encoding of infinity and NaN in an 8-bit format.
#[derive(Clone, Copy)]
enum Specials {
    /// The largest exponent: infinity with mantissa 0, otherwise NaN.
    Ieee,
    /// All ones: NaN. No infinity.
    NanOnly,
    /// The code of negative zero: NaN. No infinity.
    NegativeZeroIsNan,
}

const fn f8_values(mantissa_bits: u32, bias: u32, specials: Specials) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = f8_value(code as u32, mantissa_bits, bias, specials);
        code += 1;
    }
    values
}

const fn f8_value(code: u32, mantissa_bits: u32, bias: u32, specials: Specials) -> f32 {
    const F32_BIAS: u32 = 127;
    const F32_MANTISSA_BITS: u32 = 23;
    let sign = (code >> 7) << 31;
    let magnitude = code & 0x7f;
    let exponent = magnitude >> mantissa_bits;
    let mantissa = magnitude & ((1 << mantissa_bits) - 1);
    let largest_exponent = 0x7f >> mantissa_bits;
    let infinite = matches!(specials, Specials::Ieee) && exponent == largest_exponent;
    let nan = match specials {
        Specials::Ieee => infinite && mantissa != 0,
        Specials::NanOnly => magnitude == 0x7f,
        Specials::NegativeZeroIsNan => code == 0x80,
    };
    if nan {
        return f32::NAN;
    }
    if infinite {
        return f32::from_bits(sign | f32::INFINITY.to_bits());
    }
    if exponent == 0 {
        let unit = f32::from_bits((F32_BIAS + 1 - bias - mantissa_bits) << F32_MANTISSA_BITS);
        return f32::from_bits(sign | (mantissa as f32 * unit).to_bits());
    }
    let exponent = (exponent + F32_BIAS - bias) << F32_MANTISSA_BITS;
    f32::from_bits(sign | exponent | (mantissa << (F32_MANTISSA_BITS - mantissa_bits)))
}
