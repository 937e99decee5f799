//! Which session a payload is for, before any session looks at it.

use crate::wire::{Command, ConversationId, SegmentHeader, Segments, ShardHeader, ShardKind};

/// Where an opened payload must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To this conversation of the sender.
    Conversation(ConversationId),
    /// To whichever conversation of the sender uses FEC: parity names none.
    Parity,
    /// Nowhere: neither segments nor a FEC packet.
    Malformed,
}

impl Destination {
    /// Looks at the headers of an opened payload.
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

/// Whether a payload for an unknown conversation may open one.
///
/// A new conversation has received nothing (`una` 0) and starts with data near the beginning or
/// with the question for our window that a connecting peer of ours asks. Anything else is left
/// over from a conversation that ended; kcp-go would open a session that acknowledges data and
/// never delivers it.
#[must_use]
pub fn opens_session(payload: &[u8], receive_window: u16) -> bool {
    let segments = match ShardHeader::detect(payload) {
        None => payload,
        Some((
            ShardHeader {
                kind: ShardKind::Data,
                ..
            },
            shard,
        )) => {
            let Ok(body) = ShardHeader::body(shard) else {
                return false;
            };
            body
        }
        Some(_) => return false,
    };
    let Some(Ok((header, _))) = Segments::new(segments).next() else {
        return false;
    };
    let starts = match header.command {
        Command::Push => header.sequence < u32::from(receive_window),
        Command::WindowProbe => true,
        Command::Ack | Command::WindowUpdate => false,
    };
    starts && header.unacknowledged == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{SEGMENT_HEADER_LEN, Timestamp};

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
        assert!(opens_session(&segment(Command::Push, 0, 0), 32));
        assert!(opens_session(&segment(Command::Push, 31, 0), 32));
        assert!(opens_session(&segment(Command::WindowProbe, 0, 0), 32));
        assert!(opens_session(
            &shard(ShardKind::Data, &segment(Command::Push, 0, 0)),
            32
        ));

        assert!(!opens_session(&segment(Command::Push, 32, 0), 32));
        assert!(!opens_session(&segment(Command::Push, 0, 1), 32));
        assert!(!opens_session(&segment(Command::WindowProbe, 0, 1), 32));
        assert!(!opens_session(&segment(Command::Ack, 0, 0), 32));
        assert!(!opens_session(&segment(Command::WindowUpdate, 0, 0), 32));
        assert!(!opens_session(
            &shard(ShardKind::Parity, &segment(Command::Push, 0, 0)),
            32
        ));
        assert!(!opens_session(
            &shard(ShardKind::OutOfBand, &[9, 0, 0, 0]),
            32
        ));
        assert!(!opens_session(&[0; 10], 32));
    }
}
