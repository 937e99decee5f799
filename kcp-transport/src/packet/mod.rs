//! UDP payloads: their layout, batches of them, sealing (encryption) and opening (decryption).
//!
//! The layout of a payload depends on the cipher and on whether its sender uses FEC:
//!
//! ```text
//! block cipher, Salsa20, none:  nonce 16 | crc32 4 | FEC 8 (if on) | segments
//! AEAD:                         nonce 12 | FEC 8 (if on) | segments | tag 16
//! plaintext:                    FEC 8 (if on) | segments
//! ```

mod batch;
mod opener;
mod replay;
mod sealer;

pub use batch::{SegmentRun, TransmitBatch};
pub use opener::Opener;
pub use replay::ReplayFilter;
pub use sealer::Sealer;

use crate::crypto::Overhead;
use crate::error::ConfigError;
use crate::wire::{SEGMENT_HEADER_LEN, SHARD_HEADER_LEN, SHARD_SIZE_LEN};

/// Largest mtu in bytes: that of links with jumbo frames. kcp-go's buffers have 1500.
pub const MAX_MTU: usize = 9000;

/// The layout of a UDP payload. All mtu arithmetic is here.
///
/// `mtu` counts the whole UDP payload, as kcp-go's `SetMtu` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLayout {
    mtu: usize,
    overhead: Overhead,
    fec: bool,
}

impl PacketLayout {
    /// The layout of packets of at most `mtu` bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MtuTooSmall`] if there is no room for one byte of data, or if `mtu` exceeds
    /// [`MAX_MTU`].
    pub fn new(mtu: usize, overhead: Overhead, fec: bool) -> Result<Self, ConfigError> {
        let layout = Self { mtu, overhead, fec };
        let minimum =
            overhead.front + layout.shard_header() + overhead.back + SEGMENT_HEADER_LEN + 1;
        if mtu < minimum || mtu > MAX_MTU {
            return Err(ConfigError::MtuTooSmall {
                given: mtu,
                minimum,
            });
        }
        Ok(layout)
    }

    /// The same with FEC. `None` if there is no room for data then.
    pub(crate) fn with_fec(self) -> Option<Self> {
        Self::new(self.mtu, self.overhead, true).ok()
    }

    /// Largest UDP payload, in bytes.
    #[must_use]
    pub const fn mtu(&self) -> usize {
        self.mtu
    }

    /// Bytes that the cipher adds.
    #[must_use]
    pub const fn overhead(&self) -> Overhead {
        self.overhead
    }

    /// Bytes of FEC header in front of the segments: 8, or 0 when FEC is off.
    #[must_use]
    pub const fn shard_header(&self) -> usize {
        if self.fec {
            SHARD_HEADER_LEN + SHARD_SIZE_LEN
        } else {
            0
        }
    }

    /// Maximum number of bytes of segments in one datagram. KCP itself calls this its mtu.
    #[must_use]
    pub const fn segments_len(&self) -> usize {
        self.mtu - self.overhead.front - self.shard_header() - self.overhead.back
    }

    /// Maximum number of data bytes in one segment.
    #[must_use]
    pub const fn mss(&self) -> usize {
        self.segments_len() - SEGMENT_HEADER_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CFB: Overhead = Overhead { front: 20, back: 0 };
    const AEAD: Overhead = Overhead {
        front: 12,
        back: 16,
    };
    const PLAIN: Overhead = Overhead { front: 0, back: 0 };

    #[test]
    fn mss_is_kcp_gos() {
        let mss = |overhead, fec| PacketLayout::new(1400, overhead, fec).expect("fits").mss();
        assert_eq!(mss(CFB, true), 1348);
        assert_eq!(mss(AEAD, true), 1340);
        assert_eq!(mss(PLAIN, false), 1376);
    }

    #[test]
    fn smallest_mtu_leaves_one_byte() {
        for (overhead, fec, minimum) in [(CFB, true, 53), (AEAD, false, 53), (PLAIN, false, 25)] {
            assert_eq!(
                PacketLayout::new(minimum, overhead, fec)
                    .expect("fits")
                    .mss(),
                1
            );
            assert_eq!(
                PacketLayout::new(minimum - 1, overhead, fec),
                Err(ConfigError::MtuTooSmall {
                    given: minimum - 1,
                    minimum
                })
            );
        }
        assert!(PacketLayout::new(MAX_MTU + 1, PLAIN, false).is_err());
    }
}
