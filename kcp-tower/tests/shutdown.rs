//! How `serve` ends.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::future::{Pending, pending};
use std::net::UdpSocket;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kcp_tower::kcp_transport::error::{ConnectionError, ResetCode};
use kcp_tower::{KcpConnectInfo, KcpStream};
use support::{Setup, loopback, serve_fn};
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

    // The listener refuses, the connection goes on.
    let error = loop {
        match KcpStream::connect(addr, &setup.security).await {
            // The signal has not come yet.
            Ok(early) => drop(early),
            Err(error) => break error,
        }
    };
    let reason = ConnectionError::from_io(&error);
    assert_eq!(
        reason,
        Some(&ConnectionError::Rejected(ResetCode::GOING_AWAY)),
        "{error}"
    );
    assert!(!server.is_finished());

    gate.open.notify_one();
    let response = response.await.unwrap().unwrap();
    let body: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "done");
    server.await.unwrap().unwrap();
    UdpSocket::bind(addr).unwrap();
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
    UdpSocket::bind(addr).unwrap();
    let told = tokio::time::timeout(PATIENCE, response).await;
    told.expect("the client is told").unwrap().unwrap_err();
}

#[tokio::test]
async fn port_is_free_and_idle_connections_have_ended_when_the_server_returns() {
    for http2_only in [false, true] {
        let setup = Setup::plaintext();
        let (incoming, addr) = setup.incoming().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve_fn(incoming, |_| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        })
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
        let server = tokio::spawn(server.into_future());
        let client = setup.client(http2_only);
        let uri: http::Uri = format!("http://{addr}/").parse().unwrap();
        client.get(uri.clone()).await.unwrap();
        stop.send(()).unwrap();
        let end = tokio::time::timeout(PATIENCE, server).await;
        end.expect("the server must end").unwrap().unwrap();
        // By the address that the first server got.
        let again = setup.listening().bind(addr).await.unwrap();
        let server = serve_fn(again, |_| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let server = tokio::spawn(server.into_future());
        let answer = tokio::time::timeout(PATIENCE, client.get(uri)).await;
        answer.expect("the new server answers").unwrap();
        server.abort();
    }
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
