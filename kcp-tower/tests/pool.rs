//! The pool of hyper-util's client over a connector, in a network in memory and in virtual time.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use kcp_tower::{Config, KcpConnectInfo, KcpConnector, PoisonLayer};
use support::network::{Link, Network};
use support::{Setup, serve_fn};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service};

const SECOND: Duration = Duration::from_secs(1);

type HttpClient = Client<KcpConnector, Empty<Bytes>>;

fn info(response: &Response<Incoming>) -> KcpConnectInfo {
    let info = response.extensions().get::<KcpConnectInfo>();
    info.unwrap().clone()
}

struct Pooled {
    network: Network,
    setup: Setup,
    addr: SocketAddr,
    connector: KcpConnector,
    client: HttpClient,
}

impl Pooled {
    fn new(config: Config, http2: bool) -> Self {
        let network = Network::new(Link::LAN);
        let setup = Setup {
            config,
            ..Setup::plaintext()
        };
        let connector = setup.connector_in(&network);
        let mut builder = connector.client_builder();
        let client = builder.http2_only(http2).build(connector.clone());
        Self {
            addr: network.host().addr(),
            network,
            setup,
            connector,
            client,
        }
    }

    /// Starts a server, whose predecessor at the same address vanishes.
    fn serve<F, R>(&self, handle: F) -> AbortHandle
    where
        F: FnMut(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
    {
        let host = self.network.host_at(self.addr);
        let serving = serve_fn(self.setup.incoming_on(host), handle);
        tokio::spawn(serving.into_future()).abort_handle()
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let request = Request::get(format!("http://{}/", self.addr));
        request.body(Empty::new()).unwrap()
    }

    /// The conversation that a request was answered over.
    async fn get(&self) -> u32 {
        let response = self.client.request(self.request()).await.unwrap();
        let conversation = info(&response).conversation().get();
        response.into_body().collect().await.unwrap();
        conversation
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

#[tokio::test(start_paused = true)]
async fn idle_connection_is_used_again_until_its_idle_time_is_over() {
    for http2 in [false, true] {
        let pooled = Pooled::new(Config::default(), http2);
        pooled.serve(hello);
        let first = pooled.get().await;
        sleep(20 * SECOND).await;
        assert_eq!(pooled.get().await, first);
        sleep(40 * SECOND).await;
        assert_eq!(pooled.connector.connections().len(), 0);
        assert_ne!(pooled.get().await, first);
    }
}

#[tokio::test(start_paused = true)]
async fn ended_connection_is_not_handed_out_again() {
    for http2 in [false, true] {
        let config = Config::builder()
            .keepalive(SECOND / 5)
            .user_timeout(SECOND / 2)
            .idle_timeout(SECOND)
            .build();
        let pooled = Pooled::new(config.unwrap(), http2);
        let first = pooled.serve(hello);
        let before = pooled.get().await;
        pooled.network.unplug(pooled.addr);
        first.abort();
        pooled.serve(hello);
        // The transport gives the peer up.
        sleep(3 * SECOND).await;
        assert_eq!(pooled.connector.connections().len(), 0);
        assert_ne!(pooled.get().await, before);
    }
}

/// A server that answers nothing on its first connection.
#[tokio::test(start_paused = true)]
async fn suspect_connection_is_not_handed_out_again_once_it_is_poisoned() {
    let pooled = Pooled::new(Config::default(), true);
    let stuck = Arc::<AtomicUsize>::default();
    pooled.serve(move |request: Request<Incoming>| {
        let info = request.extensions().get::<KcpConnectInfo>().unwrap();
        let conversation = info.conversation().get() as usize;
        let first = stuck.compare_exchange(0, conversation, Ordering::Relaxed, Ordering::Relaxed);
        let first = first.is_ok_and(|_| true) || first == Err(conversation);
        async move {
            if first {
                pending::<()>().await;
            }
            Ok(Response::new(Full::from("hello")))
        }
    });
    for poison in [false, true] {
        let mut request = pooled.request();
        let captured = capture_connection(&mut request);
        let answer = timeout(SECOND, pooled.client.request(request)).await;
        assert!(answer.is_err(), "the same connection is used again");
        if poison {
            let metadata = captured.connection_metadata();
            metadata.as_ref().unwrap().poison();
        }
    }
    pooled.get().await;
}

/// A client whose network is gone keeps a connection in its pool that looks open.
#[tokio::test(start_paused = true)]
async fn requests_get_another_connection_once_the_peer_of_theirs_is_silent() {
    let pooled = Pooled::new(Config::default(), true);
    pooled.serve(|_| async { Ok(Response::new(Full::from("hello"))) });
    let client = PoisonLayer::new().layer(pooled.client.clone());
    let send = || {
        let (mut client, request) = (client.clone(), pooled.request());
        async move { client.call(request).await.map(|it| info(&it)) }
    };
    let first = send().await.unwrap();
    pooled.network.unplug(first.local_addr().unwrap());
    let waiting = tokio::spawn(send());
    // Quiet for less than 3 s, which a path may be.
    sleep(2 * SECOND).await;
    let early = timeout(SECOND / 2, send()).await;
    assert!(early.is_err(), "the same connection is used");
    sleep(SECOND).await;
    let other = timeout(SECOND, send()).await.unwrap().unwrap();
    assert_ne!(other.conversation(), first.conversation());
    assert!(!waiting.is_finished(), "it may yet be answered");
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn connection_whose_server_takes_long_stays_in_the_pool() {
    let pooled = Pooled::new(Config::default(), true);
    pooled.serve(|_| async {
        sleep(15 * SECOND).await;
        Ok(Response::new(Full::from("hello")))
    });
    let mut client = PoisonLayer::new().layer(pooled.client.clone());
    let mut conversations = HashSet::new();
    for _ in 0..2 {
        let response = client.call(pooled.request()).await.unwrap();
        conversations.insert(info(&response).conversation().get());
    }
    assert_eq!(conversations.len(), 1);
}
