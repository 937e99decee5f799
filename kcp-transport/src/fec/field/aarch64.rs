//! Slice kernel for 64-bit ARM: table lookups with NEON.

#![allow(unsafe_code)]

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use super::table::NIBBLES;

/// 16 bytes a step. A value proves that the processor can run it.
#[derive(Clone, Copy, Debug)]
pub(in crate::fec) struct Neon(());

impl Neon {
    /// The kernel, if this processor has its instructions.
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    /// Multiplies `input` by `factor` into `out`; with `ADD`, adds the products to `out`.
    pub(super) fn apply<const ADD: bool>(self, factor: u8, input: &[u8], out: &mut [u8]) {
        assert_eq!(input.len(), out.len());
        // SAFETY: `self` exists only if NEON was detected.
        unsafe { run::<ADD>(factor, input, out) }
    }
}

/// The products of a factor with low and with high nibbles.
type Factor = [uint8x16_t; 2];

/// The end of a slice that does not fill a vector goes through a padded copy.
#[target_feature(enable = "neon")]
fn run<const ADD: bool>(factor: u8, input: &[u8], out: &mut [u8]) {
    let (halves, _) = NIBBLES[usize::from(factor)].as_chunks();
    let factor = [load(&halves[0]), load(&halves[1])];
    let (input, input_tail) = input.as_chunks();
    let (out, out_tail) = out.as_chunks_mut();
    for (input, out) in input.iter().zip(out) {
        step::<ADD>(factor, input, out);
    }
    if !input_tail.is_empty() {
        let (mut input, mut out) = ([0; 16], [0; 16]);
        input[..input_tail.len()].copy_from_slice(input_tail);
        out[..out_tail.len()].copy_from_slice(out_tail);
        step::<ADD>(factor, &input, &mut out);
        out_tail.copy_from_slice(&out[..out_tail.len()]);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn step<const ADD: bool>([low, high]: Factor, input: &[u8; 16], out: &mut [u8; 16]) {
    let input = load(input);
    let low = vqtbl1q_u8(low, vandq_u8(input, vdupq_n_u8(15)));
    let product = veorq_u8(low, vqtbl1q_u8(high, vshrq_n_u8::<4>(input)));
    let sum = if ADD {
        veorq_u8(product, load(out))
    } else {
        product
    };
    store(sum, out);
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array has the vector's size; the load needs no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(vector: uint8x16_t, bytes: &mut [u8; 16]) {
    // SAFETY: the array has the vector's size; the store needs no alignment.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
}
