//! What a client requests of a server, checked when it is decoded.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A test, as the client requests it at the beginning of each connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Request {
    /// The direction of the data.
    pub kind: Kind,
    /// The same number for all connections of one client.
    pub client: u64,
    /// The number of these connections.
    pub connections: u32,
    /// When a sender ends, unless a stop is requested before.
    pub limit: Limit,
    /// Time at the beginning that does not count. It comes in addition to a limit in time.
    pub omit: Duration,
    /// Bytes per write, or per message.
    pub length: usize,
    /// Limit of each sender in bits per second.
    pub rate: Option<u64>,
    /// Time between two messages of [`Kind::Echo`]; zero otherwise.
    pub interval: Duration,
}

/// The direction of the data, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// From the client to the server.
    Upload,
    /// From the server to the client.
    Download,
    /// Both at the same time.
    Both,
    /// Messages of the client, which the server sends back.
    Echo,
}

impl Kind {
    /// Whether the side sends data: the client, or else the server.
    #[must_use]
    pub fn sends(self, side: Side) -> bool {
        match self {
            Self::Upload => side == Side::Client,
            Self::Download => side == Side::Server,
            Self::Both => true,
            Self::Echo => false,
        }
    }
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that connects, and whose results are printed.
    Client,
    /// The side that listens.
    Server,
}

impl Side {
    /// The opposite side.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The name of the side in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// When a sender ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After this time.
    Time(Duration),
    /// After this number of bytes, on each connection.
    Bytes(u64),
    /// After a stop only.
    Unlimited,
}

/// The request in JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    kind: Kind,
    client: u64,
    connections: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default)]
    omit_ms: u64,
    length: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<u64>,
    #[serde(default)]
    interval_us: u64,
}

impl TryFrom<Fields> for Request {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let kind = fields.kind;
        within(
            "connections",
            fields.connections.into(),
            1,
            MAX_CONNECTIONS.into(),
        )?;
        within("omit_ms", fields.omit_ms, 0, MAX_SECONDS * 1000)?;
        let shortest = if kind == Kind::Echo { MIN_MESSAGE } else { 1 };
        let longest = if kind == Kind::Echo {
            MAX_MESSAGE
        } else {
            MAX_LENGTH
        };
        within("length", fields.length, shortest as u64, longest as u64)?;
        if let Some(rate) = fields.rate {
            within("rate", rate, 1000, 1_000_000_000_000)?;
        }
        within(
            "interval_us",
            fields.interval_us,
            0,
            MAX_SECONDS * 1_000_000,
        )?;
        let limit = match (fields.time_ms, fields.bytes) {
            (Some(time), None) => {
                within("time_ms", time, 1, MAX_SECONDS * 1000)?;
                Limit::Time(Duration::from_millis(time))
            }
            (None, Some(bytes)) => {
                within("bytes", bytes, 1, 1 << 50)?;
                Limit::Bytes(bytes)
            }
            (None, None) => Limit::Unlimited,
            (Some(_), Some(_)) => return Err("time_ms and bytes exclude each other".to_owned()),
        };
        Ok(Self {
            kind,
            client: fields.client,
            connections: fields.connections,
            limit,
            omit: Duration::from_millis(fields.omit_ms),
            length: usize::try_from(fields.length).map_err(|error| error.to_string())?,
            rate: fields.rate,
            interval: Duration::from_micros(fields.interval_us),
        })
    }
}

impl From<Request> for Fields {
    fn from(request: Request) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (time_ms, bytes) = match request.limit {
            Limit::Time(time) => (Some(millis(time)), None),
            Limit::Bytes(bytes) => (None, Some(bytes)),
            Limit::Unlimited => (None, None),
        };
        Self {
            kind: request.kind,
            client: request.client,
            connections: request.connections,
            time_ms,
            bytes,
            omit_ms: millis(request.omit),
            length: request.length as u64,
            rate: request.rate,
            interval_us: micros(request.interval),
        }
    }
}

fn within(name: &str, given: u64, min: u64, max: u64) -> Result<(), String> {
    if (min..=max).contains(&given) {
        Ok(())
    } else {
        Err(format!("{name} is {given}; allowed: {min} to {max}"))
    }
}

/// Largest number of connections of one client.
pub const MAX_CONNECTIONS: u32 = 128;

/// Longest test and longest omitted time: one day.
pub const MAX_SECONDS: u64 = 86_400;

/// Largest number of bytes per write.
pub const MAX_LENGTH: usize = 1 << 20;

/// Smallest message: its kind, number and two times.
pub const MIN_MESSAGE: usize = 25;

/// Largest message: 16 of the 32 segments that every peer accepts, if the mtu is the default.
pub const MAX_MESSAGE: usize = 16 << 10;

#[cfg(test)]
pub(super) fn example() -> Request {
    Request {
        kind: Kind::Upload,
        client: 7,
        connections: 2,
        limit: Limit::Time(Duration::from_secs(10)),
        omit: Duration::from_millis(1500),
        length: 16_384,
        rate: Some(5_000_000),
        interval: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_survives_encoding() {
        let limits = [
            Limit::Time(Duration::from_millis(1)),
            Limit::Bytes(9),
            Limit::Unlimited,
        ];
        for limit in limits {
            let request = Request { limit, ..example() };
            let json = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let valid = serde_json::to_value(example()).unwrap();
        for (name, value, range) in [
            ("connections", 0, "1 to 128"),
            ("connections", 129, "1 to 128"),
            ("time_ms", 0, "1 to 86400000"),
            ("omit_ms", 86_400_001, "0 to 86400000"),
            ("length", 0, "1 to 1048576"),
            ("length", 1_048_577, "1 to 1048576"),
            ("rate", 999, "1000 to"),
            ("bytes", 1, "exclude each other"),
        ] {
            let mut changed = valid.clone();
            changed[name] = value.into();
            let problem = serde_json::from_value::<Request>(changed).unwrap_err();
            let problem = problem.to_string();
            assert!(
                problem.contains(name) && problem.contains(range),
                "{problem}"
            );
        }
        let mut unknown = valid.clone();
        unknown["speed"] = 1.into();
        serde_json::from_value::<Request>(unknown).unwrap_err();
        let mut echo = valid;
        echo["kind"] = "echo".into();
        echo["length"] = 24.into();
        let problem = serde_json::from_value::<Request>(echo).unwrap_err();
        assert!(problem.to_string().contains("25 to 16384"), "{problem}");
    }

    #[test]
    fn each_kind_has_its_senders() {
        for (kind, client, server) in [
            (Kind::Upload, true, false),
            (Kind::Download, false, true),
            (Kind::Both, true, true),
            (Kind::Echo, false, false),
        ] {
            assert_eq!(kind.sends(Side::Client), client);
            assert_eq!(kind.sends(Side::Server), server);
        }
    }
}
