//! Overwrites the copies of keys that setting up a cipher leaves on the stack.

use std::hint::black_box;

use zeroize::Zeroize;

/// Calls `make`, which sets up a cipher, and overwrites the stack that the call used.
///
/// A move copies the value and leaves the old copy in place, so moving a key schedule to the heap leaves
/// several. `make` should return a handle that does not contain the key.
pub(super) fn wiping_stack<T>(make: impl FnOnce() -> T) -> T {
    let made = call_below(make);
    overwrite();
    made
}

/// Calls `make` in a frame below the caller's, the part of the stack that [`overwrite`] overwrites.
#[inline(never)]
fn call_below<T>(make: impl FnOnce() -> T) -> T {
    make()
}

#[inline(never)]
fn overwrite() {
    let mut stack = [0_u8; DEPTH];
    stack.zeroize();
    black_box(&stack);
}

/// Bytes of stack that are overwritten. Setting up the largest cipher uses less than half of them.
const DEPTH: usize = 32 * 1024;
