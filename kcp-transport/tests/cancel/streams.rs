//! Reading, writing, flushing and shutting down a stream, whole and split.

use std::io::{self, IoSlice};
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::net::KcpStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::{Case, paused, sweep};
use crate::{SEEDS, pair, pattern, small};

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

type Shape = fn(KcpStream) -> (Reader, Writer);

/// The ways to hold the two directions of a stream.
const SHAPES: [(&str, Shape); 2] = [
    ("OwnedHalf", |stream| {
        let (reader, writer) = stream.into_split();
        (Box::new(reader), Box::new(writer))
    }),
    ("tokio::io::split", |stream| {
        let (reader, writer) = tokio::io::split(stream);
        (Box::new(reader), Box::new(writer))
    }),
];

/// Writes in pieces, with pauses.
fn trickle(mut stream: KcpStream, data: Vec<u8>) -> JoinHandle<KcpStream> {
    tokio::spawn(async move {
        for piece in data.chunks(700) {
            sleep(Duration::from_millis(3)).await;
            stream.write_all(piece).await.expect("writes");
            stream.flush().await.expect("flushes");
        }
        stream
    })
}

/// Collects that many bytes, from a while later on.
fn collect(mut stream: KcpStream, len: usize) -> JoinHandle<(Vec<u8>, KcpStream)> {
    tokio::spawn(async move {
        sleep(Duration::from_millis(20)).await;
        let mut received = vec![0; len];
        stream.read_exact(&mut received).await.expect("reads");
        // Nothing comes twice.
        let more = timeout(Duration::from_secs(2), stream.read_u8()).await;
        assert!(!matches!(more, Ok(Ok(_))), "more than was written");
        (received, stream)
    })
}

/// Writes until the stream takes no more. Returns how much it took.
pub(crate) async fn fill(writer: &mut (impl AsyncWrite + Unpin), data: &[u8]) -> usize {
    let mut taken = 0;
    while let Ok(written) = timeout(Duration::from_secs(2), writer.write(&data[taken..])).await {
        taken += written.expect("writes");
    }
    taken
}

#[test]
fn read_that_is_dropped_loses_nothing() {
    for (name, shape) in SHAPES {
        let name = format!("{name}::read");
        sweep(&name, SEEDS, paused, async |case: Case| {
            let pair = pair(case.seed, &Config::default()).await;
            let (mut reader, _writer) = shape(pair.server);
            let data = pattern(7_000);
            let writing = trickle(pair.client, data.clone());
            let mut received = vec![0; data.len()];
            let read = case.drive(reader.read(&mut received[..100])).await;
            let done = read.is_some();
            let read = read.map_or(0, |read| read.expect("reads"));
            let rest = reader.read_exact(&mut received[read..]).await;
            rest.expect("reads");
            assert!(received == data, "lost or doubled a byte");
            writing.await.expect("no panic");
            done
        });
    }
}

/// `read_exact` leaves the bytes it read in its buffer, and does not report their number; the next
/// read continues after them.
#[test]
fn read_that_must_be_exact_is_not_cancel_safe_but_keeps_order() {
    sweep("KcpStream::read_exact", 4, paused, async |case: Case| {
        let mut pair = pair(case.seed, &Config::default()).await;
        let data = pattern(8_000);
        let writing = trickle(pair.client, data.clone());
        let mut first = vec![0; 4_000];
        let done = case.drive(pair.server.read_exact(&mut first)).await;
        let info = pair.server.info();
        let read = usize::try_from(info.stats().bytes_read).expect("few");
        assert!(first[..read.min(4_000)] == data[..read.min(4_000)]);
        let mut rest = vec![0; data.len() - read];
        let read = pair.server.read_exact(&mut rest).await;
        read.expect("reads");
        assert!(data.ends_with(&rest));
        writing.await.expect("no panic");
        done.is_some()
    });
}

#[test]
fn write_that_is_dropped_writes_nothing() {
    for (name, shape) in SHAPES {
        for vectored in [false, true] {
            let operation = if vectored { "write_vectored" } else { "write" };
            let name = format!("{name}::{operation}");
            sweep(&name, SEEDS, paused, async |case: Case| {
                let pair = pair(case.seed, &small()).await;
                let data = pattern(200_000);
                let (_reader, mut writer) = shape(pair.client);
                let mut written = fill(&mut writer, &data).await;
                let reading = collect(pair.server, data.len());
                let next = &data[written..written + 2000];
                let wrote = if vectored {
                    let slices = [IoSlice::new(&next[..700]), IoSlice::new(&next[700..])];
                    case.drive(writer.write_vectored(&slices)).await
                } else {
                    case.drive(writer.write(next)).await
                };
                let done = wrote.is_some();
                written += wrote.map_or(0, |wrote| wrote.expect("writes"));
                let rest = writer.write_all(&data[written..]).await;
                rest.expect("writes");
                writer.flush().await.expect("flushes");
                let (received, _server) = reading.await.expect("no panic");
                assert!(received == data, "lost or doubled a byte");
                done
            });
        }
    }
}

/// By the contract of tokio, the number of bytes written is not reported. They are a prefix.
#[test]
fn write_of_all_is_not_cancel_safe_but_sends_a_prefix() {
    sweep("KcpStream::write_all", 4, paused, async |case: Case| {
        let mut pair = pair(case.seed, &small()).await;
        let data = pattern(100_000);
        let filled = fill(&mut pair.client, &data).await;
        let mut received = Vec::new();
        let (client, server) = (&mut pair.client, &mut pair.server);
        let writing = case.drive(client.write_all(&data[filled..]));
        let reading = async {
            let mut buffer = [0; 3_000];
            while let Ok(read) = timeout(Duration::from_secs(5), server.read(&mut buffer)).await {
                received.extend_from_slice(&buffer[..read.expect("reads")]);
            }
        };
        let (done, ()) = tokio::join!(writing, reading);
        assert!(data.starts_with(&received), "not a prefix");
        let taken = usize::try_from(client.stats().bytes_written).expect("few");
        assert_eq!(received.len(), taken, "what was taken arrives");
        assert!(done.is_none() || taken == data.len());
        done.is_some()
    });
}

#[test]
fn flush_never_waits() {
    for (name, shape) in SHAPES {
        let name = format!("{name}::flush");
        sweep(&name, SEEDS, paused, async |case: Case| {
            let pair = pair(case.seed, &small()).await;
            let data = pattern(5_000);
            let (_reader, mut writer) = shape(pair.client);
            writer.write_all(&data).await.expect("writes");
            let flushed = case.drive(writer.flush()).await;
            assert!(case.polls == 0 || flushed.is_some(), "flush has waited");
            // What is written goes, flushed or not.
            let reading = collect(pair.server, data.len());
            assert!(reading.await.expect("no panic").0 == data);
            writer.flush().await.expect("flushes");
            flushed.is_some()
        });
    }
}

#[test]
fn shutdown_that_is_dropped_goes_on_and_can_be_awaited_again() {
    for (name, shape) in SHAPES {
        let name = format!("{name}::shutdown");
        sweep(&name, SEEDS, paused, async |case: Case| {
            let pair = pair(case.seed, &small()).await;
            let data = pattern(9_000);
            let (_reader, mut writer) = shape(pair.client);
            writer.write_all(&data).await.expect("writes");
            let down = case.drive(writer.shutdown()).await;
            let done = down.is_some();
            down.map_or(Ok(()), |down| down).expect("drains");
            if case.polls > 0 {
                let late = writer.write(b"x").await.expect_err("shut down");
                assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
            }
            let reading = collect(pair.server, data.len());
            writer.shutdown().await.expect("drains");
            assert!(reading.await.expect("no panic").0 == data);
            done
        });
    }
}

/// The task that waited may be gone as well, and everything it owned with it.
#[tokio::test(start_paused = true)]
async fn dropped_stream_keeps_no_waker() {
    let mut pair = pair(0, &small()).await;
    let alarm = std::sync::Arc::<crate::harness::Alarm>::default();
    let data = pattern(200_000);
    fill(&mut pair.client, &data).await;
    let (mut reader, mut writer) = pair.client.into_split();
    let mut buffer = [0; 10];
    assert!(
        alarm
            .poll(&mut Box::pin(reader.read(&mut buffer)))
            .is_pending()
    );
    assert!(alarm.poll(&mut Box::pin(writer.write(&data))).is_pending());
    assert_eq!(alarm.kept(), 2);
    drop(reader);
    drop(writer);
    assert_eq!(alarm.kept(), 0);
}
