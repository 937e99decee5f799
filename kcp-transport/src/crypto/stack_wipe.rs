//! Copies of keys that setting up a cipher leaves on the stack.

use std::hint::black_box;

use zeroize::Zeroize;

/// Sets up a cipher and overwrites the stack that this took.
///
/// Values are copied when they move, and the old copy stays where it was: a key schedule on its way
/// to the heap leaves several. What `make` returns should be a handle, without the key in it.
pub(super) fn wiping_stack<T>(make: impl FnOnce() -> T) -> T {
    let made = apart(make);
    overwrite();
    made
}

/// Calls `make` below the frame of the caller, where [`overwrite`] comes after it.
#[inline(never)]
fn apart<T>(make: impl FnOnce() -> T) -> T {
    make()
}

#[inline(never)]
fn overwrite() {
    let mut stack = [0_u8; DEPTH];
    stack.zeroize();
    black_box(&stack);
}

/// Bytes of stack that are overwritten; setting up the largest cipher takes less than half.
const DEPTH: usize = 32 * 1024;
