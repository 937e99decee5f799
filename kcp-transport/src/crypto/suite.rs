//! The choice of a cipher by kcptun's names.

use std::sync::LazyLock;

use zeroize::Zeroizing;

use super::password::derive_key;
use super::stack_wipe::wiping_stack;
use super::{AeadKey, LegacyCipher, Security};
use crate::error::ConfigError;

impl Security {
    /// Names that [`from_name`](Self::from_name) and [`from_password`](Self::from_password) take.
    pub const NAMES: &'static [&'static str] = &names();

    /// The salt with which kcptun derives keys from passwords.
    pub const KCPTUN_SALT: &'static [u8] = b"kcp-go";

    /// The cipher that kcptun calls `name`, under `key`.
    ///
    /// `null` is [`Security::Plaintext`], and `aes` is AES-256 in CFB mode, which is not
    /// authenticated. `null` and `none` need no key and ignore the one they get.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownCipher`] if the name is none of [`NAMES`](Self::NAMES), and
    /// [`ConfigError::KeyLength`] if the cipher takes no key of this length.
    pub fn from_name(name: &str, key: &[u8]) -> Result<Self, ConfigError> {
        (Suite::find(name)?.build)(key)
    }

    /// The cipher that kcptun calls `name`, under a key derived from `password`.
    ///
    /// As kcptun does: PBKDF2-HMAC-SHA1, 4096 rounds, cut to the cipher's key length; kcptun's salt
    /// is [`KCPTUN_SALT`](Self::KCPTUN_SALT). This takes a few milliseconds. It slows down guessing
    /// of weak passwords only a little, so the password should be long and random.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownCipher`] if the name is none of [`NAMES`](Self::NAMES).
    pub fn from_password(name: &str, password: &str, salt: &[u8]) -> Result<Self, ConfigError> {
        let suite = Suite::find(name)?;
        wiping_stack(|| {
            let mut key = Zeroizing::new([0; MAX_KEY_LEN]);
            let key = &mut key[..suite.key_len];
            derive_key(password, salt, key);
            (suite.build)(key)
        })
    }
}

/// A name and what it stands for.
struct Suite {
    name: &'static str,
    /// Bytes of a derived key that the cipher takes.
    key_len: usize,
    build: fn(&[u8]) -> Result<Security, ConfigError>,
}

impl Suite {
    fn find(name: &str) -> Result<&'static Self, ConfigError> {
        static ALLOWED: LazyLock<String> = LazyLock::new(|| Security::NAMES.join(", "));
        SUITES
            .iter()
            .find(|suite| suite.name == name)
            .ok_or_else(|| ConfigError::UnknownCipher {
                given: name.to_owned(),
                allowed: ALLOWED.as_str(),
            })
    }

    const fn new(
        name: &'static str,
        key_len: usize,
        build: fn(&[u8]) -> Result<Security, ConfigError>,
    ) -> Self {
        Self {
            name,
            key_len,
            build,
        }
    }
}

const fn names() -> [&'static str; SUITES.len()] {
    let mut names = [""; SUITES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = SUITES[index].name;
        index += 1;
    }
    names
}

/// All names, in the order of the error message.
const SUITES: &[Suite] = &[
    Suite::new("null", 0, |_| Ok(Security::Plaintext)),
    Suite::new("none", 0, |_| Ok(Security::Legacy(LegacyCipher::none()))),
    Suite::new("aes", 32, |key| {
        LegacyCipher::aes_256(key).map(Security::Legacy)
    }),
    Suite::new("aes-128", 16, |key| {
        LegacyCipher::aes_128(key).map(Security::Legacy)
    }),
    Suite::new("aes-192", 24, |key| {
        LegacyCipher::aes_192(key).map(Security::Legacy)
    }),
    Suite::new("salsa20", 32, |key| {
        LegacyCipher::salsa20(key).map(Security::Legacy)
    }),
    Suite::new("sm4", 16, |key| {
        LegacyCipher::sm4(key).map(Security::Legacy)
    }),
    Suite::new("twofish", 32, |key| {
        LegacyCipher::twofish(key).map(Security::Legacy)
    }),
    Suite::new("3des", 24, |key| {
        LegacyCipher::triple_des(key).map(Security::Legacy)
    }),
    Suite::new("cast5", 16, |key| {
        LegacyCipher::cast5(key).map(Security::Legacy)
    }),
    Suite::new("blowfish", 32, |key| {
        LegacyCipher::blowfish(key).map(Security::Legacy)
    }),
    Suite::new("tea", 16, |key| {
        LegacyCipher::tea(key).map(Security::Legacy)
    }),
    Suite::new("xtea", 16, |key| {
        LegacyCipher::xtea(key).map(Security::Legacy)
    }),
    Suite::new("xor", 32, |key| {
        LegacyCipher::xor(key).map(Security::Legacy)
    }),
    Suite::new("aes-128-gcm", 16, |key| {
        AeadKey::aes_128_gcm(key).map(Security::Aead)
    }),
    Suite::new("aes-192-gcm", 24, |key| {
        AeadKey::aes_192_gcm(key).map(Security::Aead)
    }),
    Suite::new("aes-256-gcm", 32, |key| {
        AeadKey::aes_256_gcm(key).map(Security::Aead)
    }),
    Suite::new("chacha20-poly1305", 32, |key| {
        AeadKey::chacha20_poly1305(key).map(Security::Aead)
    }),
];

/// Largest [`Suite::key_len`].
const MAX_KEY_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(name: &str, key: &[u8]) -> String {
        Security::from_name(name, key)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn each_name_is_the_name_of_what_it_makes() {
        for suite in SUITES {
            let security = Security::from_name(suite.name, &[1; 32][..suite.key_len]);
            assert_eq!(security.expect("right key length").name(), suite.name);
        }
        assert_eq!(Security::NAMES.len(), SUITES.len());
    }

    #[test]
    fn weak_choices_are_named_as_such() {
        let make = |name| Security::from_password(name, "secret", b"salt").expect("known");
        for name in Security::NAMES {
            let is_aead = name.contains("gcm") || name.contains("poly1305");
            match make(name) {
                Security::Aead(_) | Security::Ring(_) => assert!(is_aead, "{name}"),
                Security::Legacy(_) => assert!(!is_aead && *name != "null", "{name}"),
                Security::Plaintext => assert_eq!(*name, "null"),
            }
        }
    }

    #[test]
    fn only_exact_key_lengths_are_taken() {
        for suite in SUITES.iter().filter(|suite| suite.key_len > 0) {
            let exact = suite.key_len.to_string();
            let (lengths, allowed) = match suite.name {
                "twofish" => (vec![16, 24, 32], "16, 24 or 32"),
                "blowfish" => ((1..=56).collect(), "1 to 56"),
                "xor" => ((1..=100).collect(), "1 or more"),
                _ => (vec![suite.key_len], &exact[..]),
            };
            for len in 0..=100 {
                let key = vec![1; len];
                if lengths.contains(&len) {
                    assert!(Security::from_name(suite.name, &key).is_ok());
                } else {
                    assert_eq!(
                        refusal(suite.name, &key),
                        format!(
                            "key for {} has {len} bytes; allowed are {allowed}",
                            suite.name
                        ),
                    );
                }
            }
        }
    }

    #[test]
    fn unknown_name_is_refused_with_the_list() {
        assert_eq!(
            refusal("rot13", &[]),
            "unknown cipher \"rot13\"; allowed are null, none, aes, aes-128, aes-192, salsa20, sm4, \
             twofish, 3des, cast5, blowfish, tea, xtea, xor, aes-128-gcm, aes-192-gcm, aes-256-gcm, chacha20-poly1305"
        );
        assert!(Security::from_password("", "secret", b"salt").is_err());
    }

    #[test]
    fn debug_shows_the_cipher_and_no_key() {
        for (name, expected) in [
            ("aes-256-gcm", r#"Aead(AeadKey("aes-256-gcm"))"#),
            ("aes-192-gcm", r#"Aead(AeadKey("aes-192-gcm"))"#),
            ("salsa20", r#"Legacy(LegacyCipher("salsa20"))"#),
            ("null", "Plaintext"),
        ] {
            let security = Security::from_password(name, "secret", b"salt").expect("known");
            assert_eq!(format!("{security:?}"), expected);
        }
    }
}
