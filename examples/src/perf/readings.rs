//! Readings of the meters of connections, at intervals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::figures::Figures;
use super::meter::{Direction, Meter, Point};
use super::samples::{Sample, Samples};
use super::wire::{Kind, Request, Side};

/// What was counted between two readings.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Seconds since the beginning, or since the end of the omitted time.
    pub start: f64,
    /// As `start`.
    pub end: f64,
    /// Whether the interval is in the omitted time.
    pub omitted: bool,
    /// One row for each connection and direction.
    pub streams: Vec<StreamRow>,
    /// One row for each connection, if the server sends messages back.
    pub messages: Vec<MessageRow>,
}

/// The data of a connection in an interval.
#[derive(Clone, Copy, Debug)]
pub struct StreamRow {
    /// The number of the connection.
    pub id: u64,
    /// The direction.
    pub direction: Direction,
    /// What this side has counted.
    pub figures: Figures,
}

/// The messages of a connection in an interval.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// The number of the connection.
    pub id: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that came back.
    pub samples: Vec<Sample>,
}

/// Readings of the meters of some connections with the same request.
#[derive(Debug)]
pub(super) struct Readings {
    side: Side,
    kind: Kind,
    interval: Duration,
    omit: Duration,
    begin: Instant,
    /// The time of the last reading.
    from: Duration,
    connections: Vec<Metered>,
    taken: bool,
}

/// A connection with its last reading.
#[derive(Debug)]
struct Metered {
    id: u64,
    meter: Arc<Meter>,
    /// At the side that sends messages.
    samples: Option<Arc<Samples>>,
    point: Point,
    sent: u64,
    answered: usize,
}

impl Readings {
    /// Readings at the end of each `interval` from `begin` on; none if it is zero.
    pub(super) fn new(begin: Instant, interval: Duration, request: &Request, side: Side) -> Self {
        Self {
            side,
            kind: request.kind,
            interval,
            omit: request.omit,
            begin,
            from: Duration::ZERO,
            connections: Vec::new(),
            taken: false,
        }
    }

    /// Adds a connection.
    pub(super) fn add(&mut self, id: u64, meter: Arc<Meter>, samples: Option<Arc<Samples>>) {
        self.connections.push(Metered {
            id,
            point: meter.point(),
            meter,
            samples,
            sent: 0,
            answered: 0,
        });
    }

    /// Whether this connection is read.
    pub(super) fn has(&self, id: u64) -> bool {
        self.connections.iter().any(|it| it.id == id)
    }

    /// Removes a connection.
    pub(super) fn remove(&mut self, id: u64) {
        self.connections.retain(|it| it.id != id);
    }

    /// When the next reading is due.
    pub(super) fn next(&self) -> Option<Instant> {
        (!self.interval.is_zero()).then(|| self.begin + self.end())
    }

    /// The end of the current interval.
    fn end(&self) -> Duration {
        if self.from < self.omit {
            (self.from + self.interval).min(self.omit)
        } else {
            self.from + self.interval
        }
    }

    /// The reading that is due.
    pub(super) fn take(&mut self) -> Interval {
        self.read(self.end())
    }

    /// The part of an interval at the end, unless it is very short.
    pub(super) fn last(&mut self) -> Option<Interval> {
        if self.interval.is_zero() {
            return None;
        }
        let ends = self.connections.iter().map(|it| it.meter.ended());
        let ends: Option<Vec<Duration>> = ends.collect();
        let end = ends.and_then(|ends| ends.into_iter().max());
        let now = end.unwrap_or_else(|| self.begin.elapsed());
        let shortest = if self.taken {
            self.interval / 10
        } else {
            Duration::ZERO
        };
        (now > self.from + shortest).then(|| self.read(now))
    }

    fn read(&mut self, end: Duration) -> Interval {
        let omitted = self.from < self.omit;
        let zero = if omitted { Duration::ZERO } else { self.omit };
        let mut interval = Interval {
            start: self.from.saturating_sub(zero).as_secs_f64(),
            end: end.saturating_sub(zero).as_secs_f64(),
            omitted,
            ..Interval::default()
        };
        for connection in &mut self.connections {
            let point = connection.meter.point();
            for direction in Direction::of(self.kind, self.side) {
                interval.streams.push(StreamRow {
                    id: connection.id,
                    direction,
                    figures: point.since(&connection.point, direction),
                });
            }
            connection.point = point;
            interval.messages.extend(connection.messages());
        }
        self.from = end;
        self.taken = true;
        interval
    }
}

impl Metered {
    /// The messages since the last reading, at the side that sends them.
    fn messages(&mut self) -> Option<MessageRow> {
        let samples = self.samples.as_ref()?;
        let (sent, _) = samples.counts();
        let row = MessageRow {
            id: self.id,
            sent: sent - self.sent,
            samples: samples.from(self.answered),
        };
        self.sent = sent;
        self.answered += row.samples.len();
        Some(row)
    }
}
