//! Memory for receiving.
//!
//! A connection that receives a datagram now and then does so on the stack of its thread and owns
//! no buffer: a buffer for each wake-up would stay with the allocator, in pieces between what is
//! still in use. Where several datagrams wait at a time, buffers are allocated, as many as are
//! filled, and freed after a period of silence.

use std::io::{self, IoSliceMut};

use super::transport::{Received, Transport};
use crate::pages::Pages;

/// The buffers of one socket.
#[derive(Debug)]
pub(in crate::net) struct ReceiveBuffers {
    /// Each has [`BUFFER_LEN`] bytes. None while the stack is enough.
    buffers: Vec<Pages>,
    /// As many as `buffers`.
    received: Vec<Received>,
    max: usize,
    /// Consecutive receive calls that have filled all buffers.
    full_calls: u32,
}

impl ReceiveBuffers {
    /// No buffers yet, and at most `max`.
    pub(in crate::net) fn new(max: usize) -> Self {
        Self {
            buffers: Vec::new(),
            received: Vec::new(),
            max: max.min(MAX_BUFFERS),
            full_calls: 0,
        }
    }

    /// Frees the buffers until the next use.
    pub(in crate::net) fn release(&mut self) {
        self.buffers = Vec::new();
        self.received = Vec::new();
    }

    /// Whether there are buffers to free.
    pub(in crate::net) fn is_held(&self) -> bool {
        !self.buffers.is_empty()
    }

    /// Receives available datagrams, and passes each filled buffer to `deliver`.
    pub(in crate::net) fn receive(
        &mut self,
        transport: &dyn Transport,
        deliver: impl FnMut(&mut [u8], Received),
    ) -> io::Result<()> {
        let room = self.buffers.len().max(1);
        let filled = if self.buffers.is_empty() {
            receive_on_stack(transport, deliver)
        } else {
            self.receive_in_buffers(transport, deliver)
        };
        self.full_calls = match filled {
            Ok(filled) if filled >= room => self.full_calls + 1,
            _ => 0,
        };
        if self.full_calls == FULL_CALLS_BEFORE_GROWTH {
            self.grow();
        }
        filled.map(|_| ())
    }

    fn receive_in_buffers(
        &mut self,
        transport: &dyn Transport,
        mut deliver: impl FnMut(&mut [u8], Received),
    ) -> io::Result<usize> {
        let count = self.buffers.len();
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; MAX_BUFFERS] = std::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| &mut buffer[..]))
        });
        let filled = transport.try_recv(&mut slices[..count], &mut self.received)?;
        for (buffer, received) in self.buffers.iter_mut().zip(&self.received).take(filled) {
            let len = received.len.min(BUFFER_LEN);
            deliver(&mut buffer[..len], *received);
        }
        Ok(filled)
    }

    /// Doubles the number of buffers.
    fn grow(&mut self) {
        self.full_calls = 0;
        let count = (self.buffers.len() * 2).clamp(MIN_BUFFERS, self.max.max(MIN_BUFFERS));
        self.buffers
            .resize_with(count, || Pages::zeroed(BUFFER_LEN));
        self.received.resize(count, Received::default());
    }
}

/// Receives one datagram, or one coalesced run. Clearing the buffer costs about a microsecond.
#[inline(never)]
fn receive_on_stack(
    transport: &dyn Transport,
    mut deliver: impl FnMut(&mut [u8], Received),
) -> io::Result<usize> {
    let mut buffer = [0; BUFFER_LEN];
    let mut received = [Received::default()];
    let filled = transport.try_recv(&mut [IoSliceMut::new(&mut buffer)], &mut received)?;
    if filled > 0 {
        let [received] = received;
        let len = received.len.min(BUFFER_LEN);
        deliver(&mut buffer[..len], received);
    }
    Ok(filled)
}

/// A coalesced run of datagrams is at most one maximal IP packet.
const BUFFER_LEN: usize = 1 << 16;

/// The largest number of buffers in one receive call.
pub(in crate::net) const MAX_BUFFERS: usize = 32;

/// The first buffers that are allocated.
const MIN_BUFFERS: usize = 2;

/// Neither a keepalive and its answer nor a short transfer fills the stack buffer as often before the
/// socket is empty; a bulk transfer does within a megabyte.
const FULL_CALLS_BEFORE_GROWTH: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::io::Path;
    use crate::packet::SegmentRun;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    /// A socket at which a number of datagrams wait.
    #[derive(Debug, Default)]
    struct Waiting(AtomicUsize);

    impl Transport for Waiting {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }

        fn poll_recv_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_send_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn try_recv(
            &self,
            buffers: &mut [IoSliceMut<'_>],
            received: &mut [Received],
        ) -> io::Result<usize> {
            assert_eq!(buffers.len(), received.len());
            let waiting = self.0.load(Ordering::Relaxed);
            let count = waiting.min(buffers.len());
            for (buffer, received) in buffers.iter_mut().zip(received).take(count) {
                assert_eq!(buffer.len(), BUFFER_LEN);
                buffer[..3].copy_from_slice(b"abc");
                (received.len, received.stride) = (3, 3);
            }
            self.0.store(waiting - count, Ordering::Relaxed);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        }

        fn try_send(&self, _: Path, _: SegmentRun<'_>) -> io::Result<()> {
            Ok(())
        }
    }

    /// Receives until the socket is empty; returns the number of datagrams.
    fn drain(buffers: &mut ReceiveBuffers, socket: &Waiting) -> usize {
        let mut count = 0;
        let mut deliver = |bytes: &mut [u8], received: Received| {
            assert_eq!((&*bytes, received.len), (&b"abc"[..], 3));
            count += 1;
        };
        while buffers.receive(socket, &mut deliver).is_ok() {}
        count
    }

    #[test]
    fn datagrams_now_and_then_take_no_buffers() {
        let (mut buffers, socket) = (ReceiveBuffers::new(8), Waiting::default());
        for _ in 0..100 {
            for waiting in [1, 15] {
                socket.0.store(waiting, Ordering::Relaxed);
                assert_eq!(drain(&mut buffers, &socket), waiting);
                assert!(!buffers.is_held());
            }
        }
    }

    #[test]
    fn buffers_grow_to_their_limit_under_load_and_are_freed() {
        for max in [1, 8, 1000] {
            let (mut buffers, socket) = (ReceiveBuffers::new(max), Waiting::default());
            socket.0.store(10_000, Ordering::Relaxed);
            assert_eq!(drain(&mut buffers, &socket), 10_000);
            assert_eq!(buffers.buffers.len(), max.clamp(MIN_BUFFERS, MAX_BUFFERS));
            buffers.release();
            assert!(!buffers.is_held());
        }
    }
}
