//! Runtimes that end while connections live.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpMessageStream, KcpStream};
use kcp_transport::session::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::harness::real;

const SECURITY: Security = Security::Plaintext;

/// Ways for a runtime to end.
#[derive(Clone, Copy, Debug)]
enum End {
    Drop,
    Background,
    Timeout,
    OtherThread,
    /// From within another runtime.
    Nested,
}

const ENDS: [End; 5] = [
    End::Drop,
    End::Background,
    End::Timeout,
    End::OtherThread,
    End::Nested,
];

fn end(runtime: Runtime, how: End) {
    match how {
        End::Drop => drop(runtime),
        End::Background => runtime.shutdown_background(),
        End::Timeout => runtime.shutdown_timeout(Duration::from_millis(500)),
        End::OtherThread => thread::spawn(|| drop(runtime)).join().expect("no panic"),
        End::Nested => real().block_on(async {
            let dropping = tokio::task::spawn_blocking(|| drop(runtime));
            dropping.await.expect("no panic");
        }),
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn config() -> Config {
    let ratio = FecRatio::new(3, 1).expect("in range");
    let config = Config::builder()
        .fec(ratio)
        .send_buffer(64 * 1024)
        .receive_buffer(64 * 1024);
    config.build().expect("in range")
}

/// What outlives its runtime.
struct Survivors {
    client: KcpStream,
    server: KcpStream,
    blocked: KcpStream,
    draining: KcpStream,
    messages: KcpMessageStream,
    listener: KcpListener,
    endpoint: KcpEndpoint,
}

/// Connections in every state, with tasks that wait for them.
async fn populate(absent: SocketAddr) -> Survivors {
    let config = config();
    let listener = KcpListener::builder(&SECURITY)
        .config(&config)
        .bind(addr("127.0.0.1:0"))
        .await;
    let listener = listener.expect("binds");
    let target = listener.local_addr().expect("bound");
    let mut streams = Vec::new();
    for _ in 0..6 {
        let (client, accepted) = tokio::join!(
            KcpStream::builder(&SECURITY)
                .config(&config)
                .connect(target),
            listener.accept()
        );
        streams.push((client.expect("connects"), accepted.expect("accepts").0));
    }
    let mut next = || streams.pop().expect("enough");

    // One whose halves wait in tasks.
    let (waiting, silent) = next();
    let (mut reader, mut writer) = waiting.into_split();
    tokio::spawn(async move { reader.read_u8().await });
    tokio::spawn(async move { writer.write_all(&[1; 4_000_000]).await });
    // One without a reader, whose writer has waited.
    let (mut blocked, unread) = next();
    timeout(
        Duration::from_millis(50),
        blocked.write_all(&[1; 4_000_000]),
    )
    .await
    .expect_err("blocks");
    tokio::spawn(async move {
        // Never read, and dropped with its task.
        let _kept = (silent, unread);
        std::future::pending::<()>().await;
    });
    // One that lingers, with something to send.
    let (mut lingering, _) = next();
    lingering.write_all(&[1; 10_000]).await.expect("writes");
    drop(lingering);
    // One to an absent peer, half open, and one that drains in vain.
    let half_open = config.clone();
    tokio::spawn(async move {
        KcpStream::builder(&SECURITY)
            .config(&half_open)
            .connect(absent)
            .await
    });
    let draining = KcpStream::builder(&SECURITY)
        .config(&config)
        .connect_lazy(absent)
        .await;
    let mut draining = draining.expect("opens");
    draining.write_all(b"x").await.expect("writes");
    let shutdown = timeout(Duration::from_millis(20), draining.shutdown());
    shutdown.await.expect_err("the peer is absent");
    let endpoint = KcpEndpoint::builder(&SECURITY)
        .config(&config)
        .bind(addr("127.0.0.1:0"))
        .await
        .expect("binds");
    let messages = endpoint.connect_lazy(target).await.expect("opens");
    let (client, server) = next();
    Survivors {
        client,
        server,
        blocked,
        draining,
        messages: messages.into_messages(),
        listener,
        endpoint,
    }
}

/// Every method of a stream fails, soon and without a panic, or answers.
async fn check_stream(mut stream: KcpStream) {
    let mut buffer = [0; 1024];
    // What had arrived may still be read.
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    stream.write(b"x").await.expect_err("ended");
    stream.flush().await.expect_err("ended");
    stream.shutdown().await.expect_err("ended");
    stream.recv_datagram().await.expect_err("ended");
    stream.send_datagram(b"x").expect_err("ended");
    let handle = stream.datagrams();
    handle.recv().await.expect_err("ended");
    handle.send(b"x").expect_err("ended");
    handle.max_size().expect("FEC is on");
    stream.peer_addr().expect("known");
    let _ = stream.local_addr();
    let info = stream.info();
    assert_eq!(info.stats(), stream.stats());
    assert_eq!(info.endpoint_stats().connections, 0);
    let (mut reader, mut writer) = stream.into_split();
    reader.read(&mut buffer).await.expect_err("ended");
    writer.write(b"x").await.expect_err("ended");
    let stream = reader.reunite(writer).expect("of one stream");
    check_messages(stream.into_messages()).await;
}

async fn check_messages(mut stream: KcpMessageStream) {
    let mut message = Vec::new();
    stream.send(b"x").await.expect_err("ended");
    stream.recv(&mut message).await.expect_err("ended");
    stream.shutdown().await.expect_err("ended");
    let (mut receiver, mut sender) = stream.into_split();
    sender.send(b"x").await.expect_err("ended");
    sender.shutdown().await.expect_err("ended");
    receiver.recv(&mut message).await.expect_err("ended");
}

async fn check(survivors: Survivors) {
    let Survivors {
        client,
        server,
        blocked,
        draining,
        messages,
        listener,
        endpoint,
    } = survivors;
    for stream in [client, server, blocked, draining] {
        check_stream(stream).await;
    }
    check_messages(messages).await;
    // Those that waited to be accepted come first.
    while listener.accept().await.is_ok() {}
    listener.accept().await.expect_err("ended");
    let target = listener.local_addr().expect("known");
    let _ = listener.totals();
    assert_eq!(listener.stats().connections, 0);
    endpoint.connect(target).await.expect_err("ended");
    endpoint.connect_lazy(target).await.expect_err("ended");
    let _ = endpoint.totals();
    assert_eq!(endpoint.stats().connections, 0);
}

/// Polls without any runtime around: what it waits for has ended, so it need not wait.
fn poll_outside<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("waits for a runtime that is gone"),
    }
}

/// Whether the drivers of all connections are gone, which count them last.
fn have_ended(survivors: &Survivors) -> bool {
    let Survivors {
        client,
        server,
        blocked,
        draining,
        messages,
        ..
    } = survivors;
    let streams = [client, server, blocked, draining].map(KcpStream::info);
    let infos = streams.into_iter().chain([messages.info()]);
    let mut infos = infos.map(|info| (info.state(), info.endpoint_stats().connections));
    infos.all(|(state, count)| matches!(state, State::Closed(_) | State::Drained) && count == 0)
}

fn check_end(runtime: Runtime, how: End, outside: bool) {
    let absent = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let survivors = runtime.block_on(populate(absent.local_addr().expect("bound")));
    let tasks = runtime.handle().clone();
    assert!(tasks.metrics().num_alive_tasks() > 5);
    let started = Instant::now();
    end(runtime, how);
    while tasks.metrics().num_alive_tasks() > 0 {
        assert!(started.elapsed() < LIMIT, "tasks remain after {how:?}");
        thread::yield_now();
    }
    // A task is no longer counted while a thread of the runtime still drops it.
    while !have_ended(&survivors) {
        assert!(started.elapsed() < LIMIT, "a driver remains after {how:?}");
        thread::yield_now();
    }
    assert!(started.elapsed() < LIMIT, "{how:?} hangs");
    if outside {
        poll_outside(check(survivors));
    } else {
        let checked = real().block_on(async { timeout(LIMIT, check(survivors)).await });
        checked.unwrap_or_else(|_| panic!("a survivor hangs after {how:?}"));
    }
}

#[test]
fn end_of_a_runtime_with_live_sessions_neither_panics_nor_hangs() {
    for how in ENDS {
        for outside in [false, true] {
            check_end(real(), how, outside);
            let mut threads = Builder::new_multi_thread();
            let threads = threads.worker_threads(2).enable_all().build();
            check_end(threads.expect("starts"), how, outside);
        }
    }
}

/// A task of another runtime waits for a connection whose driver ends.
#[test]
fn waiters_in_another_runtime_are_woken_by_the_end_of_the_drivers() {
    let absent = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let absent = absent.local_addr().expect("bound");
    let driving = real();
    let survivors = driving.block_on(populate(absent));
    let ending = thread::spawn(move || {
        driving.block_on(async { sleep(Duration::from_millis(100)).await });
        drop(driving);
    });
    let Survivors {
        mut client,
        mut blocked,
        listener,
        mut messages,
        endpoint,
        ..
    } = survivors;
    real().block_on(async move {
        let data = vec![0; 4_000_000];
        let mut message = Vec::new();
        while let Ok(accepted) = timeout(Duration::ZERO, listener.accept()).await {
            accepted.expect("accepts");
        }
        let datagrams = client.datagrams();
        let all = async {
            tokio::join!(
                client.read_u8(),
                blocked.write_all(&data),
                listener.accept(),
                messages.recv(&mut message),
                datagrams.recv(),
                endpoint.connect(absent),
            )
        };
        let (read, written, accepted, received, datagram, connected) =
            timeout(Duration::from_secs(5), all).await.expect("woken");
        let errors: [io::Error; 6] = [
            read.expect_err("ended"),
            written.expect_err("ended"),
            accepted.expect_err("ended"),
            received.expect_err("ended"),
            datagram.expect_err("ended"),
            connected.expect_err("ended"),
        ];
        for error in errors {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{error}");
        }
    });
    ending.join().expect("no panic");
}

#[test]
fn opening_without_a_runtime_is_an_error() {
    let (any, config) = (addr("127.0.0.1:0"), config());
    KcpEndpoint::builder(&SECURITY)
        .endpoint()
        .expect_err("no runtime");
    poll_outside(KcpEndpoint::bind(any, &SECURITY)).expect_err("no runtime");
    poll_outside(KcpStream::builder(&SECURITY).connect_lazy(any)).expect_err("no runtime");
    poll_outside(KcpStream::connect(any, &SECURITY)).expect_err("no runtime");
    poll_outside(KcpStream::builder(&SECURITY).config(&config).connect(any))
        .expect_err("no runtime");
    poll_outside(
        KcpStream::builder(&SECURITY)
            .config(&config)
            .connect_messages(any),
    )
    .expect_err("no runtime");
    poll_outside(KcpListener::bind(any, &SECURITY)).expect_err("no runtime");
    let socket = UdpSocket::bind(any).expect("binds");
    KcpListener::builder(&SECURITY)
        .config(&config)
        .on_socket(socket)
        .expect_err("no runtime");
}

/// A runtime that ends must not keep its owner waiting for longer.
const LIMIT: Duration = Duration::from_secs(1);
