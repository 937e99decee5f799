//! The memory that a flood of forged first packets costs. A program of its own, because it measures the
//! memory of its process.
#![cfg(target_os = "linux")]

#[path = "net/transport/flood.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod flood;
#[path = "net/transport/memory.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod memory;

use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::ListenerConfig;
use kcp_transport::testing::Rng;

use flood::{Beginning, flood, listen, visit};
use memory::Network;

/// Resident bytes of this process.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages = statm.split_whitespace().nth(1).expect("has fields");
    pages.parse::<usize>().expect("a number") * 4096
}

#[tokio::test(start_paused = true)]
async fn million_forged_openings_cost_at_most_four_mebibytes() {
    let network = Network::default();
    let (host, listener) = listen(&network);
    let mut rng = Rng::new(1);
    // Memory that the runtime keeps is there from now on.
    let visit = visit(&network, host.addr(), Beginning::Probe);
    visit.await.expect("calm");
    // Until the session of the first client has ended.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let calm = listener.stats();
    let before = resident();
    flood(Arc::clone(&host), &mut rng, 1_000_000).await;
    let grown = resident().saturating_sub(before);
    let stats = listener.stats();
    println!("{grown} bytes; {stats}");
    assert!(grown <= 4 << 20, "{grown} bytes more");
    assert!(stats.connections <= 1 + ListenerConfig::default().max_unvalidated());
    let openings = stats.addresses_challenged + stats.passive_opens - calm.passive_opens;
    assert_eq!(calm.addresses_challenged, 0);
    assert_eq!(stats.datagrams_received - calm.datagrams_received, openings);
}
