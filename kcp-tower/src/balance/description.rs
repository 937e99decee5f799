//! Endpoints as text.

use std::fmt;
use std::str::FromStr;

use super::Endpoint;

/// The URI, and after spaces what differs from the defaults:
///
/// ```text
/// kcp://10.0.0.7:4000 weight=3 zone=eu-1 priority=1 inactive
/// ```
///
/// Files and registries of [`Discovery`](super::Discovery) use this form. White space and `%` in the
/// name of a zone are percent-encoded.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path means nothing here.
        let uri = self.uri().to_string();
        f.write_str(uri.strip_suffix('/').unwrap_or(&uri))?;
        if self.get_weight() != 1 {
            write!(f, " weight={}", self.get_weight())?;
        }
        if let Some(zone) = self.get_zone() {
            f.write_str(" zone=")?;
            encode(zone, f)?;
        }
        if self.get_priority() != 0 {
            write!(f, " priority={}", self.get_priority())?;
        }
        if !self.is_active() {
            f.write_str(" inactive")?;
        }
        Ok(())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let mut words = text.split_whitespace();
        let uri = words.next().unwrap_or_default();
        let uri = uri.parse().map_err(|error| EndpointError::Uri {
            uri: uri.to_owned(),
            error,
        })?;
        let mut endpoint = Self::new(uri);
        for word in words {
            let number = |value: &str| {
                let parsed: Result<u32, _> = value.parse();
                parsed.map_err(|_| EndpointError::Number(word.to_owned()))
            };
            endpoint = match word.split_once('=') {
                Some(("weight", value)) => endpoint.weight(number(value)?),
                Some(("priority", value)) => endpoint.priority(number(value)?),
                Some(("zone", value)) => endpoint.zone(decode(value)),
                None if word == "inactive" => endpoint.active(false),
                _ => return Err(EndpointError::Option(word.to_owned())),
            };
        }
        Ok(endpoint)
    }
}

/// Why a text does not describe an endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The first word is not a URI.
    #[error("invalid URI {uri:?} of an endpoint: {error}")]
    Uri {
        /// The word.
        uri: String,
        /// What is wrong with it.
        error: http::uri::InvalidUri,
    },
    /// A weight or priority is not a number from 0 to 4 294 967 295.
    #[error("invalid number in {0:?}; allowed are 0 to 4294967295")]
    Number(String),
    /// An option that does not exist.
    #[error(
        "unknown option {0:?} of an endpoint; \
         allowed are weight=NUMBER, zone=NAME, priority=NUMBER and inactive"
    )]
    Option(String),
}

fn encode(zone: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for letter in zone.chars() {
        if letter == '%' || letter.is_whitespace() {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                write!(f, "%{byte:02X}")?;
            }
        } else {
            write!(f, "{letter}")?;
        }
    }
    Ok(())
}

/// A percent sign without two hexadecimal digits stands for itself.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let byte = digits.and_then(|it| u8::from_str_radix(it, 16).ok());
        match byte.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_what_differs_from_the_defaults() {
        let endpoint = |uri: &str| Endpoint::new(uri.parse().unwrap());
        for (given, text) in [
            (endpoint("kcp://a:1"), "kcp://a:1"),
            (
                endpoint("kcp://a:1").weight(0).active(false),
                "kcp://a:1 weight=0 inactive",
            ),
            (
                endpoint("a:1").zone("eu 1 = 100 %").priority(7),
                "a:1 zone=eu%201%20=%20100%20%25 priority=7",
            ),
            (
                endpoint("kcps://[::1]:9").weight(3).zone("ä\u{2003}%zz"),
                "kcps://[::1]:9 weight=3 zone=ä%E2%80%83%25zz",
            ),
        ] {
            assert_eq!(given.to_string(), text);
            assert_eq!(text.parse::<Endpoint>().unwrap(), given);
        }
    }

    #[test]
    fn wrong_text_is_named() {
        for (text, problem) in [
            ("", "invalid URI \"\" of an endpoint: empty string"),
            ("kcp://a:1 weight=-1", "invalid number in \"weight=-1\""),
            ("kcp://a:1 priority=", "invalid number in \"priority=\""),
            ("kcp://a:1 inactive=no", "unknown option \"inactive=no\""),
            ("kcp://a:1 wieght=3", "unknown option \"wieght=3\""),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
