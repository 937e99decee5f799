//! What a session holds, and giving it back.

use super::{Session, out_of_band};

impl Session {
    /// Bytes of memory held outside this value itself, by the buffers of ARQ and FEC and by
    /// out-of-band datagrams. Takes time for FEC's groups, some 70 at most, and for those
    /// datagrams, 64 in each direction at most.
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

    /// Tells whether memory is short elsewhere. While it is, the peer is told a window of 8
    /// segments at most, and no more is kept than that beyond what was taken in before. Of
    /// out-of-band datagrams, only the newest 8 wait for the user.
    ///
    /// When it no longer is, the peer hears at the next [`Session::poll_transmit`].
    pub fn set_memory_pressure(&mut self, pressed: bool) {
        self.arq.set_memory_pressure(pressed);
        self.pressed = pressed;
        if let Some(out_of_band) = &mut self.out_of_band {
            out_of_band.keep(out_of_band::most_kept(pressed));
        }
    }

    /// Gives back the memory of a session that [is over](Self::is_over), but for what it received
    /// and its user can still read. Does nothing before that; worth repeating after reads.
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

    /// Gives memory back that only a busy session needs.
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
