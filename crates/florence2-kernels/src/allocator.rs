//! [`Allocator`]: the global allocator for programs that run models.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_long;
use std::sync::atomic::{AtomicBool, Ordering};

use libmimalloc_sys::{mi_collect, mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};
use mimalloc::MiMalloc;

/// mimalloc with a purge delay of ten seconds instead of one: freed memory returns to the system
/// later.
///
/// The buffers between layers are large, and the system zeroes the pages that it allocates.
/// Returning all free memory every second costs an int8 caption a twelfth of its time. The
/// environment variable `MIMALLOC_PURGE_DELAY` (milliseconds) overrides the delay.
///
/// ```
/// use florence2_kernels::Allocator;
///
/// #[global_allocator]
/// static ALLOCATOR: Allocator = Allocator;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

/// The purge delay in milliseconds.
const PURGE_DELAY: c_long = 10_000;

/// mimalloc's number of the purge delay option, which the crate does not export: the one before
/// `mi_option_use_numa_nodes`.
const PURGE_DELAY_OPTION: mi_option_t = mi_option_use_numa_nodes - 1;

/// Returns this thread's freed memory to the system.
pub(crate) fn trim() {
    // SAFETY: `mi_collect` may be called at any time, by any thread.
    #[allow(unsafe_code)]
    unsafe {
        mi_collect(true);
    }
}

/// Sets the purge delay before the first allocation.
fn set_purge_delay() {
    static SET: AtomicBool = AtomicBool::new(false);
    if !SET.load(Ordering::Relaxed) {
        SET.store(true, Ordering::Relaxed);
        // SAFETY: an option's number is checked, and its value is a word that may be set at any time.
        #[allow(unsafe_code)]
        unsafe {
            mi_option_set_default(PURGE_DELAY_OPTION, PURGE_DELAY);
        }
    }
}

// SAFETY: every method forwards to mimalloc's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        set_purge_delay();
        // SAFETY: the caller upholds the contract, here and below.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        set_purge_delay();
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator;

    /// `PURGE_DELAY_OPTION` is the number of the purge delay in the linked version of mimalloc.
    #[test]
    #[allow(unsafe_code)]
    fn freed_memory_is_kept() {
        // SAFETY: the options exist.
        let [before, delay, after] =
            [-1, 0, 1].map(|place| unsafe { mi_option_get(PURGE_DELAY_OPTION + place) });
        assert_eq!(delay, PURGE_DELAY);
        assert_ne!(before, PURGE_DELAY);
        assert_ne!(after, PURGE_DELAY);
    }
}
