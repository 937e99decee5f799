//! The data that echo clients send, and its digest.

use sha2::{Digest, Sha256};

use crate::Failure;

/// The data of a seed, the same as the Go client's: outputs of SplitMix64 as little-endian words.
#[must_use]
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    words.flat_map(u64::to_le_bytes).take(len).collect()
}

/// The digest of data in hexadecimal digits, as the Go client prints it.
#[must_use]
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares digests.
///
/// # Errors
///
/// [`Failure::Wrong`] if they differ.
pub fn compare(expected: &str, received: &str) -> Result<(), Failure> {
    if received == expected {
        Ok(())
    } else {
        Err(Failure::Wrong(format!(
            "SHA-256 of the echo is {received}, not {expected}"
        )))
    }
}
