//! Flows that share one path.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::time::Time;

use super::net::{Net, Path};

/// What flows on one path come to.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Part of the bytes of all flows, for each.
    pub(crate) parts: Vec<f64>,
    /// Rate of all together, in Mbit/s.
    pub(crate) mbit: f64,
    /// Part of datagrams that the queue had no room for.
    pub(crate) dropped: f64,
    /// Mean of the smoothed round-trip times, in milliseconds.
    pub(crate) rtt: f64,
}

impl Shares {
    /// The largest share over the smallest.
    pub(crate) fn ratio(&self) -> f64 {
        let most = self.parts.iter().copied().fold(0.0, f64::max);
        let least = self.parts.iter().copied().fold(1.0, f64::min);
        most / least
    }
}

/// Runs one flow for each configuration, `apart` from each other, for `span` in all. Counts what is
/// read after `warm`.
pub(crate) fn share(
    path: Path,
    clients: &[&Config],
    apart: Duration,
    [warm, span]: [Duration; 2],
    seed: u64,
) -> Shares {
    let mut net = Net::with_clients(path, clients, seed);
    let start = net.now;
    let begin = |pair: usize| start + apart * u32::try_from(pair).expect("few");
    let pairs = clients.len();
    let mut read = vec![0; pairs];
    let mut ignored = vec![0; pairs];
    let (mut started, mut is_warm) = (0, false);
    let chunk = vec![7; 1 << 16];
    let mut buffer = vec![0; 1 << 18];
    let (mut trips, mut samples) = (0.0, 0_u32);
    let (mut before, mut next_sample) = ((0, 0), start + warm);
    while net.now < start + span {
        while started < pairs && begin(started) <= net.now {
            net.ends[2 * started].session.write(net.now, &chunk);
            net.flush(2 * started);
            net.flush(2 * started + 1);
            started += 1;
        }
        if !is_warm && net.now >= start + warm {
            is_warm = true;
            ignored.clone_from(&read);
            before = (net.links[0].datagrams, net.links[0].dropped);
        }
        let next_start = if started < pairs {
            begin(started)
        } else {
            start + span
        };
        let now = net.now;
        for index in net.step(next_start) {
            let now = net.now;
            let session = &mut net.ends[index].session;
            if index % 2 == 0 && index / 2 < started {
                while session.write(now, &chunk) > 0 {}
            } else {
                loop {
                    match session.read(now, &mut buffer) {
                        0 => break,
                        len => read[index / 2] += len,
                    }
                }
            }
            net.flush(index);
        }
        if now >= next_sample {
            next_sample = now + Duration::from_millis(20);
            for pair in 0..started {
                let trip = net.ends[2 * pair].session.stats().smoothed_rtt;
                trips += trip.unwrap_or_default().as_secs_f64() * 1000.0;
                samples += 1;
            }
        }
        if net.now == Time::from_micros(u64::MAX) {
            break;
        }
    }
    let bytes: Vec<usize> = read
        .iter()
        .zip(&ignored)
        .map(|(all, it)| all - it)
        .collect();
    let total: usize = bytes.iter().sum();
    let sent = net.links[0].datagrams - before.0;
    let dropped = net.links[0].dropped - before.1;
    Shares {
        parts: bytes.iter().map(|it| *it as f64 / total as f64).collect(),
        mbit: total as f64 * 8.0 / (span - warm).as_secs_f64() / 1e6,
        dropped: dropped as f64 / sent.max(1) as f64,
        rtt: trips / f64::from(samples.max(1)),
    }
}
