//! Extension frames, which are carried in the payload of window updates.
//!
//! In KCP a window update has no payload, and every KCP peer skips the payload of one. Only peers
//! of this crate read these frames. All fields are little endian:
//!
//! | offset | field | meaning |
//! |-------:|-------|---------|
//! | 0 | magic u32  | `KCPX` in ASCII |
//! | 4 | version u8 | 1 |
//! | 5 | frames     | any number of: type u8, length u8, value |
//!
//! | type | frame | value |
//! |-----:|-------|-------|
//! | 1 | [`Frame::Hello`]         | flags u8, capabilities u32, token u64, echo u64 |
//! | 2 | [`Frame::Fin`]           | tag u64, final sequence number u32 |
//! | 3 | [`Frame::FinAck`]        | tag u64, final sequence number u32 |
//! | 4 | [`Frame::Reset`]         | tag u64, code u32 |
//! | 5 | [`Frame::Ping`]          | data u64 |
//! | 6 | [`Frame::Pong`]          | data u64 |
//! | 7 | [`Frame::PathChallenge`] | data u64 |
//! | 8 | [`Frame::PathResponse`]  | tag u64, data u64 |
//! | 9 | [`Frame::Received`]      | tag u64, base u32, bitmap |
//!
//! The crate's `PROTOCOL.md` describes when they are sent and what they do.
//!
//! A frame of unknown type is skipped. In a frame that is longer than its type requires the
//! additional bytes are ignored, so that fields can be added at the end.

use std::fmt;

use super::received::{MAX_BYTES, Received};
use crate::error::DecodeError;

/// The secret from our [`Hello`]. Frames from the peer that close or migrate the session must carry
/// it.
///
/// Comparing with `==` takes a time that depends on where two tokens differ. A session compares the
/// tokens of its peer in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token(u64);

impl Token {
    /// A token with the given number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Does not show the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Announces that the sender supports extensions, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// The sender has received an echo of its own token, so no answer is needed.
    pub confirmed: bool,
    /// What the sender supports: a sum of the `CAPABILITY` constants.
    pub capabilities: u32,
    /// The token that frames to the sender must carry.
    pub token: Token,
    /// The receiver's token, if the sender has received it.
    pub echo: Option<Token>,
}

impl Hello {
    /// A first hello with the sender's token: no capabilities, no echo, not confirmed.
    #[must_use]
    pub const fn new(token: Token) -> Self {
        Self {
            confirmed: false,
            capabilities: 0,
            token,
            echo: None,
        }
    }
}

/// One extension frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Capabilities and tokens.
    Hello(Hello),
    /// The sender's stream ends before this sequence number.
    Fin {
        /// The receiver's token.
        tag: Token,
        /// First sequence number that will never be sent.
        end: u32,
    },
    /// The [`Frame::Fin`] with this number was received.
    FinAck {
        /// The receiver's token.
        tag: Token,
        /// As in the frame it answers.
        end: u32,
    },
    /// The sender has given up the session. Undelivered data is lost.
    Reset {
        /// The receiver's token.
        tag: Token,
        /// The reason, defined by the application.
        code: u32,
    },
    /// Requests a [`Frame::Pong`].
    Ping(u64),
    /// Echoes a [`Frame::Ping`].
    Pong(u64),
    /// Requests an answer from the address that this was sent to, by the peer that has the session.
    PathChallenge(u64),
    /// Answers a [`Frame::PathChallenge`].
    PathResponse {
        /// The receiver's token.
        tag: Token,
        /// As in the frame it answers.
        data: u64,
    },
    /// Acknowledges segments that arrived while an earlier one is missing.
    Received {
        /// The receiver's token.
        tag: Token,
        /// Which segments.
        segments: Received,
    },
}

impl Frame {
    /// Writes the frame to the front of `out` and returns its length, or `None` if it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut value = Value::new();
        let kind = self.encode_value(&mut value);
        let len = FRAME_HEADER_LEN + value.len;
        let frame = out.get_mut(..len)?;
        frame[0] = kind;
        // The longest value has 204 bytes.
        frame[1] = value.len as u8;
        frame[FRAME_HEADER_LEN..].copy_from_slice(&value.bytes[..value.len]);
        Some(len)
    }

    fn encode_value(&self, value: &mut Value) -> u8 {
        match *self {
            Self::Hello(hello) => {
                value.put(&[u8::from(hello.confirmed)]);
                value.put(&hello.capabilities.to_le_bytes());
                value.put_u64(hello.token.get());
                value.put_u64(hello.echo.map_or(NO_TOKEN, Token::get));
                HELLO
            }
            Self::Fin { tag, end } => value.tagged(tag, end, FIN),
            Self::FinAck { tag, end } => value.tagged(tag, end, FIN_ACK),
            Self::Reset { tag, code } => value.tagged(tag, code, RESET),
            Self::Ping(data) => value.data(data, PING),
            Self::Pong(data) => value.data(data, PONG),
            Self::PathChallenge(data) => value.data(data, PATH_CHALLENGE),
            Self::PathResponse { tag, data } => {
                value.put_u64(tag.get());
                value.data(data, PATH_RESPONSE)
            }
            Self::Received { tag, ref segments } => {
                value.put_u64(tag.get());
                value.put(&segments.base().to_le_bytes());
                value.put(segments.bytes());
                RECEIVED
            }
        }
    }

    /// Decodes the value of a frame; `None` for an unknown type.
    fn decode(kind: u8, value: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut value = Reader(value);
        Ok(Some(match kind {
            HELLO => {
                let [flags] = value.take()?;
                Self::Hello(Hello {
                    confirmed: flags & CONFIRMED != 0,
                    capabilities: value.u32()?,
                    token: Token::new(value.u64()?),
                    echo: Some(value.u64()?)
                        .filter(|&echo| echo != NO_TOKEN)
                        .map(Token::new),
                })
            }
            FIN => Self::Fin {
                tag: value.token()?,
                end: value.u32()?,
            },
            FIN_ACK => Self::FinAck {
                tag: value.token()?,
                end: value.u32()?,
            },
            RESET => Self::Reset {
                tag: value.token()?,
                code: value.u32()?,
            },
            PING => Self::Ping(value.u64()?),
            PONG => Self::Pong(value.u64()?),
            PATH_CHALLENGE => Self::PathChallenge(value.u64()?),
            PATH_RESPONSE => Self::PathResponse {
                tag: value.token()?,
                data: value.u64()?,
            },
            RECEIVED => Self::Received {
                tag: value.token()?,
                segments: Received::decode(value.u32()?, value.0),
            },
            _ => return Ok(None),
        }))
    }
}

/// The frames in the payload of one window update, in order.
///
/// Empty for a payload that does not start with the magic number and a known version. Ends after
/// the first error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Iterates over the frames in `payload`.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        let rest = payload.strip_prefix(&PREAMBLE).unwrap_or_default();
        Self { rest }
    }

    fn decode_next(&mut self) -> Result<Option<Frame>, DecodeError> {
        while let Some((&[kind, len], rest)) = self.rest.split_first_chunk() {
            let (value, rest) = rest
                .split_at_checked(usize::from(len))
                .ok_or(DecodeError::Truncated)?;
            self.rest = rest;
            if let Some(frame) = Frame::decode(kind, value)? {
                return Ok(Some(frame));
            }
        }
        if self.rest.is_empty() {
            Ok(None)
        } else {
            Err(DecodeError::Truncated)
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.decode_next();
        if next.is_err() {
            self.rest = &[];
        }
        next.transpose()
    }
}

/// The payload of a window update, filled frame by frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameWriter {
    bytes: [u8; MAX_LEN],
    len: usize,
    limit: usize,
}

impl FrameWriter {
    /// An empty payload of at most `limit` bytes, and never more than [`MAX_LEN`].
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let mut bytes = [0; MAX_LEN];
        bytes[..PREAMBLE.len()].copy_from_slice(&PREAMBLE);
        Self {
            bytes,
            len: PREAMBLE.len(),
            limit: limit.min(MAX_LEN),
        }
    }

    /// Adds a frame. Returns false if there is no room for it.
    pub fn push(&mut self, frame: &Frame) -> bool {
        let room = self.bytes.get_mut(self.len..self.limit);
        let Some(len) = room.and_then(|room| frame.encode(room)) else {
            return false;
        };
        self.len += len;
        true
    }

    /// The largest number of segments that a [`Frame::Received`] can cover if it is to fit and to leave
    /// `spare` bytes of the limit free.
    #[must_use]
    pub fn room_for_received(&self, spare: usize) -> usize {
        let used = self.len + FRAME_HEADER_LEN + TAG_AND_BASE + spare;
        8 * self.limit.saturating_sub(used).min(MAX_BYTES)
    }

    /// The payload, empty if it contains no frame.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        if self.len == PREAMBLE.len() {
            &[]
        } else {
            &self.bytes[..self.len]
        }
    }
}

/// A value that is being encoded.
struct Value {
    bytes: [u8; MAX_VALUE_LEN],
    len: usize,
}

impl Value {
    fn new() -> Self {
        Self {
            bytes: [0; MAX_VALUE_LEN],
            len: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn put_u64(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }

    fn tagged(&mut self, tag: Token, number: u32, kind: u8) -> u8 {
        self.put_u64(tag.get());
        self.put(&number.to_le_bytes());
        kind
    }

    fn data(&mut self, data: u64, kind: u8) -> u8 {
        self.put_u64(data);
        kind
    }
}

/// A value that is being decoded.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_le_bytes)
    }

    fn token(&mut self) -> Result<Token, DecodeError> {
        self.u64().map(Token::new)
    }
}

/// The sender supports [`Frame::PathChallenge`], and its session can move.
pub const CAPABILITY_MIGRATION: u32 = 1;

/// The sender supports [`Frame::Received`].
pub const CAPABILITY_RECEIVED: u32 = 2;

/// Maximum length of the payload of one window update, in bytes: magic, version and frames.
///
/// Room for one frame of each kind that can be due at the same time.
pub const MAX_LEN: usize = 128 + FRAME_HEADER_LEN + MAX_VALUE_LEN;

/// `KCPX` and the version.
const PREAMBLE: [u8; 5] = *b"KCPX\x01";

const FRAME_HEADER_LEN: usize = 2;

/// The longest value, that of a full [`Received`].
const MAX_VALUE_LEN: usize = TAG_AND_BASE + MAX_BYTES;

const TAG_AND_BASE: usize = 12;

/// Represents an unknown token; no side uses it as its own.
const NO_TOKEN: u64 = 0;

/// Flag of a hello.
const CONFIRMED: u8 = 1;

const HELLO: u8 = 1;
const FIN: u8 = 2;
const FIN_ACK: u8 = 3;
const RESET: u8 = 4;
const PING: u8 = 5;
const PONG: u8 = 6;
const PATH_CHALLENGE: u8 = 7;
const PATH_RESPONSE: u8 = 8;
const RECEIVED: u8 = 9;

#[cfg(test)]
mod tests;
