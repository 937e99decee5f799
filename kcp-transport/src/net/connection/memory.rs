//! The share of a session in the memory budget of its listener.

use crate::net::sync::lock;

use super::Connection;

impl Connection {
    /// Charges the memory that the session holds, and updates its memory pressure.
    pub(in crate::net) fn account(&self) {
        let Some(short) = self.charge.is_short() else {
            return;
        };
        let (held, over) = {
            let mut inner = lock(&self.inner);
            if self.charge.note_pressure(short) {
                inner.session.set_memory_pressure(short);
            }
            (inner.session.memory(), inner.session.is_over())
        };
        if over {
            self.charge.settle_end(held);
        } else {
            self.charge.settle(held);
        }
    }

    /// Frees the buffers that a session no longer needs once it is over, although handles may keep
    /// it alive.
    pub(in crate::net) fn release(&self) {
        lock(&self.inner).session.release();
        self.account();
    }
}

/// Bytes of a session without buffers, including its entries in tables.
pub(super) const PER_SESSION: usize = size_of::<Connection>() + 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_without_buffers_is_small() {
        // Forged packets can hold this many bytes for each unvalidated session.
        println!("{PER_SESSION} bytes");
        const { assert!(PER_SESSION <= 4096) };
    }
}
