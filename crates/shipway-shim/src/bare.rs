//! What std would have brought: an allocator, an entry, an end for panics.
//!
//! An empty program with std, linked statically, is 1.08 MB, most of it the code
//! that prints backtraces; the shim's bar is 1 MB with everything in it. So the
//! shipped build (the one whose panics abort) is `no_std` above glibc's `malloc`.
//! A panic there is an abort: the container dies with its shim, and the engine sees it.

#![expect(unsafe_code, reason = "the entry point, the allocator and the unwinder's names are the C library's")]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{CStr, c_char, c_int};

use alloc::vec::Vec;

/// glibc's allocator.
struct Malloc;

// SAFETY: malloc, realloc and free of the C library keep the contract for every
// alignment up to 16, and nothing in this program asks for more; a larger one fails.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > 16 {
            return core::ptr::null_mut();
        }
        // SAFETY: any size is fine for malloc.
        unsafe { libc::malloc(layout.size()).cast() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _layout: Layout) {
        // SAFETY: the caller passes what `alloc` or `realloc` returned.
        unsafe { libc::free(pointer.cast()) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, _layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller passes what `alloc` or `realloc` returned.
        unsafe { libc::realloc(pointer.cast(), size).cast() }
    }
}

#[global_allocator]
static MALLOC: Malloc = Malloc;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort has no precondition.
    unsafe { libc::abort() }
}

/// Nothing unwinds here; core and the C library only want the name.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// See `rust_eh_personality`.
#[unsafe(no_mangle)]
extern "C" fn __gcc_personality_v0() {}

/// See `rust_eh_personality`.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: abort has no precondition.
    unsafe { libc::abort() }
}

#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, values: *const *const c_char) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    let arguments: Vec<Vec<u8>> = (0..count)
        .map(|index| {
            // SAFETY: the C library passes `count` valid, NUL-terminated strings.
            unsafe { CStr::from_ptr(*values.add(index)) }.to_bytes().to_vec()
        })
        .collect();
    c_int::from(crate::launcher::main(&arguments))
}
