//! Channels that watch the health of their servers, in a network in memory and in virtual time.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use kcp_tonic::balance::EndpointStats;
use kcp_tonic::{KcpChannel, KcpChannelBuilder};
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::network::{Link, Network};
use support::{Hello, Setup, hello};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic_health::ServingStatus::{self, NotServing, Serving};
use tonic_health::server::HealthReporter;

/// Longer than any pause of a watch that was reset, in virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

const SERVICE: &str = "helloworld.Greeter";

struct Servers {
    setup: Setup,
    network: Network,
}

impl Servers {
    fn new() -> Self {
        Self {
            setup: Setup::impatient(),
            network: Network::new(Link::LAN),
        }
    }

    /// Starts a server with a health service, on a new host or on one that was there before.
    async fn start(&self, name: &'static str, addr: Option<SocketAddr>) -> Server {
        let host = match addr {
            Some(addr) => self.network.host_at(addr),
            None => self.network.host(),
        };
        let addr = host.addr();
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(SERVICE, Serving).await;
        let router = kcp_tonic::server_builder()
            .add_service(GreeterServer::new(Hello::named(name)))
            .add_service(health);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = kcp_tonic::serve(self.setup.incoming_on(host), router)
            .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
        let task = tokio::spawn(serving.into_future());
        Server {
            addr,
            reporter,
            stop,
            task,
        }
    }

    fn watching(&self, service: &str) -> KcpChannelBuilder {
        self.setup
            .connecting_in(&self.network)
            .watch_health(service)
    }
}

struct Server {
    addr: SocketAddr,
    reporter: HealthReporter,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn report(&self, status: ServingStatus) {
        self.reporter.set_service_status(SERVICE, status).await;
    }
}

fn list<const N: usize>(servers: [&Server; N]) -> [String; N] {
    servers.map(|it| format!("kcp://{}", it.addr))
}

fn endpoint(channel: &KcpChannel, at: usize) -> EndpointStats {
    channel.balance_stats().unwrap().endpoints[at].clone()
}

/// Waits until the channel knows of the health of a server.
async fn until_healthy(channel: &KcpChannel, at: usize, healthy: bool) {
    let known = async {
        while endpoint(channel, at).unhealthy.is_none() != healthy {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, known).await.unwrap();
}

async fn name(client: &mut GreeterClient<KcpChannel>) -> String {
    let reply = client.say_hello(hello("server name")).await.unwrap();
    reply.into_inner().message
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_serve_gets_no_new_calls_until_it_serves_again() {
    let servers = Servers::new();
    let one = servers.start("one", None).await;
    let two = servers.start("two", None).await;
    let channel = servers.watching(SERVICE).connect_list(list([&one, &two]));
    let channel = channel.unwrap();
    let mut client = GreeterClient::new(channel.clone());
    assert_eq!(name(&mut client).await, "one");
    assert_eq!(name(&mut client).await, "two");
    let replies = client.lots_of_replies(hello("x")).await.unwrap();
    assert_eq!(endpoint(&channel, 0).in_flight, 1);

    one.report(NotServing).await;
    until_healthy(&channel, 0, false).await;
    for _ in 0..4 {
        assert_eq!(name(&mut client).await, "two");
    }
    assert_eq!(replies.into_inner().count().await, 10_000);

    two.report(NotServing).await;
    until_healthy(&channel, 1, false).await;
    let status = client.say_hello(hello("server name")).await.unwrap_err();
    let text = format!(
        "no usable endpoint: {} is unhealthy (it reports NOT_SERVING), \
         {} is unhealthy (it reports NOT_SERVING)",
        one.addr, two.addr
    );
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, &*text)
    );

    one.report(Serving).await;
    until_healthy(&channel, 0, true).await;
    assert_eq!(name(&mut client).await, "one");
}

#[tokio::test(start_paused = true)]
async fn calls_use_the_connection_of_the_watch() {
    let servers = Servers::new();
    let one = servers.start("one", None).await;
    let channel = servers.watching("").connect_list(list([&one])).unwrap();
    one.reporter.set_service_status("", NotServing).await;
    until_healthy(&channel, 0, false).await;
    one.reporter.set_service_status("", Serving).await;
    until_healthy(&channel, 0, true).await;
    let mut client = GreeterClient::new(channel.clone());
    assert_eq!(name(&mut client).await, "one");
    assert_eq!(channel.connections().len(), 1);
    assert_eq!(endpoint(&channel, 0).in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn server_without_a_health_service_counts_as_serving() {
    let servers = Servers::new();
    let host = servers.network.host();
    let list = [format!("kcp://{}", host.addr())];
    let incoming = servers.setup.incoming_on(host);
    tokio::spawn(support::serve(incoming, Hello::named("plain")));
    let channel = servers.watching(SERVICE).connect_list(list).unwrap();
    let mut client = GreeterClient::new(channel.clone());
    for _ in 0..10 {
        assert_eq!(name(&mut client).await, "plain");
        sleep(Duration::from_secs(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn service_that_the_server_does_not_know_is_not_served() {
    let servers = Servers::new();
    let one = servers.start("one", None).await;
    let channel = servers.watching("no.Such").connect_list(list([&one]));
    let channel = channel.unwrap();
    until_healthy(&channel, 0, false).await;
    let problem = "its health check failed: NotFound: service not registered";
    assert_eq!(endpoint(&channel, 0).unhealthy.as_deref(), Some(problem));
    one.reporter.set_service_status("no.Such", Serving).await;
    until_healthy(&channel, 0, true).await;
}

#[tokio::test(start_paused = true)]
async fn server_that_was_replaced_is_watched_again() {
    let servers = Servers::new();
    let one = servers.start("one", None).await;
    let channel = servers.watching(SERVICE).connect_list(list([&one]));
    let channel = channel.unwrap();
    one.report(NotServing).await;
    until_healthy(&channel, 0, false).await;
    servers.network.unplug(one.addr);
    one.task.abort();
    let next = servers.start("next", Some(one.addr)).await;
    until_healthy(&channel, 0, true).await;
    let mut client = GreeterClient::new(channel.clone());
    assert_eq!(name(&mut client).await, "next");
    next.report(NotServing).await;
    until_healthy(&channel, 0, false).await;
}

#[tokio::test(start_paused = true)]
async fn watch_does_not_hold_up_a_server_that_drains_its_connections() {
    let servers = Servers::new();
    let one = servers.start("one", None).await;
    let channel = servers.watching(SERVICE).connect_list(list([&one]));
    let channel = channel.unwrap();
    let mut client = GreeterClient::new(channel.clone());
    assert_eq!(name(&mut client).await, "one");
    let begin = support::now();
    one.stop.send(()).unwrap();
    one.task.await.unwrap().unwrap();
    // The drain time-out is 30 s.
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}
