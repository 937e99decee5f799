//! Channels: tonic's endpoint with settings for KCP, and a KCP connector below it.

use std::error::Error as StdError;

use http::uri::{PathAndQuery, Scheme, Uri};
use kcp_tower::{KcpConnector, http2};
use tonic::transport::{Channel, Endpoint, Error};

/// An endpoint with the settings of [`with_kcp_defaults`].
///
/// `http://host:port` is the usual form. Of `kcp://host:port`, which servers would not
/// understand, the scheme is not sent to the server: it sees `http`.
///
/// # Errors
///
/// If `destination` is no URI.
pub fn endpoint<D>(destination: D) -> Result<Endpoint, Error>
where
    D: TryInto<Endpoint>,
    D::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    Endpoint::new(destination).map(with_kcp_defaults)
}

/// Gives an endpoint the HTTP/2 settings of [`kcp_tower::http2`]: PINGs, also while idle, and
/// fixed windows.
///
/// What was set for them before is lost; what is set later counts. tonic's settings for TCP have
/// no effect over KCP: use the connector's configuration. A `connect_timeout` here bounds name
/// resolution and connecting together.
pub fn with_kcp_defaults(endpoint: Endpoint) -> Endpoint {
    let endpoint = match http_origin(endpoint.uri()) {
        Some(origin) => endpoint.origin(origin),
        None => endpoint,
    };
    endpoint
        .http2_keep_alive_interval(http2::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(http2::KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .http2_adaptive_window(false)
}

/// Connects, and returns a channel that connects again when the connection is lost.
///
/// # Errors
///
/// If there was no connection; the error's sources say why and name the addresses tried.
///
/// # Cancel safety
///
/// Dropping the future gives the connection up: no channel is left that would try again.
pub async fn connect(endpoint: &Endpoint, connector: KcpConnector) -> Result<Channel, Error> {
    endpoint.connect_with_connector(connector).await
}

/// A channel that connects at the first call, and again when the connection is lost.
///
/// Calls made while there is no connection fail with `Code::Unavailable`. Must be called inside a
/// tokio runtime.
#[must_use]
pub fn connect_lazy(endpoint: &Endpoint, connector: KcpConnector) -> Channel {
    endpoint.connect_with_connector_lazy(connector)
}

fn http_origin(uri: &Uri) -> Option<Uri> {
    if uri.scheme_str() != Some("kcp") {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kcp_scheme_is_replaced() {
        let origin = |uri: &str| http_origin(&uri.parse().unwrap());
        assert_eq!(origin("http://a.example:9"), None);
        assert_eq!(origin("https://a.example:9"), None);
        assert_eq!(
            origin("kcp://a.example:9/x").unwrap(),
            "http://a.example:9/"
        );
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        assert!(endpoint("http://not a uri").is_err());
        assert_eq!(endpoint("http://[::1]:9").unwrap().uri(), "http://[::1]:9/");
    }
}
