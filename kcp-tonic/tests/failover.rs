//! Channels over several servers, some of which fail.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcp_tonic::balance::{Ejection, EndpointStats};
use kcp_tonic::{Failure, KcpChannel, KcpChannelBuilder};
use support::helloworld::greeter_client::GreeterClient;
use support::network::{Link, Network};
use support::{Hello, Setup, hello};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};

/// Far longer than the time-outs of [`Setup::impatient`], far shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(20);

const SAY_HELLO: &str = "/helloworld.Greeter/SayHello";

async fn say(client: &mut GreeterClient<KcpChannel>, name: &str) -> Result<String, Status> {
    let call = timeout(PATIENCE, client.say_hello(hello(name)));
    Ok(call.await.unwrap()?.into_inner().message)
}

fn over(connecting: KcpChannelBuilder, addresses: &[SocketAddr]) -> GreeterClient<KcpChannel> {
    let list = addresses.iter().map(|addr| format!("kcp://{addr}"));
    GreeterClient::new(connecting.connect_list(list).unwrap())
}

fn failover(connecting: KcpChannelBuilder) -> KcpChannelBuilder {
    let failure = Failure::failover().tries(6).budget(1.0, 100);
    let connecting = connecting.ejection(Ejection::off());
    connecting.failure(failure).idempotent([SAY_HELLO])
}

/// Servers in a network in memory, which can be killed and started again.
struct Servers {
    setup: Setup,
    network: Network,
    running: HashMap<SocketAddr, AbortHandle>,
}

impl Servers {
    fn new() -> Self {
        Self {
            setup: Setup::impatient(),
            network: Network::new(Link::LAN),
            running: HashMap::new(),
        }
    }

    /// An address at which nothing listens yet.
    fn free_addr(&self) -> SocketAddr {
        self.network.host().addr()
    }

    fn start(&mut self, addr: SocketAddr, greeter: Hello) {
        let incoming = self.setup.incoming_on(self.network.host_at(addr));
        let server = tokio::spawn(support::serve(incoming, greeter));
        self.running.insert(addr, server.abort_handle());
    }

    /// Ends a server without a word to its clients.
    fn kill(&mut self, addr: SocketAddr) {
        self.network.unplug(addr);
        self.running.remove(&addr).unwrap().abort();
    }

    fn connecting(&self) -> KcpChannelBuilder {
        self.setup.connecting_in(&self.network)
    }
}

/// Waits until the channel has found all its servers again. The time is virtual.
async fn all_reachable(channel: &KcpChannel) {
    let found = |it: &EndpointStats| it.unreachable.is_none() && !it.ejected;
    while !channel.balance_stats().unwrap().endpoints.iter().all(found) {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_answered_while_servers_are_killed_and_started() {
    let mut servers = Servers::new();
    let addresses = [(); 3].map(|()| servers.free_addr());
    for addr in addresses {
        servers.start(addr, Hello::default());
    }
    let list = addresses.map(|addr| format!("kcp://{addr}"));
    let channel = failover(servers.connecting()).connect_list(list).unwrap();
    let client = GreeterClient::new(channel.clone());
    for victim in [0, 1, 2, 0] {
        let (begun, mut begins) = mpsc::unbounded_channel();
        let calls = || {
            let (mut client, begun) = (client.clone(), begun.clone());
            async move {
                for _ in 0..20 {
                    let _ = begun.send(());
                    assert_eq!(say(&mut client, "x").await.unwrap(), "Hello x!");
                }
            }
        };
        let running: JoinSet<()> = (0..10).map(|_| calls()).collect();
        // In the middle of them.
        for _ in 0..100 {
            begins.recv().await.unwrap();
        }
        servers.kill(addresses[victim]);
        running.join_all().await;
        servers.start(addresses[victim], Hello::default());
        timeout(PATIENCE, all_reachable(&channel)).await.unwrap();
    }
    let stats = channel.balance_stats().unwrap();
    assert!(stats.retries > 0, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn call_that_found_no_connection_is_sent_elsewhere_whatever_it_is() {
    let mut servers = Servers::new();
    let addresses = [(); 2].map(|()| servers.free_addr());
    servers.start(addresses[1], Hello::named("alive"));
    let connecting = servers.connecting().failure(Failure::failover());
    let mut client = over(connecting, &addresses);
    for _ in 0..4 {
        assert_eq!(say(&mut client, "server name").await.unwrap(), "alive");
    }
    // A stream of requests too.
    let greetings = tokio_stream::iter(["a", "bc"].map(hello));
    let reply = client.lots_of_greetings(greetings).await.unwrap();
    assert_eq!(reply.into_inner().message, "3");
}

#[tokio::test(start_paused = true)]
async fn dead_servers_fail_calls_at_once_until_one_is_back() {
    let mut servers = Servers::new();
    let addresses = [(); 2].map(|()| servers.free_addr());
    let mut client = over(failover(servers.connecting()), &addresses);
    say(&mut client, "x").await.unwrap_err();
    let status = say(&mut client, "x").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let text = status.message();
    assert!(text.starts_with("no usable endpoint: "), "{text}");
    let unreachable = format!("{} is unreachable", addresses[1]);
    assert!(text.contains(&unreachable), "{text}");

    servers.start(addresses[1], Hello::named("back"));
    let answered = async {
        loop {
            match say(&mut client, "server name").await {
                Ok(name) => return name,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    assert_eq!(timeout(PATIENCE, answered).await.unwrap(), "back");
}

#[tokio::test]
async fn unavailable_from_the_server_repeats_idempotent_calls_only() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::named("busy")).await;
    for (methods, tries) in [("/helloworld.Other/", 1), ("/helloworld.Greeter/", 3)] {
        let connecting = setup.connecting().failure(Failure::failtry());
        let connecting = connecting.idempotent([methods]);
        let channel = connecting.connect_list([format!("kcp://{addr}")]).unwrap();
        let mut client = GreeterClient::new(channel.clone());
        let status = say(&mut client, "unavailable").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.message(), "busy");
        let stats = channel.balance_stats().unwrap();
        assert_eq!(stats.endpoints[0].tries, tries);
        // An answer to a call that is sent once is not read to its end before it is passed on, but
        // this one is a head only.
        let unavailable = Code::Unavailable as u8;
        assert_eq!(stats.endpoints[0].codes, [(unavailable, tries)].into());
    }
}

#[tokio::test]
async fn headers_can_be_added_to_each_try() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::named("busy")).await;
    let count = Arc::new(AtomicU64::new(0));
    let connecting = failover(setup.connecting()).try_headers({
        let count = Arc::clone(&count);
        move |headers| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let value = format!("{number}S").parse().unwrap();
            headers.insert("grpc-timeout", value);
        }
    });
    let mut client = over(connecting, &[addr]);
    assert_eq!(say(&mut client, "timeout").await.unwrap(), "1S");
    say(&mut client, "unavailable").await.unwrap_err();
    assert_eq!(count.load(Ordering::Relaxed), 7, "six tries more");
    assert_eq!(say(&mut client, "timeout").await.unwrap(), "8S");
}

#[tokio::test]
async fn call_to_a_stuck_server_is_given_up_and_sent_to_another() {
    let setup = Setup::plaintext();
    let stuck = Hello {
        stuck: true,
        ..Hello::default()
    };
    let servers = [
        setup.serve(stuck.clone()).await,
        setup.serve(Hello::named("two")).await,
    ];
    let connecting = setup.connecting().idempotent([SAY_HELLO]);
    let failure = Failure::failover().try_timeout(Duration::from_millis(100));
    let mut client = over(connecting.failure(failure), &servers);
    assert_eq!(say(&mut client, "server name").await.unwrap(), "two");
    timeout(PATIENCE, stuck.cancelled.notified()).await.unwrap();
}

#[tokio::test]
async fn hedge_is_answered_by_the_other_server_and_cancels_the_call() {
    let setup = Setup::plaintext();
    let stuck = Hello {
        stuck: true,
        ..Hello::default()
    };
    let addresses = [
        setup.serve(stuck.clone()).await,
        setup.serve(Hello::named("quick")).await,
    ];
    let failure = Failure::failbackup(Duration::from_millis(20)).budget(1.0, 10);
    let connecting = setup.connecting().failure(failure);
    let list = addresses.map(|addr| format!("kcp://{addr}"));
    let connecting = connecting.idempotent_if(|path| path == SAY_HELLO);
    let channel = connecting.connect_list(list).unwrap();
    let mut client = GreeterClient::new(channel.clone());
    assert_eq!(say(&mut client, "server name").await.unwrap(), "quick");
    let stats = channel.balance_stats().unwrap();
    assert_eq!((stats.requests, stats.retries, stats.hedges), (1, 0, 1));
    let succeeded = stats.endpoints.iter().map(|it| (it.tries, it.succeeded));
    assert_eq!(succeeded.collect::<Vec<_>>(), [(1, 0), (1, 1)]);
    assert!(stats.endpoints[1].link.is_some());
    stuck.waiting.notified().await;
    timeout(PATIENCE, stuck.cancelled.notified()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_a_connection_is_hedged() {
    let mut servers = Servers::new();
    let addresses = [(); 2].map(|()| servers.free_addr());
    servers.start(addresses[1], Hello::named("alive"));
    let failure = Failure::failbackup(Duration::from_millis(20));
    let connecting = servers.connecting().failure(failure);
    let connecting = connecting.idempotent([SAY_HELLO]);
    let begin = support::now();
    let mut client = over(connecting, &addresses);
    assert_eq!(say(&mut client, "server name").await.unwrap(), "alive");
    // Connecting to the other one would be given up after 500 ms.
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn rest_of_the_time_is_sent_and_kept() {
    let setup = Setup::plaintext();
    let stuck = Hello {
        stuck: true,
        ..Hello::default()
    };
    let addr = setup.serve(stuck).await;
    let connecting = failover(setup.connecting()).timeout(Duration::from_secs(60));
    let mut client = over(connecting, &[addr]);
    let sent = say(&mut client, "timeout").await.unwrap();
    let micros: u32 = sent.trim_end_matches('u').parse().unwrap();
    assert!((1..=60_000_000).contains(&micros), "{micros}");

    // The call's own timeout is shorter.
    let mut request = Request::new(hello("timeout"));
    request.set_timeout(Duration::from_secs(50));
    let sent = client
        .say_hello(request)
        .await
        .unwrap()
        .into_inner()
        .message;
    let micros: u32 = sent.trim_end_matches('u').parse().unwrap();
    assert!((1..=50_000_000).contains(&micros), "{micros}");

    let connecting = failover(setup.connecting()).timeout(Duration::from_millis(100));
    let status = say(&mut over(connecting, &[addr]), "server name")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn server_that_answers_errors_is_ejected() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::named("busy")).await;
    let breaker = Ejection::circuit_breaker(3, Duration::from_secs(600));
    let mut client = over(setup.connecting().ejection(breaker), &[addr]);
    for _ in 0..3 {
        let status = say(&mut client, "unavailable").await.unwrap_err();
        assert_eq!(status.message(), "busy");
    }
    let status = say(&mut client, "x").await.unwrap_err();
    let text = format!("no usable endpoint: {addr} is ejected after failures");
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, &*text)
    );
}
