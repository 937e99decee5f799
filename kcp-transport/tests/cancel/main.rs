//! Futures that are dropped at any point, tasks that move, threads that block, and runtimes that
//! end: none of these loses a byte, a connection or a wake-up.
#![allow(clippy::disallowed_methods)]

mod blocked;
mod coverage;
mod ending;
mod harness;
mod messages;
#[allow(dead_code, reason = "shared with other tests")]
mod network;
mod opening;
mod runtimes;
mod streams;
mod waiting;
mod wakers;

use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};

use network::{Host, Network};

/// A connection over a network in memory.
struct Pair {
    client: KcpStream,
    server: KcpStream,
    listener: KcpListener,
}

/// Seed 0 loses nothing, every other one a fifth.
fn network(seed: u64) -> Network {
    let loss = if seed == 0 { 0.0 } else { 0.2 };
    Network::new(seed, loss, LATENCY)
}

fn listen(network: &Network, config: &Config) -> (Arc<Host>, KcpListener) {
    let host = network.host();
    let listener = KcpListener::builder(&Security::Plaintext)
        .config(config)
        .on_transport(host.clone());
    (host, listener.expect("in range"))
}

async fn pair(seed: u64, config: &Config) -> Pair {
    let network = network(seed);
    let (host, listener) = listen(&network, config);
    let (client, accepted) = tokio::join!(
        KcpStream::builder(&Security::Plaintext)
            .config(config)
            .transport(network.host())
            .connect(host.addr()),
        listener.accept(),
    );
    Pair {
        client: client.expect("connects"),
        server: accepted.expect("accepts").0,
        listener,
    }
}

/// Buffers so small that a writer soon waits.
fn small() -> Config {
    Config::builder()
        .send_buffer(16 * 1024)
        .receive_buffer(32 * 1024)
        .build()
        .expect("in range")
}

/// Bytes that show when one is missing or doubled.
fn pattern(len: usize) -> Vec<u8> {
    let word = |index: usize| (index as u32).to_le_bytes();
    (0..len).map(|index| word(index / 4)[index % 4]).collect()
}

/// One way.
const LATENCY: Duration = Duration::from_millis(5);

/// Seeds of an operation on an open connection, and fates of the packets that open one.
const SEEDS: u64 = 20;
