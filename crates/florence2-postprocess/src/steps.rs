//! A counter of the parsers' steps. Tests compare the steps on texts of different lengths; other
//! builds do not count.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the bytes, units or tokens that a loop or a search visits.
#[inline]
pub(crate) fn count(steps: usize) {
    #[cfg(test)]
    STEPS.set(STEPS.get() + steps);
    #[cfg(not(test))]
    let _ = steps;
}

/// The result of a function and the number of steps that it took on this thread.
#[cfg(test)]
pub(crate) fn steps_of<T>(run: impl FnOnce() -> T) -> (T, usize) {
    STEPS.set(0);
    let result = run();
    (result, STEPS.get())
}
