//! What leaves through a socket, and what has to wait for it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::net::io::{Path, Transport, is_closed};
use crate::net::sync::lock;
use crate::packet::{PacketLayout, TransmitBatch};

/// Sends sealed datagrams, and keeps those that the socket did not take yet.
#[derive(Debug)]
pub(in crate::net) struct Egress {
    transport: Arc<dyn Transport>,
    layout: PacketLayout,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    blocked: VecDeque<Blocked>,
    /// Batches for the next datagrams.
    spares: Vec<TransmitBatch>,
    /// Datagrams that the socket refused.
    errors: u64,
}

#[derive(Debug)]
struct Blocked {
    batch: TransmitBatch,
    sent: usize,
    path: Path,
}

/// What became of a batch.
#[derive(Debug)]
pub(in crate::net) struct Sent {
    /// Datagrams of the batch that are done, sent or lost, from its beginning.
    pub(in crate::net) datagrams: usize,
    /// The peer's host has refused some.
    pub(in crate::net) refused: bool,
    /// The transport is closed.
    pub(in crate::net) closed: Option<io::ErrorKind>,
}

impl Egress {
    pub(super) fn new(transport: Arc<dyn Transport>, layout: PacketLayout) -> Self {
        Self {
            transport,
            layout,
            queue: Mutex::default(),
        }
    }

    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// An empty batch, or `None` while the socket takes nothing.
    pub(in crate::net) fn take_batch(&self) -> Option<TransmitBatch> {
        let mut queue = lock(&self.queue);
        if !queue.blocked.is_empty() {
            return None;
        }
        let spare = queue.spares.pop();
        Some(spare.unwrap_or_else(|| TransmitBatch::new(self.layout, BATCH_DATAGRAMS)))
    }

    /// Takes a batch back for the next datagrams.
    pub(in crate::net) fn recycle(&self, batch: TransmitBatch) {
        lock(&self.queue).recycle(batch);
    }

    /// Keeps a batch of which the socket took `sent` datagrams, for [`Egress::poll_unblock`].
    pub(in crate::net) fn block(&self, path: Path, batch: TransmitBatch, sent: usize) {
        let blocked = Blocked { batch, sent, path };
        lock(&self.queue).blocked.push_back(blocked);
    }

    /// Sends from the datagram `from` on.
    ///
    /// Only would-block stops it. Every other error is a lost datagram: routes flap, firewalls
    /// refuse, buffers run out, and retransmission deals with all of that.
    pub(in crate::net) fn send(&self, path: Path, batch: &TransmitBatch, from: usize) -> Sent {
        let mut sent = Sent {
            datagrams: from,
            refused: false,
            closed: None,
        };
        for run in batch.runs_from(from, self.transport.max_run()) {
            match self.transport.try_send(path, run) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                Err(error) => {
                    self.count_errors(run.datagrams);
                    tracing::trace!(%error, peer = %path.peer, "datagrams not sent");
                    sent.refused |= error.kind() == io::ErrorKind::ConnectionRefused;
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

    /// Sends what the socket did not take before; ready once nothing is left. `on_closed` learns of
    /// a closed transport.
    pub(super) fn poll_unblock(
        &self,
        cx: &mut Context<'_>,
        on_closed: impl Fn(io::ErrorKind),
    ) -> Poll<()> {
        let mut attempts = 0;
        loop {
            let Some(mut blocked) = lock(&self.queue).blocked.pop_front() else {
                return Poll::Ready(());
            };
            let ready = self.transport.poll_send_ready(cx);
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
            // A transport that says ready and takes nothing must not make us spin.
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

    /// Datagrams that the socket refused so far.
    pub(super) fn errors(&self) -> u64 {
        lock(&self.queue).errors
    }

    /// Forgets spare memory.
    pub(in crate::net) fn shrink(&self) {
        lock(&self.queue).spares = Vec::new();
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

/// Datagrams in one batch: at mtu 1400, about what one segmentation-offload call takes.
const BATCH_DATAGRAMS: usize = 46;

/// Calls in a row that may take nothing after the socket was said to be ready. One is usual, since a
/// writer can be faster; then the datagrams are given up as lost.
const MAX_ATTEMPTS: usize = 4;

/// Empty batches kept per socket: the driver uses one, and so does each writer at a time.
const MAX_SPARES: usize = 2;
