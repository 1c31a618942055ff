//! Counts heap calls of a thread, the plugin's too: glibc lets a program put its own `malloc` in
//! front of libc's, and the dynamic linker gives it to every library that is loaded, whatever
//! language it was written in.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

thread_local! {
    // No destructor and no lazy start, so reading it never allocates.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Heap calls (allocating and freeing) of this thread since it began.
pub fn calls() -> u64 {
    CALLS.get()
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(old: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
    fn __libc_free(old: *mut c_void);
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    count();
    // SAFETY: as the caller asked.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(items: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: as the caller asked.
    unsafe { __libc_calloc(items, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(old: *mut c_void, size: usize) -> *mut c_void {
    count();
    // SAFETY: as the caller asked.
    unsafe { __libc_realloc(old, size) }
}

#[unsafe(no_mangle)]
extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    count();
    // SAFETY: as the caller asked.
    unsafe { __libc_memalign(align, size) }
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    memalign(align, size)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, align: usize, size: usize) -> c_int {
    let memory = memalign(align, size);
    if memory.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller passes a place to write to.
    unsafe { to.write(memory) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(old: *mut c_void) {
    count();
    // SAFETY: as the caller asked.
    unsafe { __libc_free(old) };
}
