//! The choice of a cipher by kcptun's names.

use std::sync::LazyLock;

use zeroize::Zeroizing;

#[cfg(any(feature = "aead-ring", feature = "aead-rust"))]
use super::AeadKey;
#[cfg(feature = "legacy-ciphers")]
use super::LegacyCipher;
use super::Security;
use super::password::derive_key;
use super::stack_wipe::wiping_stack;
use crate::error::ConfigError;

impl Security {
    /// Names that [`from_name`](Self::from_name) and [`from_password`](Self::from_password) take.
    ///
    /// `null`; with the feature `legacy-ciphers` those of [`LegacyCipher`](super::LegacyCipher); with
    /// `aead-ring` or `aead-rust` those of [`AeadKey`](super::AeadKey).
    pub const NAMES: &'static [&'static str] = &names();

    /// The salt that kcptun derives keys from passwords with.
    pub const KCPTUN_SALT: &'static [u8] = b"kcp-go";

    /// The cipher that kcptun calls `name`, under `key`.
    ///
    /// `null` is [`Security::Plaintext`], and `aes` is AES-256 in CFB mode, which does not authenticate
    /// packets. `null` and `none` need no key and ignore `key`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownCipher`] if kcptun has no such name, [`ConfigError::CipherDisabled`] if a
    /// feature leaves the cipher out, and [`ConfigError::KeyLength`] if the cipher takes no key of this
    /// length.
    pub fn from_name(name: &str, key: &[u8]) -> Result<Self, ConfigError> {
        Suite::find(name)?.build(key)
    }

    /// The cipher that kcptun calls `name`, under a key derived from `password`.
    ///
    /// The derivation is kcptun's: PBKDF2-HMAC-SHA1 with 4096 rounds, as long as the cipher's key;
    /// kcptun's salt is [`KCPTUN_SALT`](Self::KCPTUN_SALT). It takes a few milliseconds. That slows down
    /// guesses of weak passwords only a little, so the password should be long and random.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownCipher`] if kcptun has no such name, and [`ConfigError::CipherDisabled`]
    /// if a feature leaves the cipher out.
    pub fn from_password(name: &str, password: &str, salt: &[u8]) -> Result<Self, ConfigError> {
        let suite = Suite::find(name)?;
        wiping_stack(|| {
            let mut key = Zeroizing::new([0; MAX_KEY_LEN]);
            let key = &mut key[..suite.key_len];
            derive_key(password, salt, key);
            suite.build(key)
        })
    }
}

/// Makes the cipher under a key.
type Build = fn(&[u8]) -> Result<Security, ConfigError>;

/// A name and the cipher it stands for.
struct Suite {
    name: &'static str,
    /// Length of the key that is derived from a password, in bytes.
    key_len: usize,
    /// None if the cipher's feature is off.
    build: Option<Build>,
    /// The feature that compiles the cipher in.
    feature: &'static str,
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

    fn build(&self, key: &[u8]) -> Result<Security, ConfigError> {
        let build = self.build.ok_or(ConfigError::CipherDisabled {
            cipher: self.name,
            feature: self.feature,
        })?;
        build(key)
    }
}

/// A cipher that does not authenticate packets.
macro_rules! legacy {
    ($name:literal, $key_len:literal, $make:expr) => {
        Suite {
            name: $name,
            key_len: $key_len,
            #[cfg(feature = "legacy-ciphers")]
            build: Some(|key| $make(key).map(Security::Legacy)),
            #[cfg(not(feature = "legacy-ciphers"))]
            build: None,
            feature: "legacy-ciphers",
        }
    };
}

/// A cipher that authenticates packets.
macro_rules! aead {
    ($name:literal, $key_len:literal, $make:expr) => {
        Suite {
            name: $name,
            key_len: $key_len,
            #[cfg(any(feature = "aead-ring", feature = "aead-rust"))]
            build: Some(|key| $make(key).map(Security::Aead)),
            #[cfg(not(any(feature = "aead-ring", feature = "aead-rust")))]
            build: None,
            feature: "aead-ring or aead-rust",
        }
    };
}

/// The names of all ciphers that are compiled in.
const fn names() -> [&'static str; built()] {
    let mut names = [""; built()];
    let (mut suite, mut name) = (0, 0);
    while suite < SUITES.len() {
        if SUITES[suite].build.is_some() {
            names[name] = SUITES[suite].name;
            name += 1;
        }
        suite += 1;
    }
    names
}

/// The number of ciphers that are compiled in.
const fn built() -> usize {
    let (mut suite, mut count) = (0, 0);
    while suite < SUITES.len() {
        count += SUITES[suite].build.is_some() as usize;
        suite += 1;
    }
    count
}

/// All names, in the order of the error message.
const SUITES: &[Suite] = &[
    Suite {
        name: "null",
        key_len: 0,
        build: Some(|_| Ok(Security::Plaintext)),
        feature: "",
    },
    legacy!("none", 0, |_| Ok(LegacyCipher::none())),
    legacy!("aes", 32, LegacyCipher::aes_256),
    legacy!("aes-128", 16, LegacyCipher::aes_128),
    legacy!("aes-192", 24, LegacyCipher::aes_192),
    legacy!("salsa20", 32, LegacyCipher::salsa20),
    legacy!("sm4", 16, LegacyCipher::sm4),
    legacy!("twofish", 32, LegacyCipher::twofish),
    legacy!("3des", 24, LegacyCipher::triple_des),
    legacy!("cast5", 16, LegacyCipher::cast5),
    legacy!("blowfish", 32, LegacyCipher::blowfish),
    legacy!("tea", 16, LegacyCipher::tea),
    legacy!("xtea", 16, LegacyCipher::xtea),
    legacy!("xor", 32, LegacyCipher::xor),
    aead!("aes-128-gcm", 16, AeadKey::aes_128_gcm),
    aead!("aes-192-gcm", 24, AeadKey::aes_192_gcm),
    aead!("aes-256-gcm", 32, AeadKey::aes_256_gcm),
    aead!("chacha20-poly1305", 32, AeadKey::chacha20_poly1305),
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
                        format!("key for {} has {len} bytes; allowed: {allowed}", suite.name),
                    );
                }
            }
        }
    }

    #[test]
    fn unknown_name_is_refused_with_the_list() {
        assert_eq!(
            refusal("rot13", &[]),
            "unknown cipher \"rot13\"; allowed: null, none, aes, aes-128, aes-192, salsa20, sm4, \
             twofish, 3des, cast5, blowfish, tea, xtea, xor, aes-128-gcm, aes-192-gcm, aes-256-gcm, chacha20-poly1305"
        );
        assert!(Security::from_password("", "secret", b"salt").is_err());
    }

    #[test]
    fn cipher_of_a_disabled_feature_is_refused_with_the_feature_s_name() {
        let disabled = Suite {
            name: "aes",
            key_len: 32,
            build: None,
            feature: "legacy-ciphers",
        };
        assert_eq!(
            disabled.build(&[1; 32]).expect_err("off").to_string(),
            "cipher aes is not compiled in; enable the feature legacy-ciphers of kcp-transport"
        );
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
