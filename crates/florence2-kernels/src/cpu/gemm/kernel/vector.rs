//! The kernels of instruction sets with 16 vector registers or more, over a description of the
//! instruction set: [`VectorIsa`]. AVX2 and NEON are instances.
//!
//! All formats of an instance have the same tiles. MR x NR is 6 rows by 16 columns, or up to 3 rows
//! by 32 columns: few rows use wider tiles, since narrow ones would have too few independent sums
//! and would stall on them. The instance's file states the registers.

use std::marker::PhantomData;

use super::microkernel::{Dot, RowEpilogue};
use super::widened::Widened;
use crate::cpu::gemm::epilogue::Quantised;

/// MR: the largest number of rows of a tile.
pub(crate) const MAX_ROWS: usize = 6;

/// The vector instructions of an instruction set.
///
/// # Safety
/// [`Self::F32`] and [`Self::I32`] are plain data of [`Self::LANES`] 32-bit values, for which any
/// bits are valid.
///
/// All functions require that the processor supports the instructions. Those that read or write
/// memory require that the pointer is valid for one vector, or for the one value that they
/// broadcast; no alignment is required.
#[allow(unsafe_code)]
pub(crate) unsafe trait VectorIsa {
    /// A vector of f32 values.
    type F32: Copy;
    /// A vector of i32 values.
    type I32: Copy;
    /// The number of values in a vector.
    const LANES: usize;

    /// # Safety
    /// `values` is readable for a vector.
    unsafe fn load_f32(values: *const f32) -> Self::F32;
    /// # Safety
    /// `values` is writable for a vector.
    unsafe fn store_f32(values: *mut f32, vector: Self::F32);
    /// # Safety
    /// `value` is readable.
    unsafe fn broadcast_f32(value: *const f32) -> Self::F32;
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn splat_f32(value: f32) -> Self::F32;
    /// `a + b`.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn add_f32(a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn mul_f32(a: Self::F32, b: Self::F32) -> Self::F32;
    /// `sums + a * b`, rounded once.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn add_product_f32(sums: Self::F32, a: Self::F32, b: Self::F32) -> Self::F32;

    /// # Safety
    /// `values` is readable for a vector.
    unsafe fn load_i32(values: *const i32) -> Self::I32;
    /// # Safety
    /// `value` is readable.
    unsafe fn broadcast_i32(value: *const i32) -> Self::I32;
    /// `a - b`.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn sub_i32(a: Self::I32, b: Self::I32) -> Self::I32;
    /// `vector << BITS`.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn shift_left_i32<const BITS: i32>(vector: Self::I32) -> Self::I32;
    /// `vector >> 24`, with the sign.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn shift_right_24_i32(vector: Self::I32) -> Self::I32;
    /// `vector & mask` of every lane.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn and_i32(vector: Self::I32, mask: i32) -> Self::I32;
    /// The same bits as f32.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn cast_f32(vector: Self::I32) -> Self::F32;
    /// The values rounded to f32.
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn convert_f32(vector: Self::I32) -> Self::F32;

    /// The f32 values of a vector's number of f16 values.
    ///
    /// # Safety
    /// `values` is readable for [`Self::LANES`] f16 values, and the processor supports the
    /// instruction.
    unsafe fn load_f16(values: *const u16) -> Self::F32;
    /// Adds the dot product of the four int8 values of each lane to `sums`. The values of `rhs` are
    /// signed; those of `lhs` are biased by [`ZERO_POINT`](crate::cpu::gemm::quantise::ZERO_POINT).
    ///
    /// # Safety
    /// The processor supports the instruction.
    unsafe fn dot_int8x4(sums: Self::I32, lhs: Self::I32, rhs: Self::I32) -> Self::I32;
}

/// f32 columns.
pub(crate) struct F32<V>(PhantomData<V>);

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl<V: VectorIsa> Dot for F32<V> {
    type Words = V::F32;
    type Sums = V::F32;
    const LANES: usize = V::LANES;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> V::F32 {
        // SAFETY: the caller guarantees a vector.
        unsafe { V::load_f32(words.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> V::F32 {
        // SAFETY: the caller guarantees a word.
        unsafe { V::broadcast_f32(word.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: V::F32, lhs: V::F32, rhs: V::F32) -> V::F32 {
        // SAFETY: the caller guarantees the instruction.
        unsafe { V::add_product_f32(sums, lhs, rhs) }
    }

    #[inline(always)]
    unsafe fn store(mut sums: V::F32, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
        // SAFETY: the caller guarantees a vector of the bias and of the result; the vector from
        // `column` on is inside the panel, and so inside its scales.
        unsafe {
            if let Some(Quantised { scales, .. }) = epilogue.quantised {
                sums = V::mul_f32(sums, V::load_f32(scales.as_ptr().add(column)));
            }
            let bias = V::load_f32(epilogue.bias);
            let mut sums = V::add_product_f32(bias, sums, V::splat_f32(epilogue.row_scale));
            if epilogue.accumulate {
                sums = V::add_f32(sums, V::load_f32(dst));
            }
            V::store_f32(dst, sums);
        }
    }
}

/// f16 columns, widened to f32.
pub(crate) struct F16<V>(PhantomData<V>);

#[allow(unsafe_code, clippy::inline_always)]
impl<V: VectorIsa> Widened for F16<V> {
    type Into = F32<V>;
    const COLUMNS: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, _value: usize) -> V::F32 {
        // SAFETY: the caller guarantees a vector of columns, two of which are in a word.
        unsafe { V::load_f16(words.cast()) }
    }
}

/// Pairs of bf16 columns, widened to f32 one at a time.
pub(crate) struct Bf16x2<V>(PhantomData<V>);

#[allow(unsafe_code, clippy::inline_always)]
impl<V: VectorIsa> Widened for Bf16x2<V> {
    type Into = F32<V>;
    const VALUES: usize = 2;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> V::F32 {
        // SAFETY: the caller guarantees a vector of words.
        unsafe {
            let words = V::load_i32(words.cast());
            V::cast_f32(match value {
                0 => V::shift_left_i32::<16>(words),
                _ => V::and_i32(words, -1 << 16),
            })
        }
    }
}

/// int8 columns, widened to f32 one of a word at a time.
pub(crate) struct Int8<V>(PhantomData<V>);

#[allow(unsafe_code, clippy::inline_always)]
impl<V: VectorIsa> Widened for Int8<V> {
    type Into = F32<V>;
    const VALUES: usize = 4;

    #[inline(always)]
    unsafe fn widen(words: *const u32, value: usize) -> V::F32 {
        // SAFETY: the caller guarantees a vector of words.
        unsafe {
            let words = V::load_i32(words.cast());
            // Shifts the byte to the top, and back with its sign.
            let words = match value {
                0 => V::shift_left_i32::<24>(words),
                1 => V::shift_left_i32::<16>(words),
                2 => V::shift_left_i32::<8>(words),
                _ => words,
            };
            V::convert_f32(V::shift_right_24_i32(words))
        }
    }
}

/// int8 columns, multiplied four at a time by int8 rows.
pub(crate) struct Int8x4<V>(PhantomData<V>);

// SAFETY: words and sums are vectors of numbers, for which any bits are valid, including zeros.
#[allow(unsafe_code, clippy::inline_always)]
unsafe impl<V: VectorIsa> Dot for Int8x4<V> {
    type Words = V::I32;
    type Sums = V::I32;
    const LANES: usize = V::LANES;

    #[inline(always)]
    unsafe fn load(words: *const u32, _value: usize) -> V::I32 {
        // SAFETY: the caller guarantees a vector.
        unsafe { V::load_i32(words.cast()) }
    }

    #[inline(always)]
    unsafe fn broadcast(word: *const u32) -> V::I32 {
        // SAFETY: the caller guarantees a word.
        unsafe { V::broadcast_i32(word.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: V::I32, lhs: V::I32, rhs: V::I32) -> V::I32 {
        // SAFETY: the caller guarantees the instruction.
        unsafe { V::dot_int8x4(sums, lhs, rhs) }
    }

    #[inline(always)]
    unsafe fn store(sums: V::I32, epilogue: &RowEpilogue<'_>, column: usize, dst: *mut f32) {
        // SAFETY: the vector from `column` on is inside the panel, and so inside its corrections;
        // the caller guarantees the rest of the contract.
        unsafe {
            let sums = match epilogue.quantised {
                Some(Quantised { corrections, .. }) => {
                    V::sub_i32(sums, V::load_i32(corrections.as_ptr().add(column)))
                }
                None => sums,
            };
            F32::<V>::store(V::convert_f32(sums), epilogue, column, dst);
        }
    }
}

/// Defines the kernels of an instruction set: entry points that are compiled for its features, and
/// the constants that hold them.
macro_rules! vector_kernels {
    (
        $isa:ty, narrow: $narrow:literal, wide: $wide:literal,
        base: $base:literal, f16: $f16:literal, int8: $int8:literal $(,)?
    ) => {
        use $crate::cpu::gemm::format::PANEL;
        use $crate::cpu::gemm::kernel::args::GemmArgs;
        use $crate::cpu::gemm::kernel::entry::Kernel;
        use $crate::cpu::gemm::kernel::microkernel::{Dot, for_rows};
        use $crate::cpu::gemm::kernel::vector::{Bf16x2, F16, F32, Int8, Int8x4, MAX_ROWS};
        use $crate::cpu::gemm::kernel::widened;

        pub(crate) const F32_KERNEL: Kernel =
            Kernel::new(run_f32::<false>, run_f32::<true>, MAX_ROWS);
        pub(crate) const F16_KERNEL: Kernel =
            Kernel::new(run_f16::<false>, run_f16::<true>, MAX_ROWS)
                .widening::<F16<$isa>>(widen_f16, &F32_KERNEL);
        pub(crate) const BF16_AS_F32_KERNEL: Kernel =
            Kernel::new(run_bf16::<false>, run_bf16::<true>, MAX_ROWS)
                .widening::<Bf16x2<$isa>>(widen_bf16, &F32_KERNEL);
        pub(crate) const INT8_AS_F32_KERNEL: Kernel =
            Kernel::new(run_int8_as_f32::<false>, run_int8_as_f32::<true>, MAX_ROWS)
                .widening::<Int8<$isa>>(widen_int8, &F32_KERNEL);
        pub(crate) const INT8_KERNEL: Kernel =
            Kernel::new(run_int8::<false>, run_int8::<true>, MAX_ROWS);

        $crate::cpu::gemm::kernel::vector::vector_kernels!(
            run: run_f32, F32<$isa>, $narrow, $wide, $base
        );
        $crate::cpu::gemm::kernel::vector::vector_kernels!(
            run: run_f16, F16<$isa>, $narrow, $wide, $f16
        );
        $crate::cpu::gemm::kernel::vector::vector_kernels!(
            run: run_bf16, Bf16x2<$isa>, $narrow, $wide, $base
        );
        $crate::cpu::gemm::kernel::vector::vector_kernels!(
            run: run_int8_as_f32, Int8<$isa>, $narrow, $wide, $base
        );
        $crate::cpu::gemm::kernel::vector::vector_kernels!(
            run: run_int8, Int8x4<$isa>, $narrow, $wide, $int8
        );
        $crate::cpu::gemm::kernel::vector::vector_kernels!(widen: widen_f16, F16<$isa>, $f16);
        $crate::cpu::gemm::kernel::vector::vector_kernels!(widen: widen_bf16, Bf16x2<$isa>, $base);
        $crate::cpu::gemm::kernel::vector::vector_kernels!(widen: widen_int8, Int8<$isa>, $base);
    };
    (run: $name:ident, $dot:ty, $narrow:literal, $wide:literal, $features:literal) => {
        /// Runs the microkernel for the number of rows and columns: wide tiles for up to three rows,
        /// else narrow ones.
        ///
        /// # Safety
        /// The invariants of [`GemmArgs`], and `m <= MAX_ROWS`.
        #[target_feature(enable = $features)]
        #[allow(unsafe_code)]
        unsafe fn $name<const PREFETCH: bool>(args: &GemmArgs<'_>) {
            // SAFETY: the caller guarantees the invariants. Wide tiles span a panel, which invariant
            // 3 makes readable for more than half a panel of columns; narrow tiles span half a panel.
            unsafe {
                if args.m <= 3 && args.n > PANEL / 2 {
                    for_rows!(args, 0, $dot, $wide, PREFETCH, [1 2 3]);
                    return;
                }
                for column in (0..args.n).step_by($narrow * <$dot>::LANES) {
                    for_rows!(args, column, $dot, $narrow, PREFETCH, [1 2 3 4 5 6]);
                }
            }
        }
    };
    (widen: $name:ident, $columns:ty, $features:literal) => {
        /// # Safety
        /// That of `widened::widen`.
        #[target_feature(enable = $features)]
        #[allow(unsafe_code)]
        unsafe fn $name(count: usize, words: *const u32, into: *mut f32) {
            // SAFETY: guaranteed by the caller.
            unsafe { widened::widen::<$columns>(count, words, into) }
        }
    };
}
pub(crate) use vector_kernels;
