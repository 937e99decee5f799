//! What calls and transfers take over paths that lose, in virtual time.
//!
//! ```text
//! cargo test -p kcp-transport --test lossy -- --nocapture       prints the tables
//! ```

mod net;
mod opening;
mod share;
mod work;

use std::time::Duration;

use kcp_transport::config::{Config, Percent, Preset, Redundancy};

use net::{Burst, Path, Stalls};
use opening::opening;
use share::share;
use work::{Bulk, bulk, calls};

/// 50 ms, 100 Mbit/s and a queue of 400 datagrams.
const USUAL: Path = Path::new(50, 100, 400);

const LOSSES: [f64; 5] = [0.0, 0.01, 0.05, 0.10, 0.20];

/// As [`Config::default`], without copies.
fn without_copies() -> Config {
    let builder = Config::builder().redundancy(Redundancy::Off);
    builder.build().expect("in range")
}

/// Prints what calls take, and returns the times of p99 and p99.9 in milliseconds, and the bytes.
fn print_calls(name: &str, path: Path, config: &Config, parts: usize) -> (f64, f64, f64) {
    let result = calls(path, [config; 2], 2500, parts, 1);
    let [p50, p90, p99, p999, max] = [0.5, 0.9, 0.99, 0.999, 1.0].map(|part| result.quantile(part));
    let bytes = result.bytes;
    println!("{name:32} {p50:5.0} {p90:5.0} {p99:5.0} {p999:5.0} {max:5.0} {bytes:6.2}");
    (p99, p999, bytes)
}

#[test]
fn losses_cost_calls_a_round_trip_without_copies() {
    let most = [51.0, 107.0, 110.0, 162.0, 218.0];
    for (loss, most) in LOSSES.into_iter().zip(most) {
        let name = format!("without copies, {loss}");
        let (p99, _, bytes) = print_calls(&name, USUAL.losing(loss), &without_copies(), 1);
        assert!(p99 <= most, "{p99} ms at {loss}");
        assert!(bytes <= 1.0 + 2.5 * loss, "{bytes} at {loss}");
    }
}

#[test]
fn losses_cost_calls_milliseconds_with_copies() {
    let most = [
        (51.0, 0.96),
        (55.0, 2.05),
        (56.0, 2.1),
        (107.0, 2.1),
        (112.0, 2.4),
    ];
    for (loss, (most, most_bytes)) in LOSSES.into_iter().zip(most) {
        let name = format!("copies, {loss}");
        let path = USUAL.losing(loss);
        let (p99, p999, bytes) = print_calls(&name, path, &Config::default(), 1);
        assert!(p99 <= most, "{p99} ms at {loss}");
        assert!(p999 <= 58.0 || loss != 0.01, "{p999} ms at {loss}");
        assert!(bytes <= most_bytes, "{bytes} at {loss}");
    }
}

#[test]
fn losses_cost_calls_of_three_datagrams_milliseconds_with_copies() {
    for (loss, most) in [(0.01, 56.0), (0.05, 110.0), (0.1, 110.0)] {
        let name = format!("three datagrams, {loss}");
        let (p99, ..) = print_calls(&name, USUAL.losing(loss), &Config::default(), 3);
        assert!(p99 <= most, "{p99} ms at {loss}");
    }
}

#[test]
fn copies_move_away_from_bursts() {
    let bursts = [
        Burst::Datagrams(3),
        Burst::Time(Duration::from_millis(3)),
        Burst::Time(Duration::from_millis(10)),
    ];
    for burst in bursts {
        for (loss, most) in [(0.01, 67.5), (0.05, 108.0)] {
            let path = Path {
                burst,
                ..USUAL.losing(loss)
            };
            let name = format!("{burst:?}, {loss}");
            let (p99, ..) = print_calls(&name, path, &Config::default(), 1);
            assert!(p99 <= most, "{p99} ms in {name}");
        }
    }
}

#[test]
fn jitter_makes_few_needless_retransmissions() {
    let path = Path {
        jitter: Duration::from_millis(10),
        ..USUAL
    };
    let result = calls(path, [&without_copies(); 2], 2500, 1, 1);
    assert!(result.resent <= 0.01, "{} of all segments", result.resent);
}

#[test]
fn short_paths_and_transfers_have_no_copies() {
    let always = Redundancy::Always {
        copies: 2,
        overhead: Percent::new(400),
    };
    let config = Config::builder().redundancy(always).build();
    let config = config.expect("in range");
    for millis in [1, 4, 7] {
        let path = Path::new(millis, 100, 400).losing(0.05);
        assert_eq!(calls(path, [&config; 2], 300, 1, 1).copied, 0);
    }
    assert!(calls(USUAL, [&config; 2], 30, 1, 1).copied > 100);
    // But for what is sent again in the last round trip.
    for bytes in [3_000_000, 30_000_000] {
        let transfer = bulk(USUAL.losing(0.05), [&config; 2], bytes, 1);
        assert!(transfer.copied <= 50, "{}", transfer.copied);
    }
}

#[test]
fn copies_stay_within_their_budget() {
    for overhead in [0, 10, 50, 100, 400] {
        let redundancy = Redundancy::Adaptive {
            overhead: Percent::new(overhead),
        };
        let config = Config::builder().redundancy(redundancy).build();
        let config = config.expect("in range");
        for loss in [0.01, 0.1, 0.3] {
            let result = calls(USUAL.losing(loss), [&config; 2], 500, 1, 1);
            // Of each end.
            let saved = if overhead == 0 { 0 } else { 8 * 16 * 1372 };
            let most = result.data_bytes * u64::from(overhead) / 100 + saved;
            let copied = result.copied_bytes;
            assert!(copied <= most, "{copied} at {overhead} % and {loss}");
        }
    }
}

/// The median of several runs, printed.
fn print_bulk(name: &str, path: Path, config: &Config, bytes: usize, seeds: u64) -> Bulk {
    let runs = (0..seeds).map(|seed| bulk(path, [config; 2], bytes, seed));
    let mut runs: Vec<_> = runs.collect();
    runs.sort_by(|a, b| a.mbit.total_cmp(&b.mbit));
    let run = runs.swap_remove(runs.len() / 2);
    let (rate, part) = (run.mbit, run.part(path));
    let (sent, dropped, rtt, spurious) = (run.sent, run.dropped, run.rtt, run.spurious);
    println!(
        "{name:28} {rate:6.1} Mbit/s, {part:4.2} of the limit, {sent:5.2} sent, {dropped:5} dropped, \
         {rtt:4.0} ms, {spurious:5.3} needless"
    );
    run
}

fn preset(preset: Preset) -> Config {
    Config::builder().preset(preset).build().expect("in range")
}

#[test]
fn transfers_without_a_controller() {
    for loss in LOSSES {
        let name = format!("10 MB without, {loss}");
        let fast2 = preset(Preset::Fast2);
        let run = print_bulk(&name, USUAL.losing(loss), &fast2, 10_000_000, 1);
        assert!(run.part(USUAL.losing(loss)) >= 0.45, "{run:?}");
    }
}

#[test]
fn transfers_fill_a_path_that_loses_and_not_its_queue() {
    let config = preset(Preset::Bulk);
    let small = [0.88, 0.85, 0.88, 0.9, 0.85];
    let large = [0.96, 0.96, 0.99, 1.0, 1.0];
    for (bytes, seeds, least) in [(10_000_000, 9, small), (60_000_000, 1, large)] {
        for (loss, least) in LOSSES.into_iter().zip(least) {
            let path = USUAL.losing(loss);
            let name = format!("{} MB, {loss}", bytes / 1_000_000);
            let run = print_bulk(&name, path, &config, bytes, seeds);
            assert!(run.part(path) >= least, "{run:?} at {loss}");
            assert!(run.rtt <= 60.0, "{run:?} at {loss}");
            assert!(run.sent <= 1.02 / (1.0 - loss), "{run:?} at {loss}");
            // An ack that is lost has nothing sent again, unless the first ones of a flow are.
            let most = if loss > 0.1 { 0.02 } else { 0.005 };
            assert!(run.spurious <= most, "{run:?} at {loss}");
        }
    }
}

#[test]
fn transfers_over_other_paths() {
    let config = preset(Preset::Bulk);
    for loss in [0.01, 0.05] {
        let short = Path::new(50, 10, 25).losing(loss);
        let run = print_bulk("10 Mbit/s, queue of 25", short, &config, 3_000_000, 1);
        // Of that, what is lost on the way, data and acks.
        let most = 1.05 + 2.0 * loss;
        assert!(run.part(short) >= 0.9 && run.sent <= most, "{run:?}");
    }
    let long = Path::new(200, 100, 400).losing(0.02);
    let run = print_bulk("200 ms", long, &config, 10_000_000, 1);
    assert!(run.mbit >= 41.0, "{run:?}");
    let reordering = Path {
        reorder: 0.05,
        ..USUAL
    };
    let run = print_bulk("5 % reordering", reordering, &config, 10_000_000, 1);
    assert!(
        run.part(reordering) >= 0.8 && run.spurious <= 0.03,
        "{run:?}"
    );
}

#[test]
fn flows_share_a_path_and_leave_its_queue() {
    let config = preset(Preset::Bulk);
    let seconds = Duration::from_secs;
    for (rate, queue, most_drops, most_rtt) in [(100_u32, 400, 0.01, 65.0), (10, 100, 0.03, 125.0)]
    {
        for apart in [0, 2] {
            let path = Path::new(50, u64::from(rate), queue);
            let times = [seconds(3 * apart), seconds(30)];
            let run = share(path, &[&config; 4], seconds(apart), times, 1);
            println!("{rate} Mbit/s, queue of {queue}, {apart} s apart: {run:.3?}");
            assert!(run.ratio() <= 2.0, "{run:?}");
            assert!(run.dropped <= most_drops, "{run:?}");
            assert!(run.rtt <= most_rtt, "{run:?}");
            assert!(run.mbit >= 0.92 * f64::from(rate), "{run:?}");
        }
    }
}

#[test]
fn lost_connecting_probes_do_not_delay_the_first_calls() {
    let seeds = 5000;
    let worst = (0..seeds).map(|seed| {
        let opening = opening(USUAL.losing(0.2), &Config::default(), 10, seed);
        opening.times.into_iter().max().unwrap_or_default()
    });
    let mut worst: Vec<_> = worst.map(|it| it.as_millis()).collect();
    worst.sort_unstable();
    let [p90, p99, p999] = [900, 990, 999].map(|part| worst[worst.len() * part / 1000]);
    println!("worst of the first ten calls: {p90} {p99} {p999} ms");
    assert!(
        p90 <= 210 && p99 <= 550 && p999 <= 1000,
        "{p90} {p99} {p999}"
    );
}

#[test]
fn first_call_over_a_path_without_loss_sends_nothing_again() {
    for rtt in (10..1000).step_by(10) {
        let run = opening(Path::new(rtt, 100, 400), &Config::default(), 1, 1);
        // On a longer path, repetitions of the handshake look like lost ones for a while.
        let most = if rtt < 300 { 0 } else { 4 };
        assert!(run.resent <= most, "{} at {rtt} ms", run.resent);
    }
}

#[test]
fn transfers_end_sooner_with_copies_of_what_is_sent_again_last() {
    let median = |config: &Config, path| {
        let mut rates: Vec<_> = (0..41)
            .map(|seed| bulk(path, [config; 2], 10_000_000, seed).mbit)
            .collect();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    for (loss, least) in [(0.05, 1.01), (0.1, 1.03), (0.2, 1.04)] {
        let path = USUAL.losing(loss);
        let (without, with) = (without_copies(), Config::default());
        let rates = [median(&without, path), median(&with, path)];
        println!("10 MB without copies and with, {loss}: {rates:.1?} Mbit/s");
        assert!(rates[1] >= least * rates[0], "{rates:?} at {loss}");
    }
}

#[test]
fn transfers_slow_down_little_where_hosts_stall() {
    let config = Config::default();
    for (name, stalls, least) in [
        ("both", [Stalls::new(10, 50); 2], [0.85, 0.84, 0.93]),
        (
            "the sender",
            [Stalls::new(20, 100), Stalls::NONE],
            [0.84, 0.82, 0.93],
        ),
        (
            "the receiver",
            [Stalls::NONE, Stalls::new(20, 100)],
            [0.84, 0.82, 0.93],
        ),
    ] {
        let runs = [(10_000_000, 0.0), (10_000_000, 0.05), (60_000_000, 0.05)];
        for ((bytes, loss), least) in runs.into_iter().zip(least) {
            let path = Path {
                stalls,
                ..USUAL.losing(loss)
            };
            let name = format!("{} MB, {name} stalls, {loss}", bytes / 1_000_000);
            let run = print_bulk(&name, path, &config, bytes, 5);
            assert!(run.part(path) >= least, "{run:?} in {name}");
        }
    }
}

#[test]
fn acks_that_others_cover_are_not_taken_for_losses() {
    // Several datagrams arrive before an end acknowledges the last of them.
    for most in [0, 2, 5] {
        let stalls = [Stalls::new(most, 2); 2];
        let path = Path { stalls, ..USUAL };
        for parts in [1, 3] {
            let result = calls(path, [&Config::default(); 2], 2500, parts, 1);
            let (copied, bytes) = (result.copied, result.bytes);
            println!("{parts} datagrams, stalls of {most} ms: {copied} copies, {bytes:.2}");
            assert!(bytes <= 1.05, "{bytes} for {parts}");
        }
    }
}
