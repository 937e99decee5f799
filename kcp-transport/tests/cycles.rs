//! Connect, write, shut down, over and over, while a fifth of all packets is lost.
//!
//! A program of its own, because it measures the memory of its process.
//!
//! A thousand times by default. Ten thousand times, with a look at resident memory:
//!
//! ```text
//! KCP_CYCLES=10000 cargo test --release -p kcp-transport --test cycles -- --nocapture
//! ```
#![allow(clippy::disallowed_methods)]

#[path = "cancel/network.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod network;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::testing::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::sleep;

use network::Network;

/// What a cycle writes: its number, its length, and bytes that depend on both.
fn cargo(cycle: u32) -> Vec<u8> {
    let mut rng = Rng::new(u64::from(cycle));
    let len = rng.below(4_000) as u32;
    let mut cargo = [cycle.to_le_bytes(), len.to_le_bytes()].concat();
    cargo.extend((0..len).map(|_| rng.next_u32() as u8));
    cargo
}

/// How often the cargo of each cycle has come, whole.
type Arrivals = Arc<Mutex<HashMap<u32, u32>>>;

async fn unload(mut stream: KcpStream, arrivals: Arrivals) {
    let cycle = stream.read_u32_le().await.expect("reads");
    let wanted = cargo(cycle);
    let mut rest = vec![0; wanted.len() - 4];
    stream.read_exact(&mut rest).await.expect("reads");
    assert!(rest == wanted[4..], "cycle {cycle}: other bytes");
    let mut arrivals = arrivals.lock().expect("no panic under the lock");
    *arrivals.entry(cycle).or_default() += 1;
}

/// Gives up after far longer than a fifth of loss takes, ten thousand times over.
fn patient() -> Config {
    let long = Duration::from_secs(300);
    Config::builder()
        .connect_timeout(long)
        .user_timeout(long)
        .idle_timeout(long)
        .linger(long)
        .build()
        .expect("in range")
}

async fn cycle(network: &Network, listener: &KcpListener, number: u32) {
    let addr = listener.local_addr().expect("bound");
    let host = network.host();
    let stream = KcpStream::builder(&Security::Plaintext)
        .config(&patient())
        .transport(host)
        .connect(addr)
        .await;
    let mut stream = stream.expect("connects");
    stream.write_all(&cargo(number)).await.expect("writes");
    stream.shutdown().await.expect("drains");
}

/// Resident bytes of this process.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

#[tokio::test(start_paused = true)]
async fn cycles_at_a_fifth_of_loss_lose_no_byte_and_leave_no_session() {
    let cycles = std::env::var("KCP_CYCLES").map_or(1_000, |it| it.parse().expect("a number"));
    let network = Network::new(7, 0.2, LATENCY);
    let listener = KcpListener::builder(&Security::Plaintext)
        .config(&patient())
        .on_transport(network.host());
    let listener = Arc::new(listener.expect("in range"));
    let arrivals = Arrivals::default();
    let accepting = {
        let (listener, arrivals) = (Arc::clone(&listener), Arc::clone(&arrivals));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(unload(stream, Arc::clone(&arrivals)));
            }
        })
    };
    let mut early = None;
    for number in 0..cycles {
        cycle(&network, &listener, number).await;
        if number == 999 {
            early = resident();
        }
    }
    let late = resident();
    let busy = listener.stats();
    // A dropped session lingers for seconds after its peer's last packet.
    sleep(Duration::from_secs(60)).await;

    let stats = listener.stats();
    println!("{stats}");
    assert_eq!(stats.passive_opens, u64::from(cycles), "a ghost has opened");
    assert_eq!(stats.connections, 0, "a ghost remains");
    // The listener's driver and the task that accepts.
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 2);
    assert_eq!(network.hosts(), 1, "transports of the past");
    assert!(busy.max_connections < 200, "{}", busy.max_connections);
    let arrivals = arrivals.lock().expect("no panic under the lock");
    assert_eq!(arrivals.len(), cycles as usize, "a cargo is lost");
    assert!(arrivals.values().all(|&times| times == 1));
    if let (Some(early), Some(late)) = (early, late)
        && cycles > 1_000
    {
        let grown = late.saturating_sub(early);
        let slope = grown / (cycles as usize - 1_000);
        println!("{early} bytes resident after 1000 cycles, {late} after {cycles}");
        assert!(grown < 4 << 20, "{slope} bytes a cycle");
    }
    accepting.abort();
}

/// One way.
const LATENCY: Duration = Duration::from_millis(5);
