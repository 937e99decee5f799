//! A network in memory that loses, delays and reorders datagrams as the fuzzer chooses.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use kcp_transport::net::{Path, Received, Transport};
use kcp_transport::packet::SegmentRun;

/// Hosts that reach each other, and the fates of their datagrams.
#[derive(Clone, Debug, Default)]
pub struct Network(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    hosts: HashMap<SocketAddr, Mailbox>,
    /// The fates of the next datagrams. All later ones arrive.
    fates: VecDeque<u8>,
    /// A datagram that the next one is to overtake.
    held: Option<(SocketAddr, SocketAddr, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Mailbox {
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
}

/// One host's transport.
#[derive(Debug)]
pub struct Host {
    addr: SocketAddr,
    network: Network,
}

impl Network {
    /// A network on which the first datagrams meet these fates.
    pub fn new(fates: &[u8]) -> Self {
        let network = Self::default();
        network.lock().fates = fates.iter().copied().collect();
        network
    }

    /// The host with this number.
    pub fn host(&self, number: u8) -> Arc<Host> {
        let addr = addr(number);
        self.lock().hosts.entry(addr).or_default();
        Arc::new(Host {
            addr,
            network: self.clone(),
        })
    }

    /// Delivers a forged datagram.
    pub fn inject(&self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        wake(self.lock().arrive(from, to, datagram));
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of the host with this number.
pub fn addr(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 4000).into()
}

impl World {
    fn send(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> Vec<Waker> {
        let mut wakers = Vec::new();
        match self.fates.pop_front().unwrap_or(0) {
            0..=159 => wakers.extend(self.arrive(from, to, datagram)),
            160..=199 | 250.. => {}
            200..=219 => {
                wakers.extend(self.arrive(from, to, datagram));
                wakers.extend(self.arrive(from, to, datagram));
            }
            220..=249 => {
                let held = self.held.replace((from, to, datagram.to_vec()));
                wakers.extend(self.release(held));
                return wakers;
            }
        }
        let held = self.held.take();
        wakers.extend(self.release(held));
        wakers
    }

    fn release(&mut self, held: Option<(SocketAddr, SocketAddr, Vec<u8>)>) -> Option<Waker> {
        let (from, to, datagram) = held?;
        self.arrive(from, to, &datagram)
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> Option<Waker> {
        let mailbox = self.hosts.get_mut(&to)?;
        if mailbox.queue.len() < MOST_QUEUED {
            mailbox.queue.push_back((from, datagram.to_vec()));
        }
        mailbox.waker.take()
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Transport for Host {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut world = self.network.lock();
        let mailbox = world.hosts.entry(self.addr).or_default();
        if mailbox.queue.is_empty() {
            mailbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
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
        let mut world = self.network.lock();
        let mailbox = world.hosts.entry(self.addr).or_default();
        let mut count = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            let Some((peer, datagram)) = mailbox.queue.pop_front() else {
                break;
            };
            buffer[..datagram.len()].copy_from_slice(&datagram);
            *received = Received::new(Path::new(peer), datagram.len());
            count += 1;
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        for datagram in run.bytes.chunks(run.segment_size) {
            let wakers = self.network.lock().send(self.addr, path.peer, datagram);
            wake(wakers);
        }
        Ok(())
    }

    fn max_run(&self) -> usize {
        4
    }
}

/// As a socket's buffer has.
const MOST_QUEUED: usize = 1000;
