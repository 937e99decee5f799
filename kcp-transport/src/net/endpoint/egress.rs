//! Outgoing datagrams: sending, and queueing while the socket is blocked.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::error::SystemError;
use crate::net::io::{ClosedTransport, Path, Transport, is_closed, is_too_long, is_unroutable};
use crate::net::sync::lock;
use crate::packet::{PacketLayout, TransmitBatch};

/// Sends sealed datagrams, and queues those that the socket does not accept.
#[derive(Debug)]
pub(in crate::net) struct Egress {
    /// Replaced once nothing is left to carry.
    transport: Mutex<Arc<dyn Transport>>,
    layout: PacketLayout,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    blocked: VecDeque<Blocked>,
    /// Empty batches for reuse.
    spares: Vec<TransmitBatch>,
    /// Datagrams that the socket failed to send.
    errors: u64,
}

#[derive(Debug)]
struct Blocked {
    batch: TransmitBatch,
    sent: usize,
    path: Path,
}

/// The result of sending a batch.
#[derive(Debug)]
pub(in crate::net) struct Sent {
    /// Datagrams sent or lost, counted from the beginning of the batch.
    pub(in crate::net) datagrams: usize,
    /// The host of the peer refused some of them.
    pub(in crate::net) refused: bool,
    /// The last of them were not sent, for another reason.
    pub(in crate::net) unsent: Option<SystemError>,
    /// Some of them were too long.
    pub(in crate::net) too_long: bool,
    /// Some of them were sent.
    pub(in crate::net) passed: bool,
    /// Some of them failed because the local address or the route is gone.
    pub(in crate::net) unroutable: bool,
    /// The transport is closed.
    pub(in crate::net) closed: Option<io::ErrorKind>,
}

impl Egress {
    pub(super) fn new(transport: Arc<dyn Transport>, layout: PacketLayout) -> Self {
        Self {
            transport: Mutex::new(transport),
            layout,
            queue: Mutex::default(),
        }
    }

    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&lock(&self.transport))
    }

    /// Drops the transport, which closes a socket, and the datagrams that wait for it.
    pub(super) fn close(&self) {
        let closed = Arc::new(ClosedTransport::new(&*self.transport()));
        let former = std::mem::replace(&mut *lock(&self.transport), closed);
        let blocked = std::mem::take(&mut lock(&self.queue).blocked);
        // Outside of the locks.
        drop((former, blocked));
    }

    /// An empty batch, or `None` while the socket is blocked.
    pub(in crate::net) fn take_batch(&self) -> Option<TransmitBatch> {
        let mut queue = lock(&self.queue);
        if !queue.blocked.is_empty() {
            return None;
        }
        let spare = queue.spares.pop();
        Some(spare.unwrap_or_else(|| TransmitBatch::new(self.layout, BATCH_DATAGRAMS)))
    }

    /// Keeps a batch for reuse.
    pub(in crate::net) fn recycle(&self, batch: TransmitBatch) {
        lock(&self.queue).recycle(batch);
    }

    /// Queues a batch of which the socket accepted `sent` datagrams, for [`Egress::poll_unblock`].
    pub(in crate::net) fn block(&self, path: Path, batch: TransmitBatch, sent: usize) {
        let blocked = Blocked { batch, sent, path };
        lock(&self.queue).blocked.push_back(blocked);
    }

    /// Sends the batch, starting with the datagram `from`.
    ///
    /// Only would-block and a closed transport stop it. After any other error the datagram counts
    /// as lost: routes flap, firewalls refuse and buffers run out, and retransmission handles all
    /// of these.
    pub(in crate::net) fn send(&self, path: Path, batch: &TransmitBatch, from: usize) -> Sent {
        let mut sent = Sent {
            datagrams: from,
            refused: false,
            unsent: None,
            too_long: false,
            passed: false,
            unroutable: false,
            closed: None,
        };
        let transport = self.transport();
        for run in batch.runs_from(from, transport.max_run()) {
            match transport.try_send(path, run) {
                Ok(()) => {
                    sent.unsent = None;
                    sent.passed = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                Err(error) => {
                    self.count_errors(run.datagrams);
                    tracing::trace!(%error, peer = %path.peer, "datagrams not sent");
                    sent.unroutable |= is_unroutable(&error);
                    sent.too_long |= is_too_long(&error);
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        sent.refused = true;
                    } else if !run.probe {
                        sent.unsent = Some(SystemError::from(&error));
                    }
                    if is_closed(&error) {
                        sent.closed = Some(error.kind());
                        sent.datagrams = batch.len();
                        return sent;
                    }
                }
            }
            sent.datagrams += run.datagrams;
        }
        sent
    }

    /// Sends the queued batches; ready once none are left. Calls `on_closed` if the transport is
    /// closed.
    pub(super) fn poll_unblock(
        &self,
        cx: &mut Context<'_>,
        on_closed: impl Fn(io::ErrorKind),
    ) -> Poll<()> {
        let transport = self.transport();
        let mut attempts = 0;
        loop {
            let Some(mut blocked) = lock(&self.queue).blocked.pop_front() else {
                return Poll::Ready(());
            };
            let ready = transport.poll_send_ready(cx);
            if let Poll::Ready(Err(error)) = &ready {
                on_closed(error.kind());
            } else if ready.is_ready() {
                let before = blocked.sent;
                let sent = self.send(blocked.path, &blocked.batch, before);
                blocked.sent = sent.datagrams;
                sent.closed.into_iter().for_each(&on_closed);
                attempts = if blocked.sent > before {
                    0
                } else {
                    attempts + 1
                };
            }
            // A transport that reports ready and accepts nothing must not cause a busy loop.
            let lost = attempts == MAX_ATTEMPTS || matches!(ready, Poll::Ready(Err(_)));
            if lost {
                self.count_errors(blocked.batch.len() - blocked.sent);
                attempts = 0;
            }
            let mut queue = lock(&self.queue);
            if lost || blocked.sent == blocked.batch.len() {
                queue.recycle(blocked.batch);
            } else {
                queue.blocked.push_front(blocked);
                if ready.is_pending() {
                    return Poll::Pending;
                }
            }
        }
    }

    /// Datagrams that the socket has failed to send.
    pub(super) fn errors(&self) -> u64 {
        lock(&self.queue).errors
    }

    /// Whether there are spare batches to free.
    pub(in crate::net) fn has_spares(&self) -> bool {
        !lock(&self.queue).spares.is_empty()
    }

    /// Frees the spare batches, and the room for those that waited for the socket.
    pub(in crate::net) fn shrink(&self) {
        let mut queue = lock(&self.queue);
        queue.spares = Vec::new();
        queue.blocked.shrink_to_fit();
    }

    fn count_errors(&self, datagrams: usize) {
        lock(&self.queue).errors += datagrams as u64;
    }
}

impl Queue {
    fn recycle(&mut self, mut batch: TransmitBatch) {
        if self.spares.len() < MAX_SPARES {
            batch.clear();
            self.spares.push(batch);
        }
    }
}

/// Datagrams in one batch: at an mtu of 1400, about the limit of one call with segmentation
/// offload.
const BATCH_DATAGRAMS: usize = 46;

/// Consecutive calls that may send nothing although the socket reported ready. One is usual, since
/// a writer may send in between. After the last one the datagrams count as lost.
const MAX_ATTEMPTS: usize = 4;

/// Empty batches kept for each socket: one for the driver, and one for a writer.
const MAX_SPARES: usize = 2;
