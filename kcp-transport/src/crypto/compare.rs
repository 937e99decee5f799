//! Comparing secrets.

use subtle::ConstantTimeEq;

/// Whether two secrets are equal. The time taken does not depend on where they differ.
///
/// Slices of different lengths are unequal at once: a length is no secret.
#[must_use]
pub(crate) fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_only_if_every_bit_is() {
        let secret: Vec<u8> = (0..32).collect();
        assert!(constant_time_eq(&secret, &secret.clone()));
        for bit in 0..secret.len() * 8 {
            let mut other = secret.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!constant_time_eq(&secret, &other), "bit {bit}");
        }
        for len in 0..secret.len() {
            assert!(!constant_time_eq(&secret, &secret[..len]));
        }
        assert!(constant_time_eq(&[], &[]));
    }
}
