//! The selection of the kernel for a pair of formats at the SIMD level in use.

use super::entry::Kernel;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{amx, avx2, avx512};
use crate::cpu::gemm::format::{Format, LhsFormat};
use crate::cpu::simd::{SimdLevel, simd_level};

/// Returns the kernel that multiplies columns of a format by rows of a format at the level in use,
/// if there is one. f32 rows have a kernel for all columns, except for f16 columns at the portable
/// level. If there is a kernel for f16 columns, f32 weights that f16 represents exactly are stored
/// as f16.
pub(crate) fn kernel(columns: Format, rows: LhsFormat) -> Option<Kernel> {
    match (simd_level(), columns, rows) {
        #[cfg(target_arch = "x86_64")]
        (SimdLevel::Amx, Format::F32, LhsFormat::SplitInt8) => Some(amx::split_int8::F32_KERNEL),
        #[cfg(target_arch = "x86_64")]
        (SimdLevel::Amx, Format::F16, LhsFormat::SplitInt8) => Some(amx::split_int8::F16_KERNEL),
        #[cfg(target_arch = "x86_64")]
        (SimdLevel::Amx, Format::Bf16, LhsFormat::Bf16) => Some(amx::bf16_int8::BF16_KERNEL),
        #[cfg(target_arch = "x86_64")]
        (SimdLevel::Amx, Format::Int8, LhsFormat::Int8) => Some(amx::bf16_int8::INT8_KERNEL),
        #[cfg(target_arch = "x86_64")]
        (SimdLevel::Avx512Dot, Format::Bf16, LhsFormat::Bf16) => Some(avx512::BF16_KERNEL),
        #[cfg(target_arch = "x86_64")]
        (SimdLevel::Avx512Vnni | SimdLevel::Avx512Dot, Format::Int8, LhsFormat::Int8) => {
            Some(avx512::INT8_KERNEL)
        }
        #[cfg(target_arch = "x86_64")]
        (SimdLevel::Avx2Vnni, Format::Int8, LhsFormat::Int8) => Some(avx2::INT8_KERNEL),
        #[cfg(target_arch = "aarch64")]
        (SimdLevel::NeonDot, Format::Int8, LhsFormat::Int8) => Some(neon::INT8_KERNEL),
        (level, columns, LhsFormat::F32) => f32_rows_kernel(level, columns),
        _ => None,
    }
}

fn f32_rows_kernel(level: SimdLevel, columns: Format) -> Option<Kernel> {
    let [f32, f16, bf16, int8] = match level {
        SimdLevel::Portable => [
            Some(portable::F32_KERNEL),
            None,
            Some(portable::BF16_AS_F32_KERNEL),
            Some(portable::INT8_AS_F32_KERNEL),
        ],
        #[cfg(target_arch = "aarch64")]
        SimdLevel::Neon | SimdLevel::NeonDot => [
            neon::F32_KERNEL,
            neon::F16_KERNEL,
            neon::BF16_AS_F32_KERNEL,
            neon::INT8_AS_F32_KERNEL,
        ]
        .map(Some),
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx2 | SimdLevel::Avx2Vnni => [
            avx2::F32_KERNEL,
            avx2::F16_KERNEL,
            avx2::BF16_AS_F32_KERNEL,
            avx2::INT8_AS_F32_KERNEL,
        ]
        .map(Some),
        // A few rows stall on narrow columns; more rows widen the columns first and continue in
        // f32.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512 | SimdLevel::Avx512Vnni | SimdLevel::Avx512Dot | SimdLevel::Amx => [
            avx512::F32_KERNEL,
            avx512::F16_KERNEL,
            avx2::BF16_AS_F32_KERNEL.with_f32_kernel(&avx512::F32_KERNEL),
            avx2::INT8_AS_F32_KERNEL.with_f32_kernel(&avx512::F32_KERNEL),
        ]
        .map(Some),
    };
    match columns {
        Format::F32 => f32,
        Format::F16 => f16,
        Format::Bf16 => bf16,
        Format::Int8 => int8,
    }
}

/// The f32 kernel of the level in use; every level has one.
pub(crate) fn f32_kernel() -> Kernel {
    // INVARIANT: `kernel` has an f32 arm for every level.
    kernel(Format::F32, LhsFormat::F32).expect("every level multiplies f32")
}
