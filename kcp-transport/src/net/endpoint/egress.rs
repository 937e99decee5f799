//! What leaves through a socket, and what has to wait for it.

use std::collections::VecDeque;
use std::io;
use std::sync::MutexGuard;
use std::task::{Context, Poll};

use crate::net::connection::Connection;
use crate::net::io::{Path, is_closed};
use crate::net::sync::lock;
use crate::packet::TransmitBatch;
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SegmentHeader};

use super::Endpoint;

/// Sealed datagrams the socket did not take yet, and batches for the next ones.
#[derive(Debug, Default)]
pub(in crate::net) struct Outbox {
    blocked: VecDeque<Blocked>,
    spares: Vec<TransmitBatch>,
}

#[derive(Debug)]
struct Blocked {
    batch: TransmitBatch,
    sent: usize,
    path: Path,
}

impl Endpoint {
    /// Sends what is due for `connection`; the driver does what is left.
    pub(in crate::net) fn transmit(&self, connection: &Connection) {
        if !self.transmit_some(connection) {
            connection.defer();
        }
    }

    /// Sends what is due for `connection` as far as the socket takes it, and a bounded number of
    /// batches. Returns whether nothing was left.
    pub(in crate::net) fn transmit_some(&self, connection: &Connection) -> bool {
        connection.account();
        let now = self.clock.now();
        for _ in 0..MAX_BATCHES_PER_CALL {
            let Some(mut batch) = self.take_batch() else {
                return false;
            };
            let filled = connection.fill(now, &mut batch);
            if let Some(at) = filled.deadline {
                self.arm(at, connection.key);
            }
            let full = batch.remaining() == 0;
            self.dispatch(now, connection, batch);
            if !full {
                return true;
            }
        }
        false
    }

    /// Seals a batch and sends it.
    pub(in crate::net) fn dispatch(
        &self,
        now: Time,
        connection: &Connection,
        mut batch: TransmitBatch,
    ) {
        if batch.is_empty() {
            self.outbox().recycle(batch);
            return;
        }
        if let Err(error) = self.sealer.seal(&mut batch) {
            self.outbox().recycle(batch);
            connection.abort(error.into());
            // It may be a writer's task that finds out; the driver forgets the session.
            connection.defer();
            return;
        }
        let path = connection.path();
        let sent = self.send(now, Some(connection), path, &batch, 0);
        let mut outbox = self.outbox();
        if sent == batch.len() {
            outbox.recycle(batch);
        } else {
            outbox.blocked.push_back(Blocked { batch, sent, path });
            drop(outbox);
            self.wake();
        }
    }

    /// Sends one segment without a session. Lost if the socket takes nothing now, or the mtu has
    /// no room for its payload: whoever waits for it asks again.
    pub(in crate::net) fn reply(
        &self,
        now: Time,
        path: Path,
        header: &SegmentHeader,
        payload: &[u8],
    ) {
        let Some(mut batch) = self.take_batch() else {
            return;
        };
        batch.push_with(|packet| {
            let len = SEGMENT_HEADER_LEN + payload.len();
            let Some(place) = packet.get_mut(SEGMENT_HEADER_LEN..len) else {
                return 0;
            };
            place.copy_from_slice(payload);
            header.encode(packet);
            len
        });
        // A key that is used up seals nothing more; there is nobody to tell.
        if self.sealer.seal(&mut batch).is_ok() {
            self.send(now, None, path, &batch, 0);
        }
        self.outbox().recycle(batch);
    }

    /// An empty batch, or `None` while the socket takes nothing.
    pub(in crate::net) fn take_batch(&self) -> Option<TransmitBatch> {
        let mut outbox = self.outbox();
        if !outbox.blocked.is_empty() {
            return None;
        }
        let spare = outbox.spares.pop();
        Some(spare.unwrap_or_else(|| TransmitBatch::new(self.layout, BATCH_DATAGRAMS)))
    }

    /// Sends from the datagram `from` on and returns how many of all are done.
    ///
    /// Only would-block stops it. Every other error is a lost datagram: routes flap, firewalls
    /// refuse, buffers run out, and retransmission deals with all of that. Of a closed transport the
    /// driver learns.
    fn send(
        &self,
        now: Time,
        connection: Option<&Connection>,
        path: Path,
        batch: &TransmitBatch,
        from: usize,
    ) -> usize {
        let mut sent = from;
        for run in batch.runs_from(from, self.transport.max_run()) {
            match self.transport.try_send(path, run) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                Err(error) => {
                    lock(&self.stats).send_errors += run.datagrams as u64;
                    tracing::trace!(%error, peer = %path.peer, "datagrams not sent");
                    if let (io::ErrorKind::ConnectionRefused, Some(connection)) =
                        (error.kind(), connection)
                    {
                        connection.refused(now);
                        if connection.is_over() {
                            connection.defer();
                        }
                    }
                    if is_closed(&error) {
                        self.close(error.kind());
                        return batch.len();
                    }
                }
            }
            sent += run.datagrams;
        }
        sent
    }

    /// Sends what the socket did not take before; ready once nothing is left.
    pub(in crate::net) fn poll_unblock(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut attempts = 0;
        loop {
            let Some(mut blocked) = self.outbox().blocked.pop_front() else {
                return Poll::Ready(());
            };
            let ready = self.transport.poll_send_ready(cx);
            if let Poll::Ready(Err(error)) = &ready {
                self.close(error.kind());
            } else if ready.is_ready() {
                let now = self.clock.now();
                let before = blocked.sent;
                blocked.sent = self.send(now, None, blocked.path, &blocked.batch, before);
                attempts = if blocked.sent > before {
                    0
                } else {
                    attempts + 1
                };
            }
            // A transport that says ready and takes nothing must not make us spin.
            let lost = attempts == MAX_ATTEMPTS || matches!(ready, Poll::Ready(Err(_)));
            if lost {
                let left = blocked.batch.len() - blocked.sent;
                lock(&self.stats).send_errors += left as u64;
                attempts = 0;
            }
            let mut outbox = self.outbox();
            if lost || blocked.sent == blocked.batch.len() {
                outbox.recycle(blocked.batch);
            } else {
                outbox.blocked.push_front(blocked);
                if ready.is_pending() {
                    return Poll::Pending;
                }
            }
        }
    }

    /// Forgets spare memory.
    pub(in crate::net) fn shrink(&self) {
        self.outbox().spares = Vec::new();
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.outbox)
    }
}

impl Outbox {
    fn recycle(&mut self, mut batch: TransmitBatch) {
        if self.spares.len() < MAX_SPARES {
            batch.clear();
            self.spares.push(batch);
        }
    }
}

/// Datagrams in one batch: at mtu 1400, about what one segmentation-offload call takes.
const BATCH_DATAGRAMS: usize = 46;

/// Batches one call sends before it leaves the rest to the driver, so that a writer with a large
/// window does not hold its task for long.
const MAX_BATCHES_PER_CALL: usize = 8;

/// Calls in a row that may take nothing after the socket was said to be ready. One is usual, since a
/// writer can be faster; then the datagrams are given up as lost.
const MAX_ATTEMPTS: usize = 4;

/// Empty batches kept per socket: the driver uses one, and so does each writer at a time.
const MAX_SPARES: usize = 2;
