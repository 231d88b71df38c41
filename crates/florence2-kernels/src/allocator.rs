//! [`Allocator`]: what programs that run models allocate with.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_long;
use std::sync::atomic::{AtomicBool, Ordering};

use libmimalloc_sys::{mi_collect, mi_option_set_default, mi_option_t, mi_option_use_numa_nodes};
use mimalloc::MiMalloc;

/// mimalloc, which gives memory back to the system ten seconds after it was freed instead of one.
///
/// The buffers between layers are large, and the system clears what it gives, page by page: to give
/// all that is free back every second costs a caption in int8 a twelfth of its time. The environment's
/// `MIMALLOC_PURGE_DELAY`, in milliseconds, says otherwise.
///
/// ```
/// use florence2_kernels::Allocator;
///
/// #[global_allocator]
/// static ALLOCATOR: Allocator = Allocator;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

/// Milliseconds until freed memory goes back.
const PURGE_DELAY: c_long = 10_000;

/// mimalloc's number for it, which the crate does not name: the one before the number of this one.
const PURGE_DELAY_OPTION: mi_option_t = mi_option_use_numa_nodes - 1;

/// Returns the memory that this thread freed to the system.
pub(crate) fn trim() {
    // SAFETY: it may be called at any time, by any thread.
    #[allow(unsafe_code)]
    unsafe {
        mi_collect(true);
    }
}

/// Sets the delay before the first allocation.
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

// SAFETY: mimalloc does all of it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        set_purge_delay();
        // SAFETY: of the caller, as below.
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

    /// The option's number is the delay's, in whatever version of mimalloc is built.
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
