//! The registry of live handles. It detects invalid pointers in debug builds and with the feature
//! `handle-checks`. In other builds, it contains nothing and accepts every pointer.

/// The owner of a registered value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The caller, who frees the value.
    Caller,
    /// Another handle, which drops the value with itself.
    Handle,
}

#[cfg(any(debug_assertions, feature = "handle-checks"))]
mod checked {
    use std::any::type_name;
    use std::collections::BTreeMap;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::Owner;

    /// The owners by address and type name, because a value and its first field have the same
    /// address.
    type Values = BTreeMap<(usize, &'static str), Owner>;

    static VALUES: Mutex<Values> = Mutex::new(Values::new());

    fn values() -> MutexGuard<'static, Values> {
        VALUES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key<T>(value: *const T) -> (usize, &'static str) {
        (value.addr(), type_name::<T>())
    }

    pub(crate) fn insert<T>(value: *const T, owner: Owner) {
        values().insert(key(value), owner);
    }

    pub(crate) fn contains<T>(value: *const T) -> bool {
        values().contains_key(&key(value))
    }

    pub(crate) fn remove<T>(value: *const T, owner: Owner) -> bool {
        let mut values = values();
        let found = values.get(&key(value)) == Some(&owner);
        if found {
            values.remove(&key(value));
        }
        found
    }

    /// Returns the number of handles that callers own.
    #[cfg(feature = "test-hooks")]
    pub(crate) fn live() -> usize {
        let is_callers = |owner: &&Owner| **owner == Owner::Caller;
        values().values().filter(is_callers).count()
    }
}

#[cfg(not(any(debug_assertions, feature = "handle-checks")))]
mod unchecked {
    use super::Owner;

    pub(crate) fn insert<T>(_: *const T, _: Owner) {}

    pub(crate) fn contains<T>(_: *const T) -> bool {
        true
    }

    pub(crate) fn remove<T>(_: *const T, _: Owner) -> bool {
        true
    }

    #[cfg(feature = "test-hooks")]
    pub(crate) fn live() -> usize {
        0
    }
}

#[cfg(all(
    feature = "test-hooks",
    any(debug_assertions, feature = "handle-checks")
))]
pub(crate) use checked::live;
#[cfg(any(debug_assertions, feature = "handle-checks"))]
pub(crate) use checked::{contains, insert, remove};
#[cfg(all(
    feature = "test-hooks",
    not(any(debug_assertions, feature = "handle-checks"))
))]
pub(crate) use unchecked::live;
#[cfg(not(any(debug_assertions, feature = "handle-checks")))]
pub(crate) use unchecked::{contains, insert, remove};
