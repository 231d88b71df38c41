//! The pool of large buffers that operations reuse. The system zeroes new memory page by page,
//! which takes longer than writing it.

use std::sync::{Mutex, PoisonError};

/// The number of buffers that an operation uses at once: its input, its output and an intermediate
/// one.
const KEPT: usize = 3;

/// A buffer larger than this multiple of the requested size is not reused.
const TOO_LARGE: usize = 4;

static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Returns a buffer of `length` values, whose contents are unspecified.
pub(crate) fn take(length: usize) -> Vec<f32> {
    // A poisoned lock only means that another operation panicked: the buffers are intact.
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |buffer: &Vec<f32>| {
        (length..=TOO_LARGE.saturating_mul(length)).contains(&buffer.capacity())
    };
    // The smallest buffer that fits: buffers are sorted, largest first.
    let mut buffer = match pool.iter().rposition(fits) {
        Some(index) => pool.remove(index),
        None => return vec![0.0; length],
    };
    drop(pool);
    buffer.resize(length, 0.0);
    buffer
}

/// Frees the kept buffers.
pub(crate) fn trim() {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    drop(std::mem::take(&mut *pool));
}

/// Keeps a buffer for a later operation. If the pool is full, the smallest buffer is dropped.
pub(crate) fn give(buffer: Vec<f32>) {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    pool.push(buffer);
    pool.sort_by_key(|buffer| std::cmp::Reverse(buffer.capacity()));
    pool.truncate(KEPT);
}

/// The first `length` values of a buffer that is reused; it grows if it is shorter. The contents
/// are unspecified.
pub(crate) fn resize_at_least<T: Clone + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        // The old values need not be moved.
        buffer.clear();
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}

/// Returns a buffer as large as `input`, which `write` fills. Keeps the buffer of `input`.
pub(crate) fn replace(input: Vec<f32>, write: impl FnOnce(&[f32], &mut [f32])) -> Vec<f32> {
    let mut output = take(input.len());
    write(&input, &mut output);
    give(input);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No other test uses buffers of this size.
    const LENGTH: usize = 12_345_678;

    fn is_kept() -> bool {
        let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.iter().any(|buffer| buffer.capacity() == LENGTH)
    }

    #[test]
    fn trim_frees_kept_buffers() {
        give(Vec::with_capacity(LENGTH));
        assert!(is_kept());
        trim();
        assert!(!is_kept());
    }
}
