//! Keeps the plugin's library in memory until the process ends: ONNX Runtime, which cannot be
//! unloaded, may call back into it.

/// Does it. Where the code is no library of its own (the standalone, tests) nothing happens.
#[cfg(unix)]
pub(crate) fn pin() {
    let here = pin as *const ();
    let mut about = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: an address of this library and a place for what is found; the path that comes with it
    // lives as long as the library.
    unsafe {
        if libc::dladdr(here.cast(), about.as_mut_ptr()) != 0 {
            let path = about.assume_init().dli_fname;
            libc::dlopen(
                path,
                libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE,
            );
        }
    }
}

/// Does it.
#[cfg(windows)]
pub(crate) fn pin() {
    const PIN: u32 = 1;
    const FROM_ADDRESS: u32 = 4;
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetModuleHandleExW(flags: u32, here: *const (), module: *mut *mut ()) -> i32;
    }
    let mut module = std::ptr::null_mut();
    // SAFETY: an address of this library and a place for its handle.
    unsafe { GetModuleHandleExW(PIN | FROM_ADDRESS, pin as *const (), &mut module) };
}
