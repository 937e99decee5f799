//! Keys from passwords.

use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;

/// Derives a key from a password as kcptun does, and fills `key` with it.
///
/// PBKDF2-HMAC-SHA1 with 4096 rounds. kcptun's salt is
/// [`Security::KCPTUN_SALT`](super::Security::KCPTUN_SALT). A shorter key is a prefix of a longer one.
/// Use it with [`Security::from_name`](super::Security::from_name) and ciphers of your own;
/// [`Security::from_password`](super::Security::from_password) derives the key itself.
///
/// ```
/// use kcp_transport::crypto::{LegacyCipher, Security, derive_key};
///
/// let mut key = [0; 56];
/// derive_key("secret", Security::KCPTUN_SALT, &mut key);
/// let security = Security::Legacy(LegacyCipher::blowfish(&key)?);
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
pub fn derive_key(password: &str, salt: &[u8], key: &mut [u8]) {
    pbkdf2_hmac::<Sha1>(password.as_bytes(), salt, PASSWORD_ROUNDS, key);
}

/// kcptun's number of rounds, which sets the cost of a password guess.
const PASSWORD_ROUNDS: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Security;

    /// Computed with Python's `hashlib.pbkdf2_hmac` for kcptun's default password.
    #[test]
    fn password_makes_the_key_that_kcptun_makes() {
        const KEY: [u8; 32] = [
            0x25, 0xd7, 0xd7, 0xbd, 0x51, 0x05, 0x07, 0x42, 0xd8, 0xd7, 0x91, 0xf2, 0xb6, 0x53,
            0xc6, 0xc8, 0xb2, 0x36, 0x6b, 0x7e, 0x25, 0xa1, 0x24, 0xcf, 0x7a, 0x2e, 0x12, 0xea,
            0xf4, 0xff, 0xa4, 0x44,
        ];
        for len in [0, 1, 16, 24, 32] {
            let mut key = vec![0; len];
            derive_key("it's a secrect", Security::KCPTUN_SALT, &mut key);
            assert_eq!(key, KEY[..len]);
        }
    }
}
