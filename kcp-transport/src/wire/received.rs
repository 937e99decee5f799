//! Which segments have arrived beyond the first missing one.

use std::fmt;

/// The segments that a receiver has, from one of them on.
///
/// ```
/// use kcp_transport::wire::Received;
///
/// let mut received = Received::new(7);
/// assert!(received.add(1) && received.add(4));
/// assert_eq!(received.offsets().collect::<Vec<_>>(), [1, 4]);
/// assert_eq!((received.base(), received.len()), (7, 5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Received {
    base: u32,
    /// Bytes up to the last that is not zero.
    used: u8,
    bits: [u8; MAX_BYTES],
}

impl Received {
    /// Most segments that one value covers: 1536, three times what 100 Mbit/s has in flight over 50 ms.
    pub const MAX_SEGMENTS: usize = 8 * MAX_BYTES;

    /// An empty value whose first segment is `base`.
    #[must_use]
    pub const fn new(base: u32) -> Self {
        Self {
            base,
            used: 0,
            bits: [0; MAX_BYTES],
        }
    }

    /// Records the arrival of the segment `offset` after the base. Returns false if the value cannot
    /// cover it.
    pub fn add(&mut self, offset: usize) -> bool {
        let Some(byte) = self.bits.get_mut(offset / 8) else {
            return false;
        };
        *byte |= 1 << (offset % 8);
        // There are fewer than 256 bytes.
        self.used = self.used.max((offset / 8 + 1) as u8);
        true
    }

    /// Number of the first segment that the value covers.
    #[must_use]
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// Number of segments from the base to the last one that has arrived, both included.
    #[must_use]
    pub fn len(&self) -> usize {
        let bytes = self.bytes();
        let last = bytes.last().map_or(0, |byte| byte.leading_zeros());
        8 * bytes.len() - last as usize
    }

    /// Whether no segment has arrived.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The distances from the base of all segments that have arrived, in order.
    pub fn offsets(&self) -> impl Iterator<Item = usize> {
        let bytes = self.bytes().iter().enumerate();
        bytes.flat_map(|(index, &byte)| {
            let bits = (0..8).filter(move |bit| byte >> bit & 1 == 1);
            bits.map(move |bit| 8 * index + bit)
        })
    }

    /// The bitmap on the wire. The last byte is not zero.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bits[..usize::from(self.used)]
    }

    /// The value of a bitmap on the wire. Bits beyond [`Self::MAX_SEGMENTS`] are ignored.
    pub(super) fn decode(base: u32, bitmap: &[u8]) -> Self {
        let mut received = Self::new(base);
        let bitmap = &bitmap[..bitmap.len().min(MAX_BYTES)];
        received.bits[..bitmap.len()].copy_from_slice(bitmap);
        let last = bitmap.iter().rposition(|&byte| byte != 0);
        received.used = last.map_or(0, |last| last as u8 + 1);
        received
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Received({} + ", self.base)?;
        f.debug_set().entries(self.offsets()).finish()?;
        f.write_str(")")
    }
}

pub(super) const MAX_BYTES: usize = 192;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segments_too_far_away_are_not_added() {
        let mut received = Received::new(0);
        assert!(received.add(Received::MAX_SEGMENTS - 1));
        assert!(!received.add(Received::MAX_SEGMENTS));
        assert_eq!(received.len(), Received::MAX_SEGMENTS);
    }

    #[test]
    fn zeros_at_the_end_and_what_is_too_long_change_nothing() {
        let mut received = Received::new(5);
        received.add(3);
        assert_eq!(Received::decode(5, &[8, 0, 0]), received);
        let mut long = vec![0; 300];
        long[0] = 8;
        long[299] = 1;
        assert_eq!(Received::decode(5, &long), received);
        assert!(Received::decode(5, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn segments_survive_the_wire(
            base: u32,
            offsets in proptest::collection::btree_set(0..Received::MAX_SEGMENTS, 0..50),
        ) {
            let mut received = Received::new(base);
            prop_assert!(offsets.iter().all(|&offset| received.add(offset)));
            let decoded = Received::decode(base, received.bytes());
            prop_assert_eq!(decoded, received);
            prop_assert_eq!(decoded.len(), offsets.last().map_or(0, |last| last + 1));
            prop_assert_eq!(decoded.offsets().collect::<BTreeSet<_>>(), offsets);
        }
    }
}
