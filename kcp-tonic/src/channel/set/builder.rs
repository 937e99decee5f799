//! How a channel over several servers is made.

use std::hash::Hash;
use std::sync::Arc;

use http::HeaderName;
use kcp_tower::BoxError;
use kcp_tower::balance::{self, Discover, Ejection, Failure, Selection};

use super::Methods;
use crate::channel::{ChannelError, KcpChannel, KcpChannelBuilder};

/// Channels over several servers. The options here have no effect on the channels of
/// [`connect`](Self::connect) and [`connect_lazy`](Self::connect_lazy): a channel to one server that is to send
/// calls again is made by [`connect_list`](Self::connect_list).
impl KcpChannelBuilder {
    /// A channel over a fixed list of servers, each connected to at its first call. Must be called
    /// within a tokio runtime.
    ///
    /// Each is a destination as for [`connect`](Self::connect), or an
    /// [`Endpoint`](kcp_tower::balance::Endpoint) with a weight and a zone.
    /// [`selection`](Self::selection) picks one for each call. Limits of calls apply to each connection.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use kcp_tonic::{KcpChannel, Security, Selection};
    ///
    /// let channel = KcpChannel::builder(&Security::Plaintext)
    ///     .selection(Selection::LeastInFlight)
    ///     .connect_list(["kcp://10.0.0.7:4000", "kcp://10.0.0.8:4000"])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ChannelError::Set`]: the list is empty, has a duplicate, or has an invalid destination, for the
    /// same reasons as in [`connect`](Self::connect).
    pub fn connect_list<I>(self, endpoints: I) -> Result<KcpChannel, ChannelError>
    where
        I: IntoIterator,
        I::Item: TryInto<balance::Endpoint>,
        <I::Item as TryInto<balance::Endpoint>>::Error: Into<BoxError>,
    {
        let endpoints: Result<Vec<_>, _> = endpoints.into_iter().map(TryInto::try_into).collect();
        let endpoints = endpoints.map_err(|error| ChannelError::Uri(error.into()))?;
        let balance = self.set.builder(self.recipe).list(endpoints)?;
        Ok(KcpChannel::over_set(balance))
    }

    /// A channel over a set of servers that changes while it is used. Must be called within a tokio
    /// runtime, which polls `discover` until the last clone of the channel is dropped.
    ///
    /// [`balance`](kcp_tower::balance) describes what happens to calls when the set changes, is empty,
    /// or discovery fails. An endpoint with an invalid destination is left out with a warning.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use kcp_tonic::balance::{Change, Endpoint};
    /// use kcp_tonic::{KcpChannel, Security};
    ///
    /// let (changes, changed) = tokio::sync::mpsc::channel(16);
    /// let discover = tokio_stream::wrappers::ReceiverStream::new(changed);
    /// let channel = KcpChannel::builder(&Security::Plaintext).connect_discover(discover);
    ///
    /// let endpoint = Endpoint::parse("kcp://10.0.0.7:4000")?.weight(2);
    /// changes.send(Ok::<_, std::io::Error>(Change::Insert("seven", endpoint))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_discover<D>(self, discover: D) -> KcpChannel
    where
        D: Discover<Service = balance::Endpoint> + Send + 'static,
        D::Key: Hash + Send,
        D::Error: Into<BoxError> + Send,
    {
        KcpChannel::over_set(self.set.builder(self.recipe).discover(discover))
    }

    /// Which server of a set gets a call. Default [`Selection::RoundRobin`].
    pub fn selection(mut self, selection: Selection) -> Self {
        self.set.selection = selection;
        self
    }

    /// The metadata whose value is the key of a call, for selections by key. A call may have a
    /// [`Key`](kcp_tower::balance::Key) among its extensions instead, which comes first:
    ///
    /// ```
    /// use kcp_tonic::balance::Key;
    ///
    /// let mut request = tonic::Request::new(());
    /// request.extensions_mut().insert(Key::of("user-7"));
    /// ```
    ///
    /// Default: no metadata.
    pub fn selection_key(mut self, metadata: HeaderName) -> Self {
        self.set.key = Some(metadata);
        self
    }

    /// What happens to calls that fail. Default [`Failure::failfast`].
    ///
    /// A call is sent again only if it is [idempotent](Self::idempotent), or if the server certainly
    /// has not processed it: there was no connection, or the server refused its stream. The codes that
    /// lead to another try are `Unavailable` and, on another server, `ResourceExhausted`.
    ///
    /// All tries share the timeout of the call or of the channel. Each try sends the remaining time as
    /// `grpc-timeout`.
    pub fn failure(mut self, failure: Failure) -> Self {
        self.set.failure = failure;
        self
    }

    /// The methods that may be processed twice, as `/package.Service/Method`; a service and a slash,
    /// `/package.Service/`, stands for all its methods. Default: none.
    ///
    /// Do not list methods with streaming responses. The response of an idempotent method is
    /// passed on once it is complete or longer than 4 MiB, so that a connection that is lost in the
    /// middle of it leads to another try.
    ///
    /// ```
    /// use kcp_tonic::{Failure, KcpChannel, Security};
    ///
    /// let builder = KcpChannel::builder(&Security::Plaintext)
    ///     .failure(Failure::failover())
    ///     .idempotent(["/helloworld.Greeter/SayHello"]);
    /// ```
    pub fn idempotent<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        let methods = methods.into_iter().map(Into::into);
        self.set.idempotent = Methods::Listed(methods.collect());
        self
    }

    /// As [`idempotent`](Self::idempotent), by a condition on the path of the call,
    /// `/package.Service/Method`.
    pub fn idempotent_if(
        mut self,
        condition: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.set.idempotent = Methods::If(Arc::new(condition));
        self
    }

    /// Calls `change` with the headers of each try, within its tracing span, which is `try` with the
    /// fields `endpoint` and `number`. This is the place to send W3C trace context: each try then is a
    /// span of its own in the trace. The identifiers of a span belong to the library that exports it,
    /// such as tracing-opentelemetry.
    ///
    /// ```
    /// use http::HeaderValue;
    /// use kcp_tonic::{KcpChannel, Security};
    ///
    /// /// Of the current span: for instance, a propagator of OpenTelemetry.
    /// fn traceparent() -> Option<HeaderValue> {
    ///     # None
    /// }
    ///
    /// let builder = KcpChannel::builder(&Security::Plaintext).try_headers(|headers| {
    ///     if let Some(value) = traceparent() {
    ///         headers.insert("traceparent", value);
    ///     }
    /// });
    /// ```
    ///
    /// Default: nothing.
    pub fn try_headers(
        mut self,
        change: impl Fn(&mut http::HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        self.set.try_headers = Some(Arc::new(change));
        self
    }

    /// How much of a call is kept for another try, in bytes. Default 65 536. A call that is longer is
    /// sent once.
    pub fn retry_buffer(mut self, bytes: usize) -> Self {
        self.set.retry_buffer = Some(bytes);
        self
    }

    /// When a server that fails is ejected. Default [`Ejection::default`].
    pub fn ejection(mut self, ejection: Ejection) -> Self {
        self.set.ejection = ejection;
        self
    }

    /// Watches the health of each server of a set by `Watch` of `grpc.health.v1`: while a server reports
    /// for `service` anything but `SERVING`, it gets no new calls. Calls in flight go on. The empty name
    /// stands for the server as a whole. Default: no watch.
    ///
    /// Each server is connected to when it joins the set. A server counts as serving before the first
    /// report of a connection, and if it has no health service. Other errors of the watch count as not
    /// serving, as gRPC's document on health checking requires. A watch is made anew after an error, after
    /// 100 ms and then after twice the previous pause, up to 10 s, plus up to half of the pause at random;
    /// and every 10 s, so that it does not hold up a server that drains its connections.
    ///
    /// [`EndpointStats::unhealthy`](kcp_tower::balance::EndpointStats::unhealthy) has what a server
    /// reports.
    ///
    /// ```
    /// use kcp_tonic::{KcpChannel, Security};
    ///
    /// let builder = KcpChannel::builder(&Security::Plaintext)
    ///     .watch_health("helloworld.Greeter");
    /// ```
    #[cfg(feature = "health")]
    #[cfg_attr(docsrs, doc(cfg(feature = "health")))]
    pub fn watch_health(mut self, service: impl Into<String>) -> Self {
        self.set.health_of = Some(service.into());
        self
    }

    /// Calls on one connection to a server of a set before another one is made. Default 128.
    ///
    /// The packets of a connection and their encryption take one core at a time. Where a few large
    /// streams keep that core busy, the next call makes another connection, whatever their number:
    /// `EndpointStats::busy_micros` of each connection grew by nine tenths of the time since it was
    /// looked at, at least a tenth of a second ago.
    pub fn calls_per_connection(mut self, calls: usize) -> Self {
        self.set.calls_per_connection = Some(calls);
        self
    }

    /// Most connections to one server of a set. Default 4.
    pub fn connections_per_endpoint(mut self, connections: usize) -> Self {
        self.set.connections_per_endpoint = Some(connections);
        self
    }
}
