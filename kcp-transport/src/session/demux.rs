//! Which session a payload belongs to, before any session processes it.

use crate::wire::{
    Command, ConversationId, Frame, Frames, SegmentHeader, Segments, ShardHeader, ShardKind,
    Timestamp, Token,
};

/// The destination of a decrypted payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This conversation of the sender.
    Conversation(ConversationId),
    /// The conversation of the sender that uses FEC: parity does not contain a conversation id.
    Parity,
    /// None: neither segments nor a FEC packet.
    Malformed,
}

impl Destination {
    /// Determines the destination from the headers of a decrypted payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let conversation = match ShardHeader::detect(payload) {
            None => SegmentHeader::peek_conversation(payload),
            Some((
                ShardHeader {
                    kind: ShardKind::Parity,
                    ..
                },
                _,
            )) => return Self::Parity,
            Some((
                ShardHeader {
                    kind: ShardKind::Data,
                    ..
                },
                shard,
            )) => ShardHeader::body(shard)
                .ok()
                .and_then(SegmentHeader::peek_conversation),
            Some((
                ShardHeader {
                    kind: ShardKind::OutOfBand,
                    ..
                },
                shard,
            )) => {
                let body = ShardHeader::body(shard).ok();
                body.and_then(|body| body.first_chunk::<4>())
                    .map(|conversation| ConversationId::new(u32::from_le_bytes(*conversation)))
            }
        };
        conversation.map_or(Self::Malformed, Self::Conversation)
    }
}

/// The kind of a payload for an unknown conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsolicited {
    /// The first packet of a new conversation, whose sender has received nothing.
    ///
    /// It starts with the first data segment, or with the window probe of a connecting peer of this
    /// crate. Anything else may be left over from a conversation that ended, for which kcp-go would
    /// open a session that acknowledges data and never delivers it. If the first data segment is
    /// overtaken by others, those are retransmitted. A first segment beside a hello that echoes a token
    /// is a copy for the session that has sent the token, and opens no other.
    Opening,
    /// An acknowledgement of the segment before the first, with this timestamp: the answer to a
    /// challenge that was sent before a session exists.
    Answer(Timestamp),
    /// Later data.
    Data {
        /// Its sequence number.
        sequence: u32,
        /// The sender has received nothing, so the conversation may have just begun.
        fresh: bool,
    },
    /// A window probe of a conversation in which the sender has sent data.
    Probe,
    /// Anything else, to which the sender expects no answer.
    Other,
}

impl Unsolicited {
    /// The sequence number before the first of any conversation.
    pub const BEFORE_FIRST: u32 = u32::MAX;

    /// Determines the kind from the segments of a decrypted payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let segments = match ShardHeader::detect(payload) {
            None => payload,
            Some((header, shard)) if header.kind == ShardKind::Data => {
                match ShardHeader::body(shard) {
                    Ok(body) => body,
                    Err(_) => return Self::Other,
                }
            }
            Some(_) => return Self::Other,
        };
        let mut headers = Segments::new(segments).map_while(Result::ok);
        let Some((first, _)) = headers.next() else {
            return Self::Other;
        };
        let (sequence, fresh) = (first.sequence, first.unacknowledged == 0);
        match first.command {
            Command::Push if fresh && sequence == 0 => match names_session(payload) {
                true => Self::Other,
                false => Self::Opening,
            },
            // The challenge of a session that has not validated its peer, or the probe of one that
            // has received later segments but not the first. Any answer would keep such a session
            // alive forever, since it has sent nothing whose loss it could detect.
            Command::Push | Command::WindowProbe if sequence == Self::BEFORE_FIRST => Self::Other,
            Command::Push => Self::Data { sequence, fresh },
            // Peers of this crate number their probes by the data they have sent.
            Command::WindowProbe if sequence != 0 => Self::Probe,
            Command::WindowProbe if fresh => Self::Opening,
            Command::WindowProbe | Command::WindowUpdate => Self::Other,
            Command::Ack => std::iter::once(first)
                .chain(headers.map(|(header, _)| header))
                .take_while(|header| header.command == Command::Ack)
                .find(|header| header.sequence == Self::BEFORE_FIRST)
                .map_or(Self::Other, |header| Self::Answer(header.timestamp)),
        }
    }
}

/// The token of a hello that opens a conversation in a decrypted payload, if it contains one: of a
/// peer that has received nothing.
#[must_use]
pub fn opening_token(payload: &[u8]) -> Option<Token> {
    frames(payload).find_map(|frame| match frame {
        Frame::Hello(hello) if hello.echo.is_none() => Some(hello.token),
        _ => None,
    })
}

/// Whether a payload contains a hello of a peer that has received one of a session here.
fn names_session(payload: &[u8]) -> bool {
    frames(payload).any(|frame| matches!(frame, Frame::Hello(hello) if hello.echo.is_some()))
}

/// The tag and the data of a path response in a decrypted payload, if it contains one.
#[must_use]
pub fn path_response(payload: &[u8]) -> Option<(Token, u64)> {
    frames(payload).find_map(|frame| match frame {
        Frame::PathResponse { tag, data } => Some((tag, data)),
        _ => None,
    })
}

/// The extension frames in a decrypted payload.
fn frames(payload: &[u8]) -> impl Iterator<Item = Frame> {
    let segments = match ShardHeader::detect(payload) {
        None => payload,
        Some((header, shard)) if header.kind == ShardKind::Data => {
            ShardHeader::body(shard).unwrap_or_default()
        }
        Some(_) => &[],
    };
    let updates = Segments::new(segments)
        .map_while(Result::ok)
        .filter(|(header, _)| header.command == Command::WindowUpdate);
    updates.flat_map(|(_, data)| Frames::new(data).map_while(Result::ok))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FrameWriter, Hello, SEGMENT_HEADER_LEN, Timestamp};

    fn segment(command: Command, sequence: u32, unacknowledged: u32) -> Vec<u8> {
        let header = SegmentHeader {
            conversation: ConversationId::new(9),
            command,
            fragments_left: 0,
            window: 32,
            timestamp: Timestamp::from_wire(1),
            sequence,
            unacknowledged,
            payload_len: 0,
        };
        let mut bytes = vec![0; SEGMENT_HEADER_LEN];
        header.encode(&mut bytes);
        bytes
    }

    fn shard(kind: ShardKind, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.extend_from_slice(body);
        ShardHeader { sequence: 0, kind }.encode(&mut bytes);
        ShardHeader::encode_size(&mut bytes[6..]);
        bytes
    }

    #[test]
    fn challenge_for_an_ended_session_is_not_answered() {
        let question = segment(Command::Push, Unsolicited::BEFORE_FIRST, 1);
        assert_eq!(Unsolicited::of(&question), Unsolicited::Other);
        let question = segment(Command::Push, Unsolicited::BEFORE_FIRST, 0);
        assert_eq!(Unsolicited::of(&question), Unsolicited::Other);
    }

    #[test]
    fn first_segment_beside_a_hello_that_echoes_a_token_opens_nothing() {
        let payload = |echo| {
            let mut frames = FrameWriter::new(100);
            let mut hello = Hello::new(Token::new(7));
            hello.echo = echo;
            assert!(frames.push(&Frame::Hello(hello)));
            let mut payload = segment(Command::Push, 0, 0);
            let mut update = segment(Command::WindowUpdate, 0, 0);
            let len = u32::try_from(frames.payload().len()).expect("short");
            update[20..24].copy_from_slice(&len.to_le_bytes());
            payload.extend(update);
            payload.extend(frames.payload());
            payload
        };
        let (first, copy) = (payload(None), payload(Some(Token::new(8))));
        assert_eq!(Unsolicited::of(&first), Unsolicited::Opening);
        assert_eq!(Unsolicited::of(&copy), Unsolicited::Other);
        for (kind, payload) in [(Unsolicited::Opening, first), (Unsolicited::Other, copy)] {
            assert_eq!(Unsolicited::of(&shard(ShardKind::Data, &payload)), kind);
        }
    }

    #[test]
    fn every_kind_but_parity_names_its_conversation() {
        let nine = Destination::Conversation(ConversationId::new(9));
        let push = segment(Command::Push, 0, 0);
        assert_eq!(Destination::of(&push), nine);
        assert_eq!(Destination::of(&shard(ShardKind::Data, &push)), nine);
        assert_eq!(
            Destination::of(&shard(ShardKind::OutOfBand, &[9, 0, 0, 0, 1])),
            nine
        );
        assert_eq!(
            Destination::of(&shard(ShardKind::Parity, &push)),
            Destination::Parity
        );
        assert_eq!(Destination::of(&push[..23]), Destination::Malformed);
        assert_eq!(
            Destination::of(&shard(ShardKind::OutOfBand, &[9, 0])),
            Destination::Malformed
        );
        assert_eq!(Destination::of(&[]), Destination::Malformed);
    }

    #[test]
    fn only_a_beginning_opens_a_session() {
        let openings = [
            segment(Command::Push, 0, 0),
            segment(Command::WindowProbe, 0, 0),
            shard(ShardKind::Data, &segment(Command::Push, 0, 0)),
        ];
        for payload in &openings {
            assert_eq!(Unsolicited::of(payload), Unsolicited::Opening);
        }
        let others = [
            segment(Command::Push, 1, 0),
            segment(Command::Push, 0, 1),
            segment(Command::WindowProbe, 0, 1),
            segment(Command::WindowProbe, 1, 0),
            segment(Command::Ack, 0, 0),
            segment(Command::WindowUpdate, 0, 0),
            shard(ShardKind::Parity, &segment(Command::Push, 0, 0)),
            shard(ShardKind::OutOfBand, &[9, 0, 0, 0]),
            vec![0; 10],
        ];
        for payload in &others {
            assert_ne!(Unsolicited::of(payload), Unsolicited::Opening);
        }
    }

    #[test]
    fn retransmissions_are_distinguished_from_answers() {
        let of = |command, sequence, una| Unsolicited::of(&segment(command, sequence, una));
        let data = |sequence, fresh| Unsolicited::Data { sequence, fresh };
        assert_eq!(of(Command::Push, 40, 9), data(40, false));
        assert_eq!(of(Command::Push, 40, 0), data(40, true));
        assert_eq!(of(Command::WindowProbe, 5, 9), Unsolicited::Probe);
        // A peer that has sent nothing cannot learn from our having received nothing.
        assert_eq!(of(Command::WindowProbe, 0, 9), Unsolicited::Other);
        assert_eq!(of(Command::Ack, 5, 9), Unsolicited::Other);
        assert_eq!(of(Command::WindowUpdate, 5, 9), Unsolicited::Other);
    }

    #[test]
    fn answer_is_found_among_acks_and_under_fec() {
        let echo = Unsolicited::Answer(Timestamp::from_wire(1));
        let mut acks = segment(Command::Ack, 5, 0);
        acks.extend(segment(Command::Ack, Unsolicited::BEFORE_FIRST, 0));
        acks.extend(segment(Command::Push, 0, 0));
        assert_eq!(Unsolicited::of(&acks), echo);
        assert_eq!(Unsolicited::of(&shard(ShardKind::Data, &acks)), echo);
    }
}
