//! A network in memory: datagrams arrive at once or after a delay, and any call can be made to fail.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kcp_transport::net::{Path, Received, Transport};
use kcp_transport::packet::SegmentRun;

/// Hosts that reach each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    hosts: Arc<Mutex<HashMap<SocketAddr, Arc<Host>>>>,
    /// What every datagram takes.
    delay: Duration,
}

/// One host's transport.
#[derive(Debug)]
pub(crate) struct Host {
    /// The address that the host itself knows.
    addr: SocketAddr,
    /// The address that others see, which a NAT may change.
    seen: Mutex<SocketAddr>,
    network: Network,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
    /// All datagrams that have arrived, for eavesdropping tests.
    history: Vec<(SocketAddr, Vec<u8>)>,
    /// The history is not recorded.
    private: bool,
    receiver: Side,
    sender: Side,
}

/// Receiving or sending.
#[derive(Debug, Default)]
struct Side {
    fault: Fault,
    /// The last call returned would-block, and nothing has happened since.
    blocked: bool,
    waker: Option<Waker>,
    calls: usize,
    /// Of these, those that failed as each third does.
    failed: usize,
}

/// What calls of one side do from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Work.
    #[default]
    None,
    /// Fail with an error of the system.
    Errno(i32),
    /// Would block.
    Blocked,
    /// Would block once, then fail with an error of the system.
    BlockedThen(i32),
    /// Fail with an error of the system each third time.
    Third(i32),
    /// Would block, although polling reports ready.
    FalseReadiness,
    /// Fail with an error of this kind as soon as readiness is polled.
    Poll(io::ErrorKind),
    /// Lose every datagram but each third.
    Loss,
}

/// Receiving or sending, to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Receive,
    Send,
}

impl Network {
    /// Hosts that are so far from each other.
    pub(crate) fn with_delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// A host with a free address.
    pub(crate) fn host(&self) -> Arc<Host> {
        let hosts = self.hosts.lock().expect("no panic under the lock");
        let [.., high, low] = u32::try_from(hosts.len() + 1)
            .expect("a small network")
            .to_be_bytes();
        let addr = (Ipv4Addr::new(10, 0, high, low), 4000).into();
        drop(hosts);
        self.host_at(addr)
    }

    /// A host with this address, in place of any other.
    pub(crate) fn host_at(&self, addr: SocketAddr) -> Arc<Host> {
        let mut hosts = self.hosts.lock().expect("no panic under the lock");
        let host = Arc::new(Host {
            addr,
            seen: Mutex::new(addr),
            network: self.clone(),
            state: Mutex::default(),
        });
        hosts.insert(addr, Arc::clone(&host));
        host
    }
}

impl Host {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Is seen at another address from now on, and no longer at the one before.
    pub(crate) fn move_to(self: &Arc<Self>, addr: SocketAddr) {
        let mut hosts = self.network.hosts.lock().expect("no panic under the lock");
        let mut seen = self.seen.lock().expect("no panic under the lock");
        hosts.remove(&*seen);
        hosts.insert(addr, Arc::clone(self));
        *seen = addr;
    }

    /// What is sent here comes in at `other` from now on, which sends from here too: as the system
    /// does it with sockets that share an address.
    pub(crate) fn hand_over(&self, other: &Arc<Self>) {
        let seen = *self.seen.lock().expect("no panic under the lock");
        other.move_to(seen);
    }

    /// Makes the calls of one side fail, or work again, and counts them from 0.
    pub(crate) fn set_fault(&self, way: Way, fault: Fault) {
        let waker = {
            let mut state = self.state.lock().expect("no panic under the lock");
            let side = state.side(way);
            side.fault = fault;
            side.blocked = false;
            side.calls = 0;
            side.failed = 0;
            side.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Calls since the fault was set.
    pub(crate) fn calls(&self, way: Way) -> usize {
        self.state
            .lock()
            .expect("no panic under the lock")
            .side(way)
            .calls
    }

    /// Calls since the fault was set that failed as each third does.
    pub(crate) fn failed(&self, way: Way) -> usize {
        self.state
            .lock()
            .expect("no panic under the lock")
            .side(way)
            .failed
    }

    /// Everything that has arrived here so far.
    pub(crate) fn history(&self) -> Vec<Vec<u8>> {
        let state = self.state.lock().expect("no panic under the lock");
        let history = state.history.iter();
        history.map(|(_, datagram)| datagram.clone()).collect()
    }

    /// Everything that has arrived here so far, and from where; starts over.
    pub(crate) fn take_history(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut state = self.state.lock().expect("no panic under the lock");
        std::mem::take(&mut state.history)
    }

    /// Has no history from now on, and keeps no room for datagrams that are not there.
    pub(crate) fn forget_history(&self) {
        let mut state = self.state.lock().expect("no panic under the lock");
        state.private = true;
        state.queue.shrink_to_fit();
        state.history = Vec::new();
    }

    /// Lets a datagram arrive that `from` need not have sent.
    pub(crate) fn inject(&self, from: SocketAddr, datagram: &[u8]) {
        self.arrive(from, datagram);
    }

    /// Arrives later, in the virtual time of a test whose clock is paused.
    fn arrive_after(self: &Arc<Self>, delay: Duration, from: SocketAddr, datagram: &[u8]) {
        if delay.is_zero() {
            return self.arrive(from, datagram);
        }
        let (host, datagram) = (Arc::clone(self), datagram.to_vec());
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            host.arrive(from, &datagram);
        });
    }

    fn arrive(&self, from: SocketAddr, datagram: &[u8]) {
        let waker = {
            let mut state = self.state.lock().expect("no panic under the lock");
            state.queue.push_back((from, datagram.to_vec()));
            if !state.private {
                state.history.push((from, datagram.to_vec()));
            }
            state.receiver.blocked = false;
            state.receiver.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn side(&mut self, way: Way) -> &mut Side {
        match way {
            Way::Receive => &mut self.receiver,
            Way::Send => &mut self.sender,
        }
    }
}

impl Side {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.fault {
            Fault::Poll(kind) => Poll::Ready(Err(kind.into())),
            Fault::FalseReadiness => Poll::Ready(Ok(())),
            _ if self.blocked => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        // Virtual time stands still in a busy loop, so that nothing else would end the test.
        assert!(self.calls < FAR_TOO_MANY, "busy loop");
        let errno = match self.fault {
            Fault::Third(errno) if self.calls.is_multiple_of(3) => {
                self.failed += 1;
                // Not blocked: the next call is worth an attempt.
                return Err(io::Error::from_raw_os_error(errno));
            }
            Fault::None | Fault::Loss | Fault::Third(_) => return Ok(()),
            Fault::Errno(errno) => errno,
            Fault::BlockedThen(errno) => {
                // The next poll is ready again.
                self.fault = Fault::Errno(errno);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Fault::FalseReadiness | Fault::Poll(_) => return Err(io::ErrorKind::WouldBlock.into()),
            Fault::Blocked => {
                self.blocked = true;
                return Err(io::ErrorKind::WouldBlock.into());
            }
        };
        let error = io::Error::from_raw_os_error(errno);
        self.blocked = error.kind() == io::ErrorKind::WouldBlock;
        Err(error)
    }
}

impl Transport for Host {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state
            .lock()
            .expect("no panic under the lock")
            .receiver
            .poll(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state
            .lock()
            .expect("no panic under the lock")
            .sender
            .poll(cx)
    }

    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        let mut state = self.state.lock().expect("no panic under the lock");
        state.receiver.call()?;
        let mut count = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            let Some((peer, datagram)) = state.queue.pop_front() else {
                break;
            };
            buffer[..datagram.len()].copy_from_slice(&datagram);
            *received = Received::new(Path::new(peer), datagram.len());
            count += 1;
        }
        if count == 0 {
            state.receiver.blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        let (lossy, call) = {
            let mut state = self.state.lock().expect("no panic under the lock");
            state.sender.call()?;
            (state.sender.fault == Fault::Loss, state.sender.calls)
        };
        let peer = self
            .network
            .hosts
            .lock()
            .expect("no panic under the lock")
            .get(&path.peer)
            .cloned();
        let seen = *self.seen.lock().expect("no panic under the lock");
        let datagrams = run.bytes.chunks(run.segment_size);
        for (index, datagram) in datagrams.enumerate() {
            if let Some(peer) = &peer
                && (!lossy || (call + index).is_multiple_of(3))
            {
                peer.arrive_after(self.network.delay, seen, datagram);
            }
        }
        Ok(())
    }

    fn max_run(&self) -> usize {
        4
    }
}

/// Calls that no test needs.
const FAR_TOO_MANY: usize = 100_000;
