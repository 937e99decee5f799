//! Results as JSON. docs/kcp-program.md describes the fields.

use std::time::Duration;

use serde::Serialize;

use super::{Ends, directions, ends, sum};
use crate::perf::client::{Connection, Outcome, Plan};
use crate::perf::figures::Figures;
use crate::perf::meter::Direction;
use crate::perf::readings::Interval;
use crate::perf::samples::{Sample, Times, Trips, millis};
use crate::perf::wire::{Kind, Limit, Request};
use crate::report::one_line;

/// The result of a test: the only thing that `kcp perf client --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    version: &'static str,
    test: Test,
    connections: Vec<Connected>,
    intervals: Vec<IntervalFields>,
    summary: Summary,
    interrupted: bool,
    error: Option<String>,
}

/// The document of a test that could not begin.
#[must_use]
pub fn failed(problem: &str) -> impl Serialize {
    #[derive(Serialize)]
    struct Failed {
        version: &'static str,
        error: String,
    }
    Failed {
        version: VERSION,
        error: problem.to_owned(),
    }
}

impl Document {
    /// The document of a test.
    #[must_use]
    pub fn new(
        plan: &Plan,
        connections: &[Connection],
        intervals: &[Interval],
        outcome: &Outcome,
    ) -> Self {
        let kind = plan.request.kind;
        Self {
            version: VERSION,
            test: Test::new(plan),
            connections: connections.iter().map(Connected::new).collect(),
            intervals: intervals
                .iter()
                .map(|it| IntervalFields::new(kind, it))
                .collect(),
            summary: Summary::new(kind, connections),
            interrupted: outcome.interrupted,
            error: outcome.error.as_ref().map(|it| one_line(it)),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Test {
    server: String,
    kind: Kind,
    connections: u32,
    time_s: Option<f64>,
    bytes: Option<u64>,
    omit_s: f64,
    length: usize,
    bits_per_second: Option<u64>,
    messages_per_second: Option<f64>,
    interval_s: f64,
    cipher: &'static str,
}

impl Test {
    fn new(plan: &Plan) -> Self {
        let Request {
            kind,
            connections,
            limit,
            omit,
            length,
            rate,
            interval,
            ..
        } = plan.request;
        let (time_s, bytes) = match limit {
            Limit::Time(time) => (Some(time.as_secs_f64()), None),
            Limit::Bytes(bytes) => (None, Some(bytes)),
            Limit::Unlimited => (None, None),
        };
        Self {
            server: plan.server.to_string(),
            kind,
            connections,
            time_s,
            bytes,
            omit_s: omit.as_secs_f64(),
            length,
            bits_per_second: rate,
            messages_per_second: (!interval.is_zero()).then(|| 1.0 / interval.as_secs_f64()),
            interval_s: plan.interval.as_secs_f64(),
            cipher: plan.transport.security.name(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Connected {
    id: u64,
    local: Option<String>,
    peer: String,
    connect_ms: f64,
}

impl Connected {
    fn new(connection: &Connection) -> Self {
        let info = connection.meter.info();
        Self {
            id: connection.id.into(),
            local: info.local_addr().map(|it| it.to_string()),
            peer: info.peer_addr().to_string(),
            connect_ms: millis(connection.connect),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct IntervalFields {
    start_s: f64,
    end_s: f64,
    omitted: bool,
    streams: Vec<StreamFields>,
    sum: Vec<StreamFields>,
    messages: Vec<MessageFields>,
}

#[derive(Clone, Debug, Serialize)]
struct StreamFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    direction: &'static str,
    #[serde(flatten)]
    figures: FigureFields,
}

#[derive(Clone, Debug, Serialize)]
struct MessageFields {
    id: u64,
    sent: u64,
    back: usize,
    round_trip_ms: Times,
}

impl IntervalFields {
    fn new(kind: Kind, interval: &Interval) -> Self {
        let stream = |id, direction, figures: &Figures| StreamFields {
            id,
            direction: name(direction),
            figures: FigureFields::new(figures),
        };
        let rows = &interval.streams;
        let sum = directions(kind).map(|direction| {
            let rows = rows.iter().filter(|row| row.direction == direction);
            let sum = super::sum_of(rows.map(|row| row.figures));
            stream(None, direction, &sum)
        });
        let messages = interval.messages.iter().map(|row| MessageFields {
            id: row.id,
            sent: row.sent,
            back: row.samples.len(),
            round_trip_ms: Times::new(round_trips(&row.samples)),
        });
        Self {
            start_s: round(interval.start),
            end_s: round(interval.end),
            omitted: interval.omitted,
            streams: rows
                .iter()
                .map(|row| stream(Some(row.id), row.direction, &row.figures))
                .collect(),
            sum: sum.collect(),
            messages: messages.collect(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Summary {
    streams: Vec<EndFields>,
    sum: Vec<EndFields>,
    messages: Option<MessageSummary>,
}

#[derive(Clone, Debug, Serialize)]
struct EndFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    direction: &'static str,
    sender: Option<FigureFields>,
    receiver: Option<FigureFields>,
}

#[derive(Clone, Debug, Serialize)]
struct MessageSummary {
    sent: u64,
    back: usize,
    round_trip_ms: Times,
    there_ms: Times,
    back_ms: Times,
    client: FigureFields,
}

impl Summary {
    fn new(kind: Kind, connections: &[Connection]) -> Self {
        let all = ends(kind, connections);
        let streams = all.iter().map(|it| EndFields::new(Some(it.id.into()), it));
        let sums = directions(kind).map(|direction| EndFields::new(None, &sum(&all, direction)));
        Self {
            streams: streams.collect(),
            sum: sums.collect(),
            messages: (kind == Kind::Echo).then(|| MessageSummary::new(connections)),
        }
    }
}

impl EndFields {
    fn new(id: Option<u64>, ends: &Ends) -> Self {
        Self {
            id,
            direction: name(ends.direction),
            sender: ends.sender.as_ref().map(FigureFields::of_sender),
            receiver: ends.receiver.as_ref().map(FigureFields::new),
        }
    }
}

impl MessageSummary {
    fn new(connections: &[Connection]) -> Self {
        let samples: Vec<Vec<Sample>> = connections.iter().map(|it| it.samples.from(0)).collect();
        let trips = Trips::new(&samples);
        let client = connections
            .iter()
            .map(|it| it.meter.figures(Direction::Sent));
        Self {
            sent: connections.iter().map(|it| it.samples.counts().0).sum(),
            back: samples.iter().map(Vec::len).sum(),
            round_trip_ms: trips.round_trip,
            there_ms: trips.there,
            back_ms: trips.back,
            client: FigureFields::new(&super::sum_of(client)),
        }
    }
}

/// [`Figures`] with what follows from them.
#[derive(Clone, Copy, Debug, Serialize)]
struct FigureFields {
    bytes: u64,
    seconds: f64,
    bits_per_second: f64,
    segments: u64,
    retransmitted: u64,
    retransmitted_percent: f64,
    redundant: u64,
    parity: u64,
    recovered: u64,
    duplicates: u64,
    wire_bytes_sent: u64,
    wire_bytes_received: u64,
    /// Of a sender only.
    #[serde(skip_serializing_if = "Option::is_none")]
    wire_bytes_per_byte: Option<f64>,
    rtt_ms: Option<f64>,
}

impl FigureFields {
    fn new(figures: &Figures) -> Self {
        Self {
            bytes: figures.bytes,
            seconds: round(figures.seconds),
            bits_per_second: figures.bits_per_second().round(),
            segments: figures.segments,
            retransmitted: figures.retransmitted,
            retransmitted_percent: round(figures.retransmitted_percent()),
            redundant: figures.redundant,
            parity: figures.parity,
            recovered: figures.recovered,
            duplicates: figures.duplicates,
            wire_bytes_sent: figures.wire_sent,
            wire_bytes_received: figures.wire_received,
            wire_bytes_per_byte: None,
            rtt_ms: figures.rtt_us.map(|rtt| millis(Duration::from_micros(rtt))),
        }
    }

    fn of_sender(figures: &Figures) -> Self {
        Self {
            wire_bytes_per_byte: Some(round(figures.wire_per_byte())),
            ..Self::new(figures)
        }
    }
}

/// A line that `kcp perf server --json` prints at the end of each connection.
#[derive(Clone, Debug, Serialize)]
pub struct ServerLine {
    connection: u64,
    peer: String,
    kind: Kind,
    received: Option<FigureFields>,
    sent: Option<FigureFields>,
    error: Option<String>,
}

impl ServerLine {
    /// The line of a connection.
    #[must_use]
    pub fn new(
        connection: u64,
        peer: std::net::SocketAddr,
        kind: Kind,
        [received, sent]: [Option<&Figures>; 2],
        error: Option<String>,
    ) -> Self {
        Self {
            connection,
            peer: peer.to_string(),
            kind,
            received: received.map(FigureFields::new),
            sent: sent.map(FigureFields::new),
            error,
        }
    }
}

fn round_trips(samples: &[Sample]) -> Vec<Duration> {
    samples.iter().map(|it| it.round_trip()).collect()
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Sent => "upload",
        Direction::Received => "download",
    }
}

/// Six decimals.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
