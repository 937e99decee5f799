//! Where a channel leads.

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use kcp_tower::BoxError;

use super::ChannelError;

/// A destination in the form that tonic understands: `https` if TLS is inside, `http` otherwise.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) uri: Uri,
    pub(super) tls: bool,
}

impl Destination {
    pub(super) fn parse<D>(destination: D) -> Result<Self, ChannelError>
    where
        D: TryInto<Uri>,
        D::Error: Into<BoxError>,
    {
        let uri: Uri = destination
            .try_into()
            .map_err(|error| ChannelError::Uri(error.into()))?;
        let invalid = |problem| ChannelError::Destination {
            uri: uri.clone(),
            problem,
        };
        let (tls, needs_port) = match uri.scheme_str() {
            None | Some("kcp") => (false, true),
            Some("kcps") => (true, true),
            Some("http") => (false, false),
            Some("https") => (true, false),
            Some(_) => return Err(invalid("unsupported scheme; use kcp, kcps, http or https")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        host.ok_or_else(|| invalid("the URI has no host"))?;
        if needs_port && uri.port().is_none() {
            return Err(invalid("the URI has no port; use kcp://host:port"));
        }
        let mut parts = uri.clone().into_parts();
        let scheme = if tls { Scheme::HTTPS } else { Scheme::HTTP };
        parts.scheme = Some(scheme);
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        let uri = Uri::from_parts(parts).map_err(|error| ChannelError::Uri(error.into()))?;
        Ok(Self { uri, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_decides_about_tls_and_becomes_one_of_http() {
        for (given, uri, tls) in [
            ("kcp://a.example:9/x", "http://a.example:9/", false),
            ("kcps://a.example:9", "https://a.example:9/", true),
            ("a.example:9", "http://a.example:9/", false),
            ("[::1]:9", "http://[::1]:9/", false),
            ("http://a.example", "http://a.example/", false),
            ("https://a.example", "https://a.example/", true),
        ] {
            let parsed = Destination::parse(given).unwrap();
            assert_eq!(parsed.uri, uri);
            assert_eq!(parsed.tls, tls, "{given}");
        }
    }

    #[test]
    fn destinations_without_a_place_to_connect_to_are_refused() {
        for (given, problem) in [
            ("/path", "the URI has no host"),
            (
                "kcp://a.example",
                "the URI has no port; use kcp://host:port",
            ),
            ("a.example", "the URI has no port; use kcp://host:port"),
            (
                "ws://a.example:9",
                "unsupported scheme; use kcp, kcps, http or https",
            ),
        ] {
            let error = Destination::parse(given).unwrap_err().to_string();
            assert!(error.ends_with(problem), "{error}");
        }
        let error = Destination::parse("http://not a uri").unwrap_err();
        assert!(matches!(error, ChannelError::Uri(_)));
    }
}
