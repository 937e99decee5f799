//! The KCP segment header.
//!
//! All fields little endian:
//!
//! | offset | field | meaning |
//! |-------:|-------|---------|
//! | 0  | conv u32 | conversation |
//! | 4  | cmd u8   | [`Command`] |
//! | 5  | frg u8   | fragments of the message still to come |
//! | 6  | wnd u16  | segments the sender of this header can still take |
//! | 8  | ts u32   | time of sending; an ack echoes the time of what it acknowledges |
//! | 12 | sn u32   | sequence number |
//! | 16 | una u32  | everything before it has been received |
//! | 20 | len u32  | bytes of payload that follow |

use super::number::{ConversationId, Timestamp};
use crate::error::DecodeError;

/// Bytes of a segment header.
#[doc(alias = "IKCP_OVERHEAD")]
pub const SEGMENT_HEADER_LEN: usize = 24;

/// The purpose of a segment.
#[doc(alias = "cmd")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Command {
    /// Carries data.
    #[doc(alias = "IKCP_CMD_PUSH")]
    Push = 81,
    /// Acknowledges one segment, and all before `una`.
    #[doc(alias = "IKCP_CMD_ACK")]
    Ack = 82,
    /// Requests the peer's window.
    #[doc(alias = "IKCP_CMD_WASK")]
    WindowProbe = 83,
    /// Announces the window.
    #[doc(alias = "IKCP_CMD_WINS")]
    WindowUpdate = 84,
}

impl TryFrom<u8> for Command {
    type Error = DecodeError;

    fn try_from(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            81 => Ok(Self::Push),
            82 => Ok(Self::Ack),
            83 => Ok(Self::WindowProbe),
            84 => Ok(Self::WindowUpdate),
            other => Err(DecodeError::UnknownCommand(other)),
        }
    }
}

/// The header of one segment. Numbers are as on the wire; the receiver widens them. KCP defines
/// exactly these fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Conversation the segment belongs to.
    pub conversation: ConversationId,
    /// The purpose of the segment.
    pub command: Command,
    /// Fragments of the same message that follow this one; 0 for the last.
    #[doc(alias = "frg")]
    pub fragments_left: u8,
    /// Segments that the sender of this header can still accept in order.
    #[doc(alias = "wnd")]
    pub window: u16,
    /// When a push was sent. An ack echoes the timestamp of the push.
    pub timestamp: Timestamp,
    /// Sequence number modulo 2^32.
    #[doc(alias = "sn")]
    pub sequence: u32,
    /// First sequence number not yet received, modulo 2^32.
    #[doc(alias = "una")]
    pub unacknowledged: u32,
    /// Bytes of payload after the header.
    pub payload_len: u32,
}

impl SegmentHeader {
    /// Decodes one header and its payload from the front of `bytes`.
    ///
    /// Returns the header, its payload and what follows.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] when `bytes` ends before the header or the payload does,
    /// [`DecodeError::UnknownCommand`] for a command outside 81..=84.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8], &[u8]), DecodeError> {
        let (head, rest) = bytes
            .split_first_chunk::<SEGMENT_HEADER_LEN>()
            .ok_or(DecodeError::Truncated)?;
        let header = Self {
            conversation: ConversationId::new(u32_at(head, CONVERSATION)),
            command: Command::try_from(head[COMMAND])?,
            fragments_left: head[FRAGMENTS_LEFT],
            window: u16::from_le_bytes([head[WINDOW], head[WINDOW + 1]]),
            timestamp: Timestamp::from_wire(u32_at(head, TIMESTAMP)),
            sequence: u32_at(head, SEQUENCE),
            unacknowledged: u32_at(head, UNACKNOWLEDGED),
            payload_len: u32_at(head, PAYLOAD_LEN),
        };
        let len = usize::try_from(header.payload_len).map_err(|_| DecodeError::Truncated)?;
        let (payload, rest) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        Ok((header, payload, rest))
    }

    /// Writes the header to the first [`SEGMENT_HEADER_LEN`] bytes of `out`.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than a header; callers size their buffers with it.
    pub fn encode(&self, out: &mut [u8]) {
        let head = out
            .first_chunk_mut::<SEGMENT_HEADER_LEN>()
            .expect("caller provides room for a segment header");
        put_u32(head, CONVERSATION, self.conversation.get());
        head[COMMAND] = self.command as u8;
        head[FRAGMENTS_LEFT] = self.fragments_left;
        head[WINDOW..TIMESTAMP].copy_from_slice(&self.window.to_le_bytes());
        put_u32(head, TIMESTAMP, self.timestamp.to_wire());
        put_u32(head, SEQUENCE, self.sequence);
        put_u32(head, UNACKNOWLEDGED, self.unacknowledged);
        put_u32(head, PAYLOAD_LEN, self.payload_len);
    }

    /// The conversation id in the first header of `bytes`, if they are long enough for one.
    ///
    /// Checks nothing else: enough to find the session for a payload.
    #[must_use]
    pub fn peek_conversation(bytes: &[u8]) -> Option<ConversationId> {
        let head = bytes.first_chunk::<SEGMENT_HEADER_LEN>()?;
        Some(ConversationId::new(u32_at(head, CONVERSATION)))
    }
}

/// The segments of one datagram payload, in order.
///
/// Ends after the first error, as every KCP implementation ignores the rest of such a datagram.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    /// Iterates over the segments in `payload`.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<(SegmentHeader, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match SegmentHeader::decode(self.rest) {
            Ok((header, payload, rest)) => {
                self.rest = rest;
                Some(Ok((header, payload)))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

fn u32_at(head: &[u8; SEGMENT_HEADER_LEN], offset: usize) -> u32 {
    u32::from_le_bytes([
        head[offset],
        head[offset + 1],
        head[offset + 2],
        head[offset + 3],
    ])
}

fn put_u32(head: &mut [u8; SEGMENT_HEADER_LEN], offset: usize, value: u32) {
    head[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

const CONVERSATION: usize = 0;
const COMMAND: usize = 4;
const FRAGMENTS_LEFT: usize = 5;
const WINDOW: usize = 6;
const TIMESTAMP: usize = 8;
const SEQUENCE: usize = 12;
const UNACKNOWLEDGED: usize = 16;
const PAYLOAD_LEN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: Command, payload_len: u32) -> SegmentHeader {
        SegmentHeader {
            conversation: ConversationId::new(0x1122_3344),
            command,
            fragments_left: 0x55,
            window: 0x6677,
            timestamp: Timestamp::from_wire(0x8899_aabb),
            sequence: 0xccdd_eeff,
            unacknowledged: 0x0102_0304,
            payload_len,
        }
    }

    #[test]
    fn header_has_the_layout_of_the_table() {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        header(Command::Push, 5).encode(&mut bytes);
        let expected = [
            0x44, 0x33, 0x22, 0x11, 81, 0x55, 0x77, 0x66, 0xbb, 0xaa, 0x99, 0x88, 0xff, 0xee, 0xdd,
            0xcc, 4, 3, 2, 1, 5, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn payload_longer_than_the_datagram_is_truncated() {
        let mut bytes = [0; SEGMENT_HEADER_LEN + 4];
        header(Command::Push, 5).encode(&mut bytes);
        assert_eq!(SegmentHeader::decode(&bytes), Err(DecodeError::Truncated));
        header(Command::Push, u32::MAX).encode(&mut bytes);
        assert_eq!(SegmentHeader::decode(&bytes), Err(DecodeError::Truncated));
    }

    #[test]
    fn iteration_stops_at_the_first_bad_segment() {
        let mut bytes = vec![0; 3 * SEGMENT_HEADER_LEN];
        for chunk in bytes.chunks_mut(SEGMENT_HEADER_LEN) {
            header(Command::Ack, 0).encode(chunk);
        }
        bytes[SEGMENT_HEADER_LEN + COMMAND] = 80;
        let mut segments = Segments::new(&bytes);
        assert!(segments.next().expect("first").is_ok());
        assert_eq!(segments.next(), Some(Err(DecodeError::UnknownCommand(80))));
        assert_eq!(segments.next(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes: Vec<u8>) {
            let consumed: usize = Segments::new(&bytes)
                .map_while(Result::ok)
                .map(|(_, payload)| SEGMENT_HEADER_LEN + payload.len())
                .sum();
            prop_assert!(consumed <= bytes.len());
        }

        #[test]
        fn decoding_undoes_encoding(
            command in 81_u8..=84, frg: u8, wnd: u16, ts: u32, sn: u32, una: u32,
            payload: Vec<u8>, trailing: Vec<u8>,
        ) {
            let header = SegmentHeader {
                conversation: ConversationId::new(7),
                command: Command::try_from(command).expect("in range"),
                fragments_left: frg,
                window: wnd,
                timestamp: Timestamp::from_wire(ts),
                sequence: sn,
                unacknowledged: una,
                payload_len: payload.len() as u32,
            };
            let mut bytes = vec![0; SEGMENT_HEADER_LEN];
            header.encode(&mut bytes);
            bytes.extend_from_slice(&payload);
            bytes.extend_from_slice(&trailing);
            let decoded = SegmentHeader::decode(&bytes);
            prop_assert_eq!(decoded, Ok((header, &payload[..], &trailing[..])));
        }
    }
}
