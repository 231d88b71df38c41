//! Threads that spin between the short operations of a piece of work.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The default maximum number of spinning threads, including the work's own thread. On machines
/// with many processors, more would cost energy and gain nothing.
const DEFAULT_LIMIT: usize = 8;

thread_local! {
    /// The maximum number of spinning threads for the work of this thread.
    static LIMIT: Cell<usize> = const { Cell::new(DEFAULT_LIMIT) };
}

/// Runs work for which at most `limit` threads spin, including the calling thread.
pub fn with_spin_limit<R>(limit: usize, work: impl FnOnce() -> R) -> R {
    /// Restores the limit, also after a panic.
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            LIMIT.set(self.0);
        }
    }
    let _restore = Restore(LIMIT.replace(limit));
    work()
}

/// The id of the work that holds the spin guard; 0 if there is none.
static SPINNING_FOR: AtomicUsize = AtomicUsize::new(0);

/// The number of processors, which limits the number of spinning threads.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// Runs work on rayon's pool. The pool's other threads poll for tasks until the work ends instead
/// of sleeping between two operations: waking them takes longer than many of the operations.
pub(crate) fn with_spinning_threads<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    // Read here, because the scope may run on another thread.
    let limit = LIMIT.get();
    rayon::scope(|_| {
        let _guard = SpinGuard::new(limit);
        work()
    })
}

/// Keeps the pool's threads spinning until it is dropped.
struct SpinGuard;

impl SpinGuard {
    /// Returns `None` if other work already keeps the threads spinning.
    fn new(limit: usize) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        SPINNING_FOR
            .compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        let worker = rayon::current_thread_index();
        let spinning = rayon::current_num_threads().min(*PROCESSORS).min(limit);
        for _ in 1..spinning {
            // Outside the scope: a spinning thread may execute a long task, and the work does not
            // wait for it.
            rayon::spawn(move || {
                // If the work's own thread executes this task, it returns to the work at once.
                while rayon::current_thread_index() != worker
                    && SPINNING_FOR.load(Ordering::Relaxed) == number
                {
                    if rayon::yield_now() != Some(rayon::Yield::Executed) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        Some(Self)
    }
}

impl Drop for SpinGuard {
    fn drop(&mut self) {
        SPINNING_FOR.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn sum(count: u64) -> u64 {
        (0..count).into_par_iter().sum()
    }

    #[test]
    fn works_beside_and_within_each_other_end() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for count in 0..100 {
                        let within = with_spinning_threads(|| {
                            sum(count) + with_spinning_threads(|| sum(count))
                        });
                        assert_eq!(within, 2 * sum(count));
                    }
                });
            }
        });
    }

    #[test]
    fn threads_stop_spinning_after_a_panic() {
        let panicked = std::panic::catch_unwind(|| with_spinning_threads(|| panic!("on purpose")));
        assert!(panicked.is_err());
        // Work of other tests may hold the guard for a while.
        let is_free = (0..10_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            SpinGuard::new(1).is_some()
        });
        assert!(is_free);
    }

    #[test]
    fn limits_nest_and_end_with_their_work() {
        assert_eq!(LIMIT.get(), DEFAULT_LIMIT);
        with_spin_limit(3, || {
            let panicked = std::panic::catch_unwind(|| with_spin_limit(1, || panic!("on purpose")));
            assert!(panicked.is_err());
            assert_eq!(LIMIT.get(), 3);
            assert_eq!(with_spin_limit(1, || LIMIT.get()), 1);
        });
        assert_eq!(LIMIT.get(), DEFAULT_LIMIT);
    }
}
