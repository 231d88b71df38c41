//! What the products' assembly is put together from. Registers 0 and 1 are the upper rows' sums, 2 and
//! 3 the lower rows', 4 and 5 their words, 6 and 7 the columns'.

/// The sums' beginnings, and where they go: of `both` halves of a tile's rows, or of the `upper` ones
/// where there are no others.
macro_rules! sums {
    (load, upper) => {
        "mov {upper}, [{ends}]
         mov {lower}, [{ends} + 8]
         mov {left_row_step}, [{ends} + 16]
         tileloadd tmm0, [{upper} + {left_row_step}]
         tileloadd tmm1, [{upper} + {left_row_step} + 64]"
    };
    (load, both) => {
        concat!(
            sums!(load, upper),
            "\n tileloadd tmm2, [{lower} + {left_row_step}]
             tileloadd tmm3, [{lower} + {left_row_step} + 64]"
        )
    };
    (store, upper) => {
        "mov {upper}, [{ends} + 24]
         mov {lower}, [{ends} + 32]
         mov {left_row_step}, [{ends} + 40]
         tilestored [{upper} + {left_row_step}], tmm0
         tilestored [{upper} + {left_row_step} + 64], tmm1"
    };
    (store, both) => {
        concat!(
            sums!(store, upper),
            "\n tilestored [{lower} + {left_row_step}], tmm2
             tilestored [{lower} + {left_row_step} + 64], tmm3"
        )
    };
}

/// Words of the columns, of each half so many bytes behind `right`.
macro_rules! columns {
    ($left:literal, $right:literal) => {
        concat!(
            "tileloadd tmm6, [{right} + {right_step} + ",
            $left,
            "]\n tileloadd tmm7, [{right} + {right_step} + ",
            $right,
            "]"
        )
    };
}

/// Words of the rows, so many bytes behind `upper` and `lower`, times the columns'; `again` takes the
/// rows' words that are there.
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
            "tileloadd tmm4, [{upper} + {left_row_step} + ",
            $at,
            "]\n",
            rows!(upper, $instruction, again)
        )
    };
    (both, $instruction:literal, $at:literal) => {
        concat!(
            rows!(upper, $instruction, $at),
            "\n tileloadd tmm5, [{lower} + {left_row_step} + ",
            $at,
            "]\n",
            rows!(lower, $instruction, again)
        )
    };
}

/// Asks for lines of the columns that are being read.
macro_rules! ask_ahead {
    ($($line:literal)*) => {
        concat!($("prefetcht0 [{right} + {ahead} + ", $line, "]\n"),*)
    };
}

/// Bytes that [`ask_for_next`] asks for, with each register of steps: about as many as a register of the
/// next columns has, shared among the tiles of the rows that pass together.
pub(super) const AHEAD_PER_REGISTER: usize = 256;

/// Asks for columns that are multiplied next.
macro_rules! ask_for_next {
    () => {
        "prefetcht1 [{next}]
         prefetcht1 [{next} + 64]
         prefetcht1 [{next} + 128]
         prefetcht1 [{next} + 192]
         add {next}, 256"
    };
}

pub(super) use {ask_ahead, ask_for_next, columns, rows, sums};
