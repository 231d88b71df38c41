//! Option structs, which are versioned by their size.

use crate::failure::{Failure, Outcome};

/// An option struct. Later versions of the library append fields to it.
///
/// # Safety
/// The type is `repr(C)`, its first field is `struct_size`, and it is valid if all its bytes are
/// zero.
pub(crate) unsafe trait Options: Copy {
    /// The argument's name in the header.
    const NAME: &'static str;
    /// The size of the struct in the first version of the ABI: a constant, which does not change
    /// when the struct gets new fields.
    const FIRST_SIZE: usize;
}

/// Returns the size for the target's pointer width.
pub(crate) const fn first_size(on_64_bit: usize, on_32_bit: usize) -> usize {
    if cfg!(target_pointer_width = "64") {
        on_64_bit
    } else {
        on_32_bit
    }
}

/// The maximum size of an option struct in bytes. A larger `struct_size` is an error, because it is
/// probably uninitialised memory.
pub(crate) const MAX_OPTIONS_SIZE: usize = 4096;

/// Copies a caller's option struct to this version's struct. Fields that the caller's version lacks
/// are zero. Fields that this version lacks must be zero. Returns `None` for null.
///
/// # Safety
/// `options` is null, or the number of bytes in its `struct_size` is readable there.
pub(crate) unsafe fn read_struct<T: Options>(options: *const T) -> Outcome<Option<T>> {
    const { assert!(T::FIRST_SIZE <= size_of::<T>()) };
    if options.is_null() {
        return Ok(None);
    }
    // SAFETY: guaranteed by the caller, as every option struct begins with its size.
    let size = unsafe { options.cast::<usize>().read() };
    check_size::<T>(size)?;
    // SAFETY: guaranteed by the caller.
    let given = unsafe { std::slice::from_raw_parts(options.cast::<u8>(), size) };
    let (known, unknown) = given.split_at(size.min(size_of::<T>()));
    if unknown.iter().any(|byte| *byte != 0) {
        let known = size_of::<T>();
        return refuse_size::<T, _>(
            size,
            &format!("zeros after byte {known}: this library is older than the header"),
        );
    }
    // SAFETY: zero bytes and the caller's values are valid for every field of an option struct.
    unsafe {
        let mut value = std::mem::zeroed::<T>();
        std::ptr::copy_nonoverlapping(known.as_ptr(), (&raw mut value).cast(), known.len());
        Ok(Some(value))
    }
}

/// Checks the size of an option struct, before further fields are read.
pub(crate) fn check_size<T: Options>(size: usize) -> Outcome<()> {
    if (T::FIRST_SIZE..=MAX_OPTIONS_SIZE).contains(&size) {
        return Ok(());
    }
    let expected = format!("sizeof(*{}), {} here", T::NAME, size_of::<T>());
    refuse_size::<T, _>(size, &expected)
}

fn refuse_size<T: Options, R>(size: usize, expected: &str) -> Outcome<R> {
    let name = format!("{}.struct_size", T::NAME);
    Err(Failure::argument(&name, size, expected))
}

/// Checks that a reserved field is zero. A later version may define the field.
pub(crate) fn check_reserved(argument: &str, value: u32) -> Outcome<()> {
    match value {
        0 => Ok(()),
        other => Err(Failure::argument(argument, other, 0)),
    }
}
