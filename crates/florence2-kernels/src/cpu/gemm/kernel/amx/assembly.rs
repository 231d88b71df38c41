//! The parts from which the `asm!` blocks of the products are assembled.
//!
//! # Contract
//!
//! Every `asm!` block is a complete use of the tiles: it configures them, multiplies, stores the
//! sums and releases the tiles. No block relies on a tile register or a tile configuration of an
//! earlier block. Rust's inline assembly has no operand for either (a tile register can be named as
//! a clobber only), and the ABI permits every function that is called between two blocks to change
//! both.
//! Loops over the tiles of a product are therefore part of the assembly. They read their work from
//! memory, as arrays of `#[repr(C)]` structures. For the same reason, the epilogue of a tile, which
//! runs while the next tile is multiplied, is assembly. The blocks end with `vzeroupper`, since the
//! compiler does not track that they leave the upper halves of the vector registers set.
//!
//! # Tile registers of the products of bf16 and of int8
//!
//! Registers 0 and 1 hold the sums of the upper rows, 2 and 3 those of the lower rows. Registers 4
//! and 5 hold the words of the rows, 6 and 7 those of the columns.

/// Configures the tiles from the structure at `{piece}`, unless that configuration is in use.
/// `{configured}` is the configuration in use.
macro_rules! configure {
    ($temporary:literal, $configured:literal) => {
        concat!(
            "mov ",
            $temporary,
            ", [{piece} + {CONFIGURATION}]
             cmp ",
            $temporary,
            ", ",
            $configured,
            "
             je 3f
             ldtilecfg [",
            $temporary,
            "]
             mov ",
            $configured,
            ", ",
            $temporary,
            "
             3:"
        )
    };
}

/// Loads the initial values of the sums, or stores the sums: for `both` halves of a tile's rows, or
/// for the `upper` half if there is no other.
macro_rules! sums {
    (load, upper) => {
        "mov {upper}, [{piece} + {FROM}]
         mov {lower}, [{piece} + {FROM} + 8]
         mov {lhs_row_stride}, [{piece} + {FROM} + 16]
         tileloadd tmm0, [{upper} + {lhs_row_stride}]
         tileloadd tmm1, [{upper} + {lhs_row_stride} + 64]"
    };
    (load, both) => {
        concat!(
            sums!(load, upper),
            "\n tileloadd tmm2, [{lower} + {lhs_row_stride}]
             tileloadd tmm3, [{lower} + {lhs_row_stride} + 64]"
        )
    };
    (store, upper) => {
        "mov {upper}, [{piece} + {TO}]
         mov {lower}, [{piece} + {TO} + 8]
         mov {lhs_row_stride}, [{piece} + {TO} + 16]
         tilestored [{upper} + {lhs_row_stride}], tmm0
         tilestored [{upper} + {lhs_row_stride} + 64], tmm1"
    };
    (store, both) => {
        concat!(
            sums!(store, upper),
            "\n tilestored [{lower} + {lhs_row_stride}], tmm2
             tilestored [{lower} + {lhs_row_stride} + 64], tmm3"
        )
    };
}

/// Loads the words of both halves of the columns, from the given byte offsets to `{rhs}`.
macro_rules! columns {
    ($first:literal, $second:literal) => {
        concat!(
            "tileloadd tmm6, [{rhs} + {rhs_k_stride} + ",
            $first,
            "]\n tileloadd tmm7, [{rhs} + {rhs_k_stride} + ",
            $second,
            "]"
        )
    };
}

/// Multiplies the words of the rows, at the given byte offset to `upper` and `lower`, by those of
/// the columns. `again` reuses the words of the rows that are loaded.
macro_rules! rows {
    (upper, $instruction:literal, again) => {
        concat!(
            $instruction,
            " tmm0, tmm4, tmm6\n ",
            $instruction,
            " tmm1, tmm4, tmm7"
        )
    };
    (lower, $instruction:literal, again) => {
        concat!(
            $instruction,
            " tmm2, tmm5, tmm6\n ",
            $instruction,
            " tmm3, tmm5, tmm7"
        )
    };
    (both, $instruction:literal, again) => {
        concat!(
            rows!(upper, $instruction, again),
            "\n",
            rows!(lower, $instruction, again)
        )
    };
    (upper, $instruction:literal, $at:literal) => {
        concat!(
            "tileloadd tmm4, [{upper} + {lhs_row_stride} + ",
            $at,
            "]\n",
            rows!(upper, $instruction, again)
        )
    };
    (both, $instruction:literal, $at:literal) => {
        concat!(
            rows!(upper, $instruction, $at),
            "\n tileloadd tmm5, [{lower} + {lhs_row_stride} + ",
            $at,
            "]\n",
            rows!(lower, $instruction, again)
        )
    };
}

/// Multiplies the segments of a piece. Loads its sums before and stores them after.
macro_rules! segments {
    ($rows:ident, $instruction:literal, $prefetch:expr) => {
        concat!(
            sums!(load, $rows),
            "
            5:
            mov {registers}, [{segment}]
            mov {upper}, [{segment} + 8]
            mov {lower}, [{segment} + 16]
            mov {lhs_row_stride}, [{segment} + 24]
            mov {rhs}, [{segment} + 32]
            mov {rhs_k_stride}, [{segment} + 40]
            mov {register_stride}, {rhs_k_stride}
            shl {register_stride}, 4
            6:
            ",
            $prefetch,
            "\n",
            columns!(0, 64),
            "\n",
            rows!($rows, $instruction, 0),
            "
            add {upper}, 64
            add {lower}, 64
            add {rhs}, {register_stride}
            dec {registers}
            jnz 6b
            add {segment}, {SEGMENT_SIZE}
            lea {upper}, [{piece} + {SEGMENTS_END}]
            cmp {segment}, {upper}
            je 7f
            cmp qword ptr [{segment}], 0
            jne 5b
            7:
            ",
            sums!(store, $rows)
        )
    };
}

/// Prefetches cache lines of the columns that are being read.
macro_rules! prefetch_columns {
    ($($line:literal)*) => {
        concat!($("prefetcht0 [{rhs} + {prefetch_distance} + ", $line, "]\n"),*)
    };
}

/// The number of bytes that [`prefetch_next`] prefetches with each tile register of columns: about as many
/// as a register of the next columns has, divided among the tiles of the rows that pass together.
pub(crate) const PREFETCH_PER_REGISTER: usize = 256;

/// Prefetches the columns that are multiplied next.
macro_rules! prefetch_next {
    () => {
        "prefetcht1 [{next}]
         prefetcht1 [{next} + 64]
         prefetcht1 [{next} + 128]
         prefetcht1 [{next} + 192]
         add {next}, 256"
    };
}

/// Loads an [`AmxEpilogue`](super::tiles::AmxEpilogue) into registers: scales into zmm16 and zmm17, corrections into zmm18
/// and zmm19, the bias into zmm20 and zmm21, the masks of the columns into k1 and k2.
macro_rules! load_epilogue {
    ($epilogue:literal) => {
        concat!(
            "vmovups zmm16, [",
            $epilogue,
            " + {SCALES}]
            vmovups zmm17, [",
            $epilogue,
            " + {SCALES} + 64]
            vmovdqu32 zmm18, [",
            $epilogue,
            " + {CORRECTIONS}]
            vmovdqu32 zmm19, [",
            $epilogue,
            " + {CORRECTIONS} + 64]
            vmovups zmm20, [",
            $epilogue,
            " + {BIAS}]
            vmovups zmm21, [",
            $epilogue,
            " + {BIAS} + 64]
            kmovw k1, word ptr [",
            $epilogue,
            " + {MASKS}]
            kmovw k2, word ptr [",
            $epilogue,
            " + {MASKS} + 2]"
        )
    };
}

/// Loads a row's sums as f32 into zmm0 and zmm1, with all factors except the row's.
macro_rules! sums_of_row {
    (f32, $sums:literal) => {
        concat!(
            "vmovups zmm0, [",
            $sums,
            "]\n vmovups zmm1, [",
            $sums,
            " + 64]"
        )
    };
    (int8, $sums:literal) => {
        concat!(
            "vmovdqu32 zmm0, [",
            $sums,
            "]
            vmovdqu32 zmm1, [",
            $sums,
            " + 64]
            vpsubd zmm0, zmm0, zmm18
            vpsubd zmm1, zmm1, zmm19
            vcvtdq2ps zmm0, zmm0
            vcvtdq2ps zmm1, zmm1
            vmulps zmm0, zmm0, zmm16
            vmulps zmm1, zmm1, zmm17"
        )
    };
    // The most significant sums come first. zmm18 and zmm19 are the factors of the middle and of
    // the most significant sums.
    (split_int8, $sums:literal) => {
        concat!(
            "vcvtdq2ps zmm0, [",
            $sums,
            " + 2048]
            vcvtdq2ps zmm1, [",
            $sums,
            " + 2112]
            vcvtdq2ps zmm2, [",
            $sums,
            " + 4096]
            vcvtdq2ps zmm3, [",
            $sums,
            " + 4160]
            vfmadd132ps zmm0, zmm2, zmm18
            vfmadd132ps zmm1, zmm3, zmm18
            vcvtdq2ps zmm2, [",
            $sums,
            "]
            vcvtdq2ps zmm3, [",
            $sums,
            " + 64]
            vfmadd231ps zmm0, zmm2, zmm19
            vfmadd231ps zmm1, zmm3, zmm19
            vmulps zmm0, zmm0, zmm16
            vmulps zmm1, zmm1, zmm17"
        )
    };
}

/// Writes a row's results, and advances its sums, results and factor to the next row's.
macro_rules! epilogue_of_row {
    ($kind:ident, $epilogue:literal, $sums:literal, $result:literal, $row_scale:literal) => {
        concat!(
            sums_of_row!($kind, $sums),
            "
            vbroadcastss zmm2, dword ptr [",
            $row_scale,
            "]
            vfmadd132ps zmm0, zmm20, zmm2
            vfmadd132ps zmm1, zmm21, zmm2
            cmp dword ptr [",
            $epilogue,
            " + {ACCUMULATE}], 0
            je 8f
            vmovups zmm2{{k1}}{{z}}, [",
            $result,
            "]
            vmovups zmm3{{k2}}{{z}}, [",
            $result,
            " + 64]
            vaddps zmm0, zmm0, zmm2
            vaddps zmm1, zmm1, zmm3
            8:
            vmovups [",
            $result,
            "]{{k1}}, zmm0
            vmovups [",
            $result,
            " + 64]{{k2}}, zmm1
            add ",
            $sums,
            ", 128
            add ",
            $result,
            ", [",
            $epilogue,
            " + {RESULT_ROW_STRIDE}]
            add ",
            $row_scale,
            ", [",
            $epilogue,
            " + {ROW_SCALE_STRIDE}]"
        )
    };
}

pub(crate) use {
    columns, configure, epilogue_of_row, load_epilogue, prefetch_columns, prefetch_next, rows,
    segments, sums, sums_of_row,
};
