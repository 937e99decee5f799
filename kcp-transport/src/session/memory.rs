//! Memory use of a session, and releasing it.

use std::time::Duration;

use super::{Session, out_of_band};

impl Session {
    /// Bytes of heap memory used by ARQ, FEC and out-of-band datagrams. Visits FEC's groups, at
    /// most about 70, and the datagrams, at most 64 in each direction.
    ///
    /// Bounded by the configured receive and send buffers, 700 KiB for FEC in each direction that
    /// uses it, and 100 KiB for out-of-band datagrams in each.
    #[must_use]
    pub fn memory(&self) -> usize {
        let decoder = self.decoder.as_ref().map_or(0, |it| it.memory());
        let encoder = self.encoder.as_ref().map_or(0, |it| it.memory());
        let out_of_band = self.out_of_band.as_ref().map_or(0, |it| it.memory());
        self.arq.memory() + decoder + encoder + out_of_band
    }

    /// The part of [`Self::memory`] that is in maps, which an allocator does not see.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn mapped_memory(&self) -> usize {
        self.arq.mapped_memory()
    }

    /// Sets whether memory is short elsewhere. While it is, the advertised window is at most 8
    /// segments, and at most that many are accepted beyond those already held. Only the newest 8
    /// out-of-band datagrams are kept for the user.
    ///
    /// When memory is available again, the next [`Session::poll_transmit`] announces the larger
    /// window.
    pub fn set_memory_pressure(&mut self, pressed: bool) {
        self.arq.set_memory_pressure(pressed);
        self.pressed = pressed;
        if let Some(out_of_band) = &mut self.out_of_band {
            out_of_band.keep(out_of_band::most_kept(pressed));
        }
    }

    /// Releases the memory of a session that [is over](Self::is_over), except for received data
    /// that can still be read. Does nothing before that. Call it again after reads.
    pub fn release(&mut self) {
        if !self.is_over() {
            return;
        }
        if let Some(extension) = self.extension.take() {
            self.counters.frames_refused = extension.refused();
        }
        self.arq.release();
        if let Some(encoder) = &mut self.encoder {
            encoder.release();
        }
        if let Some(out_of_band) = &mut self.out_of_band {
            out_of_band.release();
        }
        self.shrink();
    }

    /// Whether the session has freed its buffers, and was not used since.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_shrunk(&self) -> bool {
        self.lifetime.is_shrunk()
    }

    /// How long an idle session keeps the buffers that it does not need.
    pub(super) fn keeps_buffers(&self) -> Duration {
        if self.encoder.is_some() || self.decoder.is_some() {
            SHRINK_FEC_AFTER
        } else if self.arq.spare() > MUCH {
            SHRINK_MUCH_AFTER
        } else {
            SHRINK_AFTER
        }
    }

    /// Releases memory that an idle session does not need.
    pub(super) fn shrink(&mut self) {
        self.arq.shrink();
        if let Some(encoder) = &mut self.encoder {
            encoder.shrink();
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.shrink();
        }
        if let Some(out_of_band) = &mut self.out_of_band {
            out_of_band.shrink();
        }
    }
}

/// An idle session keeps few buffers for this long, so that one that sends a little now and then
/// neither allocates each time nor has a timer for it.
const SHRINK_AFTER: Duration = Duration::from_millis(100);

/// The same with many, which cost a hundredth of what was sent and received in them. What many
/// sessions hold at the same time, the allocator may keep.
const SHRINK_MUCH_AFTER: Duration = Duration::from_millis(2);

/// The same with FEC, whose groups may still be completed by packets that are late.
const SHRINK_FEC_AFTER: Duration = Duration::from_secs(1);

/// Bytes of buffers that are many: a few segments.
const MUCH: usize = 8 << 10;
