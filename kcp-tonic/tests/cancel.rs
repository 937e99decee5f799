//! Futures of channels and servers that are dropped at any point.
#![allow(clippy::unwrap_used)]

#[path = "../../kcp-transport/tests/cancel/harness.rs"]
#[allow(dead_code, reason = "shared with the transport's tests")]
mod harness;
mod support;

use std::time::Duration;

use futures_util::StreamExt;
use kcp_tonic::{KcpChannel, KcpIncoming, Security};
use kcp_tower::KcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use harness::{Case, real, sweep};
use support::helloworld::greeter_client::GreeterClient;
use support::{Hello, Setup, hello, loopback};

#[test]
fn bind_that_is_dropped_binds_nothing() {
    for (name, built) in [
        ("kcp_tonic::KcpIncoming::bind", false),
        ("kcp_tonic::KcpIncomingBuilder::bind", true),
    ] {
        sweep(name, 1, real, async |case: Case| {
            let security = Security::Plaintext;
            let incoming = if built {
                let binding = KcpIncoming::builder(&security).bind(loopback());
                case.drive(binding).await
            } else {
                case.drive(KcpIncoming::bind(loopback(), &security)).await
            };
            let alive = Handle::current().metrics().num_alive_tasks();
            assert_eq!(alive, usize::from(incoming.is_some()));
            assert!(case.polls == 0 || incoming.is_some(), "bind has waited");
            incoming.is_some()
        });
    }
}

#[test]
fn connect_that_is_dropped_leaves_nothing_and_can_be_repeated() {
    for (name, built) in [
        ("KcpChannel::connect", false),
        ("KcpChannelBuilder::connect", true),
    ] {
        sweep_connect(name, built);
    }
}

fn sweep_connect(name: &str, built: bool) {
    sweep(name, 1, real, async |case: Case| {
        let setup = Setup::impatient();
        let addr = setup.serve(Hello::default()).await;
        let before = Handle::current().metrics().num_alive_tasks();
        let destination = format!("kcp://{addr}");
        let connected = if built {
            let connecting = setup.connecting().connect(destination.clone());
            case.drive(connecting).await
        } else {
            let connecting = KcpChannel::connect(destination.clone(), &Security::Plaintext);
            case.drive(connecting).await
        };
        let done = connected.is_some();
        drop(connected.map(Result::unwrap));
        let gone = async {
            // Both sides' sessions end by their own time-outs.
            while Handle::current().metrics().num_alive_tasks() > before {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let gone = timeout(Duration::from_secs(10), gone).await;
        gone.expect("tasks of a connection that was given up");
        let again = setup.connecting().connect(destination).await;
        let mut client = GreeterClient::new(again.unwrap());
        let reply = client.say_hello(hello("x")).await.unwrap();
        assert_eq!(reply.into_inner().message, "Hello x!");
        done
    });
}

#[cfg(feature = "etcd")]
#[test]
fn wait_for_a_registration_that_is_dropped_changes_nothing() {
    use kcp_tonic::balance::Endpoint;
    use kcp_tonic::etcd::Etcd;

    sweep("Registration::registered", 1, real, async |case: Case| {
        // Refuses connections, since it does not listen.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(loopback()).unwrap();
        let uri = format!("http://{}", socket.local_addr().unwrap());
        let channel = tonic::transport::Endpoint::from_shared(uri).unwrap();
        let etcd = Etcd::new(channel.connect_lazy(), "/greeter");
        let endpoint = Endpoint::parse("kcp://10.0.0.1:4000").unwrap();
        let registration = etcd.register(endpoint, Duration::from_secs(2));
        let waited = case.drive(registration.registered()).await;
        assert!(waited.as_ref().is_none_or(Result::is_err), "{waited:?}");
        let error = registration.registered().await.unwrap_err();
        assert!(error.to_string().starts_with("etcd: "), "{error}");
        waited.is_some()
    });
}

/// Any number of calls are given up at any point; the connection goes on for others.
#[test]
fn call_that_is_dropped_harms_no_other_on_its_connection() {
    sweep("GreeterClient::say_hello", 1, real, async |case: Case| {
        let setup = Setup::plaintext();
        let addr = setup.serve(Hello::default()).await;
        let mut client = setup.client(addr).await;
        let reply = case.drive(client.say_hello(hello("x"))).await;
        let done = reply.is_some();
        drop(reply.map(Result::unwrap));
        let reply = client.say_hello(hello("y")).await.unwrap();
        assert_eq!(reply.into_inner().message, "Hello y!");
        drop(client);
        done
    });
}

/// The second and third names are those of the functions of kcp-tower that the first one awaits.
#[test]
fn calls_of_all_servers_that_are_dropped_are_cancelled() {
    const INFORM: [&str; 3] = ["KcpChannel::inform", "Balance::each", "kcp_tower::inform"];
    const BROADCAST: [&str; 2] = ["KcpChannel::broadcast", "kcp_tower::broadcast"];
    const FORK: [&str; 2] = ["KcpChannel::fork", "kcp_tower::fork"];
    for name in [INFORM[0], BROADCAST[0], FORK[0]] {
        sweep(name, 1, real, async |case: Case| {
            let setup = Setup::plaintext();
            let servers = [
                setup.serve(Hello::default()).await,
                setup.serve(Hello::default()).await,
            ];
            let list = servers.map(|addr| format!("kcp://{addr}"));
            let channel = setup.connecting().connect_list(list).unwrap();
            let call = |server| async move {
                let mut client = GreeterClient::new(server);
                client.say_hello(hello("x")).await
            };
            let answers = match name {
                "KcpChannel::inform" => {
                    let answers = case.drive(channel.inform(call)).await;
                    answers.map(|answers| answers.unwrap().len())
                }
                "KcpChannel::broadcast" => {
                    let answers = case.drive(channel.broadcast(call)).await;
                    answers.map(|answers| answers.unwrap().len())
                }
                _ => {
                    let answer = case.drive(channel.fork(call)).await;
                    answer.map(|answer| usize::from(answer.is_ok()))
                }
            };
            assert_eq!(channel.stats().open, 0);
            let mut client = GreeterClient::new(channel);
            let reply = client.say_hello(hello("y")).await.unwrap();
            assert_eq!(reply.into_inner().message, "Hello y!");
            answers.is_some_and(|answers| answers > 0)
        });
    }
}

#[test]
fn next_connection_is_not_lost_with_the_future_that_waited_for_it() {
    sweep(
        "kcp_tonic::KcpIncoming::poll_next",
        2,
        real,
        async |case: Case| {
            let mut incoming = Setup::plaintext().incoming(loopback()).await.unwrap();
            let addr = incoming.local_addr().unwrap();
            let connecting = tokio::spawn(async move {
                sleep(Duration::from_millis(3)).await;
                KcpStream::connect(addr, &Security::Plaintext).await
            });
            let accepted = case.drive(incoming.next()).await;
            let done = accepted.is_some();
            let accepted = match accepted {
                Some(accepted) => accepted,
                None => incoming.next().await,
            };
            let mut server = accepted.unwrap().unwrap();
            let mut client = connecting.await.unwrap().unwrap();
            client.write_all(b"hello").await.unwrap();
            client.flush().await.unwrap();
            let mut received = [0; 5];
            server.read_exact(&mut received).await.unwrap();
            assert_eq!(&received, b"hello");
            drop(incoming);
            done
        },
    );
}
