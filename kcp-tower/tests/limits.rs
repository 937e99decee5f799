//! How many connections a server takes, how long they last, and how another server takes over.
#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kcp_tower::{ConnectionLimits, KcpConnectInfo, KcpConnector, KcpIncoming, KcpIo};
use support::network::{Link, Network};
use support::{HttpClient, Setup, serve_fn};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tower::Service;

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;
type Ended = JoinHandle<hyper::Result<()>>;

const SECOND: Duration = Duration::from_secs(1);

/// A server on a network in memory, and a way to its clients.
struct Server {
    addr: SocketAddr,
    connector: KcpConnector,
    open: Arc<Notify>,
}

/// Answers with the conversation of the request's connection; `/wait` waits for `open` first.
fn start(limits: ConnectionLimits) -> Server {
    let setup = Setup::plaintext();
    let network = Network::new(Link::LAN);
    let host = network.host();
    let addr = host.addr();
    let incoming = setup.incoming_on(host);
    let open = Arc::<Notify>::default();
    let gate = Arc::clone(&open);
    let server = serve_fn(incoming, move |request: Request<Incoming>| {
        let gate = Arc::clone(&gate);
        async move {
            if request.uri().path() == "/wait" {
                gate.notified().await;
            }
            let info = request.extensions().get::<KcpConnectInfo>().unwrap();
            let body = info.conversation().get().to_string();
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    tokio::spawn(server.connection_limits(limits).into_future());
    Server {
        addr,
        connector: setup.connector_in(&network),
        open,
    }
}

impl Server {
    async fn connect(&mut self) -> KcpIo {
        self.connector.call(self.addr).await.unwrap()
    }

    async fn http2(&mut self) -> (Sender, Ended) {
        let io = self.connect().await;
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(io);
        let (sender, connection) = handshake.await.unwrap();
        (sender, tokio::spawn(connection))
    }
}

async fn get(sender: &mut Sender, path: &str) -> hyper::Result<Bytes> {
    let request = Request::get(format!("http://a.example{path}"));
    let request = request.body(Full::default()).unwrap();
    let response = sender.send_request(request).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

#[allow(
    clippy::disallowed_methods,
    reason = "the test measures in tokio's time"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn connection_of_greatest_age_ends_after_its_requests() {
    let limits = ConnectionLimits::builder().max_age(100 * SECOND).build();
    let mut server = start(limits.unwrap());
    let begin = now();
    let (mut sender, _) = server.http2().await;
    let mut waiting = sender.clone();
    let waiting = tokio::spawn(async move { get(&mut waiting, "/wait").await });
    let refused = loop {
        match get(&mut sender, "/").await {
            Ok(_) => sleep(SECOND).await,
            Err(refused) => break refused,
        }
    };
    // By the client itself: it has received GOAWAY.
    assert!(refused.is_canceled(), "{refused:?}");
    let age = now() - begin;
    assert!(age > 89 * SECOND && age < 112 * SECOND, "{age:?}");
    sleep(500 * SECOND).await;
    assert_eq!(server.connector.connections().len(), 1);
    server.open.notify_one();
    waiting.await.unwrap().unwrap();
    sleep(SECOND).await;
    assert_eq!(server.connector.connections().len(), 0);
    let (mut sender, _) = server.http2().await;
    get(&mut sender, "/").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn grace_bounds_what_requests_take_after_the_greatest_age() {
    let limits = ConnectionLimits::builder().max_age(100 * SECOND);
    let mut server = start(limits.age_grace(10 * SECOND).build().unwrap());
    let begin = now();
    let (mut sender, ended) = server.http2().await;
    get(&mut sender, "/wait").await.unwrap_err();
    let age = now() - begin;
    assert!(age > 99 * SECOND && age < 122 * SECOND, "{age:?}");
    drop(sender);
    let _ = timeout(SECOND, ended).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn connection_without_requests_ends_after_its_idle_time() {
    let limits = ConnectionLimits::builder().max_idle(10 * SECOND).build();
    let mut server = start(limits.unwrap());
    let (mut sender, ended) = server.http2().await;
    for _ in 0..5 {
        sleep(9 * SECOND).await;
        get(&mut sender, "/").await.unwrap();
    }
    // A request that takes longer than the idle time is none.
    let mut waiting = sender.clone();
    let waiting = tokio::spawn(async move { get(&mut waiting, "/wait").await });
    sleep(60 * SECOND).await;
    assert!(!ended.is_finished());
    server.open.notify_one();
    waiting.await.unwrap().unwrap();
    let begin = now();
    timeout(60 * SECOND, ended).await.unwrap().unwrap().unwrap();
    let idle = now() - begin;
    assert!(idle > 9 * SECOND && idle < 12 * SECOND, "{idle:?}");
}

#[tokio::test(start_paused = true)]
async fn connections_above_the_limit_wait_for_others_to_end() {
    let limits = ConnectionLimits::builder().max_connections(2).build();
    let mut server = start(limits.unwrap());
    let (mut first, _) = server.http2().await;
    let (mut second, _) = server.http2().await;
    get(&mut first, "/").await.unwrap();
    get(&mut second, "/").await.unwrap();
    let (mut third, _) = server.http2().await;
    let mut waiting = tokio::spawn(async move { get(&mut third, "/").await });
    timeout(20 * SECOND, &mut waiting).await.unwrap_err();
    get(&mut second, "/").await.unwrap();
    drop(first);
    timeout(SECOND, waiting).await.unwrap().unwrap().unwrap();
}

/// One of several servers on the same socket.
struct Shift {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// How many requests it has handled.
    handled: Arc<AtomicUsize>,
}

impl Shift {
    fn start(incoming: KcpIncoming) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let handled = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&handled);
        let server = serve_fn(incoming, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async {
                sleep(Duration::from_millis(50)).await;
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        });
        let server = server.with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
        let task = tokio::spawn(async { server.await.unwrap() });
        Self {
            stop,
            task,
            handled,
        }
    }

    async fn stop(self) -> usize {
        drop(self.stop);
        timeout(10 * SECOND, self.task).await.unwrap().unwrap();
        self.handled.load(Ordering::Relaxed)
    }
}

/// Sends a request until no GOAWAY refuses it: such a request was not handled (RFC 9113, section 6.8),
/// and hyper leaves sending it again to its user.
async fn get_once(client: &HttpClient, addr: SocketAddr) {
    loop {
        let error = match client.get(format!("http://{addr}/").parse().unwrap()).await {
            Ok(response) => {
                response.into_body().collect().await.unwrap();
                return;
            }
            Err(error) => error,
        };
        let cause = error.source().unwrap();
        let unsent = cause.downcast_ref::<hyper::Error>().unwrap().is_canceled();
        let refused = cause.source().and_then(|it| it.downcast_ref::<h2::Error>());
        let refused = refused.filter(|it| it.is_go_away() && it.is_remote());
        let reason = refused.and_then(h2::Error::reason);
        assert!(unsent || reason == Some(h2::Reason::NO_ERROR), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn next_server_takes_over_and_each_request_is_handled_once() {
    let setup = Setup::plaintext();
    let network = Network::new(Link::LAN);
    let host = network.host();
    let addr = host.addr();
    let incoming = setup.incoming_on(host);
    let mut shift = Shift::start(incoming.clone());
    let client = support::client(&setup.connector_in(&network), true);
    let mut requests = JoinSet::new();
    for i in 0..1000 {
        let client = client.clone();
        requests.spawn(async move {
            sleep(Duration::from_millis(2 * i)).await;
            get_once(&client, addr).await;
        });
    }
    let mut handled = Vec::new();
    for _ in 0..2 {
        sleep(Duration::from_millis(700)).await;
        let next = Shift::start(incoming.clone());
        handled.push(shift.stop().await);
        shift = next;
    }
    assert_eq!(requests.join_all().await.len(), 1000);
    // The last one closes the socket.
    drop(incoming);
    handled.push(shift.stop().await);
    assert!(handled.iter().all(|handled| *handled > 200), "{handled:?}");
    assert_eq!(handled.iter().sum::<usize>(), 1000);
    let late = setup.connector_in(&network).call(addr).await;
    late.unwrap_err();
}
