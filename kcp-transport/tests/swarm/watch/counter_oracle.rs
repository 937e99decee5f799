//! Counts again what a session counts.

use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::Session;

/// The counters of a session must agree with what it was seen to do.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct CounterOracle {
    received: u64,
    sent: u64,
    /// Bytes while the peer's address was not validated.
    unproved_in: u64,
    unproved_out: u64,
}

impl CounterOracle {
    /// The session is about to be given a payload.
    pub(crate) fn on_received(&mut self, payload: &[u8], proved: bool, overhead: usize) {
        self.received += 1;
        if !proved {
            self.unproved_in += (payload.len() + overhead) as u64;
        }
    }

    /// The session has laid out datagrams. An address that is not validated gets at most three times what
    /// came from it, or three datagrams.
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
                "{out} bytes sent to an address that is not validated, {most} allowed"
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
