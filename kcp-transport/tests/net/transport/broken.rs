//! Sessions that end in the hands of their users.

use std::io;
use std::time::Duration;

use kcp_transport::crypto::Security;
use kcp_transport::net::KcpListener;
use kcp_transport::wire::{Command, ConversationId, SegmentHeader, Timestamp};
use tokio::time::{sleep, timeout};

use super::memory::Network;

/// A piece of a message, after which `fragments_left` more come.
fn fragment(sequence: u32, fragments_left: u8) -> Vec<u8> {
    let header = SegmentHeader {
        conversation: ConversationId::new(7),
        command: Command::Push,
        fragments_left,
        window: 32,
        timestamp: Timestamp::default(),
        sequence,
        unacknowledged: 0,
        payload_len: 4,
    };
    let mut bytes = vec![0; 24];
    header.encode(&mut bytes);
    bytes.extend_from_slice(b"text");
    bytes
}

#[tokio::test(start_paused = true)]
async fn fragments_that_form_no_message_fail_all_waiting_tasks() {
    let network = Network::default();
    let (host, peer) = (network.host(), network.host());
    let listener = KcpListener::builder(&Security::Plaintext)
        .on_transport(host.clone())
        .expect("in range");
    host.inject(peer.addr(), &fragment(0, 5));
    let (stream, _) = listener.accept().await.expect("accepts");
    let messages = stream.into_messages();
    let datagrams = messages.datagrams();
    let (mut receiver, mut sender) = messages.into_split();
    let hearing = tokio::spawn(async move { datagrams.recv().await.map(|_| ()) });
    // The peer acknowledges nothing, so the sender waits for room in the end.
    let sending = tokio::spawn(async move {
        loop {
            sender.send(&[0; 40_000]).await?;
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!sending.is_finished() && !hearing.is_finished());
    host.inject(peer.addr(), &fragment(1, 0));
    let received = receiver.recv(&mut Vec::new()).await;
    let kind = received.expect_err("is no message").kind();
    assert_eq!(kind, io::ErrorKind::InvalidData);
    for waiting in [sending, hearing] {
        let end: Result<io::Result<()>, _> = timeout(Duration::from_millis(1), waiting)
            .await
            .expect("is told at once")
            .map_err(|panic| panic.to_string());
        let kind = end.expect("no panic").expect_err("has ended").kind();
        assert_eq!(kind, io::ErrorKind::InvalidData);
    }
    assert_eq!(listener.stats().connections, 0, "the driver is told");
}

/// A writer that sends from its own task detects a refused port itself.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn session_that_ends_under_its_writer_is_forgotten_at_once() {
    use kcp_transport::net::KcpEndpoint;
    use tokio::io::AsyncWriteExt;

    use super::REFUSED;
    use super::memory::{Fault, Way};

    let network = Network::default();
    let (host, absent) = (network.host(), network.host());
    let endpoint = KcpEndpoint::builder(&Security::Plaintext)
        .transport(host.clone())
        .endpoint()
        .expect("in range");
    let mut stream = endpoint
        .connect_lazy(absent.addr())
        .await
        .expect("waits for no answer");
    assert_eq!(endpoint.stats().connections, 1);
    // The deadline at the driver is earlier than any of the writer.
    stream.write_all(b"anyone?").await.expect("has room");
    stream.flush().await.expect("is sent");
    sleep(Duration::from_millis(5)).await;
    host.set_fault(Way::Send, Fault::Errno(REFUSED));
    stream.write_all(&[0; 40_000]).await.expect("has room");
    let kind = stream.flush().await.expect_err("refused").kind();
    assert_eq!(kind, io::ErrorKind::ConnectionRefused);
    // The driver's turn, before any time has passed.
    tokio::task::yield_now().await;
    assert_eq!(endpoint.stats().connections, 0);
}
