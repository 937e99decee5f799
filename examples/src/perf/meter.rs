//! Progress of a connection, which can be read while a test runs.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kcp_transport::{ConnectionInfo, Stats};
use tokio::time::sleep;

use super::figures::Figures;
use super::wire::{Kind, Side};

/// A direction, as this side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// This side sends.
    Sent,
    /// This side receives.
    Received,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Self; 2] = [Self::Sent, Self::Received];

    /// The directions in which data flows, as this side sees them. The messages of [`Kind::Echo`] are data
    /// for the server only.
    pub fn of(kind: Kind, side: Side) -> impl Iterator<Item = Self> {
        let flows = move |it: &Self| match it {
            Self::Sent => kind.sends(side),
            Self::Received => {
                kind.sends(side.peer()) || (kind == Kind::Echo && side == Side::Server)
            }
        };
        Self::BOTH.into_iter().filter(flows)
    }
}

/// Progress of a connection.
#[derive(Debug)]
pub struct Meter {
    info: ConnectionInfo,
    /// When data may flow, and the reading at that time.
    begin: OnceLock<(Instant, Point)>,
    /// The reading from which on data counts, if that is later.
    counted: OnceLock<Point>,
    /// Bytes of data written.
    written: AtomicU64,
    /// Of these, acknowledged by the peer, as far as is known.
    acknowledged: AtomicU64,
    /// Bytes of data received.
    received: AtomicU64,
    /// The last readings of [`Direction::BOTH`].
    ends: [OnceLock<Point>; 2],
    /// What the peer has reported of [`Direction::BOTH`].
    reports: [Mutex<Option<Figures>>; 2],
    peer_stopped: AtomicBool,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Point {
    /// Time since the beginning.
    pub at: Duration,
    acknowledged: u64,
    received: u64,
    stats: Stats,
}

impl Point {
    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self, direction: Direction) -> Figures {
        Figures {
            bytes: match direction {
                Direction::Sent => self.acknowledged - earlier.acknowledged,
                Direction::Received => self.received - earlier.received,
            },
            seconds: self.at.saturating_sub(earlier.at).as_secs_f64(),
            ..Figures::between(&earlier.stats, &self.stats)
        }
    }
}

impl Meter {
    /// A meter of the connection.
    #[must_use]
    pub fn new(info: ConnectionInfo) -> Self {
        Self {
            info,
            begin: OnceLock::new(),
            counted: OnceLock::new(),
            written: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            received: AtomicU64::new(0),
            ends: Default::default(),
            reports: Default::default(),
            peer_stopped: AtomicBool::new(false),
        }
    }

    /// The connection.
    #[must_use]
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Starts the clock, unless it runs.
    pub fn begin(&self) -> Instant {
        let now = || (Instant::now(), self.point());
        self.begin.get_or_init(now).0
    }

    /// The counters now. The time is zero before the beginning.
    #[must_use]
    pub fn point(&self) -> Point {
        let stats = self.info.stats();
        let begin = self.begin.get();
        Point {
            at: begin.map_or(Duration::ZERO, |(begin, _)| begin.elapsed()),
            acknowledged: self.acknowledged(&stats),
            received: self.received.load(Ordering::Relaxed),
            stats,
        }
    }

    /// After this time, data counts from then on only. Never ends.
    pub async fn omit_after(&self, time: Duration) -> Infallible {
        if !time.is_zero() {
            sleep(time).await;
            let _ = self.counted.set(self.point());
        }
        pending().await
    }

    /// The reading from which on data counts.
    #[must_use]
    pub fn counted_from(&self) -> Point {
        let begin = || self.begin.get().map(|(_, point)| *point);
        self.counted
            .get()
            .copied()
            .or_else(begin)
            .unwrap_or_default()
    }

    /// Counts data that was written.
    pub fn on_written(&self, len: usize) {
        self.written.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// Counts data that was received.
    pub fn on_received(&self, len: usize) {
        self.received.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// Bytes of data received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Notes the end of a direction, and returns what this side has counted of it.
    pub fn on_end(&self, direction: Direction) -> Figures {
        if direction == Direction::Sent {
            // The peer has confirmed it.
            let written = self.written.load(Ordering::Relaxed);
            self.acknowledged.fetch_max(written, Ordering::Relaxed);
        }
        let _ = self.ends[direction as usize].set(self.point());
        self.figures(direction)
    }

    /// When the last direction has ended, if one has.
    #[must_use]
    pub fn ended(&self) -> Option<Duration> {
        self.ends.iter().filter_map(|end| Some(end.get()?.at)).max()
    }

    /// What this side has counted of a direction, until its end or until now.
    #[must_use]
    pub fn figures(&self, direction: Direction) -> Figures {
        let end = self.ends[direction as usize].get().copied();
        let end = end.unwrap_or_else(|| self.point());
        end.since(&self.counted_from(), direction)
    }

    /// Notes what the peer has reported of a direction.
    pub fn on_report(&self, direction: Direction, figures: Figures) {
        *self.report(direction) = Some(figures);
    }

    /// What the peer has reported of a direction.
    #[must_use]
    pub fn reported(&self, direction: Direction) -> Option<Figures> {
        *self.report(direction)
    }

    /// Notes that the peer requested an early end.
    pub fn on_peer_stopped(&self) {
        self.peer_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the peer requested an early end.
    #[must_use]
    pub fn peer_stopped(&self) -> bool {
        self.peer_stopped.load(Ordering::Relaxed)
    }

    /// A number that changes whenever data moves in a direction.
    #[must_use]
    pub fn progress(&self) -> u64 {
        let stats = self.info.stats();
        let pending = stats.queued + stats.in_flight;
        let moved = self.written.load(Ordering::Relaxed) + self.received();
        (moved + stats.bytes_read).wrapping_mul(PRIME) ^ pending as u64
    }

    fn report(&self, direction: Direction) -> std::sync::MutexGuard<'_, Option<Figures>> {
        let report = self.reports[direction as usize].lock();
        report.unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes written that no longer wait for an acknowledgement.
    ///
    /// The statistics count what waits in segments. All are taken for full, so this number is rather too
    /// small; it never decreases.
    fn acknowledged(&self, stats: &Stats) -> u64 {
        let segments = (stats.queued + stats.in_flight) as u64;
        let waiting = segments * u64::from(stats.path_mtu.saturating_sub(SEGMENT_OVERHEAD));
        let written = self.written.load(Ordering::Relaxed);
        let acknowledged = written.saturating_sub(waiting);
        let before = self.acknowledged.fetch_max(acknowledged, Ordering::Relaxed);
        before.max(acknowledged)
    }
}

/// Bytes of a datagram that are no data, with the usual ciphers: nonce, tag and segment header.
const SEGMENT_OVERHEAD: u16 = 52;

/// Separates the two numbers of [`Meter::progress`].
const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
