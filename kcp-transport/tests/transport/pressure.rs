//! Many connections that nobody reads from, on a listener with little memory.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::memory::Network;
use crate::pattern;

const BUDGET: usize = 4 << 20;

#[tokio::test(start_paused = true)]
async fn listener_keeps_to_its_budget_and_loses_nothing() {
    let network = Network::default();
    let host = network.host();
    let (addr, security) = (host.addr(), Security::Plaintext);
    let budget = Config::builder()
        .memory_budget(BUDGET)
        .build()
        .expect("in range");
    let listener = KcpListener::from_transport(host, &security, &budget).expect("in range");
    let config = Config::builder()
        .user_timeout(None)
        .build()
        .expect("in range");
    let data = pattern(400_000);
    let mut writing = JoinSet::new();
    let mut accepted = Vec::new();
    // Five times what the budget allows.
    for _ in 0..50 {
        let connecting = KcpStream::connect_transport(network.host(), addr, &security, &config);
        let both = async { tokio::join!(connecting, listener.accept()) };
        let Ok((client, server)) = timeout(Duration::from_secs(2), both).await else {
            break;
        };
        let (mut client, data) = (client.expect("connects"), data.clone());
        accepted.push(server.expect("accepts").0);
        writing.spawn(async move {
            client.write_all(&data).await.expect("is taken");
            client.shutdown().await.expect("is acknowledged");
        });
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(5)).await;
    let stats = listener.stats();
    println!("{} connections; {stats}", accepted.len());
    assert!(stats.memory <= BUDGET + BUDGET / 8, "{stats}");
    assert!(stats.memory >= BUDGET / 2, "{stats}");
    // Once somebody reads, all that was held back comes.
    let mut reading = JoinSet::new();
    for mut stream in accepted {
        let data = data.clone();
        reading.spawn(async move {
            let mut received = vec![0; data.len()];
            stream.read_exact(&mut received).await.expect("reads");
            assert!(received == data, "something else");
            stream
        });
    }
    let streams = timeout(Duration::from_secs(60), reading.join_all()).await;
    let streams = streams.expect("a stalled stream");
    timeout(Duration::from_secs(60), writing.join_all())
        .await
        .expect("all is acknowledged");
    drop(streams);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(listener.stats().memory, 0);
    let (again, _) = tokio::join!(
        KcpStream::connect_transport(network.host(), addr, &security, &config),
        listener.accept()
    );
    again.expect("there is room again");
}
