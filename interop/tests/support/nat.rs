//! A way to a server that can change the address its clients come from, as a NAT does, and counts
//! what passes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// Window updates with a payload, which plain KCP has no use for, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) to_server: u64,
    pub(crate) to_client: u64,
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
        Frames {
            to_server: self.state.to_server.load(Ordering::Relaxed),
            to_client: self.state.to_client.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn mappings(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Arc<UdpSocket>>> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn forward(front: Arc<UdpSocket>, server: SocketAddr, state: Arc<State>) {
    let mut answers = JoinSet::new();
    let mut datagram = vec![0; 2000];
    loop {
        let Ok((len, client)) = front.recv_from(&mut datagram).await else {
            continue;
        };
        state
            .to_server
            .fetch_add(frames(&datagram[..len]), Ordering::Relaxed);
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
        // A server that is gone is for the clients to notice.
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
        state
            .to_client
            .fetch_add(frames(&datagram[..len]), Ordering::Relaxed);
        let _ = front.send_to(&datagram[..len], client).await;
    }
}

/// Window updates with a payload in a datagram of plain KCP.
fn frames(mut datagram: &[u8]) -> u64 {
    let mut frames = 0;
    while let Some((header, rest)) = datagram.split_first_chunk::<24>() {
        let len = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
        frames += u64::from(header[4] == WINDOW_UPDATE && len > 0);
        datagram = usize::try_from(len)
            .ok()
            .and_then(|len| rest.get(len..))
            .unwrap_or_default();
    }
    frames
}

const WINDOW_UPDATE: u8 = 84;
