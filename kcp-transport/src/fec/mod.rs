//! Forward error correction as kcp-go does it: Reed-Solomon over groups of packets.
//!
//! [`FecEncoder`] writes the header of every packet and computes the parity packets of each group.
//! [`FecDecoder`] rebuilds lost packets from them. Each direction of a connection is independent:
//! each side may send groups of its own ratio, or use no FEC.

mod codec;
mod decoder;
mod encoder;
mod field;
mod group;
mod ratio_detector;
mod window;

pub use decoder::{FecDecoder, FecStats, Rebuilt};
pub use encoder::FecEncoder;

use std::fmt;
use std::str::FromStr;

use crate::error::ConfigError;

/// The number of data and parity packets of a FEC group.
///
/// Any `parity` packets of a full group may be lost without a retransmission. The last packets of a
/// burst are not protected while their group is incomplete, and neither are groups whose last
/// packet followed half a second or more after the one before it.
///
/// A kcp-go peer that is configured with another ratio detects this one only if the sum of both
/// numbers is less than 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FecRatio {
    data: u16,
    parity: u16,
}

impl FecRatio {
    /// A group of `data` data packets followed by `parity` parity packets.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if either is 0 or their sum exceeds 256, the limit of
    /// Reed-Solomon over bytes.
    pub fn new(data: usize, parity: usize) -> Result<Self, ConfigError> {
        let out_of_range = || refused(format!("{data}/{parity}"));
        if data == 0 || parity == 0 || data.saturating_add(parity) > 256 {
            return Err(out_of_range());
        }
        let narrow = |count| u16::try_from(count).map_err(|_| out_of_range());
        Ok(Self {
            data: narrow(data)?,
            parity: narrow(parity)?,
        })
    }

    /// Data packets in a group.
    #[must_use]
    pub fn data(self) -> usize {
        usize::from(self.data)
    }

    /// Parity packets in a group.
    #[must_use]
    pub fn parity(self) -> usize {
        usize::from(self.parity)
    }

    /// Packets in a group.
    #[must_use]
    pub fn group(self) -> usize {
        self.data() + self.parity()
    }

    /// Where packet numbers wrap to 0: after the last whole group that 32 bits can number.
    fn sequence_period(self) -> u32 {
        let group = u32::from(self.data) + u32::from(self.parity);
        u32::MAX / group * group
    }

    /// The group of a packet number and the index in it; data comes first.
    fn place(self, sequence: u32) -> (u32, usize) {
        let group = u32::from(self.data) + u32::from(self.parity);
        (sequence / group, (sequence % group) as usize)
    }
}

/// The data and parity counts, as in `10/3`.
impl fmt::Display for FecRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.data, self.parity))
    }
}

impl FromStr for FecRatio {
    type Err = ConfigError;

    /// Parses what [`Display`](fmt::Display) writes, such as `10/3`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let counts = text.split_once('/').and_then(|(data, parity)| {
            let [data, parity] = [data, parity].map(|count| count.trim().parse().ok());
            data.zip(parity)
        });
        let (data, parity) = counts.ok_or_else(|| refused(text.to_owned()))?;
        Self::new(data, parity)
    }
}

fn refused(given: String) -> ConfigError {
    ConfigError::OutOfRange {
        option: "fec ratio",
        given,
        allowed: "data and parity of at least 1 each, together at most 256, such as 10/3",
    }
}

/// Calls `look` with every kernel of the field that this processor supports.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn each_kernel(look: &mut dyn FnMut(&str, &MultiplySlice<'_>)) {
    for kernel in field::Kernel::all() {
        look(&format!("{kernel:?}"), &|add, factor, input, out| {
            if add {
                kernel.mul_add(factor, input, out);
            } else {
                kernel.mul(factor, input, out);
            }
        });
    }
}

/// Arguments: whether to add to the output, the factor, the input, and the output.
#[cfg(any(test, feature = "testing"))]
pub(crate) type MultiplySlice<'a> = dyn Fn(bool, u8, &[u8], &mut [u8]) + 'a;

#[cfg(test)]
mod tests;
