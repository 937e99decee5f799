//! What connections to the same host learn from each other.

use std::sync::Arc;
use std::time::Duration;

use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};

use super::memory::{Fault, Host, Network, Way};
use super::{exchange, security};

/// A client's host with an endpoint on it.
struct Client {
    host: Arc<Host>,
    endpoint: KcpEndpoint,
}

impl Client {
    fn new(network: &Network) -> Self {
        let host = network.host();
        let endpoint = KcpEndpoint::builder(&security())
            .transport(host.clone())
            .endpoint()
            .expect("in range");
        Self { host, endpoint }
    }

    async fn connect(&self, listener: &KcpListener) -> [KcpStream; 2] {
        let addr = listener.local_addr().expect("known");
        let (client, server) = tokio::join!(self.endpoint.connect(addr), listener.accept());
        [client.expect("connects"), server.expect("accepts").0]
    }
}

/// Exchanges single datagrams, and returns how many each side has copied.
async fn chat([client, server]: &mut [KcpStream; 2], exchanges: u32) -> [u64; 2] {
    let before = [&*client, &*server].map(|it| it.stats().redundant_sent);
    for _ in 0..exchanges {
        exchange(client, server, b"a small message").await;
    }
    let after = [&*client, &*server].map(|it| it.stats().redundant_sent);
    [after[0] - before[0], after[1] - before[1]]
}

#[tokio::test(start_paused = true)]
async fn connection_to_a_host_that_others_lose_datagrams_to_is_protected_from_the_beginning() {
    let network = Network::with_delay(Duration::from_millis(25));
    let server = network.host();
    let listener = KcpListener::builder(&security())
        .on_transport(server.clone())
        .expect("in range");
    let client = Client::new(&network);
    let mut elsewhere = Client::new(&network).connect(&listener).await;
    let mut first = client.connect(&listener).await;
    let mut early = client.connect(&listener).await;
    for pair in [&mut elsewhere, &mut first, &mut early] {
        chat(pair, 100).await;
        assert_eq!(chat(pair, 20).await, [0, 0], "nothing was lost so far");
    }

    let hosts = [&client.host, &server];
    for host in hosts {
        host.set_fault(Way::Send, Fault::Loss);
    }
    chat(&mut first, 20).await;
    for host in hosts {
        host.set_fault(Way::Send, Fault::None);
    }

    let mut late = client.connect(&listener).await;
    for pair in [&mut early, &mut late] {
        let copies = chat(pair, 20).await;
        assert!(copies.iter().all(|it| *it >= 20), "{copies:?}");
    }
    assert_eq!(chat(&mut elsewhere, 20).await, [0, 0]);

    // What they see themselves counts for more in the end.
    for pair in [&mut early, &mut late] {
        chat(pair, 400).await;
        assert_eq!(chat(pair, 20).await, [0, 0]);
    }
}
