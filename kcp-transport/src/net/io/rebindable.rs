//! A socket of a client that can be replaced by another.

use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::net::sync::lock;
use crate::packet::SegmentRun;

use super::socket::Socket;
use super::transport::{Path, Received, Transport};

/// A transport that forwards each call to its current socket.
///
/// The driver must poll again after [`RebindableSocket::replace`], since its waker is registered
/// with the former socket.
#[derive(Debug)]
pub(in crate::net) struct RebindableSocket {
    socket: Mutex<Arc<Socket>>,
}

impl RebindableSocket {
    pub(in crate::net) fn new(socket: Socket) -> Self {
        Self {
            socket: Mutex::new(Arc::new(socket)),
        }
    }

    pub(in crate::net) fn replace(&self, socket: Socket) {
        let before = std::mem::replace(&mut *lock(&self.socket), Arc::new(socket));
        // Close the former socket after the lock is released.
        drop(before);
    }

    fn socket(&self) -> Arc<Socket> {
        Arc::clone(&lock(&self.socket))
    }
}

impl Transport for RebindableSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_send_ready(cx)
    }

    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        self.socket().try_recv(buffers, received)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        self.socket().try_send(path, run)
    }

    fn take_refusals(&self) -> Option<HashSet<SocketAddr>> {
        self.socket().take_refusals()
    }

    fn max_run(&self) -> usize {
        self.socket().max_run()
    }
}
