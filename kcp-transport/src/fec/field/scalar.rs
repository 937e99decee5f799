//! Slice kernels in plain Rust: the reference for all others.

use super::table::NIBBLES;

/// Multiplies two elements.
pub(super) fn multiply(a: u8, b: u8) -> u8 {
    let products = &NIBBLES[usize::from(a)];
    products[usize::from(b & 15)] ^ products[16 + usize::from(b >> 4)]
}

/// Multiplies `input` by `factor` into `out`; with `ADD`, adds the products to `out`.
pub(super) fn apply<const ADD: bool>(factor: u8, input: &[u8], out: &mut [u8]) {
    assert_eq!(input.len(), out.len());
    for (out, &input) in out.iter_mut().zip(input) {
        let product = multiply(factor, input);
        *out = if ADD { *out ^ product } else { product };
    }
}
