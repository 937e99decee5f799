//! The FEC shard header, in front of every payload whose sender uses FEC.
//!
//! All fields little endian:
//!
//! | offset | field | meaning |
//! |-------:|-------|---------|
//! | 0 | seqid u32 | counts every data and parity packet; 0xffffffff for out-of-band |
//! | 4 | type u16  | [`ShardKind`] |
//! | 6 | size u16  | data and out-of-band: bytes from this field to the end of the payload |
//!
//! A parity packet carries parity bytes in place of size and payload: the shard that Reed-Solomon
//! processes starts at offset 6.

use crate::error::DecodeError;

/// Bytes in front of the shard that Reed-Solomon processes: seqid and type.
pub const SHARD_HEADER_LEN: usize = 6;

/// Bytes of the size field, the first of a data shard.
pub const SHARD_SIZE_LEN: usize = 2;

/// What a packet with a FEC header carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum ShardKind {
    /// Segments, protected by the group's parity.
    Data = 0xf1,
    /// Parity of a group.
    Parity = 0xf2,
    /// An unreliable datagram outside of any group.
    OutOfBand = 0xf3,
}

/// The part of the FEC header that all kinds share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardHeader {
    /// The packet's number; wraps at a multiple of the group size.
    pub sequence: u32,
    /// What the packet carries.
    pub kind: ShardKind,
}

impl ShardHeader {
    /// The header of segments that belong to no session. Sessions number their packets from 0, so that
    /// this one is before the first of any of them, and in a group of none.
    pub(crate) const WITHOUT_SESSION: Self = Self {
        sequence: u32::MAX << 16,
        kind: ShardKind::Data,
    };

    /// Decodes a FEC header from the front of `payload`; `None` if it starts with a segment
    /// instead.
    ///
    /// The two cannot be confused: a segment has its command, 81..=84, at the offset of the type's
    /// low byte. Returns the header and the shard, which starts at the size field.
    #[must_use]
    pub fn detect(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (head, shard) = payload.split_first_chunk::<SHARD_HEADER_LEN>()?;
        let [s0, s1, s2, s3, t0, t1] = *head;
        let kind = match u16::from_le_bytes([t0, t1]) {
            0xf1 => ShardKind::Data,
            0xf2 => ShardKind::Parity,
            0xf3 => ShardKind::OutOfBand,
            _ => return None,
        };
        Some((
            Self {
                sequence: u32::from_le_bytes([s0, s1, s2, s3]),
                kind,
            },
            shard,
        ))
    }

    /// Writes the header to the first [`SHARD_HEADER_LEN`] bytes of `out`.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than that; callers size their buffers with it.
    pub fn encode(&self, out: &mut [u8]) {
        let head = out
            .first_chunk_mut::<SHARD_HEADER_LEN>()
            .expect("caller provides room for a shard header");
        let [s0, s1, s2, s3] = self.sequence.to_le_bytes();
        let [t0, t1] = (self.kind as u16).to_le_bytes();
        *head = [s0, s1, s2, s3, t0, t1];
    }

    /// The bytes that a data or out-of-band shard carries after its size field.
    ///
    /// A rebuilt shard is padded with zeros to the longest shard of its group, so more bytes may
    /// follow.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] if the shard is shorter than its size field specifies,
    /// [`DecodeError::ShardSize`] if the size is less than the size field itself.
    pub fn body(shard: &[u8]) -> Result<&[u8], DecodeError> {
        let (size, _) = shard
            .split_first_chunk::<SHARD_SIZE_LEN>()
            .ok_or(DecodeError::Truncated)?;
        let size = u16::from_le_bytes(*size);
        let whole = shard
            .get(..usize::from(size))
            .ok_or(DecodeError::Truncated)?;
        whole
            .get(SHARD_SIZE_LEN..)
            .ok_or(DecodeError::ShardSize(size))
    }

    /// Writes the size field of a data or out-of-band shard that ends where `shard` ends.
    ///
    /// # Panics
    ///
    /// If `shard` has no room for the field, or is longer than a datagram can be.
    pub fn encode_size(shard: &mut [u8]) {
        let size = u16::try_from(shard.len()).expect("a shard fits into a datagram");
        shard[..SHARD_SIZE_LEN].copy_from_slice(&size.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Command, ConversationId, SegmentHeader, Timestamp};
    use proptest::prelude::*;

    #[test]
    fn header_has_the_layout_of_the_table() {
        let mut bytes = [0; SHARD_HEADER_LEN + 5];
        ShardHeader {
            sequence: 0x0403_0201,
            kind: ShardKind::Data,
        }
        .encode(&mut bytes);
        ShardHeader::encode_size(&mut bytes[SHARD_HEADER_LEN..]);
        assert_eq!(bytes, [1, 2, 3, 4, 0xf1, 0, 5, 0, 0, 0, 0]);
    }

    #[test]
    fn size_that_excludes_itself_is_refused() {
        assert_eq!(
            ShardHeader::body(&[1, 0, 9]),
            Err(DecodeError::ShardSize(1))
        );
        assert_eq!(ShardHeader::body(&[4, 0, 9]), Err(DecodeError::Truncated));
        assert_eq!(ShardHeader::body(&[3, 0, 9, 0, 0]), Ok(&[9][..]));
    }

    proptest! {
        #[test]
        fn a_segment_is_never_taken_for_a_shard(conv: u32, command in 81_u8..=84, frg: u8) {
            let header = SegmentHeader {
                conversation: ConversationId::new(conv),
                command: Command::try_from(command).expect("in range"),
                fragments_left: frg,
                window: 1,
                timestamp: Timestamp::from_wire(2),
                sequence: 3,
                unacknowledged: 4,
                payload_len: 0,
            };
            let mut bytes = [0; 24];
            header.encode(&mut bytes);
            prop_assert_eq!(ShardHeader::detect(&bytes), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            if let Some((_, shard)) = ShardHeader::detect(&bytes)
                && let Ok(body) = ShardHeader::body(shard)
            {
                prop_assert!(body.len() < shard.len());
            }
        }
    }
}
