//! Benchmarks of single layers: sealing and opening, FEC, and two sessions without I/O.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::fec::{FecEncoder, FecRatio};
use kcp_transport::packet::{Opener, PacketLayout, Sealer, TransmitBatch};
use kcp_transport::testing::{Pair, PairConfig};
use kcp_transport::time::Time;

const DATAGRAMS: usize = 32;

fn full_batch(security: &Security) -> TransmitBatch {
    let layout = PacketLayout::new(1400, security.overhead(), false).expect("has room");
    let mut batch = TransmitBatch::new(layout, DATAGRAMS);
    for index in 0..DATAGRAMS {
        batch.push_with(|payload| {
            payload.fill(index as u8);
            payload.len()
        });
    }
    batch
}

fn ciphers(criterion: &mut Criterion) {
    for name in Security::NAMES {
        let security =
            Security::from_password(name, "bench", Security::KCPTUN_SALT).expect("known");
        let sealer = Sealer::new(&security, [7; 32]);
        let opener = Opener::new(&security);
        let mut group = criterion.benchmark_group(format!("{name}, {DATAGRAMS} x 1400 bytes"));
        group.throughput(Throughput::Bytes(DATAGRAMS as u64 * 1400));
        let mut batch = full_batch(&security);
        group.bench_function("seal", |bencher| {
            bencher.iter(|| sealer.seal(black_box(&mut batch)).expect("not 2^36 yet"));
        });
        let mut sealed = full_batch(&security);
        sealer.seal(&mut sealed).expect("not 2^36 yet");
        let datagrams: Vec<Vec<u8>> = sealed.datagrams().map(<[u8]>::to_vec).collect();
        group.bench_function("open", |bencher| {
            bencher.iter_batched_ref(
                || datagrams.clone(),
                |datagrams| {
                    for datagram in datagrams {
                        black_box(opener.open(datagram).expect("sealed with the same key"));
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// Measures the cost of the replay filter and the check for reflected packets.
fn replay(criterion: &mut Criterion) {
    let security =
        Security::from_password("aes-128-gcm", "bench", Security::KCPTUN_SALT).expect("known");
    let [here, peer] = [[7; 32], [8; 32]].map(|seed| Sealer::new(&security, seed));
    let mut group = criterion.benchmark_group(format!("seal and open, {DATAGRAMS} x 1400 bytes"));
    group.throughput(Throughput::Elements(DATAGRAMS as u64));
    let mut batch = full_batch(&security);
    let mut copy = [0; 1400];
    let any = Opener::new(&security);
    group.bench_function("without replay filter", |bencher| {
        bencher.iter(|| {
            peer.seal(&mut batch).expect("not 2^36 yet");
            for datagram in batch.datagrams() {
                copy.copy_from_slice(datagram);
                black_box(any.open(&mut copy).expect("the same key"));
            }
        });
    });
    let opener = here.opener();
    let mut filter = here.replay_filter(114_000);
    group.bench_function("with replay and reflection check", |bencher| {
        bencher.iter(|| {
            peer.seal(&mut batch).expect("not 2^36 yet");
            for datagram in batch.datagrams() {
                copy.copy_from_slice(datagram);
                let opened = opener.open_once(&mut copy, &mut filter);
                black_box(opened.expect("the first time"));
            }
        });
    });
    group.finish();
}

fn fec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fec");
    for (data, parity) in [(10, 3), (2, 1), (20, 5)] {
        let mut encoder = FecEncoder::new(FecRatio::new(data, parity).expect("in range"));
        let mut packet = vec![0x5a; 1400];
        let mut scratch = vec![0; 1400];
        group.throughput(Throughput::Bytes(1400));
        group.bench_function(format!("encode one packet of {data}/{parity}"), |bencher| {
            bencher.iter(|| {
                if encoder.encode(Time::from_millis(1), black_box(&mut packet)) {
                    while encoder.take_parity(&mut scratch) > 0 {}
                }
            });
        });
    }
    group.finish();
}

fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two sessions, 1 MB in virtual time");
    group.throughput(Throughput::Bytes(1_000_000));
    let data = vec![1; 1_000_000];
    for window in [128, 1024, 65_535] {
        let own = Config::builder()
            .windows(window, window)
            .build()
            .expect("in range");
        let config = PairConfig {
            client: own.clone(),
            server: own,
            ..PairConfig::default()
        };
        group.bench_function(format!("window {window}"), |bencher| {
            bencher.iter(|| {
                Pair::new(1, &config)
                    .transfer(black_box(&data))
                    .expect("arrives")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, ciphers, replay, fec, sessions);
criterion_main!(benches);
