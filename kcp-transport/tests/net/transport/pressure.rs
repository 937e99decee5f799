//! Many connections without a reader, on a listener with little memory.

use std::time::Duration;

use kcp_transport::config::{Config, ListenerConfig};
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::memory::Network;
use super::{exchange, pattern};

const BUDGET: usize = 4 << 20;

fn budget() -> ListenerConfig {
    let config = ListenerConfig::builder().memory_budget(BUDGET);
    config.build().expect("in range")
}

#[tokio::test(start_paused = true)]
async fn listener_keeps_to_its_budget_and_loses_nothing() {
    let network = Network::default();
    let host = network.host();
    let (addr, security) = (host.addr(), Security::Plaintext);
    let listener = KcpListener::builder(&security)
        .listener_config(&budget())
        .on_transport(host)
        .expect("in range");
    let config = Config::builder()
        .user_timeout(None)
        .build()
        .expect("in range");
    let data = pattern(400_000);
    let mut writing = JoinSet::new();
    let mut accepted = Vec::new();
    // Five times what the budget allows.
    for _ in 0..50 {
        let connecting = KcpStream::builder(&security)
            .config(&config)
            .transport(network.host())
            .connect(addr);
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
    // Once they are read, all data that was held back arrives.
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
        KcpStream::builder(&security)
            .config(&config)
            .transport(network.host())
            .connect(addr),
        listener.accept()
    );
    again.expect("there is room again");
}

/// Without an answer that is sent, only the read tells that the buffers are not needed any more.
#[tokio::test(start_paused = true)]
async fn buffers_are_freed_a_while_after_a_late_read() {
    let network = Network::default();
    let host = network.host();
    let (addr, security) = (host.addr(), Security::Plaintext);
    let listener = KcpListener::builder(&security)
        .listener_config(&budget())
        .on_transport(host)
        .expect("in range");
    let connecting = KcpStream::builder(&security)
        .transport(network.host())
        .connect(addr);
    let (client, server) = tokio::join!(connecting, listener.accept());
    let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
    sleep(Duration::from_secs(2)).await;
    let before = listener.stats().memory;
    client.write_all(&pattern(20_000)).await.expect("is taken");
    client.flush().await.expect("is sent");
    sleep(Duration::from_secs(2)).await;
    assert!(listener.stats().memory >= before + 20_000);
    server.read_exact(&mut [0; 20_000]).await.expect("is there");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(listener.stats().memory, before);
}

/// What its user keeps of a connection that has ended: handles, and streams with something to read.
#[tokio::test(start_paused = true)]
async fn ended_connections_hold_no_more_than_what_can_still_be_read() {
    const COUNT: usize = 60;
    let network = Network::default();
    let host = network.host();
    let (addr, security) = (host.addr(), Security::Plaintext);
    let config = Config::builder()
        .fec(FecRatio::new(10, 3).expect("in range"))
        .build()
        .expect("in range");
    let listener = KcpListener::builder(&security)
        .config(&config)
        .listener_config(&budget())
        .on_transport(host)
        .expect("in range");
    let data = pattern(20_000);
    let mut infos = Vec::new();
    let mut streams = Vec::new();
    for index in 0..COUNT {
        let connecting = KcpStream::builder(&security)
            .config(&config)
            .transport(network.host())
            .connect(addr);
        let both = async { tokio::join!(connecting, listener.accept()) };
        let both = timeout(Duration::from_secs(2), both).await;
        let (client, accepted) = both.expect("there is room for it");
        let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
        infos.extend([client.info(), server.info()]);
        // Leaves spare buffers.
        exchange(&mut client, &mut server, &pattern(300_000)).await;
        client.write_all(&data).await.expect("writes");
        client.flush().await.expect("flushes");
        // It is not acknowledged, since it is not read.
        server.write_all(&pattern(100_000)).await.expect("writes");
        server.flush().await.expect("flushes");
        sleep(Duration::from_millis(100)).await;
        drop(client);
        if index < 10 {
            streams.push(server);
        }
    }
    sleep(Duration::from_secs(120)).await;
    let stats = listener.stats();
    assert_eq!(stats.over_budget, 0, "{stats}");
    assert_eq!(stats.connections, 0, "{stats}");
    let unread = streams.len() * data.len();
    assert!((unread..2 * unread).contains(&stats.memory), "{stats}");
    for stream in streams.iter_mut().take(5) {
        let mut received = vec![0; data.len()];
        stream.read_exact(&mut received).await.expect("reads");
        assert!(received == data, "something else");
    }
    let held = listener.stats().memory;
    assert!((unread / 2..unread).contains(&held), "{held}");
    drop(streams);
    assert_eq!(listener.stats().memory, 0);
    let read: u64 = infos.iter().map(|info| info.stats().bytes_read).sum();
    assert_eq!(read as usize, COUNT * 2 * 300_000 + 5 * data.len());
}
