//! GF(2^8), the field that Reed-Solomon computes in, with slice kernels chosen at run time.
//!
//! Elements are bytes, addition is XOR, multiplication is reduced by 0x11d: the field of
//! kcp-go.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod scalar;
mod table;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

use std::sync::OnceLock;

/// The field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gf256;

impl Gf256 {
    pub(super) fn multiply(a: u8, b: u8) -> u8 {
        scalar::multiply(a, b)
    }

    /// The inverse of an element; 0 for 0, which has none.
    pub(super) fn inverse(element: u8) -> u8 {
        table::INVERSE[usize::from(element)]
    }
}

/// A way to multiply a slice by a factor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernel {
    /// Plain Rust, for any processor.
    Scalar,
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Ssse3(x86::Ssse3),
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Avx2(x86::Avx2),
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Gfni256(x86::Gfni256),
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    Gfni512(x86::Gfni512),
    #[cfg(target_arch = "aarch64")]
    Neon(aarch64::Neon),
}

impl Kernel {
    /// The fastest kernel this processor can run.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(Self::detect)
    }

    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    fn detect() -> Self {
        None.or_else(|| x86::Gfni512::detect().map(Self::Gfni512))
            .or_else(|| x86::Gfni256::detect().map(Self::Gfni256))
            .or_else(|| x86::Avx2::detect().map(Self::Avx2))
            .or_else(|| x86::Ssse3::detect().map(Self::Ssse3))
            .unwrap_or(Self::Scalar)
    }

    #[cfg(target_arch = "aarch64")]
    fn detect() -> Self {
        aarch64::Neon::detect().map_or(Self::Scalar, Self::Neon)
    }

    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    fn detect() -> Self {
        Self::Scalar
    }

    /// Every kernel this processor can run.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn all() -> Vec<Self> {
        let all = [
            Some(Self::Scalar),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            x86::Ssse3::detect().map(Self::Ssse3),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            x86::Avx2::detect().map(Self::Avx2),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            x86::Gfni256::detect().map(Self::Gfni256),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            x86::Gfni512::detect().map(Self::Gfni512),
            #[cfg(target_arch = "aarch64")]
            aarch64::Neon::detect().map(Self::Neon),
        ];
        all.into_iter().flatten().collect()
    }

    /// Writes `input` times `factor` to `out`.
    ///
    /// # Panics
    ///
    /// If the slices differ in length, here and below.
    pub(super) fn mul(self, factor: u8, input: &[u8], out: &mut [u8]) {
        self.apply::<false>(factor, input, out);
    }

    /// Adds `input` times `factor` to `out`.
    pub(super) fn mul_add(self, factor: u8, input: &[u8], out: &mut [u8]) {
        self.apply::<true>(factor, input, out);
    }

    fn apply<const ADD: bool>(self, factor: u8, input: &[u8], out: &mut [u8]) {
        match self {
            Self::Scalar => scalar::apply::<ADD>(factor, input, out),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Self::Ssse3(kernel) => kernel.apply::<ADD>(factor, input, out),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Self::Avx2(kernel) => kernel.apply::<ADD>(factor, input, out),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Self::Gfni256(kernel) => kernel.apply::<ADD>(factor, input, out),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Self::Gfni512(kernel) => kernel.apply::<ADD>(factor, input, out),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(kernel) => kernel.apply::<ADD>(factor, input, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8;

    #[test]
    fn field_is_the_one_of_galois_8() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(Gf256::multiply(a, b), galois_8::mul(a, b));
            }
            if a != 0 {
                assert_eq!(Gf256::inverse(a), galois_8::div(1, a));
            }
        }
        assert_eq!(Gf256::inverse(0), 0);
    }

    /// The expected result, one multiplication at a time.
    fn expected(add: bool, factor: u8, input: &[u8], out: &[u8]) -> Vec<u8> {
        let sum = |(&input, &out)| galois_8::mul(factor, input) ^ if add { out } else { 0 };
        input.iter().zip(out).map(sum).collect()
    }

    /// Runs the same tests on a kernel. The tests of a kernel that this processor lacks do nothing.
    macro_rules! kernel_tests {
        ($module:ident, $kernel:expr) => {
            mod $module {
                use super::*;

                #[test]
                fn every_factor_and_length_gives_the_field_s_products() {
                    let kernel: Option<Kernel> = $kernel;
                    let Some(kernel) = kernel else { return };
                    let bytes: Vec<u8> = (0..600_u32).map(|i| (i * i / 3 + i) as u8).collect();
                    for factor in 0..=255_u8 {
                        for len in (0..=257).skip(usize::from(factor) % 3).step_by(3) {
                            let (input, out) = (&bytes[1..=len], &bytes[301..301 + len]);
                            let mut product = out.to_vec();
                            kernel.mul(factor, input, &mut product);
                            assert_eq!(product, expected(false, factor, input, out));
                            let mut sum = out.to_vec();
                            kernel.mul_add(factor, input, &mut sum);
                            assert_eq!(sum, expected(true, factor, input, out));
                        }
                    }
                }

                #[test]
                #[should_panic(expected = "left == right")]
                fn slices_of_different_length_are_refused() {
                    let kernel: Option<Kernel> = $kernel;
                    let kernel = kernel.unwrap_or(Kernel::Scalar);
                    kernel.mul_add(2, &[0; 70], &mut [0; 69]);
                }

                proptest! {
                    #[test]
                    fn any_length_at_odd_offsets_stays_within_its_slice(
                        factor: u8,
                        len in 0..=257_usize,
                        (from, to) in (0..64_usize, 0..64_usize),
                        input in prop::collection::vec(any::<u8>(), 400),
                        out in prop::collection::vec(any::<u8>(), 400),
                    ) {
                        let kernel: Option<Kernel> = $kernel;
                        let Some(kernel) = kernel else { return Ok(()) };
                        let input = &input[from..from + len];
                        for add in [false, true] {
                            let mut result = out.clone();
                            let window = &mut result[to..to + len];
                            if add {
                                kernel.mul_add(factor, input, window);
                            } else {
                                kernel.mul(factor, input, window);
                            }
                            let mut wanted = out.clone();
                            let products = expected(add, factor, input, &out[to..to + len]);
                            wanted[to..to + len].copy_from_slice(&products);
                            prop_assert_eq!(result, wanted);
                        }
                    }
                }
            }
        };
    }

    kernel_tests!(scalar_kernel, Some(Kernel::Scalar));
    kernel_tests!(best_kernel, Some(Kernel::best()));

    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    mod x86_kernels {
        use super::super::x86::{Avx2, Gfni256, Gfni512, Ssse3};
        use super::*;

        kernel_tests!(ssse3, Ssse3::detect().map(Kernel::Ssse3));
        kernel_tests!(avx2, Avx2::detect().map(Kernel::Avx2));
        kernel_tests!(gfni256, Gfni256::detect().map(Kernel::Gfni256));
        kernel_tests!(gfni512, Gfni512::detect().map(Kernel::Gfni512));
    }

    #[cfg(target_arch = "aarch64")]
    mod aarch64_kernels {
        use super::super::aarch64::Neon;
        use super::*;

        kernel_tests!(neon, Neon::detect().map(Kernel::Neon));
    }
}
