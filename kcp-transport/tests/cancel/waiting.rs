//! Waiting until a stream is ready, and peeking.

use kcp_transport::net::KcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};

use crate::harness::{Case, paused, sweep};
use crate::{SEEDS, pair, pattern, small};

/// How to wait for what there is to read.
#[derive(Clone, Copy)]
enum Way {
    Readable,
    Ready,
    Peek,
}

#[test]
fn waiting_to_read_that_is_dropped_loses_nothing() {
    for (name, way) in [
        ("kcp_transport::readable", Way::Readable),
        ("kcp_transport::ready", Way::Ready),
        ("kcp_transport::peek", Way::Peek),
    ] {
        sweep(name, SEEDS, paused, async |case: Case| {
            let mut pair = pair(case.seed, &small()).await;
            let server = &pair.server;
            let waiting = async {
                match way {
                    Way::Readable => server.readable().await,
                    Way::Ready => server.ready(Interest::READABLE).await.map(|_| ()),
                    Way::Peek => server.peek(&mut [0; 9]).await.map(|_| ()),
                }
            };
            let writing = tokio::spawn(async move {
                pair.client.write_all(b"hello").await.expect("writes");
                pair.client.flush().await.expect("flushes");
                pair.client
            });
            let waited = case.drive(waiting).await;
            let done = waited.is_some();
            waited.into_iter().for_each(|it| it.expect("is ready"));
            let mut heard = [0; 5];
            pair.server.read_exact(&mut heard).await.expect("reads");
            assert_eq!(&heard, b"hello");
            drop(writing.await.expect("no panic"));
            done
        });
    }
}

#[test]
fn waiting_to_write_that_is_dropped_loses_nothing() {
    sweep(
        "kcp_transport::writable",
        SEEDS,
        paused,
        async |case: Case| {
            let mut pair = pair(case.seed, &small()).await;
            let data = pattern(200_000);
            let mut written = fill(&pair.client, &data);
            let reading = tokio::spawn(async move {
                let mut heard = vec![0; 200_000];
                pair.server.read_exact(&mut heard).await.expect("reads");
                heard
            });
            let waited = case.drive(pair.client.writable()).await;
            let done = waited.is_some();
            waited.into_iter().for_each(|it| it.expect("is ready"));
            while written < data.len() {
                pair.client.writable().await.expect("is ready");
                written += fill(&pair.client, &data[written..]);
            }
            pair.client.flush().await.expect("flushes");
            assert!(reading.await.expect("no panic") == data);
            done
        },
    );
}

/// Writes what there is room for.
fn fill(stream: &KcpStream, data: &[u8]) -> usize {
    let mut written = 0;
    while written < data.len() {
        match stream.try_write(&data[written..]) {
            Ok(len) => written += len,
            Err(_) => break,
        }
    }
    written
}
