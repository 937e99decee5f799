//! What a session holds of its listener's memory budget.

use crate::net::sync::lock;

use super::Connection;

impl Connection {
    /// Charges what the session holds now, and tells it whether memory is short.
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

    /// Gives back what a session that is over has no more use for, however long others hold on to
    /// it.
    pub(in crate::net) fn release(&self) {
        lock(&self.inner).session.release();
        self.account();
    }
}

/// A session without buffers, its entries in tables included.
pub(super) const PER_SESSION: usize = size_of::<Connection>() + 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_without_buffers_is_small() {
        // Times the limit of those that proved nothing, this is what forged packets can hold.
        println!("{PER_SESSION} bytes");
        const { assert!(PER_SESSION <= 4096) };
    }
}
