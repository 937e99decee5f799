//! A network in memory with latency and seeded loss, whose hosts live as long as they are used.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kcp_transport::net::{Path, Received, Transport};
use kcp_transport::packet::SegmentRun;
use kcp_transport::testing::Rng;
use tokio::time::{Instant, Sleep, sleep_until};

/// Hosts that reach each other.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Mutex<Hosts>>);

#[derive(Debug)]
struct Hosts {
    known: HashMap<SocketAddr, Weak<Host>>,
    made: u32,
    rng: Rng,
    loss: f64,
    latency: Duration,
}

/// One host's transport.
#[derive(Debug)]
pub(crate) struct Host {
    addr: SocketAddr,
    network: Network,
    mailbox: Mutex<Mailbox>,
}

#[derive(Debug, Default)]
struct Mailbox {
    queue: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Network {
    pub(crate) fn new(seed: u64, loss: f64, latency: Duration) -> Self {
        Self(Arc::new(Mutex::new(Hosts {
            known: HashMap::new(),
            made: 0,
            rng: Rng::new(seed),
            loss,
            latency,
        })))
    }

    /// A host with an address of its own.
    pub(crate) fn host(&self) -> Arc<Host> {
        let mut hosts = lock(&self.0);
        hosts.made += 1;
        let [_, a, b, c] = hosts.made.to_be_bytes();
        let addr = (Ipv4Addr::new(10, a, b, c), 4000).into();
        let host = Arc::new(Host {
            addr,
            network: self.clone(),
            mailbox: Mutex::default(),
        });
        hosts.known.insert(addr, Arc::downgrade(&host));
        host
    }

    /// Hosts that are still in use.
    pub(crate) fn hosts(&self) -> usize {
        lock(&self.0).known.len()
    }

    fn send(&self, from: SocketAddr, to: SocketAddr, datagrams: &[u8], stride: usize) {
        let (host, latency, lost) = {
            let mut hosts = lock(&self.0);
            let loss = hosts.loss;
            let count = datagrams.len().div_ceil(stride);
            let lost: Vec<bool> = (0..count).map(|_| hosts.rng.chance(loss)).collect();
            let host = hosts.known.get(&to).and_then(Weak::upgrade);
            (host, hosts.latency, lost)
        };
        let Some(host) = host else {
            return;
        };
        let due = Instant::now() + latency;
        let waker = {
            let mut mailbox = lock(&host.mailbox);
            for (datagram, lost) in datagrams.chunks(stride).zip(lost) {
                if !lost {
                    mailbox.queue.push_back((due, from, datagram.to_vec()));
                }
            }
            mailbox.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        lock(&self.network.0).known.remove(&self.addr);
    }
}

impl Host {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Mailbox {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(&(due, ..)) = self.queue.front() else {
            self.waker = Some(cx.waker().clone());
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
            *received = Received::new(Path::new(peer), datagram.len());
            count += 1;
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        self.network
            .send(self.addr, path.peer, run.bytes, run.segment_size);
        Ok(())
    }

    fn max_run(&self) -> usize {
        4
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic under the lock")
}
