//! What calls and transfers take over paths that lose, in virtual time.
//!
//! ```text
//! cargo test -p kcp-transport --test lossy -- --nocapture       prints the tables
//! ```

mod net;
mod work;

use std::time::Duration;

use kcp_transport::config::Config;

use net::{Burst, Path};
use work::{bulk, calls};

/// 50 ms, 100 Mbit/s and a queue of 400 datagrams.
const USUAL: Path = Path::new(50, 100, 400);

const LOSSES: [f64; 5] = [0.0, 0.01, 0.05, 0.10, 0.20];

#[test]
fn calls_over_a_path_that_loses() {
    let config = Config::default();
    println!("loss   p50   p90   p99 p99.9   max  bytes");
    for loss in LOSSES {
        let result = calls(USUAL.losing(loss), [&config; 2], 2500, 1, 1);
        let [p50, p90, p99, p999, max] =
            [0.5, 0.9, 0.99, 0.999, 1.0].map(|part| result.quantile(part));
        let bytes = result.bytes;
        println!(
            "{:3.0}% {p50:5.0} {p90:5.0} {p99:5.0} {p999:5.0} {max:5.0} {bytes:6.2}",
            loss * 100.0
        );
    }
}

#[test]
fn calls_of_three_datagrams_over_a_path_that_loses() {
    let config = Config::default();
    for loss in LOSSES {
        let result = calls(USUAL.losing(loss), [&config; 2], 1500, 3, 1);
        let [p50, p90, p99, p999, max] =
            [0.5, 0.9, 0.99, 0.999, 1.0].map(|part| result.quantile(part));
        let bytes = result.bytes;
        println!(
            "three: {:3.0}% {p50:5.0} {p90:5.0} {p99:5.0} {p999:5.0} {max:5.0} {bytes:6.2}",
            loss * 100.0
        );
    }
}

#[test]
fn calls_over_a_path_that_loses_in_bursts() {
    let config = Config::default();
    let bursts = [
        Burst::Datagrams(3),
        Burst::Time(Duration::from_millis(3)),
        Burst::Time(Duration::from_millis(10)),
    ];
    for burst in bursts {
        for loss in [0.01, 0.05] {
            let path = Path {
                burst,
                ..USUAL.losing(loss)
            };
            let result = calls(path, [&config; 2], 2500, 1, 1);
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|part| result.quantile(part));
            let bytes = result.bytes;
            println!("{burst:?} {loss}: {p50:5.0} {p99:5.0} {p999:5.0} {bytes:6.2}");
        }
    }
}

#[test]
fn transfers_over_a_path_that_loses() {
    let config = Config::default();
    println!("loss  Mbit/s   part   sent drops  rtt  spurious");
    for (bytes, seeds) in [(10_000_000, 5), (100_000_000, 1)] {
        for loss in LOSSES {
            let runs = (0..seeds).map(|seed| bulk(USUAL.losing(loss), [&config; 2], bytes, seed));
            let mut runs: Vec<_> = runs.collect();
            runs.sort_by(|a, b| a.mbit.total_cmp(&b.mbit));
            let run = &runs[runs.len() / 2];
            let part = run.mbit / (94.4 * (1.0 - loss));
            println!(
                "{:3.0}%  {:6.1} {part:6.2} {:6.2} {:5} {:4.0} {:8.3}",
                loss * 100.0,
                run.mbit,
                run.sent,
                run.dropped,
                run.rtt,
                run.spurious
            );
        }
    }
}

#[test]
fn transfers_over_other_paths() {
    let config = Config::default();
    let short = Path::new(50, 10, 25);
    let paths = [
        ("10 Mbit/s, queue 25, 1 %", short.losing(0.01), 3_000_000),
        ("10 Mbit/s, queue 25, 5 %", short.losing(0.05), 3_000_000),
        (
            "200 ms, 2 %",
            Path::new(200, 100, 400).losing(0.02),
            10_000_000,
        ),
        (
            "5 % reordering",
            Path {
                reorder: 0.05,
                ..USUAL
            },
            10_000_000,
        ),
    ];
    for (name, path, bytes) in paths {
        println!("{name}: {:.2?}", bulk(path, [&config; 2], bytes, 1));
    }
}
