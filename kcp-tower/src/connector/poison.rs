//! Connections whose peer is silent get no further requests.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use kcp_transport::Stats;
use tower_layer::Layer;
use tower_service::Service;

use crate::KcpConnectInfo;

/// A layer around a hyper-util client that takes connections out of its pool once their peer is silent.
///
/// A client that has changed its network, or whose server has died, learns of it by
/// [`Config::user_timeout`](crate::Config::user_timeout), 30 s by default. Until then, the pool sends
/// further requests over the dead connection, where they wait. With this layer, each request watches its
/// connection until the head of the response arrives. If data of the connection is unacknowledged and
/// nothing at all was received for some time, 3 s by default, further requests get another connection.
/// Those that wait are not repeated: they go on if the peer returns, and fail by the time-out.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Empty;
/// use kcp_tower::{KcpConnector, PoisonLayer, Security};
/// use tower::Layer;
///
/// # #[tokio::main] async fn main() {
/// let connector = KcpConnector::new(&Security::Plaintext);
/// let client = connector
///     .client_builder()
///     .http2_only(true)
///     .build::<_, Empty<Bytes>>(connector.clone());
/// let client = PoisonLayer::new().layer(client);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PoisonLayer {
    after: Duration,
}

/// The service of a [`PoisonLayer`].
#[derive(Clone, Debug)]
pub struct Poison<S> {
    inner: S,
    after: Duration,
}

/// A request that watches its connection.
#[must_use = "futures do nothing unless polled"]
pub struct PoisonFuture<F> {
    response: Pin<Box<F>>,
    watch: Pin<Box<dyn Future<Output = Infallible> + Send>>,
}

impl PoisonLayer {
    /// Takes connections out of the pool after 3 s of silence.
    #[must_use]
    pub fn new() -> Self {
        Self { after: AFTER }
    }

    /// Another time of silence, at least 100 ms. Default 3 s, many times the pause between two
    /// repetitions of what a peer does not acknowledge. A shorter one makes connections in vain where a
    /// path fails for moments.
    #[must_use]
    pub fn after(mut self, silence: Duration) -> Self {
        self.after = silence.max(LEAST);
        self
    }
}

impl Default for PoisonLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for PoisonLayer {
    type Service = Poison<S>;

    fn layer(&self, inner: S) -> Poison<S> {
        let after = self.after;
        Poison { inner, after }
    }
}

impl<S, B> Service<Request<B>> for Poison<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = PoisonFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let captured = capture_connection(&mut request);
        PoisonFuture {
            response: Box::pin(self.inner.call(request)),
            watch: Box::pin(watch(captured, self.after)),
        }
    }
}

impl<F: Future> Future for PoisonFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let response = self.response.as_mut().poll(cx);
        if response.is_pending() {
            let Poll::Pending = self.watch.as_mut().poll(cx);
        }
        response
    }
}

impl<F> fmt::Debug for PoisonFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoisonFuture").finish_non_exhaustive()
    }
}

/// Takes the connection of a request out of the pool once it is silent for so long.
async fn watch(captured: CaptureConnection, silence: Duration) -> Infallible {
    let mut watched = Watched::default();
    while !look(&captured, &mut watched) {
        tokio::time::sleep(silence / LOOKS).await;
    }
    pending().await
}

/// Looks at the connection, and takes it out of the pool if it is silent. Returns whether it was.
fn look(captured: &CaptureConnection, watched: &mut Watched) -> bool {
    let connected = captured.connection_metadata();
    // A request may wait for its connection.
    let Some(connected) = connected.as_ref() else {
        return false;
    };
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    let info = extras.get::<KcpConnectInfo>();
    if info.is_none_or(|info| watched.looks(&info.stats()) < LOOKS) {
        return false;
    }
    let peer = info.map(KcpConnectInfo::peer_addr);
    tracing::debug!(?peer, "peer is silent; requests get another connection");
    connected.poison();
    true
}

/// What was seen of a connection.
#[derive(Debug, Default)]
struct Watched {
    received: u64,
    silent: u32,
}

impl Watched {
    /// Looks again; returns how many looks in a row have found the peer silent.
    fn looks(&mut self, stats: &Stats) -> u32 {
        let received = stats.datagrams_received;
        let is_silent = received == self.received && stats.in_flight > 0;
        self.silent = if is_silent { self.silent + 1 } else { 0 };
        self.received = received;
        self.silent
    }
}

const AFTER: Duration = Duration::from_secs(3);

const LEAST: Duration = Duration::from_millis(100);

/// How often a connection is looked at in the time of silence.
const LOOKS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_is_silent_while_data_waits_and_nothing_arrives() {
        let mut watched = Watched::default();
        let mut look = |received, in_flight| {
            let mut stats = Stats::default();
            (stats.datagrams_received, stats.in_flight) = (received, in_flight);
            watched.looks(&stats)
        };
        assert_eq!([look(5, 1), look(5, 1), look(5, 2)], [0, 1, 2]);
        assert_eq!(look(6, 2), 0, "something arrived");
        assert_eq!([look(6, 2), look(6, 2)], [1, 2]);
        assert_eq!(look(6, 0), 0, "nothing waits for an acknowledgement");
        assert_eq!(look(6, 1), 1);
    }
}
