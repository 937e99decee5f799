//! A model of what FEC senders number.

use kcp_transport::fec::FecRatio;
use kcp_transport::time::Time;
use kcp_transport::wire::{ShardHeader, ShardKind};

/// Numbers and kinds of a FEC sender's packets.
#[derive(Debug)]
pub(crate) struct FecWatch {
    ratio: FecRatio,
    next: Option<u32>,
}

impl FecWatch {
    pub(crate) fn new(ratio: FecRatio) -> Self {
        Self { ratio, next: None }
    }

    pub(crate) fn on_sent(&mut self, _now: Time, header: ShardHeader) -> Result<ShardKind, String> {
        let group = self.ratio.group() as u32;
        if header.kind == ShardKind::OutOfBand {
            if header.sequence != u32::MAX {
                return Err("out-of-band datagram has a number".into());
            }
            return Ok(header.kind);
        }
        let period = u32::MAX / group * group;
        let parity = (header.sequence % group) as usize >= self.ratio.data();
        if parity != (header.kind == ShardKind::Parity) || header.sequence >= period {
            return Err(format!("wrong place for {header:?} at {:?}", self.ratio));
        }
        if let Some(next) = self.next {
            // Parity may be left out, data may not.
            let ahead = u64::from(header.sequence) + u64::from(period) - u64::from(next);
            let skipped = ahead % u64::from(period);
            let allowed = if parity {
                0
            } else {
                self.ratio.parity() as u64
            };
            if skipped > allowed || (skipped > 0 && !header.sequence.is_multiple_of(group)) {
                return Err(format!("{header:?} where {next} is next"));
            }
        }
        self.next = Some((header.sequence + 1) % period);
        Ok(header.kind)
    }
}
