//! Functions that only the tests call. They exist only with the feature `test-hooks`.
//! `tests/c/florence2_test_hooks.h` declares them; `cargo xtask header` generates it.

use std::ffi::c_char;
use std::mem::offset_of;

use crate::arguments;
use crate::boundary;
use crate::error::florence2_error;
use crate::image::{florence2_decode_options, florence2_pixels};
use crate::model::{
    florence2_adapter, florence2_file, florence2_load_options, florence2_load_progress,
};
use crate::options::{
    florence2_progress, florence2_run_options, florence2_sequence_bias, florence2_token_sequence,
};
use crate::request::florence2_request;
use crate::result::{florence2_point, florence2_region, florence2_timings, florence2_token};
use crate::status::florence2_status;
use crate::yuv::florence2_yuv;

/// Panics within the boundary. Returns FLORENCE2_STATUS_PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_test_panic(
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rule 5 of lib.rs.
    unsafe { boundary::call(error, || panic!("as the test asked")) }
}

/// Panics on a thread of a thread pool, within the boundary. Returns FLORENCE2_STATUS_PANIC.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_test_panic_in_pool(
    error: *mut *mut florence2_error,
) -> florence2_status {
    // SAFETY: rule 5 of lib.rs.
    unsafe {
        boundary::call(error, || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            // INVARIANT: tests run on machines that can start a thread.
            let pool = pool.expect("a thread");
            pool.install(|| panic!("on the pool,\nas the test asked"))
        })
    }
}

/// Lists the sizes of structs and the offsets of their fields.
macro_rules! layout {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        &[$(
            (stringify!($name), size_of::<$name>()),
            $((concat!(stringify!($name), ".", stringify!($field)), offset_of!($name, $field)),)*
        )*]
    };
}

/// The sizes of the structs and the offsets of the fields of the header.
const LAYOUT: &[(&str, usize)] = layout! {
    florence2_load_options {
        struct_size, device, dtype, adapters, adapters_len, threads, spin_limit, reserved,
        on_progress, user, cancel, weights, processor,
    }
    florence2_load_progress { tensors, total_tensors, parameters, total_parameters }
    florence2_file { name, data, data_len }
    florence2_adapter { folder, files, files_len, scale, reserved }
    florence2_decode_options { struct_size, max_pixels }
    florence2_pixels {
        struct_size, data, data_len, stride_bytes, width_px, height_px, format, reserved,
        region_x_px, region_y_px, region_width_px, region_height_px,
    }
    florence2_yuv {
        struct_size, y, y_len, y_stride_bytes, u, u_len, u_stride_bytes, v, v_len, v_stride_bytes,
        width_px, height_px, format, matrix, range, reserved, region_x_px, region_y_px,
        region_width_px, region_height_px,
    }
    florence2_request {
        struct_size, image, image_features, task, prompt, input, region, region_unit, reserved,
    }
    florence2_run_options {
        struct_size, num_beams, num_return_sequences, max_new_tokens, min_new_tokens, do_sample,
        top_k, top_p, temperature, repetition_penalty, length_penalty, no_repeat_ngram_size,
        early_stopping, coordinates, location_tolerance, seed, eos_token_ids, eos_token_ids_len,
        generation_config, deadline_ms, cancel, on_token, on_progress, user,
        set, max_length, min_length, encoder_no_repeat_ngram_size, min_p, top_h, typical_p,
        epsilon_cutoff, eta_cutoff, encoder_repetition_penalty, remove_invalid_values,
        renormalize_logits, exponential_decay_start, exponential_decay_factor, max_time_s,
        forced_bos_token_ids, forced_bos_token_ids_len, forced_eos_token_ids,
        forced_eos_token_ids_len, decoder_start_token_ids, decoder_start_token_ids_len,
        suppress_tokens, suppress_tokens_len, begin_suppress_tokens,
        begin_suppress_tokens_len, bad_words_ids, bad_words_ids_len, sequence_bias,
        sequence_bias_len, stop_strings, stop_strings_len,
    }
    florence2_token_sequence { token_ids, token_ids_len }
    florence2_sequence_bias { token_ids, token_ids_len, bias, reserved }
    florence2_progress { new_tokens, max_new_tokens }
    florence2_point { x_px, y_px }
    florence2_region {
        label, points, points_len, instance, kind, score, label_score, location_score,
    }
    florence2_token { request, text, token_id, log_prob }
    florence2_timings { preprocess_ms, vision_ms, generate_ms }
};

/// Returns the size in bytes of a struct ("florence2_region") or the offset of a field
/// ("florence2_region.label") in Rust; SIZE_MAX if there is none with the name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn florence2_test_layout(name: *const c_char) -> usize {
    boundary::value(usize::MAX, || {
        // SAFETY: rule 3 of lib.rs.
        let name = unsafe { arguments::text("name", name) };
        let is_named = |known: &&(&str, usize)| name.as_ref().is_ok_and(|name| *name == known.0);
        LAYOUT
            .iter()
            .find(is_named)
            .map_or(usize::MAX, |known| known.1)
    })
}
