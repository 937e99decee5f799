//! The outgoing path of one session: from segments to sealed datagrams.

use crate::net::sync::lock;
use crate::packet::TransmitBatch;
use crate::time::Time;

use super::Connection;

impl Connection {
    /// Sends the segments that are due, and leaves the rest to the driver.
    pub(in crate::net) fn transmit(&self) {
        if !self.transmit_some() {
            self.defer();
        }
    }

    /// Sends the segments that are due, as far as the socket accepts them, up to a bounded number
    /// of batches. Returns whether none were left.
    pub(in crate::net) fn transmit_some(&self) -> bool {
        self.account();
        let now = self.endpoint.clock.now();
        for _ in 0..MAX_BATCHES_PER_CALL {
            let Some(mut batch) = self.endpoint.egress.take_batch() else {
                return false;
            };
            if let Some(at) = self.fill(now, &mut batch) {
                self.endpoint.mailbox.arm(at, self.key);
            }
            let full = batch.remaining() == 0;
            self.dispatch(now, batch);
            if !full {
                return true;
            }
        }
        false
    }

    /// Queues the session for sending at the driver.
    pub(in crate::net) fn defer(&self) {
        let known = std::mem::replace(&mut lock(&self.inner).deferred, true);
        if !known {
            self.endpoint.mailbox.defer(self.key);
        }
    }

    /// Fills a batch with the segments that are due. Returns the next deadline if it is earlier
    /// than the armed one.
    fn fill(&self, now: Time, batch: &mut TransmitBatch) -> Option<Time> {
        let _span = self.span().enter();
        let mut locked = lock(&self.inner);
        let inner = &mut *locked;
        inner.deferred = false;
        if let Some(host) = &inner.host {
            host.exchange(now, &mut inner.session);
        }
        let before = inner.session.state();
        inner.session.poll_transmit(now, batch);
        let deadline = inner.rearm();
        // Sending the last segment may complete a shutdown that a task waits for.
        let wakers = (inner.session.state() != before).then(|| inner.take_wakers());
        drop(locked);
        if let Some(wakers) = wakers {
            wakers.wake();
        }
        deadline
    }

    /// Seals a batch and sends it.
    fn dispatch(&self, now: Time, mut batch: TransmitBatch) {
        let endpoint = &self.endpoint;
        if batch.is_empty() {
            self.recycle(batch);
            return;
        }
        if let Err(error) = endpoint.sealer.seal(&mut batch) {
            self.recycle(batch);
            self.abort(error.into());
            // This may be the task of a writer; the driver removes the session.
            self.defer();
            return;
        }
        let path = self.path();
        let span = self.span().enter();
        let sent = endpoint.egress.send(path, &batch, 0);
        drop(span);
        if sent.refused {
            self.refused(now, false);
        }
        if let Some(error) = sent.unsent {
            self.unsent(now, error);
        }
        if sent.too_long {
            self.change(|session| session.handle_too_long(now));
            self.defer();
        }
        if (sent.refused || sent.unsent.is_some()) && self.is_over() {
            self.defer();
        }
        self.follow_address(now, &sent);
        if let Some(kind) = sent.closed {
            endpoint.mailbox.close(kind);
        }
        if sent.datagrams == batch.len() {
            self.recycle(batch);
        } else {
            endpoint.egress.block(path, batch, sent.datagrams);
            endpoint.mailbox.wake();
        }
    }

    /// Keeps a batch for reuse, unless it is a small one of a socket with one session.
    ///
    /// Many sockets that send little now and then must not hold a batch each. A new one of a few
    /// datagrams costs a fiftieth of a system call.
    fn recycle(&self, batch: TransmitBatch) {
        if !self.endpoint.is_single() || batch.room() > SMALL {
            self.endpoint.egress.recycle(batch);
        }
    }
}

/// Bytes of a small batch: a few datagrams.
const SMALL: usize = 8 << 10;

/// Batches that one call sends before it leaves the rest to the driver, so that a writer with a
/// large window does not occupy its thread for long.
const MAX_BATCHES_PER_CALL: usize = 8;
