//! How `serve` ends.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::future::{Pending, pending};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kcp_tower::{KcpConnectInfo, KcpStream};
use support::{Setup, impatient, loopback, serve_fn};
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, oneshot};
use tower::Service;
use tower::util::BoxCloneService;

/// A handler that notifies of a request, and answers once the gate is open.
#[derive(Clone, Default)]
struct Gate {
    entered: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    async fn handle(self, _request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        self.entered.notify_one();
        self.open.notified().await;
        Ok(Response::new("done".into()))
    }
}

async fn request_in_flight_finishes(http2_only: bool) {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let gate = Gate::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = gate.clone();
    let server = tokio::spawn(
        serve_fn(incoming, move |request| handler.clone().handle(request))
            .with_graceful_shutdown(async { stopped.await.unwrap_or_default() })
            .into_future(),
    );

    let client = setup.client(http2_only);
    let uri = format!("http://{addr}/").parse().unwrap();
    let response = tokio::spawn(async move { client.get(uri).await });
    gate.entered.notified().await;
    stop.send(()).unwrap();

    // The listener is gone, the connection is not.
    let late = KcpStream::builder(&setup.security)
        .config(&impatient())
        .connect(addr)
        .await;
    let kind = late.unwrap_err().kind();
    assert!(matches!(
        kind,
        io::ErrorKind::TimedOut | io::ErrorKind::ConnectionRefused
    ));
    assert!(!server.is_finished());

    gate.open.notify_one();
    let response = response.await.unwrap().unwrap();
    let body: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "done");
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn http1_request_in_flight_finishes() {
    request_in_flight_finishes(false).await;
}

#[tokio::test]
async fn http2_request_in_flight_finishes() {
    request_in_flight_finishes(true).await;
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(
        serve_fn(incoming, |_| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        })
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() })
        .into_future(),
    );
    let uri: http::Uri = format!("http://{addr}/").parse().unwrap();
    let (http1, http2) = (setup.client(false), setup.client(true));
    for client in [&http1, &http2] {
        client.get(uri.clone()).await.unwrap();
    }
    let silent = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(addr)
        .await
        .unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    drop((http1, http2, silent));
}

#[tokio::test]
async fn silent_peer_of_http2_delays_the_end_by_its_first_byte_timeout_only() {
    let setup = Setup::plaintext();
    let listening = setup.listening();
    let listening = listening.first_byte_timeout(Duration::from_millis(50));
    let incoming = listening.bind(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(
        serve_fn(incoming, |_| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        })
        .http2_only()
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() })
        .into_future(),
    );
    let mut silent = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(addr)
        .await
        .unwrap();
    silent.read_u8().await.unwrap();
    stop.send(()).unwrap();
    let end = tokio::time::timeout(PATIENCE, server).await;
    end.expect("the server must end").unwrap().unwrap();
}

/// Never ready to make a service.
#[derive(Clone, Default)]
struct Busy {
    polled: Arc<Notify>,
}

impl Service<KcpConnectInfo> for Busy {
    type Response = BoxCloneService<Request<Incoming>, Response<String>, Infallible>;
    type Error = Infallible;
    type Future = Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.polled.notify_one();
        Poll::Pending
    }

    fn call(&mut self, _: KcpConnectInfo) -> Self::Future {
        pending()
    }
}

#[tokio::test]
async fn signal_stops_a_server_whose_services_are_never_ready() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let busy = Busy::default();
    let server = kcp_tower::serve(incoming, busy.clone())
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let server = tokio::spawn(server.into_future());
    let client = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(addr)
        .await
        .unwrap();
    busy.polled.notified().await;
    stop.send(()).unwrap();
    let end = tokio::time::timeout(PATIENCE, server).await;
    end.expect("the server must end").unwrap().unwrap();
    drop(client);
}

#[tokio::test]
async fn drain_timeout_cuts_what_is_left() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let gate = Gate::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = gate.clone();
    let server = tokio::spawn(
        serve_fn(incoming, move |request| handler.clone().handle(request))
            .with_graceful_shutdown(async { stopped.await.unwrap_or_default() })
            .drain_timeout(Duration::from_millis(50))
            .into_future(),
    );
    let client = setup.client(true);
    let uri = format!("http://{addr}/").parse().unwrap();
    let response = tokio::spawn(async move { client.get(uri).await });
    gate.entered.notified().await;
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    // Over plain KCP the client learns by a time-out, between peers with extensions at once; it
    // never gets an answer.
    response.abort();
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections() {
    let setup = Setup::plaintext();
    let (incoming, addr) = setup.incoming().await;
    let gate = Gate::default();
    let handler = gate.clone();
    let server = tokio::spawn(
        serve_fn(incoming, move |request| handler.clone().handle(request)).into_future(),
    );
    let client = setup.client(false);
    let uri = format!("http://{addr}/").parse().unwrap();
    let response = tokio::spawn(async move { client.get(uri).await });
    gate.entered.notified().await;
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    // The waiting handler was dropped with the server, so only the test holds the gate.
    assert_eq!(Arc::strong_count(&gate.open), 1);
    response.abort();
}

/// Far longer than the time-outs here, far shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(10);
