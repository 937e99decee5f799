//! The path between one client and the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::testing::Link;
use kcp_transport::time::Time;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Counters, MAX_DATAGRAM, MAX_QUEUED};

/// A socket towards the server, and a link for each direction.
pub(super) struct Path {
    client: SocketAddr,
    front: Arc<UdpSocket>,
    upstream: UdpSocket,
    to_server: Lane,
    to_client: Lane,
    epoch: Instant,
}

impl Path {
    pub(super) fn new(
        client: SocketAddr,
        front: Arc<UdpSocket>,
        upstream: UdpSocket,
        [to_server, to_client]: [Link; 2],
    ) -> Self {
        Self {
            client,
            front,
            upstream,
            to_server: Lane::new(to_server),
            to_client: Lane::new(to_client),
            epoch: Instant::now(),
        }
    }

    /// Relays until the client has been silent for [`IDLE_TIMEOUT`] or the relay is dropped.
    pub(super) async fn run(
        mut self,
        mut datagrams: mpsc::Receiver<Vec<u8>>,
        counters: Arc<Counters>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut last_used = self.now();
        loop {
            let idle_at = last_used + IDLE_TIMEOUT;
            let arrivals = [self.to_server.next_arrival(), self.to_client.next_arrival()];
            let next = arrivals.into_iter().flatten().fold(idle_at, Time::min);
            tokio::select! {
                count = datagrams.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    last_used = self.now();
                    for datagram in batch.drain(..) {
                        self.to_server.send(last_used, &datagram, &counters);
                    }
                }
                received = self.upstream.recv(&mut buffer) => {
                    // An error is a refusal by the server's host (ICMP), and no datagram.
                    if let Ok(len) = received {
                        self.on_answer(&mut buffer, len, &counters);
                    }
                }
                () = tokio::time::sleep_until(self.epoch + (next - Time::ZERO)) => {
                    if self.now() >= idle_at {
                        return;
                    }
                }
            }
            self.deliver().await;
        }
    }

    /// Puts datagrams of the server on the link: the one in the buffer, and those waiting in the socket.
    fn on_answer(&mut self, buffer: &mut [u8], mut len: usize, counters: &Counters) {
        let now = self.now();
        for _ in 0..BATCH {
            Counters::add(&counters.received, 1);
            self.to_client.send(now, &buffer[..len], counters);
            match self.upstream.try_recv(buffer) {
                Ok(next) => len = next,
                Err(_) => break,
            }
        }
    }

    /// Sends the datagrams that have reached the end of their link. A datagram that cannot be sent is lost.
    async fn deliver(&mut self) {
        let now = self.now();
        while let Some(datagram) = self.to_server.receive(now) {
            let _ = self.upstream.send(&datagram).await;
        }
        while let Some(datagram) = self.to_client.receive(now) {
            let _ = self.front.send_to(&datagram, self.client).await;
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }
}

/// A link that holds a bounded number of datagrams.
struct Lane {
    link: Link,
    queued: usize,
}

impl Lane {
    fn new(link: Link) -> Self {
        Self { link, queued: 0 }
    }

    fn send(&mut self, now: Time, datagram: &[u8], counters: &Counters) {
        if self.queued >= MAX_QUEUED {
            Counters::add(&counters.overflowed, 1);
            return;
        }
        let before = self.link.stats();
        self.link.send(now, datagram);
        let after = self.link.stats();
        if after.lost > before.lost {
            Counters::add(&counters.lost, 1);
        } else {
            self.queued += if after.duplicated > before.duplicated {
                2
            } else {
                1
            };
        }
    }

    fn next_arrival(&self) -> Option<Time> {
        self.link.next_arrival()
    }

    fn receive(&mut self, now: Time) -> Option<Vec<u8>> {
        let datagram = self.link.receive(now)?;
        self.queued -= 1;
        Some(datagram)
    }
}

/// Maximum number of datagrams taken before those that are due are sent.
///
/// Handling them takes at most about one tick of the timer, 1 ms.
const BATCH: usize = 64;

/// Silence after which a client's socket is closed. Longer than the transport's idle time-out, so that
/// no open connection loses its path.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
