//! Keeps the shared library loaded on Windows, as `-z nodelete` does on Linux: the threads of its pools
//! run its code until the process ends.

/// Keeps the module that contains this function loaded until the process ends, even after
/// `FreeLibrary`.
#[cfg(windows)]
pub(crate) fn prevent() {
    use std::ffi::c_void;

    const GET_MODULE_HANDLE_EX_FLAG_PIN: u32 = 1;
    const GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS: u32 = 4;

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetModuleHandleExW(flags: u32, address: *const c_void, module: *mut *mut c_void) -> i32;
    }

    let address = prevent as *const c_void;
    let flags = GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS;
    let mut module = std::ptr::null_mut();
    // SAFETY: the address is in a loaded module, and `module` is writable.
    let succeeded = unsafe { GetModuleHandleExW(flags, address, &raw mut module) } != 0;
    if !succeeded {
        let error = std::io::Error::last_os_error();
        log::warn!("the library could not be pinned, so that FreeLibrary would unload it: {error}");
    }
}

/// The linker's options keep the library loaded.
#[cfg(not(windows))]
pub(crate) fn prevent() {}
