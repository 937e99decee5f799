//! Messages and unreliable datagrams over real sockets on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use kcp_transport::arq::MessageError;
use kcp_transport::config::{Config, ListenerConfig, Mode, WriteCoalescing};
use kcp_transport::crypto::Security;
use kcp_transport::error::DatagramError;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpMessageStream, KcpStream};
use kcp_transport::wire::ConversationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn security() -> Security {
    Security::from_password("aes-128-gcm", "test", b"kcp-go").expect("known name")
}

async fn listen(config: &Config) -> (KcpListener, SocketAddr) {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = KcpListener::builder(&security())
        .config(config)
        .bind(any)
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}

async fn streams(config: &Config) -> (KcpStream, KcpStream) {
    let (listener, addr) = listen(config).await;
    let security = security();
    let (client, server) = tokio::join!(
        KcpStream::builder(&security).config(config).connect(addr),
        listener.accept()
    );
    (client.expect("connects"), server.expect("accepts").0)
}

async fn messages(config: &Config) -> (KcpMessageStream, KcpMessageStream) {
    let (listener, addr) = listen(config).await;
    let security = security();
    let (client, server) = tokio::join!(
        KcpStream::builder(&security)
            .config(config)
            .connect_messages(addr),
        listener.accept()
    );
    let server = server.expect("accepts").0.into_messages();
    (client.expect("connects"), server)
}

fn with_fec() -> Config {
    Config::builder()
        .fec(FecRatio::new(10, 3).expect("in range"))
        .build()
        .expect("in range")
}

#[tokio::test]
async fn messages_of_every_length_keep_their_boundaries() {
    let (mut client, mut server) = messages(&Config::default()).await;
    let most = client.max_message_len();
    assert_eq!(most, 255 * (1400 - 12 - 16 - 24));
    let lengths = [1, 2, 1348, 1349, 5000, 100_000, most, 7];
    let sending = tokio::spawn(async move {
        for (index, len) in lengths.into_iter().enumerate() {
            let message = vec![index as u8; len];
            client.send(&message).await.expect("sends");
        }
        client.shutdown().await.expect("drains");
    });
    let mut message = b"former content".to_vec();
    for (index, len) in lengths.into_iter().enumerate() {
        assert_eq!(server.recv(&mut message).await.expect("receives"), len);
        assert!(message.iter().all(|&byte| byte == index as u8));
        assert_eq!(message.len(), len);
    }
    sending.await.expect("no panic");
}

#[tokio::test]
async fn many_small_messages_wait_for_room_and_all_arrive() {
    let config = Config::builder()
        .windows(16, 16)
        .mode(Mode::Message)
        .build()
        .expect("in range");
    let (client, server) = messages(&config).await;
    let (_, mut sender) = client.into_split();
    let (mut receiver, _) = server.into_split();
    let sending = tokio::spawn(async move {
        for index in 0..2000_u32 {
            sender.send(&index.to_le_bytes()).await.expect("sends");
        }
        sender.shutdown().await.expect("drains");
    });
    let mut message = Vec::new();
    for index in 0..2000_u32 {
        receiver.recv(&mut message).await.expect("receives");
        assert_eq!(message, index.to_le_bytes());
    }
    sending.await.expect("no panic");
}

#[tokio::test]
async fn message_that_cannot_be_sent_is_an_error_with_its_cause_and_the_stream_goes_on() {
    let small = Config::builder().windows(64, 4).build().expect("in range");
    let (mut client, mut server) = messages(&small).await;
    let most = client.max_message_len();
    assert_eq!(most, 4 * 1348, "as many segments as the peer's window");
    for (message, expected) in [
        (vec![], "message is empty; at least 1 byte is needed"),
        (
            vec![0; most + 1],
            "message has 5393 bytes; at most 5392 are allowed",
        ),
    ] {
        let error = client.send(&message).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), expected);
        let source = error.into_inner().expect("has a source");
        assert!(source.is::<MessageError>());
    }
    client.send(&vec![1; most]).await.expect("sends");
    let mut message = Vec::new();
    assert_eq!(server.recv(&mut message).await.expect("receives"), most);
}

#[tokio::test]
async fn receive_that_is_given_up_loses_nothing() {
    let (mut client, mut server) = messages(&Config::default()).await;
    let mut message = b"kept".to_vec();
    let waiting = tokio::time::timeout(Duration::from_millis(30), server.recv(&mut message));
    assert!(waiting.await.is_err());
    assert_eq!(message, b"kept");
    client.send(b"late").await.expect("sends");
    server.recv(&mut message).await.expect("receives");
    assert_eq!(message, b"late");
}

#[tokio::test]
async fn message_stream_becomes_a_byte_stream_again() {
    let (mut client, mut server) = messages(&Config::default()).await;
    client.send(b"message").await.expect("sends");
    let mut message = Vec::new();
    server.recv(&mut message).await.expect("receives");
    let (mut client, mut server) = (client.into_stream(), server.into_stream());
    client.write_all(b"bytes").await.expect("writes");
    client.flush().await.expect("flushes");
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes).await.expect("reads");
    assert_eq!(&bytes, b"bytes");
}

#[tokio::test]
async fn datagrams_pass_beside_the_stream() {
    let (mut client, mut server) = streams(&with_fec()).await;
    assert_eq!(client.max_datagram_size(), Some(1400 - 12 - 8 - 16 - 4));
    let datagrams = server.datagrams();
    let receiving = tokio::spawn(async move { datagrams.recv().await });
    tokio::task::yield_now().await;
    client.send_datagram(b"beside").expect("sends");
    let received = receiving.await.expect("no panic").expect("receives");
    assert_eq!(received, b"beside");

    let largest = vec![7; 1360];
    client.send_datagram(&largest).expect("sends");
    assert_eq!(server.recv_datagram().await.expect("receives"), largest);

    client.write_all(b"stream").await.expect("writes");
    client.flush().await.expect("flushes");
    let mut bytes = [0; 6];
    server.read_exact(&mut bytes).await.expect("reads");
    assert_eq!(&bytes, b"stream");
}

#[tokio::test]
async fn datagram_that_cannot_be_sent_is_an_error_with_its_cause() {
    let (client, _server) = streams(&with_fec()).await;
    let error = client.send_datagram(&[0; 1361]).expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "out-of-band datagram has 1361 bytes; at most 1360 are allowed"
    );

    let (client, _server) = streams(&Config::default()).await;
    assert_eq!(client.max_datagram_size(), None);
    let error = client.send_datagram(b"x").expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let source = error.into_inner().expect("has a source");
    assert_eq!(
        source.downcast_ref::<DatagramError>(),
        Some(&DatagramError::FecOff)
    );
}

#[tokio::test]
async fn conversation_is_the_configured_one_and_random_otherwise() {
    let (random, _server) = streams(&Config::default()).await;
    let (other, _server) = streams(&Config::default()).await;
    assert_ne!(random.conversation(), other.conversation());
    let own = ConversationId::new(0xabad_cafe);
    let listener = KcpListener::bind("127.0.0.1:0", &Security::Plaintext);
    let listener = listener.await.expect("binds");
    let client = KcpStream::builder(&Security::Plaintext)
        .conversation(own)
        .connect(listener.local_addr().expect("bound"));
    let (client, server) = tokio::join!(client, listener.accept());
    assert_eq!(client.expect("connects").conversation(), own);
    assert_eq!(server.expect("accepts").0.conversation(), own);
}

#[tokio::test]
async fn delayed_writes_leave_in_few_datagrams() {
    let sent = |policy| async move {
        let config = Config::builder()
            .write_coalescing(policy)
            .flush_interval(Duration::from_millis(100))
            .build()
            .expect("in range");
        let (mut client, mut server) = streams(&config).await;
        let before = client.stats().datagrams_sent;
        for _ in 0..50 {
            client.write_all(b"word").await.expect("writes");
            client.flush().await.expect("flushes");
        }
        let mut words = [0; 200];
        server.read_exact(&mut words).await.expect("reads");
        client.stats().datagrams_sent - before
    };
    assert_eq!(sent(WriteCoalescing::Delayed).await, 1);
    assert!(sent(WriteCoalescing::Immediate).await >= 25);
}

#[tokio::test]
async fn send_rate_holds_over_a_real_socket() {
    let config = Config::builder()
        .send_rate(std::num::NonZeroU64::new(1_000_000))
        .build()
        .expect("in range");
    let (mut client, mut server) = streams(&config).await;
    let start = std::time::Instant::now();
    let len = 300_000;
    tokio::spawn(async move {
        client.write_all(&vec![0; len]).await.expect("writes");
        client.shutdown().await
    });
    let mut data = vec![0; len];
    server.read_exact(&mut data).await.expect("reads");
    let took = start.elapsed();
    // How much longer it takes depends on the machine; `options::pacing` checks that in virtual time.
    assert!(took >= Duration::from_millis(280), "{took:?}");
}

#[tokio::test]
async fn listener_without_fec_sends_it_as_its_peer_does_unless_told_not_to() {
    for mirrored in [true, false] {
        let options = ListenerConfig::builder().mirror_fec(mirrored).build();
        let listener = KcpListener::builder(&security())
            .listener_config(&options.expect("in range"))
            .bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("binds");
        let addr = listener.local_addr().expect("bound");
        let (security, config) = (security(), with_fec());
        let (client, server) = tokio::join!(
            KcpStream::builder(&security).config(&config).connect(addr),
            listener.accept()
        );
        let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
        let data = vec![7; 200_000];
        let mut received = data.clone();
        for _ in 0..2 {
            let (wrote, read) =
                tokio::join!(client.write_all(&data), server.read_exact(&mut received));
            wrote.and(read.map(drop)).expect("arrives");
            let (wrote, read) =
                tokio::join!(server.write_all(&data), client.read_exact(&mut received));
            wrote.and(read.map(drop)).expect("arrives");
        }
        assert_eq!(server.stats().fec_parity_sent > 0, mirrored);
        assert_eq!(client.stats().invalid_received, 0);
        assert_eq!(client.stats().fec_parity_received > 0, mirrored);
    }
}
