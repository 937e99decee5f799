//! A network in memory whose links have a rate, a delay and a queue, in tokio's time.
//!
//! Under paused time a transfer of minutes takes as long as its computations.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kcp_tower::Transport;
use kcp_tower::kcp_transport::net::{Path, Received};
use kcp_tower::kcp_transport::packet::SegmentRun;
use tokio::time::{Instant, Sleep, sleep_until};

/// What every host's way out is like.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub bits_per_second: u64,
    pub delay: Duration,
    /// Datagrams that wait for the link; more are dropped.
    pub queue: usize,
}

impl Link {
    /// Fast and short.
    pub const LAN: Self = Self {
        bits_per_second: 1_000_000_000,
        delay: Duration::from_micros(50),
        queue: 10_000,
    };
}

/// Hosts that reach each other.
#[derive(Clone, Debug)]
pub struct Network {
    hosts: Arc<Mutex<HashMap<SocketAddr, Weak<Host>>>>,
    link: Link,
    cut: Arc<AtomicBool>,
}

/// One host's transport.
#[derive(Debug)]
pub struct Host {
    addr: SocketAddr,
    network: Network,
    plugged: AtomicBool,
    /// When the datagrams that wait for the link have left, in order.
    departures: Mutex<VecDeque<Instant>>,
    mailbox: Mutex<Mailbox>,
}

#[derive(Debug, Default)]
struct Mailbox {
    queue: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Network {
    pub fn new(link: Link) -> Self {
        Self {
            hosts: Arc::default(),
            link,
            cut: Arc::default(),
        }
    }

    /// From now on, all datagrams vanish.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// A host with an address of its own.
    pub fn host(&self) -> Arc<Host> {
        let number = u32::try_from(lock(&self.hosts).len()).unwrap() + 1;
        let [_, a, b, c] = number.to_be_bytes();
        self.host_at((Ipv4Addr::new(10, a, b, c), 4000).into())
    }

    /// A host with a given address. A host that had it before is unplugged.
    pub fn host_at(&self, addr: SocketAddr) -> Arc<Host> {
        let host = Arc::new(Host {
            addr,
            network: self.clone(),
            plugged: AtomicBool::new(true),
            departures: Mutex::default(),
            mailbox: Mutex::default(),
        });
        self.unplug(addr);
        lock(&self.hosts).insert(addr, Arc::downgrade(&host));
        host
    }

    /// From now on, all datagrams from and to the host with this address vanish.
    pub fn unplug(&self, addr: SocketAddr) {
        if let Some(host) = self.at(addr) {
            host.plugged.store(false, Ordering::Relaxed);
        }
        lock(&self.hosts).insert(addr, Weak::new());
    }

    fn at(&self, addr: SocketAddr) -> Option<Arc<Host>> {
        lock(&self.hosts).get(&addr).and_then(Weak::upgrade)
    }
}

impl Host {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// When a datagram that is sent now has left, unless the queue is full.
    #[allow(clippy::disallowed_methods, reason = "the network has its own clock")]
    fn depart(&self, len: usize) -> Option<Instant> {
        let now = Instant::now();
        let mut departures = lock(&self.departures);
        while departures.front().is_some_and(|at| *at <= now) {
            departures.pop_front();
        }
        if departures.len() >= self.network.link.queue {
            return None;
        }
        let nanos = len as u64 * 8 * 1_000_000_000 / self.network.link.bits_per_second;
        let start = departures.back().copied().unwrap_or(now);
        let end = start + Duration::from_nanos(nanos);
        departures.push_back(end);
        Some(end)
    }

    fn deliver(&self, due: Instant, from: SocketAddr, datagram: &[u8]) {
        let waker = {
            let mut mailbox = lock(&self.mailbox);
            let later = |(at, ..): &(Instant, SocketAddr, Vec<u8>)| *at <= due;
            let place = mailbox.queue.partition_point(later);
            mailbox.queue.insert(place, (due, from, datagram.to_vec()));
            mailbox.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Mailbox {
    #[allow(clippy::disallowed_methods, reason = "the network has its own clock")]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waker = Some(cx.waker().clone());
        let Some(&(due, ..)) = self.queue.front() else {
            return Poll::Pending;
        };
        if due <= Instant::now() {
            return Poll::Ready(Ok(()));
        }
        let mut sleep = Box::pin(sleep_until(due));
        let elapsed = sleep.as_mut().poll(cx);
        self.sleep = Some(sleep);
        elapsed.map(Ok)
    }
}

impl Transport for Host {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.mailbox).poll(cx)
    }

    fn poll_send_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    #[allow(clippy::disallowed_methods, reason = "the network has its own clock")]
    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        let mut mailbox = lock(&self.mailbox);
        let now = Instant::now();
        let mut count = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            if mailbox.queue.front().is_none_or(|(due, ..)| *due > now) {
                break;
            }
            let Some((_, peer, datagram)) = mailbox.queue.pop_front() else {
                break;
            };
            buffer[..datagram.len()].copy_from_slice(&datagram);
            received.path = Path::new(peer);
            received.len = datagram.len();
            received.stride = datagram.len();
            count += 1;
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        for datagram in run.bytes.chunks(run.segment_size) {
            let Some(left) = self.depart(datagram.len()) else {
                continue;
            };
            let plugged = self.plugged.load(Ordering::Relaxed);
            if !plugged || self.network.cut.load(Ordering::Relaxed) {
                continue;
            }
            if let Some(host) = self.network.at(path.peer) {
                host.deliver(left + self.network.link.delay, self.addr, datagram);
            }
        }
        Ok(())
    }

    fn max_run(&self) -> usize {
        16
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic under the lock")
}
