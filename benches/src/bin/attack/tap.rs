//! A relay between the legitimate clients and the server that records packets for the attacker.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcp_transport::testing::Rng;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::AnyError;

/// The last packets of each direction.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) to_server: Packets,
    pub(crate) to_clients: Packets,
}

/// The last [`KEPT`] packets of a direction.
#[derive(Debug, Default)]
pub(crate) struct Packets(Mutex<(usize, Vec<Vec<u8>>)>);

impl Packets {
    /// A random one of the packets, if there are any.
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

/// A running relay, which stops when dropped.
pub(crate) struct Tap {
    addr: SocketAddr,
    recorded: Arc<Recorded>,
    task: AbortHandle,
}

impl Tap {
    pub(crate) async fn to(server: SocketAddr) -> Result<Self, AnyError> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = front.local_addr()?;
        let recorded = Arc::<Recorded>::default();
        let passing = pass(Arc::new(front), server, Arc::clone(&recorded));
        let task = tokio::spawn(passing).abort_handle();
        Ok(Self {
            addr,
            recorded,
            task,
        })
    }

    /// The address to which clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn recorded(&self) -> Arc<Recorded> {
        Arc::clone(&self.recorded)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards packets of the clients, each from a socket of its own towards the server.
async fn pass(front: Arc<UdpSocket>, server: SocketAddr, recorded: Arc<Recorded>) {
    let mut ways = HashMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0; LARGEST];
    loop {
        while let Some(Ok(gone)) = answers.try_join_next() {
            ways.remove(&gone);
        }
        // An error concerns a single packet, which counts as lost.
        let Ok((len, client)) = front.recv_from(&mut packet).await else {
            continue;
        };
        let way = match ways.get(&client) {
            Some(way) => Arc::clone(way),
            None => {
                let Ok(way) = connect(server).await else {
                    continue;
                };
                let way = Arc::new(way);
                ways.insert(client, Arc::clone(&way));
                let (back, front) = (Arc::clone(&way), Arc::clone(&front));
                answers.spawn(answer(back, front, client, Arc::clone(&recorded)));
                way
            }
        };
        // Recorded after it was sent, so that the original arrives before its replay.
        if way.send(&packet[..len]).await.is_ok() {
            recorded.to_server.keep(&packet[..len]);
        }
    }
}

async fn connect(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let way = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    way.connect(server).await?;
    Ok(way)
}

/// Forwards packets of the server to a client until the server has been silent for [`SILENCE`]. Returns the
/// client's address.
async fn answer(
    way: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    recorded: Arc<Recorded>,
) -> SocketAddr {
    let mut packet = vec![0; LARGEST];
    while let Ok(received) = timeout(SILENCE, way.recv(&mut packet)).await {
        if let Ok(len) = received {
            recorded.to_clients.keep(&packet[..len]);
            // An error means that the client is gone.
            let _ = front.send_to(&packet[..len], client).await;
        }
    }
    client
}

/// Number of packets kept for each direction: enough to replay some within a second and others many times.
const KEPT: usize = 4096;

/// Buffer size in bytes; no packet of the transport is larger.
const LARGEST: usize = 1500;

/// Time-out of a client's socket: longer than an open session is ever silent.
const SILENCE: Duration = Duration::from_secs(30);
