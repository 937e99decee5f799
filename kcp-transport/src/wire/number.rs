//! Wire numbers that wrap, and how they are compared.

use std::fmt;

/// Identifies a conversation, the same on both sides. KCP's `conv`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationId(u32);

impl ConversationId {
    /// A conversation id with the given number; every value is allowed.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl From<u32> for ConversationId {
    fn from(id: u32) -> Self {
        Self(id)
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conv:{:08x}", self.0)
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The position of a segment in the stream: 32 bits on the wire, widened to 64 when decoded.
///
/// Widened numbers do not wrap, so [`Ord`] is valid and `seq - una` is an index into a ring.
#[doc(alias = "sn")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNumber(u64);

impl SeqNumber {
    /// The first number of a conversation whose wire numbers start at `wire`.
    ///
    /// Widened numbers start at 2^32, so that a number slightly older than the first still has a
    /// value.
    #[must_use]
    pub const fn first(wire: u32) -> Self {
        Self((1 << 32) | wire as u64)
    }

    /// The number nearest to `self` whose low 32 bits are `wire`.
    ///
    /// Correct if the true number is less than 2^31 away, which windows of at most 65 535 segments
    /// guarantee for every honest peer.
    #[must_use]
    pub const fn widen(self, wire: u32) -> Self {
        // Narrowing on purpose: the distance modulo 2^32, as a signed number.
        let distance = wire.wrapping_sub(self.0 as u32) as i32;
        Self(self.0.saturating_add_signed(distance as i64))
    }

    /// The number on the wire: the low 32 bits.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        // Narrowing on purpose: the wire carries the number modulo 2^32.
        self.0 as u32
    }

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number `count` after this one.
    #[must_use]
    pub const fn advance(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }

    /// The distance from `start` to this number, or `None` if it is before `start`.
    #[must_use]
    pub fn offset_from(self, start: Self) -> Option<usize> {
        self.0
            .checked_sub(start.0)
            .and_then(|distance| usize::try_from(distance).ok())
    }
}

impl fmt::Debug for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sn:{}", self.to_wire())
    }
}

/// A time on the wire: milliseconds modulo 2^32, shifted by a secret per-session offset.
///
/// Only its owner can interpret it; a peer echoes it unchanged. It has no order, since it wraps.
#[doc(alias = "ts")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Timestamp(u32);

impl Timestamp {
    /// The timestamp with the given number.
    #[must_use]
    pub const fn from_wire(wire: u32) -> Self {
        Self(wire)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        self.0
    }

    /// Milliseconds from `earlier` to this one, modulo 2^32.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ts:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn number_older_than_the_first_has_a_value() {
        let first = SeqNumber::first(0);
        let older = first.widen(u32::MAX);
        assert!(older < first);
        assert_eq!(older.offset_from(first), None);
        assert_eq!(older.next(), first);
    }

    #[test]
    fn time_between_timestamps_goes_on_where_they_wrap() {
        let at = Timestamp::from_wire;
        assert_eq!(at(3).since(at(u32::MAX)), 4);
        assert_eq!(at(u32::MAX).since(at(3)), u32::MAX - 3);
        assert_eq!(at(7).since(at(7)), 0);
    }

    proptest! {
        #[test]
        fn widening_finds_every_number_within_half_the_range(
            start: u32, ahead in 0_u32..1 << 31, epochs in 0_usize..4,
        ) {
            let near = SeqNumber::first(start).advance(epochs << 32);
            let far = near.advance(ahead as usize);
            prop_assert_eq!(near.widen(far.to_wire()), far);
            prop_assert_eq!(far.widen(near.to_wire()), near);
            prop_assert_eq!(far.offset_from(near), Some(ahead as usize));
        }
    }
}
