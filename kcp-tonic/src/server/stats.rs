//! Statistics of the calls of a server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Code;
use tower_layer::Layer;
use tower_service::Service;

use crate::calls::{Calls, CodeCounts, OpenCall, code_of};

/// The calls of a server, as a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Calls that have begun and not ended, streams included. Metric `kcp_server_open_calls`.
    pub open: u64,
    /// Calls that have begun, ended ones included. Metric `kcp_server_calls_started_total`.
    pub started: u64,
    /// Calls that have ended, by their code. A call whose client has gone or has given it up, or
    /// whose deadline has passed, counts as `Cancelled`. Metric `kcp_server_calls_ended_total`.
    pub codes: CodeCounts,
    /// The sum of the times from the beginning of a call to its end, of the calls that have ended,
    /// streams included. Divided by [`CodeCounts::total`], it is their mean. Metric
    /// `kcp_server_call_duration_sum_seconds`.
    pub duration: Duration,
}

/// Counts the calls of a server: a layer for [`server_builder`](crate::server_builder) or for any
/// server of tonic. Clones count together; one of them is kept for [`stats`](Self::stats).
///
/// ```no_run
/// # async fn run(routes: tonic::service::Routes) -> std::io::Result<()> {
/// use kcp_tonic::{KcpIncoming, Security, ServerStatsLayer, serve, server_builder};
///
/// let calls = ServerStatsLayer::new();
/// let incoming = KcpIncoming::bind("[::]:4000", &Security::Plaintext).await?;
/// let router = server_builder().layer(calls.clone()).add_routes(routes);
/// tokio::spawn(serve(incoming, router).into_future());
/// println!("{} calls are open", calls.stats().open);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ServerStatsLayer {
    calls: Arc<Calls>,
}

impl ServerStatsLayer {
    /// A layer that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The calls of all services that this layer and its clones were applied to.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let calls = &self.calls;
        ServerStats {
            open: calls.open(),
            started: calls.started(),
            codes: calls.codes(),
            duration: calls.duration(),
        }
    }
}

impl<S> Layer<S> for ServerStatsLayer {
    type Service = CountCalls<S>;

    fn layer(&self, inner: S) -> CountCalls<S> {
        let calls = Arc::clone(&self.calls);
        CountCalls { inner, calls }
    }
}

/// The service of [`ServerStatsLayer`].
#[derive(Clone, Debug)]
pub struct CountCalls<S> {
    inner: S,
    calls: Arc<Calls>,
}

impl<S, B, R> Service<Request<B>> for CountCalls<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<CountedCall<R>>;
    type Error = S::Error;
    type Future = CountedCall<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let open = Some(OpenCall::start(&self.calls));
        let inner = self.inner.call(request);
        CountedCall { inner, open }
    }
}

pin_project! {
    /// The future of a response of [`CountCalls`], or its body.
    #[derive(Debug)]
    pub struct CountedCall<T> {
        #[pin]
        inner: T,
        open: Option<OpenCall>,
    }
}

impl<F, B, E> Future for CountedCall<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<CountedCall<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        let mut open = this.open.take();
        let code = match &response {
            Ok(response) => code_of(response.headers()),
            Err(_) => Some(Code::Unknown),
        };
        if let (Some(open), Some(code)) = (&mut open, code) {
            open.ends_with(code);
        }
        Poll::Ready(response.map(|response| response.map(|inner| CountedCall { inner, open })))
    }
}

impl<B: Body> Body for CountedCall<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        let ended = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(code_of),
            Some(Err(_)) | None => Some(None),
        };
        if let (Some(mut open), Some(code)) = (this.open.take_if(|_| ended.is_some()), ended) {
            open.ends_with(code.unwrap_or(Code::Unknown));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(feature = "metrics")]
mod publish {
    use kcp_tower::kcp_transport::stats::{Metric, MetricKind};
    use metrics::IntoLabels;

    use super::ServerStats;
    use crate::calls::publish::{Row, publish_codes};

    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    impl ServerStats {
        /// The metrics that [`publish`](Self::publish) sets.
        pub fn metrics() -> impl Iterator<Item = Metric> {
            ROWS.iter().map(|it| it.metric).chain([ENDED])
        }

        /// Passes the descriptions and units of these metrics to the installed recorder. Call it once,
        /// after the recorder is installed. Exporters show them as help texts.
        pub fn describe() {
            Self::metrics().for_each(|it| it.describe());
        }

        /// Sets the metrics in the installed recorder. Call it at the pace of your collection, with
        /// labels that tell this server from others.
        pub fn publish(&self, labels: impl IntoLabels) {
            let labels = labels.into_labels();
            for row in &ROWS {
                row.publish(self, &labels);
            }
            publish_codes(&ENDED, &self.codes, &labels);
        }
    }

    const ROWS: [Row<ServerStats>; 3] = [
        Row::count(
            "kcp_server_calls_started_total",
            "Calls that have begun.",
            |it| it.started as f64,
        ),
        Row::level(
            "kcp_server_open_calls",
            "Calls that have begun and not ended, streams included.",
            |it| it.open as f64,
        ),
        // A gauge, since counters of `metrics` hold integers.
        Row::level(
            "kcp_server_call_duration_sum_seconds",
            "The sum of the times from the beginning to the end of the calls that have ended. It only grows; divided by their number, it is the mean.",
            |it| it.duration.as_secs_f64(),
        ),
    ];

    /// One for each code.
    const ENDED: Metric = Metric::new(
        MetricKind::Counter,
        "kcp_server_calls_ended_total",
        "Calls that have ended, by the number of the status.",
    )
    .with_labels(&["code"]);
}
