//! Sending and receiving unreliable datagrams beside the stream.

use std::io;
use std::task::{Context, Poll};

use crate::net::sync::{Awaited, Ticket, Waiter, Waiting, lock};
use crate::session::State;

use super::{Connection, end_error};

impl Connection {
    pub(in crate::net) fn max_datagram_size(&self) -> Option<usize> {
        lock(&self.inner).session.max_out_of_band_len()
    }

    pub(in crate::net) fn send_datagram(&self, data: &[u8]) -> io::Result<()> {
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        if let State::Closed(error) = inner.session.state() {
            return Err(end_error(error));
        }
        inner.session.send_out_of_band(now, data)?;
        drop(inner);
        self.transmit();
        Ok(())
    }

    pub(in crate::net) async fn recv_datagram(&self) -> io::Result<Vec<u8>> {
        Waiting::new(self).await
    }
}

/// Waits for unreliable datagrams.
impl Awaited for Connection {
    type Output = io::Result<Vec<u8>>;

    fn poll_for(&self, waiter: &mut Waiter, cx: &Context<'_>) -> Poll<Self::Output> {
        let mut inner = lock(&self.inner);
        if let Some(data) = inner.session.poll_out_of_band() {
            return Poll::Ready(Ok(data));
        }
        if let State::Closed(error) = inner.session.state() {
            return Poll::Ready(Err(end_error(error)));
        }
        inner.datagram_readers.register(waiter, cx);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let waker = lock(&self.inner).datagram_readers.leave(ticket);
        drop(waker);
    }
}
