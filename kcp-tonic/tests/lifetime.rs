//! What is left of calls and connections when a peer vanishes, hangs, is slow or gives up.
//!
//! Clients, servers and the network run on one thread, whose memory the allocator counts.
#![allow(clippy::unwrap_used)]

#[path = "../../kcp-transport/tests/allocator/mod.rs"]
mod allocator;
mod support;

use std::io;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kcp_tonic::KcpChannel;
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::network::{Link, Network};
use support::{Hello, Setup, hello};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};

use allocator::held;

const SECOND: Duration = Duration::from_secs(1);

/// The idle time-out of [`Setup::impatient`], the longest that it has, and what a probe may add.
const TIME_OUTS: Duration = Duration::from_secs(2);

/// A greeter and a channel to it, in a network in memory.
struct Pair {
    network: Network,
    greeter: Hello,
    channel: KcpChannel,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Pair {
    async fn start(setup: &Setup, drain_timeout: impl Into<Option<Duration>>) -> Self {
        let network = Network::new(Link::LAN);
        let host = network.host();
        let destination = format!("kcp://{}", host.addr());
        let incoming = setup.incoming_on(host);
        let greeter = Hello::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = incoming
            .server_builder()
            .add_service(GreeterServer::new(greeter.clone()));
        let server = kcp_tonic::serve(incoming, router)
            .with_graceful_shutdown(async { stopped.await.unwrap_or_default() })
            .drain_timeout(drain_timeout);
        let server = tokio::spawn(server.into_future());
        let connecting = setup.connecting_in(&network).connect(destination);
        let channel = connecting.await.unwrap();
        Self {
            network,
            greeter,
            channel,
            stop,
            server,
        }
    }

    fn client(&self) -> GreeterClient<KcpChannel> {
        GreeterClient::new(self.channel.clone())
    }

    /// One call of each kind, which the server has and does not end. A call ends with its error.
    async fn open_calls(&self) -> JoinSet<Status> {
        let mut calls = JoinSet::new();
        let mut client = self.client();
        calls.spawn(async move { client.say_hello(hello("wait")).await.unwrap_err() });
        self.greeter.waiting.notified().await;
        let mut client = self.client();
        let mut replies = client.lots_of_replies(hello("wait")).await.unwrap();
        replies.get_mut().message().await.unwrap().unwrap();
        calls.spawn(async move { replies.get_mut().message().await.unwrap_err() });
        let mut client = self.client();
        let greetings = stream::iter([hello("hold")]).chain(stream::pending());
        calls.spawn(async move { client.lots_of_greetings(greetings).await.unwrap_err() });
        let mut client = self.client();
        let greetings = stream::iter([hello("x")]).chain(stream::pending());
        let mut replies = client.bidi_hello(greetings).await.unwrap();
        replies.get_mut().message().await.unwrap().unwrap();
        calls.spawn(async move { replies.get_mut().message().await.unwrap_err() });
        calls
    }

    async fn check_stop(self, within: Duration) {
        self.stop.send(()).unwrap();
        let end = timeout(within, self.server).await;
        end.expect("shutdown hangs").unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_vanishes_fails_all_waiting_calls_within_the_time_outs() {
    let pair = Pair::start(&Setup::impatient(), None).await;
    let mut calls = pair.open_calls().await;
    pair.network.cut();
    let ended = async {
        while let Some(status) = calls.join_next().await {
            assert_eq!(status.unwrap().code(), Code::Unavailable);
        }
    };
    timeout(TIME_OUTS, ended).await.expect("a call still waits");
    sleep(SECOND).await;
    assert!(pair.channel.connections().is_empty());
    assert_eq!(pair.channel.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn client_that_vanishes_in_mid_stream_leaves_nothing_at_the_server() {
    let pair = Pair::start(&Setup::impatient(), None).await;
    let calls = pair.open_calls().await;
    pair.network.cut();
    sleep(TIME_OUTS).await;
    drop(calls);
    // Nothing to wait for: the session is gone too.
    pair.check_stop(SECOND / 2).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_peer_that_is_gone() {
    let pair = Pair::start(&Setup::impatient(), None).await;
    let _calls = pair.open_calls().await;
    pair.network.cut();
    // Without a drain time-out, the transport's bound it.
    pair.check_stop(TIME_OUTS + SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_stuck_calls_and_unread_streams_until_its_time_out() {
    let pair = Pair::start(&Setup::plaintext(), 10 * SECOND).await;
    let _calls = pair.open_calls().await;
    let mut client = pair.client();
    let unread = client.lots_of_replies(hello("flood")).await.unwrap();
    sleep(5 * SECOND).await;
    // Resets take up to three seconds more.
    pair.check_stop(14 * SECOND).await;
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_read_slowly_holds_bounded_memory_on_both_sides() {
    let pair = Pair::start(&Setup::plaintext(), None).await;
    let mut client = pair.client();
    client.say_hello(hello("x")).await.unwrap();
    let before = held();
    let mut replies = client.lots_of_replies(hello("flood")).await.unwrap();
    let (mut read, mut most) = (0, 0);
    while read < 64 << 20 {
        let reply = replies.get_mut().message().await.unwrap().unwrap();
        read += reply.message.len();
        if read % (1 << 20) == 0 {
            sleep(SECOND / 10).await;
        }
        most = most.max(held().saturating_sub(before));
    }
    // A window of HTTP/2 at the reader, and the buffers of the transport on both sides.
    assert!(most < 12 << 20, "{most} bytes");
}

/// A sequence that looks random, the same in each run.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// One call that ends in one of several ways: by its answer, its deadline or its drop.
async fn short_call(mut client: GreeterClient<KcpChannel>, kind: u64, after: Duration) {
    let name = if kind.is_multiple_of(2) { "x" } else { "wait" };
    let mut request = Request::new(hello(name));
    if kind.is_multiple_of(3) {
        request.set_timeout(after);
    }
    let call = async {
        match kind % 5 {
            0 => {
                let stream = client.lots_of_replies(request).await;
                if let Ok(mut replies) = stream {
                    while let Ok(Some(_)) = replies.get_mut().message().await {}
                }
            }
            1 => {
                let greetings = stream::repeat_with(|| hello("x".repeat(1000)));
                let _ = client.lots_of_greetings(greetings).await;
            }
            _ => drop(client.say_hello(request).await),
        }
    };
    let _ = timeout(after, call).await;
}

async fn give_up_calls(pair: &Pair, sequence: &mut Sequence, calls: usize) {
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let (kind, after) = (
            sequence.below(30),
            Duration::from_millis(sequence.below(50)),
        );
        running.spawn(short_call(pair.client(), kind, after));
        if running.len() >= 50 {
            running.join_next().await;
        }
    }
    running.join_all().await;
    // Resets arrive, and what HTTP/2 remembers of reset streams is forgotten.
    sleep(120 * SECOND).await;
}

/// The ids of the channel's connections.
fn conversations(channel: &KcpChannel) -> Vec<u32> {
    let connections = channel.connections();
    connections
        .iter()
        .map(|it| it.conversation().get())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_given_up_leave_nothing() {
    let pair = Pair::start(&Setup::plaintext(), None).await;
    let mut sequence = Sequence(1);
    // Grows what is kept for reuse.
    give_up_calls(&pair, &mut sequence, 5000).await;
    let conversation = conversations(&pair.channel);
    let handlers = std::sync::Arc::strong_count(&pair.greeter.waiting);
    let mut least = usize::MAX;
    for _ in 0..3 {
        let before = held();
        give_up_calls(&pair, &mut sequence, 10_000).await;
        least = least.min(held().saturating_sub(before));
    }
    // A table may double in one of the rounds. A byte string for each call would take more in all of them.
    assert!(least < 1 << 18, "{least} bytes in each round");
    assert_eq!(pair.channel.stats().open, 0);
    assert_eq!(conversations(&pair.channel), conversation);
    assert_eq!(
        std::sync::Arc::strong_count(&pair.greeter.waiting),
        handlers
    );
    pair.check_stop(SECOND).await;
}
