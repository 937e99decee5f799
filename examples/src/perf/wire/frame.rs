//! What follows the header, in each direction: frames.
//!
//! On a stream a frame is its kind, the length of its body in four bytes, big-endian, and its body. In
//! message mode each frame is a message: its kind and its body.
//!
//! | kind | | body | |
//! |---|---|---|---|
//! | 1 | begin | empty | from the client, once all its connections are accepted |
//! | 2 | data | any bytes; in message mode an [`Echo`] | |
//! | 3 | end | empty | the sender has sent all its data |
//! | 4 | stop | empty | a request to end early |
//! | 5 | report | a [`Report`] in JSON, at most 1024 bytes | |
//!
//! The receiver of data answers the end with a report of what it received, and the sender answers this
//! report with one of what it sent. Then both end their streams.

use serde::{Deserialize, Serialize};

use super::request::{MAX_LENGTH, MIN_MESSAGE, Side};
use crate::perf::error::{TestError, printable};
use crate::perf::figures::Figures;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Data may be sent from now on.
    Begin,
    /// Data, or a message.
    Data,
    /// The end of the data.
    End,
    /// A request to end early.
    Stop,
    /// A [`Report`].
    Report,
}

impl FrameKind {
    /// All kinds; their codes are their positions plus 1.
    const ALL: [Self; 5] = [Self::Begin, Self::Data, Self::End, Self::Stop, Self::Report];

    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Begin => 1,
            Self::Data => 2,
            Self::End => 3,
            Self::Stop => 4,
            Self::Report => 5,
        }
    }

    /// The kind with this code.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn decode(code: u8, from: Side) -> Result<Self, TestError> {
        let kind = Self::ALL.into_iter().find(|it| it.code() == code);
        kind.ok_or_else(|| TestError::Data(from, format!("frame of kind {code}; allowed: 1 to 5")))
    }

    fn longest(self) -> usize {
        match self {
            Self::Data => MAX_LENGTH,
            Self::Report => MAX_REPORT,
            Self::Begin | Self::End | Self::Stop => 0,
        }
    }
}

/// What one side reports to the other.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// The data received.
    Received(Figures),
    /// The data sent.
    Sent(Figures),
    /// The test failed on this side, for this reason.
    Failed(String),
}

/// The part of a frame before its body, on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The kind.
    pub kind: FrameKind,
    /// Length of the body.
    pub len: usize,
}

impl Head {
    /// Length of a head.
    pub const LEN: usize = 5;

    /// The bytes of the head.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LEN] {
        // The longest bodies are far shorter than 4 GiB.
        let [b0, b1, b2, b3] = (self.len as u32).to_be_bytes();
        [self.kind.code(), b0, b1, b2, b3]
    }

    /// A head, checked.
    ///
    /// # Errors
    ///
    /// If the kind is unknown, or the body is too long for it.
    pub fn decode(bytes: [u8; Self::LEN], from: Side) -> Result<Self, TestError> {
        let [kind, len @ ..] = bytes;
        let kind = FrameKind::decode(kind, from)?;
        let len = u32::from_be_bytes(len) as usize;
        if len > kind.longest() {
            let longest = kind.longest();
            let problem = format!("frame of {len} bytes; allowed: 0 to {longest}");
            return Err(TestError::Data(from, problem));
        }
        Ok(Self { kind, len })
    }
}

impl Report {
    /// The body of the report's frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Numbers and text always have a form in JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The report in the body of a frame. A failure of the peer is an error.
    ///
    /// # Errors
    ///
    /// If the body is no report, or reports that the peer failed.
    pub fn decode(body: &[u8], from: Side) -> Result<Self, TestError> {
        match serde_json::from_slice(body) {
            Ok(Self::Failed(problem)) => Err(TestError::Reported(from, printable(&problem))),
            Ok(report) => Ok(report),
            Err(error) => Err(TestError::Data(from, printable(&error.to_string()))),
        }
    }
}

/// The body of a message that the server sends back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Its number, from 0.
    pub number: u64,
    /// When it was due at the client, in microseconds since the client began.
    pub sent: u64,
    /// When the server received it, in microseconds since the server began. 0 on the way there.
    pub turned: u64,
}

impl Echo {
    /// A message of the kind [`FrameKind::Data`] with the length, at least [`MIN_MESSAGE`].
    #[must_use]
    pub fn encode(self, len: usize) -> Vec<u8> {
        let mut message = vec![FrameKind::Data.code()];
        for field in [self.number, self.sent, self.turned] {
            message.extend_from_slice(&field.to_be_bytes());
        }
        message.resize(len.max(MIN_MESSAGE), PADDING);
        message
    }

    /// The fields of a message of the kind [`FrameKind::Data`].
    ///
    /// # Errors
    ///
    /// If the message is too short.
    pub fn decode(message: &[u8], from: Side) -> Result<Self, TestError> {
        let field = |index: usize| {
            let start = 1 + index * 8;
            let bytes = message.get(start..start + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        match (field(0), field(1), field(2)) {
            (Some(number), Some(sent), Some(turned)) => Ok(Self {
                number,
                sent,
                turned,
            }),
            _ => {
                let len = message.len();
                let problem = format!("message of {len} bytes; allowed: at least {MIN_MESSAGE}");
                Err(TestError::Data(from, problem))
            }
        }
    }
}

const MAX_REPORT: usize = 1024;

/// Content of a message after its fields.
const PADDING: u8 = b'.';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_messages_survive_encoding() {
        for kind in FrameKind::ALL {
            let head = Head {
                kind,
                len: kind.longest(),
            };
            assert_eq!(Head::decode(head.encode(), Side::Client).unwrap(), head);
        }
        let echo = Echo {
            number: 1,
            sent: u64::MAX,
            turned: 3,
        };
        let message = echo.encode(200);
        assert_eq!(message.len(), 200);
        assert_eq!(Echo::decode(&message, Side::Client).unwrap(), echo);
        assert_eq!(echo.encode(0).len(), MIN_MESSAGE);
    }

    #[test]
    fn unknown_kinds_long_bodies_and_short_messages_are_refused() {
        for code in [0, 6, 255] {
            let error = Head::decode([code, 0, 0, 0, 0], Side::Client).unwrap_err();
            assert!(error.to_string().contains("allowed: 1 to 5"), "{error}");
        }
        for (code, longest) in [(1, 0), (2, 1 << 20), (3, 0), (4, 0), (5, 1024)] {
            let [b0, b1, b2, b3] = (longest as u32 + 1).to_be_bytes();
            let error = Head::decode([code, b0, b1, b2, b3], Side::Client).unwrap_err();
            let range = format!("allowed: 0 to {longest}");
            assert!(error.to_string().contains(&range), "{error}");
        }
        Echo::decode(&[2; MIN_MESSAGE - 1], Side::Server).unwrap_err();
    }

    #[test]
    fn reports_survive_encoding_and_failures_are_errors() {
        let report = Report::Sent(Figures {
            bytes: 5,
            seconds: 0.25,
            rtt_us: Some(7),
            ..Figures::default()
        });
        assert_eq!(
            Report::decode(&report.encode(), Side::Server).unwrap(),
            report
        );
        let largest = Report::Sent(Figures::largest());
        assert!(
            largest.encode().len() <= MAX_REPORT,
            "{}",
            largest.encode().len()
        );
        let failed = Report::Failed("no\u{7} room".to_owned());
        let error = Report::decode(&failed.encode(), Side::Server).unwrap_err();
        assert_eq!(error.to_string(), "the server reports: no room");
        for body in [&b"{}"[..], b"", b"[1]", b"\xff"] {
            Report::decode(body, Side::Server).unwrap_err();
        }
    }
}
