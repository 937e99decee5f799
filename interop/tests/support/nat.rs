//! A way to a server that can change the address its clients come from, as a NAT does, and counts
//! what passes of plain KCP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcp_transport::wire::{Command, ConversationId, Segments};
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};

/// A running NAT; it stops when dropped.
pub(crate) struct Nat {
    addr: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    /// What each client's datagrams leave from.
    mappings: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    ways: Mutex<Ways>,
}

/// What passed in each direction.
#[derive(Default)]
struct Ways {
    to_server: Way,
    to_client: Way,
}

#[derive(Default)]
struct Way {
    frames: u64,
    empty: EmptyPushes,
    /// The first segment of each conversation that the receiver has not acknowledged.
    expected: HashMap<ConversationId, u32>,
}

/// Window updates with a payload, which plain KCP has no use for, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) to_server: u64,
    pub(crate) to_client: u64,
}

/// Pushes without data that passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EmptyPushes {
    /// With a number before the one that the receiver expects next: it acknowledges them,
    /// and no more.
    pub(crate) old: u64,
    /// With that number, or one after it: its reader will come to them.
    pub(crate) ahead: u64,
}

impl Nat {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let addr = front.local_addr().expect("bound");
        let state = Arc::<State>::default();
        let task = tokio::spawn(forward(Arc::new(front), server, Arc::clone(&state)));
        Self {
            addr,
            state,
            task: task.abort_handle(),
        }
    }

    /// Where clients connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Every client comes from another port from now on; what is sent to the old ones is lost.
    pub(crate) fn rebind(&self) {
        let mut mappings = self.state.mappings();
        assert!(!mappings.is_empty(), "nobody was here");
        mappings.clear();
    }

    pub(crate) fn frames(&self) -> Frames {
        let ways = self.state.ways();
        Frames {
            to_server: ways.to_server.frames,
            to_client: ways.to_client.frames,
        }
    }

    pub(crate) fn empty_pushes_to_server(&self) -> EmptyPushes {
        self.state.ways().to_server.empty
    }

    pub(crate) fn empty_pushes_to_client(&self) -> EmptyPushes {
        self.state.ways().to_client.empty
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn mappings(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ways {
    fn watch_to_server(&mut self, datagram: &[u8]) {
        watch(&mut self.to_server, &mut self.to_client, datagram);
    }

    fn watch_to_client(&mut self, datagram: &[u8]) {
        watch(&mut self.to_client, &mut self.to_server, datagram);
    }
}

/// Counts what a datagram brings one way, and notes what its sender expects on the way back.
fn watch(way: &mut Way, back: &mut Way, datagram: &[u8]) {
    for (header, data) in Segments::new(datagram).map_while(Result::ok) {
        let conversation = header.conversation;
        let una = header.unacknowledged;
        let expected = back.expected.entry(conversation).or_default();
        // Datagrams may overtake each other.
        if !is_before(una, *expected) {
            *expected = una;
        }
        match header.command {
            Command::Push if data.is_empty() => {
                let expected = way.expected.get(&conversation).copied();
                if is_before(header.sequence, expected.unwrap_or_default()) {
                    way.empty.old += 1;
                } else {
                    way.empty.ahead += 1;
                }
            }
            Command::WindowUpdate if !data.is_empty() => way.frames += 1,
            _ => {}
        }
    }
}

/// Whether one sequence number comes before another, round the end of 32 bits.
fn is_before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) > u32::MAX / 2
}

async fn forward(front: Arc<UdpSocket>, server: SocketAddr, state: Arc<State>) {
    let mut answers = JoinSet::new();
    let mut datagram = vec![0; 2000];
    loop {
        let Ok((len, client)) = front.recv_from(&mut datagram).await else {
            continue;
        };
        state.ways().watch_to_server(&datagram[..len]);
        let known = state.mappings().get(&client).cloned();
        let mapping = match known {
            Some(mapping) => mapping,
            None => {
                let mapping = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"));
                mapping.connect(server).await.expect("an address");
                state.mappings().insert(client, Arc::clone(&mapping));
                let (front, state) = (Arc::clone(&front), Arc::clone(&state));
                answers.spawn(back(front, client, Arc::clone(&mapping), state));
                mapping
            }
        };
        // If the server is gone, its clients notice by themselves.
        let _ = mapping.send(&datagram[..len]).await;
    }
}

async fn back(
    front: Arc<UdpSocket>,
    client: SocketAddr,
    mapping: Arc<UdpSocket>,
    state: Arc<State>,
) {
    let mut datagram = vec![0; 2000];
    loop {
        let Ok(len) = mapping.recv(&mut datagram).await else {
            continue;
        };
        let current = state.mappings().get(&client).cloned();
        if !current.is_some_and(|current| Arc::ptr_eq(&current, &mapping)) {
            return;
        }
        state.ways().watch_to_client(&datagram[..len]);
        let _ = front.send_to(&datagram[..len], client).await;
    }
}
