//! The methods of tokio's `TcpStream`: trying, waiting for readiness, peeking, buffered reading, halves;
//! and messages as `Stream` and `Sink`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::error::ResetCode;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, Interest, Ready};
use tokio::time::timeout;

use crate::transport::memory::Network;

/// Two streams over a network in memory.
async fn pair() -> (KcpStream, KcpStream) {
    let network = Network::default();
    let [client, server] = [network.host(), network.host()];
    let addr = server.addr();
    let listener = KcpListener::builder(&Security::Plaintext).on_transport(server);
    let listener = listener.expect("in range");
    let client = KcpStream::builder(&Security::Plaintext).transport(client);
    let (client, accepted) = tokio::join!(client.connect(addr), listener.accept());
    (client.expect("connects"), accepted.expect("accepts").0)
}

async fn send(stream: &mut KcpStream, data: &[u8]) {
    stream.write_all(data).await.expect("writes");
    stream.flush().await.expect("flushes");
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.expect_err("fails").kind()
}

#[tokio::test(start_paused = true)]
async fn trying_to_read_never_waits_and_takes_what_is_there() {
    let (mut client, mut server) = pair().await;
    let mut buf = [0; 8];
    assert_eq!(kind(server.try_read(&mut buf)), io::ErrorKind::WouldBlock);
    assert_eq!(server.try_read(&mut []).expect("nothing to read into"), 0);
    send(&mut client, b"hello").await;
    server.readable().await.expect("is there");
    assert_eq!(server.try_read(&mut buf[..2]).expect("reads"), 2);
    assert_eq!(server.try_read(&mut buf[2..]).expect("reads"), 3);
    assert_eq!(&buf[..5], b"hello");
    assert_eq!(kind(server.try_read(&mut buf)), io::ErrorKind::WouldBlock);
    let (shut, ready) = tokio::join!(client.shutdown(), server.ready(Interest::READABLE));
    shut.expect("shuts down");
    assert!(ready.expect("ends").is_read_closed());
    assert_eq!(server.try_read(&mut buf).expect("is the end"), 0);
    server.shutdown().await.expect("shuts down");
}

#[tokio::test(start_paused = true)]
async fn trying_to_write_fills_the_send_buffer_and_then_would_block() {
    let (client, mut server) = pair().await;
    let mut written = 0;
    // Until the reader, which reads nothing, has no window left.
    while let Ok(ready) = timeout(Duration::from_secs(5), client.writable()).await {
        ready.expect("there is room");
        loop {
            match client.try_write(&[7; 4096]) {
                Ok(len) => written += len,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
    }
    assert!(written > 1_000_000, "{written}");
    let mut data = vec![0; written];
    server.read_exact(&mut data).await.expect("reads");
    let ready = client.ready(Interest::WRITABLE | Interest::READABLE).await;
    assert_eq!(ready.expect("there is room"), Ready::WRITABLE);
    assert_eq!(client.try_write(b"more").expect("writes"), 4);
}

#[tokio::test(start_paused = true)]
async fn readiness_of_a_closed_stream_is_its_error() {
    let (client, server) = pair().await;
    let server = Arc::new(server);
    let waiting: Vec<_> = [Interest::READABLE, Interest::READABLE | Interest::WRITABLE]
        .into_iter()
        .map(|interest| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.ready(interest).await })
        })
        .collect();
    tokio::task::yield_now().await;
    client.reset(ResetCode::CANCELLED);
    let mut seen = Vec::new();
    for waiting in waiting {
        seen.push(waiting.await.expect("no panic").expect("ready"));
    }
    assert!(seen[0].is_read_closed(), "{seen:?}");
    let reset = io::ErrorKind::ConnectionReset;
    server.writable().await.expect("has an error");
    assert_eq!(kind(server.try_read(&mut [0; 4])), reset);
    assert_eq!(kind(server.try_write(b"x")), reset);
    assert_eq!(kind(server.peek(&mut [0; 4]).await), reset);
}

#[tokio::test(start_paused = true)]
async fn writing_half_that_is_shut_down_is_ready_with_an_error() {
    let (client, server) = pair().await;
    let (_reader, mut writer) = client.into_split();
    writer.shutdown().await.expect("shuts down");
    let ready = writer.ready(Interest::WRITABLE).await.expect("ready");
    assert!(ready.is_write_closed());
    assert_eq!(kind(writer.try_write(b"x")), io::ErrorKind::BrokenPipe);
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn peeked_bytes_are_read_again() {
    let (mut client, mut server) = pair().await;
    // Over several segments.
    let data: Vec<u8> = (0..5000_u32).map(|it| it as u8).collect();
    send(&mut client, &data).await;
    let mut seen = vec![0; 10_000];
    while server.peek(&mut seen).await.expect("peeks") < data.len() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(seen[..5000], data);
    server.read_exact(&mut seen[..100]).await.expect("reads");
    assert_eq!(server.peek(&mut seen).await.expect("peeks"), 4900);
    assert_eq!(seen[..4900], data[100..]);
    server.read_exact(&mut seen[..4900]).await.expect("reads");
    client.shutdown().await.expect("shuts down");
    assert_eq!(server.peek(&mut seen).await.expect("is the end"), 0);
}

#[tokio::test(start_paused = true)]
async fn lines_are_read_without_a_buffer_around_the_stream() {
    let (mut client, mut server) = pair().await;
    let text: String = (0..2000).map(|it| format!("line {it}\n")).collect();
    let writing = async {
        send(&mut client, text.as_bytes()).await;
        client.shutdown().await.expect("shuts down");
    };
    let reading = async {
        let (reader, _writer) = server.split();
        let mut lines = reader.lines();
        let mut read = String::new();
        while let Some(line) = lines.next_line().await.expect("reads") {
            read += &line;
            read += "\n";
        }
        read
    };
    let ((), read) = tokio::join!(writing, reading);
    assert_eq!(read, text);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_were_shown_and_not_consumed_stay_for_every_other_reader() {
    let (mut client, server) = pair().await;
    send(&mut client, b"abcdef").await;
    let (mut reader, writer) = server.into_split();
    assert_eq!(reader.fill_buf().await.expect("reads"), b"abcdef");
    reader.consume(1);
    assert_eq!(reader.fill_buf().await.expect("reads"), b"bcdef");
    // What another reader takes in between is not taken again.
    assert_eq!(reader.try_read(&mut [0; 2]).expect("reads"), 2);
    reader.consume(1);
    assert_eq!(reader.fill_buf().await.expect("reads"), b"def");
    let mut server = reader.reunite(writer).expect("the same stream");
    {
        let (mut reader, _writer) = server.split();
        assert_eq!(reader.fill_buf().await.expect("reads"), b"def");
        reader.consume(1);
        assert_eq!(reader.read_u8().await.expect("reads"), b'e');
    }
    let mut messages = server.into_messages();
    let mut rest = Vec::new();
    messages.recv(&mut rest).await.expect("receives");
    assert_eq!(rest, b"f");
}

#[tokio::test(start_paused = true)]
async fn buffer_that_waits_is_filled_when_data_comes() {
    let (mut client, server) = pair().await;
    let (mut reader, _writer) = server.into_split();
    let waiting = tokio::spawn(async move {
        let seen = poll_fn(|cx| {
            let filled = Pin::new(&mut reader).poll_fill_buf(cx);
            filled.map_ok(<[u8]>::to_vec)
        });
        seen.await
    });
    tokio::task::yield_now().await;
    send(&mut client, b"late").await;
    assert_eq!(waiting.await.expect("no panic").expect("reads"), b"late");
}

#[tokio::test(start_paused = true)]
async fn borrowed_halves_work_at_the_same_time_and_know_their_addresses() {
    let (mut client, mut server) = pair().await;
    let data: Vec<u8> = (0..300_000_u32).map(|it| it as u8).collect();
    let addrs = (client.local_addr().ok(), client.peer_addr().ok());
    let echoing = async {
        let (mut reader, mut writer) = server.split();
        let copied = tokio::io::copy_buf(&mut reader, &mut writer).await;
        writer.shutdown().await.expect("shuts down");
        copied.expect("echoes")
    };
    let exchanging = async {
        let (mut reader, mut writer) = client.split();
        assert_eq!((reader.local_addr().ok(), reader.peer_addr().ok()), addrs);
        assert_eq!((writer.local_addr().ok(), writer.peer_addr().ok()), addrs);
        let mut heard = Vec::new();
        let (written, read) = tokio::join!(
            async {
                writer.write_all(&data).await?;
                writer.shutdown().await
            },
            reader.read_to_end(&mut heard)
        );
        written.expect("writes");
        read.expect("reads");
        heard
    };
    let (copied, heard) = tokio::join!(echoing, exchanging);
    assert_eq!(copied, data.len() as u64);
    assert!(heard == data);
}

#[tokio::test(start_paused = true)]
async fn messages_are_a_stream_and_a_sink() {
    let (client, server) = pair().await;
    let (receiver, sender) = server.into_messages().into_split();
    // Every message back, in order.
    let echoing = tokio::spawn(receiver.map_ok(|it| it.freeze()).forward(sender));
    let (mut client, mut answers) = {
        let (receiver, sender) = client.into_messages().into_split();
        (sender, receiver)
    };
    let messages: Vec<Bytes> = (1..=200_usize)
        .map(|it| vec![it as u8; it * 50].into())
        .collect();
    let sending = async {
        for message in &messages {
            client.feed(message.clone()).await.expect("sends");
        }
        SinkExt::close(&mut client).await.expect("closes");
    };
    let receiving = async {
        let mut received = Vec::new();
        while let Some(message) = answers.try_next().await.expect("receives") {
            received.push(message.freeze());
        }
        received
    };
    let ((), received) = tokio::join!(sending, receiving);
    assert_eq!(received, messages);
    echoing.await.expect("no panic").expect("echoes");
    assert!(answers.next().await.is_none(), "stays at its end");
    let whole = answers.reunite(client).expect("of one stream");
    let (receiver, sender) = whole.into_split();
    let (other, _peer) = pair().await;
    let (other, _) = other.into_messages().into_split();
    let apart = other.reunite(sender).expect_err("of different streams");
    receiver.reunite(apart.1).expect("of one stream");
}

#[tokio::test(start_paused = true)]
async fn stream_of_messages_ends_after_its_error() {
    let (client, server) = pair().await;
    let mut messages = server.into_messages();
    client.reset(ResetCode::CANCELLED);
    let error = messages
        .next()
        .await
        .expect("an error")
        .expect_err("was reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(messages.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn message_that_the_sink_has_taken_is_sent_before_others() {
    let config = Config::builder().windows(32, 32).send_buffer(50_000);
    let config = config.build().expect("in range");
    let network = Network::default();
    let [client, server] = [network.host(), network.host()];
    let addr = server.addr();
    let listener = KcpListener::builder(&Security::Plaintext).on_transport(server);
    let listener = listener.expect("in range");
    let client = KcpStream::builder(&Security::Plaintext)
        .config(&config)
        .transport(client);
    let (client, accepted) = tokio::join!(client.connect_messages(addr), listener.accept());
    let mut client = client.expect("connects");
    let mut server = accepted.expect("accepts").0.into_messages();
    let sending = tokio::spawn(async move {
        for index in 0..20_u8 {
            client
                .feed(vec![index; 20_000].into())
                .await
                .expect("feeds");
        }
        client.send(&[20]).await.expect("sends");
        client.shutdown().await.expect("shuts down");
    });
    for index in 0..=20_u8 {
        let message = server.next().await.expect("more").expect("receives");
        assert_eq!(message[0], index);
    }
    assert!(server.next().await.is_none());
    sending.await.expect("no panic");
}
