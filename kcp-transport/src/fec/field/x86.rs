//! Slice kernels for x86: byte shuffles with SSSE3 and AVX2, bit matrices with GFNI.
//!
//! A value of a kernel's type proves that the processor can run it.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86")]
use std::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::table::{AFFINE, NIBBLES};

/// Defines a kernel from its vector operations.
///
/// The end of a slice that does not fill a vector goes through a padded copy, so every byte goes
/// through the same instructions.
macro_rules! kernel {
    (
        $(#[$doc:meta])*
        $name:ident: $features:literal, detect [$($feature:tt),+], $vector:ty, $width:literal,
        load $load:ident, store $store:ident, xor $xor:ident,
        prepare $prepare:ident, multiply $multiply:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(in crate::fec) struct $name(());

        impl $name {
            /// The kernel, if this processor has its instructions.
            pub(super) fn detect() -> Option<Self> {
                ($(is_x86_feature_detected!($feature))&&+).then_some(Self(()))
            }

            /// Multiplies `input` by `factor` into `out`; with `ADD`, adds the products to `out`.
            pub(super) fn apply<const ADD: bool>(self, factor: u8, input: &[u8], out: &mut [u8]) {
                assert_eq!(input.len(), out.len());
                // SAFETY: `self` exists only if all of the features were detected.
                unsafe { Self::run::<ADD>(factor, input, out) }
            }

            #[target_feature(enable = $features)]
            fn run<const ADD: bool>(factor: u8, input: &[u8], out: &mut [u8]) {
                let factor = $prepare(factor);
                let (input, input_tail) = input.as_chunks();
                let (out, out_tail) = out.as_chunks_mut();
                for (input, out) in input.iter().zip(out) {
                    Self::step::<ADD>(factor, input, out);
                }
                if !input_tail.is_empty() {
                    let (mut input, mut out) = ([0; $width], [0; $width]);
                    input[..input_tail.len()].copy_from_slice(input_tail);
                    out[..out_tail.len()].copy_from_slice(out_tail);
                    Self::step::<ADD>(factor, &input, &mut out);
                    out_tail.copy_from_slice(&out[..out_tail.len()]);
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn step<const ADD: bool>(
                factor: Factor<$vector>,
                input: &[u8; $width],
                out: &mut [u8; $width],
            ) {
                let product = $multiply(factor, Self::load(input));
                let sum = if ADD { $xor(product, Self::load(out)) } else { product };
                Self::store(sum, out);
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn load(bytes: &[u8; $width]) -> $vector {
                // SAFETY: the array has the vector's size; the load needs no alignment.
                unsafe { $load(bytes.as_ptr().cast()) }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn store(vector: $vector, bytes: &mut [u8; $width]) {
                // SAFETY: the array has the vector's size; the store needs no alignment.
                unsafe { $store(bytes.as_mut_ptr().cast(), vector) }
            }
        }
    };
}

kernel! {
    /// 16 bytes a step, for nearly any x86-64: Intel's since 2006, AMD's since 2011.
    Ssse3: "ssse3", detect ["ssse3"], __m128i, 16,
    load _mm_loadu_si128, store _mm_storeu_si128, xor _mm_xor_si128,
    prepare nibbles_128, multiply shuffle_128
}

kernel! {
    /// 32 bytes a step.
    Avx2: "avx2", detect ["avx2"], __m256i, 32,
    load _mm256_loadu_si256, store _mm256_storeu_si256, xor _mm256_xor_si256,
    prepare nibbles_256, multiply shuffle_256
}

kernel! {
    /// 32 bytes a step with one instruction to multiply, for processors without AVX-512.
    Gfni256: "avx2,gfni", detect ["avx2", "gfni"], __m256i, 32,
    load _mm256_loadu_si256, store _mm256_storeu_si256, xor _mm256_xor_si256,
    prepare matrix_256, multiply affine_256
}

kernel! {
    /// 64 bytes a step with one instruction to multiply.
    Gfni512: "avx512f,gfni", detect ["avx512f", "gfni"], __m512i, 64,
    load _mm512_loadu_si512, store _mm512_storeu_si512, xor _mm512_xor_si512,
    prepare matrix_512, multiply affine_512
}

/// A factor prepared for vectors: the products of both nibbles, or twice the same matrix.
type Factor<V> = [V; 2];

/// The 16 products of low or of high nibbles as the bytes of a vector.
#[inline]
#[target_feature(enable = "sse2")]
fn nibbles_128(factor: u8) -> Factor<__m128i> {
    let (halves, _) = NIBBLES[usize::from(factor)].as_chunks::<16>();
    let half = |at: usize| {
        let bytes = i128::from_le_bytes(halves[at]);
        // Narrowing splits the word, because the vector is built from its two halves.
        _mm_set_epi64x((bytes >> 64) as i64, bytes as i64)
    };
    [half(0), half(1)]
}

#[inline]
#[target_feature(enable = "ssse3")]
fn shuffle_128([low, high]: Factor<__m128i>, input: __m128i) -> __m128i {
    let nibble = _mm_set1_epi8(15);
    let low = _mm_shuffle_epi8(low, _mm_and_si128(input, nibble));
    let high_nibbles = _mm_and_si128(_mm_srli_epi64::<4>(input), nibble);
    _mm_xor_si128(low, _mm_shuffle_epi8(high, high_nibbles))
}

#[inline]
#[target_feature(enable = "avx2")]
fn nibbles_256(factor: u8) -> Factor<__m256i> {
    let [low, high] = nibbles_128(factor);
    [
        _mm256_broadcastsi128_si256(low),
        _mm256_broadcastsi128_si256(high),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn shuffle_256([low, high]: Factor<__m256i>, input: __m256i) -> __m256i {
    let nibble = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(low, _mm256_and_si256(input, nibble));
    let high_nibbles = _mm256_and_si256(_mm256_srli_epi64::<4>(input), nibble);
    _mm256_xor_si256(low, _mm256_shuffle_epi8(high, high_nibbles))
}

#[inline]
#[target_feature(enable = "avx2")]
fn matrix_256(factor: u8) -> Factor<__m256i> {
    [_mm256_set1_epi64x(AFFINE[usize::from(factor)].cast_signed()); 2]
}

#[inline]
#[target_feature(enable = "avx2,gfni")]
fn affine_256([matrix, _]: Factor<__m256i>, input: __m256i) -> __m256i {
    _mm256_gf2p8affine_epi64_epi8::<0>(input, matrix)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn matrix_512(factor: u8) -> Factor<__m512i> {
    [_mm512_set1_epi64(AFFINE[usize::from(factor)].cast_signed()); 2]
}

#[inline]
#[target_feature(enable = "avx512f,gfni")]
fn affine_512([matrix, _]: Factor<__m512i>, input: __m512i) -> __m512i {
    _mm512_gf2p8affine_epi64_epi8::<0>(input, matrix)
}
