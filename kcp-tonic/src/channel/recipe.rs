//! What a channel needs to make its connections.

use std::time::Duration;

use http::{HeaderValue, Uri};
use kcp_tower::http2::{MAX_STREAM_ERRORS, RESET_STREAM_DURATION, RESET_STREAMS};
use kcp_tower::{KcpConnector, KcpConnectorBuilder, Security};
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
use tonic::transport::ClientTlsConfig;
use tonic::transport::Endpoint;

use super::ChannelError;
use super::destination::Destination;

/// What the connections of a channel have in common.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) connector: KcpConnectorBuilder,
    pub(super) settings: Settings,
    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
    pub(super) tls: Option<ClientTlsConfig>,
}

/// Settings for tonic's endpoint; what is `None` is left to tonic.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) timeout: Option<Duration>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) origin: Option<Uri>,
    pub(super) concurrency_limit: Option<usize>,
    pub(super) rate_limit: Option<(u64, Duration)>,
    pub(super) buffer_size: Option<usize>,
    pub(super) max_frame_size: Option<u32>,
    pub(super) max_header_list_size: Option<u32>,
    pub(super) keep_alive_interval: Option<Duration>,
}

impl Recipe {
    pub(super) fn new(security: &Security) -> Self {
        Self {
            connector: KcpConnector::builder(security),
            settings: Settings::default(),
            #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
            tls: None,
        }
    }

    /// How long a call may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.settings.timeout
    }

    /// tonic's endpoint for a destination, and the connector of its connections.
    pub(super) fn build(&self, to: Destination) -> Result<(Endpoint, KcpConnector), ChannelError> {
        // tonic does TLS around the connector, by the scheme that is checked here.
        let connector = self.connector.clone().enforce_http(false).build()?;
        let windows = connector.http2_windows();
        let endpoint = Endpoint::from(to.uri.clone())
            .initial_stream_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .http2_adaptive_window(false)
            .http2_max_concurrent_reset_streams(RESET_STREAMS)
            .http2_reset_stream_duration(RESET_STREAM_DURATION)
            .http2_max_local_error_reset_streams(MAX_STREAM_ERRORS);
        let endpoint = self.settings.apply(endpoint);
        #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
        let endpoint = match (&self.tls, to.tls) {
            (Some(tls), true) => endpoint
                .tls_config(tls.clone())
                .map_err(ChannelError::Tls)?,
            (Some(_), false) => return Err(ChannelError::TlsUnused { uri: to.uri }),
            (None, true) => return Err(ChannelError::TlsMissing { uri: to.uri }),
            (None, false) => endpoint,
        };
        #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
        if to.tls {
            return Err(ChannelError::TlsMissing { uri: to.uri });
        }
        Ok((endpoint, connector))
    }
}

impl Settings {
    fn apply(&self, mut endpoint: Endpoint) -> Endpoint {
        if let Some(timeout) = self.timeout {
            endpoint = endpoint.timeout(timeout);
        }
        if let Some(user_agent) = self.user_agent.clone() {
            // A header value cannot be refused: it is one already.
            endpoint = endpoint.clone().user_agent(user_agent).unwrap_or(endpoint);
        }
        if let Some(origin) = self.origin.clone() {
            endpoint = endpoint.origin(origin);
        }
        if let Some(calls) = self.concurrency_limit {
            endpoint = endpoint.concurrency_limit(calls);
        }
        if let Some((calls, within)) = self.rate_limit {
            endpoint = endpoint.rate_limit(calls, within);
        }
        if let Some(bytes) = self.max_header_list_size {
            endpoint = endpoint.http2_max_header_list_size(bytes);
        }
        if let Some(interval) = self.keep_alive_interval {
            endpoint = endpoint
                .http2_keep_alive_interval(interval)
                .keep_alive_timeout(interval.max(MIN_KEEP_ALIVE_TIMEOUT));
        }
        endpoint
            .buffer_size(self.buffer_size)
            .max_frame_size(self.max_frame_size)
    }
}

/// hyper's default.
const MIN_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
