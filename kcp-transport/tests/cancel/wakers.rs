//! Wake-ups: none is lost, whatever waits and wherever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpStream, OwnedReadHalf, OwnedWriteHalf};
use kcp_transport::testing::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::harness::Alarm;
use crate::network::Network;
use crate::streams::fill;
use crate::{Pair, listen, network, pair, pattern, small};

#[tokio::test(start_paused = true)]
async fn last_waker_to_poll_is_the_one_that_is_woken() {
    let Pair {
        client, mut server, ..
    } = pair(0, &small()).await;
    let (first, second) = (Arc::<Alarm>::default(), Arc::<Alarm>::default());
    let (mut reader, mut writer) = client.into_split();

    let mut buffer = [0; 10];
    let mut reading = Box::pin(reader.read(&mut buffer));
    assert!(first.poll(&mut reading).is_pending());
    assert!(second.poll(&mut reading).is_pending());
    assert_eq!((first.kept(), second.kept()), (0, 1));
    server.write_all(b"x").await.expect("writes");
    second.rung().await;
    assert_eq!(first.rings(), 0);
    assert!(second.poll(&mut reading).is_ready());
    drop(reading);

    let data = pattern(300_000);
    fill(&mut writer, &data).await;
    let mut writing = Box::pin(writer.write(&data));
    assert!(first.poll(&mut writing).is_pending());
    assert!(second.poll(&mut writing).is_pending());
    let draining = tokio::spawn(async move {
        let mut sink = vec![0; 10_000];
        while let Ok(1..) = server.read(&mut sink).await {}
    });
    while second.poll(&mut writing).is_pending() {
        second.rung().await;
    }
    assert_eq!(first.rings(), 0);
    drop(writing);

    let mut down = Box::pin(writer.shutdown());
    assert!(first.poll(&mut down).is_pending());
    assert!(second.poll(&mut down).is_pending());
    while second.poll(&mut down).is_pending() {
        second.rung().await;
    }
    assert_eq!(first.rings(), 0);
    draining.abort();
}

#[tokio::test(start_paused = true)]
async fn every_task_in_accept_is_given_a_connection() {
    for seed in 0..20 {
        let network = network(seed);
        let (host, listener) = listen(&network, &Config::default());
        let listener = Arc::new(listener);
        let accepting: Vec<_> = (0..3)
            .map(|_| {
                let listener = Arc::clone(&listener);
                tokio::spawn(async move { listener.accept().await.expect("accepts") })
            })
            .collect();
        // One more gives up each time that it is woken, as a `select!` loop may.
        let giving_up = Arc::clone(&listener);
        let giving_up = tokio::spawn(async move {
            loop {
                let alarm = Arc::<Alarm>::default();
                let mut accepting = Box::pin(giving_up.accept());
                if alarm.poll(&mut accepting).is_pending() {
                    let _ = timeout(Duration::from_secs(5), alarm.rung()).await;
                    drop(accepting);
                    assert_eq!(alarm.kept(), 0);
                } else {
                    return;
                }
            }
        });
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (client, addr) = (network.host(), host.addr());
            let config = Config::default();
            let client = KcpStream::builder(&Security::Plaintext)
                .config(&config)
                .transport(client)
                .connect(addr)
                .await;
            clients.push(client.expect("connects"));
        }
        for accepting in accepting {
            let accepted = timeout(Duration::from_secs(5), accepting).await;
            accepted.expect("a lost wake-up").expect("no panic");
        }
        let last = timeout(Duration::from_secs(5), giving_up).await;
        last.expect("a lost wake-up").expect("no panic");
    }
}

/// A task that accepts with a time-out, over and over, while no peer connects.
#[tokio::test(start_paused = true)]
async fn waiters_that_gave_up_leave_no_trace() {
    let ratio = FecRatio::new(3, 1).expect("in range");
    let config = Config::builder().fec(ratio).build().expect("in range");
    let Pair {
        server, listener, ..
    } = pair(0, &config).await;
    let alarms: Vec<_> = (0..1000).map(|_| Arc::<Alarm>::default()).collect();
    let datagrams = server.datagrams();
    for alarm in &alarms {
        assert!(alarm.poll(&mut Box::pin(listener.accept())).is_pending());
        assert!(alarm.poll(&mut Box::pin(datagrams.recv())).is_pending());
    }
    let kept: usize = alarms.iter().map(Alarm::kept).sum();
    assert_eq!(kept, 0, "memory grows with every attempt");
}

/// Two futures of one task share its waker: that one of them goes must not deafen the other.
#[tokio::test(start_paused = true)]
async fn waiter_that_gives_up_leaves_others_of_its_task_waiting() {
    let network = network(0);
    let (host, listener) = listen(&network, &Config::default());
    let alarm = Arc::<Alarm>::default();
    let (mut first, mut second) = (Box::pin(listener.accept()), Box::pin(listener.accept()));
    assert!(alarm.poll(&mut first).is_pending());
    assert!(alarm.poll(&mut second).is_pending());
    drop(first);
    let (client, config) = (network.host(), Config::default());
    let connecting = KcpStream::builder(&Security::Plaintext)
        .config(&config)
        .transport(client)
        .connect(host.addr());
    let _client = connecting.await.expect("connects");
    alarm.rung().await;
    assert!(alarm.poll(&mut second).is_ready());
}

/// Reads by a loop that makes its future anew whenever something else happens.
async fn read_in_pieces(mut reader: OwnedReadHalf, len: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while received.len() < len {
        let other = async {
            match rng.below(3) {
                0 => tokio::task::yield_now().await,
                1 => sleep(Duration::from_micros(rng.below(300))).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = other => {}
            read = reader.read(&mut buffer) => {
                received.extend_from_slice(&buffer[..read.expect("reads")]);
            }
        }
        // A new task each time: it may be stolen by another thread.
        if rng.below(8) == 0 {
            let moved = tokio::spawn(async move { reader });
            reader = moved.await.expect("no panic");
        }
    }
    received
}

async fn write_in_pieces(mut writer: OwnedWriteHalf, data: Vec<u8>, seed: u64) -> io::Result<()> {
    let mut rng = Rng::new(seed);
    let mut written = 0;
    while written < data.len() {
        let end = data.len().min(written + 1 + rng.below(5000) as usize);
        let wait = Duration::from_micros(rng.below(300));
        tokio::select! {
            wrote = writer.write(&data[written..end]) => written += wrote?,
            () = sleep(wait) => {}
        }
        if rng.below(8) == 0 {
            let moved = tokio::spawn(async move { writer });
            writer = moved.await.expect("no panic");
        }
    }
    writer.shutdown().await
}

#[test]
fn halves_that_migrate_between_threads_lose_no_wake_up() {
    let seeds = std::env::var("KCP_ASYNC_SEEDS").map_or(60, |it| it.parse().expect("a number"));
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("starts");
    for seed in 0..seeds {
        let work = async move {
            let network = Network::new(seed, 0.0, Duration::ZERO);
            let (host, listener) = listen(&network, &small());
            let config = small();
            let (client, accepted) = tokio::join!(
                KcpStream::builder(&Security::Plaintext)
                    .config(&config)
                    .transport(network.host())
                    .connect(host.addr()),
                listener.accept(),
            );
            let (client, server) = (client.expect("connects"), accepted.expect("accepts").0);
            let data = pattern(60_000);
            let mut tasks = Vec::new();
            let mut readers = Vec::new();
            for (index, stream) in [client, server].into_iter().enumerate() {
                let (reader, writer) = stream.into_split();
                let seed = seed * 4 + index as u64;
                tasks.push(tokio::spawn(write_in_pieces(writer, data.clone(), seed)));
                let reading = read_in_pieces(reader, data.len(), !seed);
                readers.push(tokio::spawn(reading));
            }
            for reader in readers {
                assert!(reader.await.expect("no panic") == data);
            }
            for task in tasks {
                task.await.expect("no panic").expect("writes");
            }
        };
        let done = runtime.block_on(async { timeout(Duration::from_secs(20), work).await });
        done.unwrap_or_else(|_| panic!("seed {seed}: a lost wake-up"));
    }
}
