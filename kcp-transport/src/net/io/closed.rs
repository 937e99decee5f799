//! What replaces a transport that was dropped.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use crate::packet::SegmentRun;

use super::transport::{Path, Received, Transport};

/// Keeps its last address, and carries nothing.
#[derive(Debug)]
pub(in crate::net) struct ClosedTransport(Option<SocketAddr>);

impl ClosedTransport {
    pub(in crate::net) fn new(former: &dyn Transport) -> Self {
        Self(former.local_addr().ok())
    }
}

fn closed() -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

impl Transport for ClosedTransport {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.ok_or_else(closed)
    }

    fn poll_recv_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(closed()))
    }

    fn poll_send_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(closed()))
    }

    fn try_recv(&self, _: &mut [IoSliceMut<'_>], _: &mut [Received]) -> io::Result<usize> {
        Err(closed())
    }

    fn try_send(&self, _: Path, _: SegmentRun<'_>) -> io::Result<()> {
        Err(closed())
    }
}
