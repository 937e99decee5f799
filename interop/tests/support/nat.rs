//! A relay that can change the source addresses of clients, like a NAT, and counts segments of plain KCP.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kcp_transport::wire::{Command, ConversationId, Segments};
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};

/// A running NAT, which stops when dropped.
pub(crate) struct Nat {
    addr: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    /// The socket towards the server for each client.
    mappings: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    traffic: Mutex<Traffic>,
}

/// Counters of both directions.
#[derive(Default)]
struct Traffic {
    to_server: Counts,
    to_client: Counts,
}

#[derive(Default)]
struct Counts {
    frames: u64,
    empty: EmptyPushes,
    /// The first unacknowledged segment of each conversation.
    expected: HashMap<ConversationId, u32>,
}

/// Number of window updates with a payload in each direction. Plain KCP sends none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) to_server: u64,
    pub(crate) to_client: u64,
}

/// Number of pushes without data in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EmptyPushes {
    /// With a sequence number before the next one that the receiver expects: it only acknowledges them.
    pub(crate) old: u64,
    /// With the next expected number or a later one: the receiver delivers them.
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

    /// The address to which clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Assigns a new port to every client. Datagrams to the old ports are lost.
    pub(crate) fn rebind(&self) {
        let mut mappings = self.state.mappings();
        assert!(!mappings.is_empty(), "no client has sent anything");
        mappings.clear();
    }

    pub(crate) fn frames(&self) -> Frames {
        let traffic = self.state.traffic();
        Frames {
            to_server: traffic.to_server.frames,
            to_client: traffic.to_client.frames,
        }
    }

    pub(crate) fn empty_pushes_to_server(&self) -> EmptyPushes {
        self.state.traffic().to_server.empty
    }

    pub(crate) fn empty_pushes_to_client(&self) -> EmptyPushes {
        self.state.traffic().to_client.empty
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

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Traffic {
    fn watch_to_server(&mut self, datagram: &[u8]) {
        watch(&mut self.to_server, &mut self.to_client, datagram);
    }

    fn watch_to_client(&mut self, datagram: &[u8]) {
        watch(&mut self.to_client, &mut self.to_server, datagram);
    }
}

/// Counts the segments of a datagram, and records the sequence numbers that its sender expects in return.
fn watch(counts: &mut Counts, back: &mut Counts, datagram: &[u8]) {
    for (header, data) in Segments::new(datagram).map_while(Result::ok) {
        let conversation = header.conversation;
        let una = header.unacknowledged;
        let expected = back.expected.entry(conversation).or_default();
        // Ignores old values, because datagrams may be reordered.
        if !is_before(una, *expected) {
            *expected = una;
        }
        match header.command {
            Command::Push if data.is_empty() => {
                let expected = counts.expected.get(&conversation).copied();
                if is_before(header.sequence, expected.unwrap_or_default()) {
                    counts.empty.old += 1;
                } else {
                    counts.empty.ahead += 1;
                }
            }
            Command::WindowUpdate if !data.is_empty() => counts.frames += 1,
            _ => {}
        }
    }
}

/// Whether one sequence number is before another, modulo 2^32.
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
        state.traffic().watch_to_server(&datagram[..len]);
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
        // An error means that the server is gone, which the clients detect themselves.
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
        state.traffic().watch_to_client(&datagram[..len]);
        let _ = front.send_to(&datagram[..len], client).await;
    }
}
