//! What a session counts, counted again.

use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::Session;

/// What a session counts must be what was seen of it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    received: u64,
    sent: u64,
    /// Bytes while the peer's address was not proved.
    unproved_in: u64,
    unproved_out: u64,
}

impl Tally {
    /// The session is about to be given a payload.
    pub(crate) fn on_received(&mut self, payload: &[u8], proved: bool, overhead: usize) {
        self.received += 1;
        if !proved {
            self.unproved_in += (payload.len() + overhead) as u64;
        }
    }

    /// The session has laid out datagrams. To an address that may be another's no more may go than
    /// three times what came, or three datagrams.
    pub(crate) fn on_sent(
        &mut self,
        session: &Session,
        batch: &TransmitBatch,
    ) -> Result<(), String> {
        self.sent += batch.len() as u64;
        if session.is_validated() {
            return Ok(());
        }
        self.unproved_out += batch.total_len() as u64;
        let most = 3 * self.unproved_in.max(batch.layout().mtu().max(576) as u64);
        if self.unproved_out > most {
            let out = self.unproved_out;
            return Err(format!(
                "{out} bytes sent to an unproved address, {most} allowed"
            ));
        }
        Ok(())
    }

    pub(crate) fn check(&self, session: &Session) -> Result<(), String> {
        let stats = session.stats();
        if stats.datagrams_received != self.received || stats.datagrams_sent != self.sent {
            return Err(format!(
                "{self:?}, but {} and {} are counted",
                stats.datagrams_received, stats.datagrams_sent
            ));
        }
        let causes =
            stats.fast_retransmitted + stats.early_retransmitted + stats.timeout_retransmitted;
        if causes != stats.retransmitted {
            return Err(format!("retransmissions do not add up: {stats:?}"));
        }
        Ok(())
    }
}
