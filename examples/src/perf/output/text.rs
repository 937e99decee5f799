//! Results as text.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Ends, directions, ends, sum, sum_of};
use crate::perf::client::Connection;
use crate::perf::figures::Figures;
use crate::perf::meter::Direction;
use crate::perf::readings::{Interval, MessageRow};
use crate::perf::samples::{Sample, Times, Trips, millis};
use crate::perf::units;
use crate::perf::wire::{Kind, Limit, Request, Side};

/// A line for each connection.
#[must_use]
pub fn connected(connections: &[Connection]) -> String {
    let mut text = String::new();
    for connection in connections {
        let info = connection.meter.info();
        let local = info
            .local_addr()
            .map_or_else(|| "-".to_owned(), |it| it.to_string());
        let _ = writeln!(
            text,
            "{} local {local} connected to {} in {:.2} ms",
            id(connection.id),
            info.peer_addr(),
            millis(connection.connect),
        );
    }
    text
}

/// The line above the intervals of this side.
#[must_use]
pub fn header(kind: Kind, side: Side) -> String {
    let role = if kind == Kind::Both { "[Role]" } else { "" };
    let columns = if kind == Kind::Echo && side == Side::Client {
        "  Sent   Back   Round trip p50        p99        max"
    } else if kind.sends(side) {
        "Transfer     Bitrate         Retr             RTT"
    } else {
        "Transfer     Bitrate"
    };
    format!("[ ID]{role} Interval           {columns}\n")
}

/// The lines of an interval of this side, with their sum if there are several connections.
#[must_use]
pub fn interval(kind: Kind, side: Side, interval: &Interval) -> String {
    let omitted = if interval.omitted { "  (omitted)" } else { "" };
    let time = (interval.start, interval.end);
    let mut text = String::new();
    let mut line = |name: &str, direction, figures: &Figures| {
        let start = format!("{name}{} {}", role(kind, side, direction), span(time));
        let row = match direction {
            Direction::Sent => format!("{}  {}", moved(figures), resent(figures)),
            Direction::Received => moved(figures),
        };
        let _ = writeln!(text, "{start}  {}{omitted}", row.trim_end());
    };
    for row in &interval.streams {
        line(&id(row.id), row.direction, &row.figures);
    }
    for direction in Direction::of(kind, side) {
        let rows = interval
            .streams
            .iter()
            .filter(|row| row.direction == direction);
        if rows.clone().count() > 1 {
            line(SUM, direction, &sum_of(rows.map(|row| row.figures)));
        }
    }
    for row in &interval.messages {
        let _ = writeln!(
            text,
            "{} {}  {}{omitted}",
            id(row.id),
            span(time),
            trips(row)
        );
    }
    if interval.messages.len() > 1 {
        let all = MessageRow {
            id: 0,
            sent: interval.messages.iter().map(|row| row.sent).sum(),
            samples: interval
                .messages
                .iter()
                .flat_map(|row| row.samples.clone())
                .collect(),
        };
        let _ = writeln!(text, "{SUM} {}  {}{omitted}", span(time), trips(&all));
    }
    text
}

/// The lines at the end.
#[must_use]
pub fn summary(kind: Kind, connections: &[Connection]) -> String {
    if kind == Kind::Echo {
        return message_summary(connections);
    }
    let mut text = format!("{RULE}\n");
    let role_column = if kind == Kind::Both { "[Role]" } else { "" };
    let columns = "Transfer     Bitrate         Retr             RTT  Wire/byte";
    let _ = writeln!(text, "[ ID]{role_column} Interval           {columns}");
    let all = ends(kind, connections);
    for each in &all {
        end_lines(&mut text, &id(each.id), kind, each);
    }
    if connections.len() > 1 {
        for direction in directions(kind) {
            end_lines(&mut text, SUM, kind, &sum(&all, direction));
        }
    }
    text
}

fn end_lines(text: &mut String, name: &str, kind: Kind, ends: &Ends) {
    let name = format!("{name}{}", role(kind, Side::Client, ends.direction));
    if let Some(figures) = &ends.sender {
        let row = format!("{}  {}", moved(figures), resent(figures));
        let span = span((0.0, figures.seconds));
        let _ = writeln!(
            text,
            "{name} {span}  {row}  {:>9.3}  sender",
            figures.wire_per_byte()
        );
    }
    if let Some(figures) = &ends.receiver {
        let span = span((0.0, figures.seconds));
        let row = moved(figures);
        let _ = writeln!(text, "{name} {span}  {row:<WIDTH$}  receiver");
    }
    if ends.sender.is_none() || ends.receiver.is_none() {
        let _ = writeln!(text, "{name} the server has not reported its figures");
    }
}

fn message_summary(connections: &[Connection]) -> String {
    let samples: Vec<Vec<Sample>> = connections.iter().map(|it| it.samples.from(0)).collect();
    let sent: u64 = connections.iter().map(|it| it.samples.counts().0).sum();
    let back: usize = samples.iter().map(Vec::len).sum();
    let sender = connections
        .iter()
        .map(|it| it.meter.figures(Direction::Sent));
    let sender = sum_of(sender);
    let trips = Trips::new(&samples);
    let mut text = format!("{RULE}\n");
    let _ = writeln!(
        text,
        "{sent} messages sent, {back} back; {} segments, {} sent again ({:.1}%)",
        sender.segments,
        sender.retransmitted,
        sender.retransmitted_percent(),
    );
    if back == 0 {
        return text;
    }
    let _ = writeln!(text, "{:<22}{}", "Times in ms", TIMES);
    for (name, times) in [
        ("round trip", trips.round_trip),
        ("to the server *", trips.there),
        ("back *", trips.back),
    ] {
        let _ = writeln!(text, "{name:<16}{}", five(times));
    }
    text.push_str("* with the clocks compared by the fastest round trip, both ways of which count as equally long\n");
    text
}

/// What the server prints when it has accepted a test.
#[must_use]
pub fn server_accepted(connection: u64, peer: SocketAddr, request: &Request) -> String {
    let kind = match request.kind {
        Kind::Upload => "upload",
        Kind::Download => "download",
        Kind::Both => "upload and download",
        Kind::Echo => "messages",
    };
    let limit = match request.limit {
        Limit::Time(time) => format!(" for {} s", (time + request.omit).as_secs_f64()),
        Limit::Bytes(bytes) => format!(" of {}", units::bytes(bytes)),
        Limit::Unlimited => String::new(),
    };
    format!("[{connection:>3}] {peer}: {kind}{limit}\n")
}

/// What the server prints when a test has ended: what it has received and sent.
#[must_use]
pub fn server_ended(connection: u64, kind: Kind, figures: [Option<&Figures>; 2]) -> String {
    server_results(&id(connection), kind, figures)
}

/// The same of all connections of a client.
#[must_use]
pub fn server_sum(kind: Kind, figures: [Option<&Figures>; 2]) -> String {
    server_results(SUM, kind, figures)
}

fn server_results(name: &str, kind: Kind, [received, sent]: [Option<&Figures>; 2]) -> String {
    if kind == Kind::Echo {
        let bytes = units::bytes(received.map_or(0, |it| it.bytes));
        return format!("{name} {bytes} of messages sent back\n");
    }
    let mut text = String::new();
    for (figures, direction, label) in [
        (received, Direction::Received, "received"),
        (sent, Direction::Sent, "sent"),
    ] {
        if let Some(figures) = figures {
            let role = role(kind, Side::Server, direction);
            let span = span((0.0, figures.seconds));
            let _ = writeln!(text, "{name}{role} {span}  {}  {label}", moved(figures));
        }
    }
    text
}

fn id(id: impl Into<u64>) -> String {
    format!("[{:>3}]", id.into())
}

fn role(kind: Kind, side: Side, direction: Direction) -> &'static str {
    match (kind, side, direction) {
        (Kind::Both, Side::Client, Direction::Sent) => "[TX-C]",
        (Kind::Both, Side::Client, Direction::Received) => "[RX-C]",
        (Kind::Both, Side::Server, Direction::Sent) => "[TX-S]",
        (Kind::Both, Side::Server, Direction::Received) => "[RX-S]",
        (Kind::Upload | Kind::Download | Kind::Echo, ..) => "",
    }
}

fn span((start, end): (f64, f64)) -> String {
    format!("{start:>6.2}-{end:<6.2} sec")
}

/// Transfer and bitrate.
fn moved(figures: &Figures) -> String {
    let bytes = units::bytes(figures.bytes);
    let rate = units::rate(figures.bits_per_second());
    format!("{bytes:>11}  {rate:>14}")
}

/// Retransmissions and round-trip time.
fn resent(figures: &Figures) -> String {
    let share = format!("({:.1}%)", figures.retransmitted_percent());
    let rtt = figures.rtt_us.map_or_else(
        || "-".to_owned(),
        |rtt| format!("{:.2} ms", millis(Duration::from_micros(rtt))),
    );
    format!("{:>6} {share:<8} {rtt:>9}", figures.retransmitted)
}

fn trips(row: &MessageRow) -> String {
    let times = Times::new(row.samples.iter().map(|it| it.round_trip()).collect());
    let back = row.samples.len();
    let mut text = format!("{:>6} {back:>6}", row.sent);
    if back > 0 {
        for time in [times.p50, times.p99, times.max] {
            let _ = write!(text, " {time:>10.2}");
        }
        text.push_str(" ms");
    }
    text
}

fn five(times: Times) -> String {
    let all = [times.min, times.mean, times.p50, times.p99, times.max];
    all.iter().map(|time| format!("{time:>10.2}")).collect()
}

const SUM: &str = "[SUM]";

const RULE: &str =
    "- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - -";

/// Width of the columns from the transfer to the bytes on the wire.
const WIDTH: usize = 27 + 2 + 25 + 2 + 9;

const TIMES: &str = " min      mean       p50       p99       max";
