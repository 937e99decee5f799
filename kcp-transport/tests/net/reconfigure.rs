//! Options of an open connection that change.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::{
    AckPolicy, Config, Congestion, Extensions, Preset, Redundancy, WriteCoalescing,
};
use kcp_transport::crypto::Security;
use kcp_transport::error::{ConfigError, ConnectionError};
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::transport::memory::{Fault, Host, Network, Way};

struct Setup {
    client: KcpStream,
    server: KcpStream,
    own: Arc<Host>,
    peer: Arc<Host>,
}

async fn setup(config: &Config) -> Setup {
    let network = Network::default();
    let [own, host] = [network.host(), network.host()];
    let addr = host.addr();
    let listener = KcpListener::builder(&Security::Plaintext).config(config);
    let listener = listener.on_transport(host.clone()).expect("in range");
    let client = KcpStream::builder(&Security::Plaintext).config(config);
    let client = client.transport(own.clone());
    let (client, accepted) = tokio::join!(client.connect(addr), listener.accept());
    Setup {
        client: client.expect("connects"),
        server: accepted.expect("accepts").0,
        own,
        peer: host,
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|it| (it * 7 + it / 251) as u8).collect()
}

/// Writes and reads the same data in both directions.
async fn exchange(one: &mut KcpStream, other: &mut KcpStream, data: &[u8]) {
    async fn both(stream: &mut KcpStream, data: &[u8]) {
        let (mut reader, mut writer) = stream.split();
        let mut received = vec![0; data.len()];
        let (written, read) = tokio::join!(
            async {
                writer.write_all(data).await?;
                writer.flush().await
            },
            reader.read_exact(&mut received)
        );
        written.expect("writes");
        read.expect("reads");
        assert!(received == data, "other bytes");
    }
    tokio::join!(both(one, data), both(other, data));
}

#[tokio::test(start_paused = true)]
async fn every_option_that_can_change_changes_without_losing_a_byte() {
    let mut it = setup(&Config::default()).await;
    let data = pattern(300_000);
    let builder = Config::builder;
    let rate = NonZeroU64::new(5_000_000);
    for config in [
        builder().preset(Preset::Normal),
        builder().preset(Preset::Fast3).congestion(Congestion::Kcp),
        builder().windows(16, 16),
        builder().windows(4096, 4096).fast_retransmit_after(None),
        builder().ack_policy(AckPolicy::Batched),
        builder().write_coalescing(WriteCoalescing::Delayed),
        builder().send_rate(rate),
        builder().send_buffer(20_000).receive_buffer(20_000),
        builder().redundancy(Redundancy::Off).windows(8, 8),
        builder().mtu(1000),
        builder().mtu(600).windows(8, 8),
    ] {
        let config = config.build().expect("in range");
        let infos = [it.client.info(), it.server.info()];
        // While data is on its way in both directions.
        let changing = async {
            for info in &infos {
                tokio::task::yield_now().await;
                info.reconfigure(&config).expect("can change");
            }
        };
        tokio::join!(exchange(&mut it.client, &mut it.server, &data), changing);
        assert_eq!(it.client.config(), config);
        exchange(&mut it.client, &mut it.server, &data).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refused_change_names_the_option_and_changes_nothing() {
    let it = setup(&Config::default()).await;
    let builder = || Config::builder().windows(64, 64);
    for (config, name) in [
        (builder().mtu(1500), "mtu"),
        (builder().extensions(Extensions::Off), "extensions"),
        (builder().dscp(10), "dscp"),
        // No room for the extensions.
        (builder().mtu(60), "mtu"),
    ] {
        let config = config.build().expect("in range");
        let refused = it.client.reconfigure(&config).expect_err("cannot change");
        assert!(
            matches!(refused, ConfigError::Fixed { option, .. } if option == name),
            "{refused}"
        );
        assert_eq!(it.client.config(), Config::default());
    }
    let messages = it.client.into_messages();
    let narrower = Config::builder().windows(1024, 64).build();
    let refused = messages.info().reconfigure(&narrower.expect("in range"));
    let refused = refused.expect_err("cannot change");
    assert!(
        refused
            .to_string()
            .contains("with messages it can only grow")
    );
}

#[tokio::test(start_paused = true)]
async fn lowered_mtu_bounds_the_datagrams_of_what_is_written_from_then_on() {
    let mut it = setup(&Config::default()).await;
    let data = pattern(50_000);
    exchange(&mut it.client, &mut it.server, &data).await;
    let lowered = Config::builder().mtu(500).build().expect("in range");
    it.client.reconfigure(&lowered).expect("can change");
    it.peer.take_history();
    exchange(&mut it.client, &mut it.server, &data).await;
    let lengths = it.peer.take_history().into_iter().map(|(_, it)| it.len());
    assert_eq!(lengths.max(), Some(500));
}

#[tokio::test(start_paused = true)]
async fn segments_of_before_arrive_after_the_mtu_was_lowered() {
    let mut it = setup(&Config::default()).await;
    // Nothing leaves while full segments are in flight.
    it.own.set_fault(Way::Send, Fault::Blocked);
    let data = pattern(20_000);
    it.client.write_all(&data).await.expect("is queued");
    it.client.flush().await.expect("is tried");
    let lowered = Config::builder().mtu(400).build().expect("in range");
    it.client.reconfigure(&lowered).expect("can change");
    it.own.set_fault(Way::Send, Fault::None);
    it.client.write_all(&data).await.expect("is queued");
    it.client.flush().await.expect("leaves");
    let mut received = vec![0; 40_000];
    let reading = it.server.read_exact(&mut received);
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    read.expect("nothing is stuck").expect("reads");
    assert!(received[..20_000] == data && received[20_000..] == data);
}

#[tokio::test(start_paused = true)]
async fn time_limits_that_change_hold_for_the_silence_that_has_begun() {
    let mut it = setup(&Config::default()).await;
    let start = Instant::now();
    // Would block for ever.
    it.own.set_fault(Way::Receive, Fault::Blocked);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let impatient = Config::builder().idle_timeout(Duration::from_secs(5));
    let impatient = impatient.keepalive(None).build().expect("in range");
    it.client.reconfigure(&impatient).expect("can change");
    let ended = it.client.read_u8().await.expect_err("ends");
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(6), "{elapsed:?}");
    let reason = ConnectionError::from_io(&ended);
    assert_eq!(reason, Some(&ConnectionError::IdleTimeout));
}
