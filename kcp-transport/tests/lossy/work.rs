//! What is done over a path, and what it comes to.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::time::Time;

use super::net::{Net, Path};

/// Times of calls, and bytes beside those of a path without loss.
#[derive(Debug)]
pub(crate) struct Calls {
    times: Vec<Duration>,
    pub(crate) bytes: f64,
    /// The part of data segments that was sent again.
    pub(crate) resent: f64,
    pub(crate) copied: u64,
    pub(crate) copied_bytes: u64,
    /// Of data segments and retransmissions, headers included.
    pub(crate) data_bytes: u64,
}

impl Calls {
    /// In milliseconds.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let index = ((self.times.len() as f64 * part) as usize).min(self.times.len() - 1);
        self.times[index].as_secs_f64() * 1000.0
    }
}

/// Calls in turn on each of four connections; `parts` datagrams of a kilobyte each way.
pub(crate) fn calls(
    path: Path,
    configs: [&Config; 2],
    each: usize,
    parts: usize,
    seed: u64,
) -> Calls {
    const PAIRS: usize = 4;
    let size = 1024 * parts;
    let mut net = Net::new(path, PAIRS, configs, seed);
    net.connect();
    let before = net.links[0].bytes + net.links[1].bytes;
    let mut started = [Time::ZERO; PAIRS];
    let mut left = [each; PAIRS];
    let mut got = [0; 2 * PAIRS];
    let mut times = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    for (pair, started) in started.iter_mut().enumerate() {
        *started = net.now;
        net.ends[2 * pair].session.write(net.now, &vec![1; size]);
        net.flush(2 * pair);
    }
    while left.iter().any(|left| *left > 0) {
        for index in net.step(Time::from_micros(u64::MAX)) {
            let now = net.now;
            let session = &mut net.ends[index].session;
            got[index] += session.read(now, &mut buffer);
            assert!(session.error().is_none(), "{:?}", session.error());
            let pair = index / 2;
            if got[index] >= size && left[pair] > 0 {
                got[index] -= size;
                if index % 2 == 0 {
                    times.push(now - started[pair]);
                    started[pair] = now;
                    left[pair] -= 1;
                }
                if left[pair] > 0 {
                    session.write(now, &vec![1; size]);
                }
            }
            net.flush(index);
        }
    }
    times.sort_unstable();
    let bytes = (net.links[0].bytes + net.links[1].bytes - before) as f64;
    // Data and an ack, each way.
    let least = (PAIRS * each * parts * 2 * (1104 + 80)) as f64;
    let stats = || net.ends.iter().map(|end| end.session.stats());
    let data: u64 = stats().map(|it| it.data_segments_sent).sum();
    let resent: u64 = stats().map(|it| it.retransmitted).sum();
    Calls {
        times,
        bytes: bytes / least,
        resent: resent as f64 / data as f64,
        copied: stats().map(|it| it.redundant_sent).sum(),
        copied_bytes: stats().map(|it| it.redundant_bytes).sum(),
        data_bytes: (data + resent) * (1024 + 24),
    }
}

/// What moving many bytes one way comes to.
#[derive(Debug)]
pub(crate) struct Bulk {
    /// Of useful bytes, from the first write to the last read.
    pub(crate) mbit: f64,
    /// Datagrams sent for each that was needed.
    pub(crate) sent: f64,
    pub(crate) dropped: u64,
    /// The mean of the smoothed round-trip time, in milliseconds.
    pub(crate) rtt: f64,
    pub(crate) spurious: f64,
    pub(crate) copied: u64,
}

impl Bulk {
    /// The part of what the path can carry, when all of each datagram but headers is useful.
    pub(crate) fn part(&self, path: Path) -> f64 {
        self.mbit / (path.rate as f64 / 1e6 * 0.944 * (1.0 - path.loss))
    }
}

/// Moves `bytes` from a client to its server.
pub(crate) fn bulk(path: Path, configs: [&Config; 2], bytes: usize, seed: u64) -> Bulk {
    let mut net = Net::new(path, 1, configs, seed);
    net.connect();
    let start = net.now;
    let (mut written, mut read) = (0, 0);
    let chunk = vec![7; 1 << 18];
    let mut buffer = vec![0; 1 << 18];
    let (mut trips, mut samples) = (0.0, 0.0);
    let mut next_sample = start;
    let mut touched = vec![0];
    while read < bytes {
        for index in touched {
            let now = net.now;
            let session = &mut net.ends[index].session;
            assert!(session.error().is_none(), "{:?}", session.error());
            if index == 0 {
                let len = chunk.len().min(bytes - written);
                written += session.write(now, &chunk[..len]);
                if now >= next_sample {
                    trips += session
                        .stats()
                        .smoothed_rtt
                        .unwrap_or_default()
                        .as_secs_f64();
                    samples += 1.0;
                    next_sample = now + Duration::from_millis(10);
                }
            } else {
                loop {
                    match session.read(now, &mut buffer) {
                        0 => break,
                        len => read += len,
                    }
                }
            }
            net.flush(index);
        }
        touched = net.step(start + Duration::from_secs(600));
        assert!(net.now < start + Duration::from_secs(600), "too slow");
    }
    let stats = net.ends[0].session.stats();
    // Copies are sent on purpose.
    let duplicates = net.ends[1].session.stats().duplicates_received;
    let duplicates = duplicates.saturating_sub(stats.redundant_sent);
    let needed = stats.data_segments_sent as f64;
    Bulk {
        mbit: bytes as f64 * 8.0 / (net.now - start).as_secs_f64() / 1e6,
        sent: (stats.data_segments_sent + stats.retransmitted) as f64 / needed,
        dropped: net.links[0].dropped,
        rtt: trips / samples * 1000.0,
        spurious: duplicates as f64 / needed,
        copied: stats.redundant_sent,
    }
}
