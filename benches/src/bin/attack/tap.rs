//! A way to the server that the attacker listens on: all packets pass, and some are kept.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcp_transport::testing::Rng;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::AnyError;

/// What passed last, each way.
#[derive(Debug, Default)]
pub(crate) struct Overheard {
    pub(crate) to_server: Packets,
    pub(crate) to_clients: Packets,
}

/// The last [`KEPT`] packets.
#[derive(Debug, Default)]
pub(crate) struct Packets(Mutex<(usize, Vec<Vec<u8>>)>);

impl Packets {
    /// Any one of them, if there is one.
    pub(crate) fn any(&self, rng: &mut Rng) -> Option<Vec<u8>> {
        let (_, kept) = &*self.lock();
        let index = rng.below(kept.len().max(1) as u64);
        kept.get(usize::try_from(index).ok()?).cloned()
    }

    fn keep(&self, packet: &[u8]) {
        let (next, kept) = &mut *self.lock();
        match kept.get_mut(*next) {
            Some(place) => {
                place.clear();
                place.extend(packet);
            }
            None => kept.push(packet.to_vec()),
        }
        *next = (*next + 1) % KEPT;
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Vec<Vec<u8>>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tap at work; it stops when dropped.
pub(crate) struct Tap {
    addr: SocketAddr,
    overheard: Arc<Overheard>,
    task: AbortHandle,
}

impl Tap {
    pub(crate) async fn to(server: SocketAddr) -> Result<Self, AnyError> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = front.local_addr()?;
        let overheard = Arc::<Overheard>::default();
        let passing = pass(Arc::new(front), server, Arc::clone(&overheard));
        let task = tokio::spawn(passing).abort_handle();
        Ok(Self {
            addr,
            overheard,
            task,
        })
    }

    /// Where clients connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn overheard(&self) -> Arc<Overheard> {
        Arc::clone(&self.overheard)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on what clients send, and makes a way back for each of them.
async fn pass(front: Arc<UdpSocket>, server: SocketAddr, overheard: Arc<Overheard>) {
    let mut ways = HashMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0; LARGEST];
    loop {
        while let Some(Ok(gone)) = answers.try_join_next() {
            ways.remove(&gone);
        }
        // Errors are of single packets, which are lost then.
        let Ok((len, client)) = front.recv_from(&mut packet).await else {
            continue;
        };
        let way = match ways.get(&client) {
            Some(way) => Arc::clone(way),
            None => {
                let Ok(way) = way_to(server).await else {
                    continue;
                };
                let way = Arc::new(way);
                ways.insert(client, Arc::clone(&way));
                let (back, front) = (Arc::clone(&way), Arc::clone(&front));
                answers.spawn(answer(back, front, client, Arc::clone(&overheard)));
                way
            }
        };
        // The original gets there first: what comes first is no replay.
        if way.send(&packet[..len]).await.is_ok() {
            overheard.to_server.keep(&packet[..len]);
        }
    }
}

async fn way_to(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let way = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    way.connect(server).await?;
    Ok(way)
}

/// Passes back what the server sends, until it has been silent for long; returns the client.
async fn answer(
    way: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    overheard: Arc<Overheard>,
) -> SocketAddr {
    let mut packet = vec![0; LARGEST];
    while let Ok(received) = timeout(SILENCE, way.recv(&mut packet)).await {
        if let Ok(len) = received {
            overheard.to_clients.keep(&packet[..len]);
            // A client that is gone misses nothing.
            let _ = front.send_to(&packet[..len], client).await;
        }
    }
    client
}

/// Packets that are kept, each way: some are replayed within the second, others many times.
const KEPT: usize = 4096;

/// No packet of the transport is larger.
const LARGEST: usize = 1500;

/// Longer than a live session is silent.
const SILENCE: Duration = Duration::from_secs(30);
