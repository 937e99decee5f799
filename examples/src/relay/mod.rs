//! A UDP relay that impairs a path: it loses, delays, reorders and duplicates datagrams.
//!
//! It relays between any number of clients and one server. The model of loss and delay is the link of the
//! transport's simulator, applied to real sockets in real time.

mod path;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcp_transport::testing::{Link, LinkConfig};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use path::Path;

/// Impairments of the path, the same in each direction. Probabilities are per datagram, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayConfig {
    /// Probability that a datagram is lost. Default 0.
    pub loss: f64,
    /// Delay of every datagram. Default 0.
    pub delay: Duration,
    /// Maximum of the random delay that each datagram has in addition. Default 0.
    pub jitter: Duration,
    /// Probability that a datagram is held back, by up to three times the delay, and overtaken. Default 0.
    pub reorder: f64,
    /// Probability that a datagram arrives twice. Default 0.
    pub duplicate: f64,
    /// Bandwidth of each client in each direction, in bytes per second. Default: no limit.
    pub rate: Option<u64>,
    /// Capacity of the queue in front of a limited bandwidth, in datagrams of 1500 bytes. What exceeds it is
    /// lost. Default 400.
    pub queue: usize,
    /// Maximum length of a UDP payload, in bytes. Longer datagrams are lost. Default: no limit.
    pub mtu: usize,
    /// Seed of the random losses and delays. They also depend on the order in which datagrams arrive.
    /// Default 1.
    pub seed: u64,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            loss: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: 0.0,
            duplicate: 0.0,
            rate: None,
            queue: 400,
            mtu: usize::MAX,
            seed: 1,
        }
    }
}

impl RelayConfig {
    fn link(&self, seed: u64) -> Link {
        let config = LinkConfig {
            loss: self.loss,
            delay: self.delay,
            jitter: self.jitter,
            reorder: self.reorder,
            duplicate: self.duplicate,
            rate: self.rate,
            queue: self.queue,
            mtu: self.mtu,
            ..LinkConfig::default()
        };
        Link::new(config, seed)
    }
}

/// A running relay. Dropping it stops the relay and loses the datagrams in flight.
#[derive(Debug)]
pub struct Relay {
    local_addr: SocketAddr,
    counters: Arc<Counters>,
    task: AbortHandle,
}

impl Relay {
    /// Starts a relay to a server, on a free loopback port.
    ///
    /// # Errors
    ///
    /// If the socket cannot be bound.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(server: SocketAddr, config: RelayConfig) -> io::Result<Self> {
        let loopback = match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        Self::start_on(SocketAddr::new(loopback, 0), server, config)
    }

    /// As [`start`](Self::start), on the address `listen`.
    ///
    /// # Errors
    ///
    /// If the socket cannot be bound.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start_on(
        listen: SocketAddr,
        server: SocketAddr,
        config: RelayConfig,
    ) -> io::Result<Self> {
        let front = Arc::new(bind(listen)?);
        let local_addr = front.local_addr()?;
        let counters = Arc::default();
        let relaying = Front {
            server,
            next_seed: config.seed,
            config,
            socket: front,
            clients: HashMap::new(),
            tasks: JoinSet::new(),
            counters: Arc::clone(&counters),
        };
        let task = tokio::spawn(relaying.run()).abort_handle();
        Ok(Self {
            local_addr,
            counters,
            task,
        })
    }

    /// The address to connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Counts of datagrams, summed over both directions.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        RelayStats {
            received: self.counters.received.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
            overflowed: self.counters.overflowed.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams lost on the path: by the configured probability, to the queue of a limited bandwidth, or
    /// because they were too long.
    pub lost: u64,
    /// Datagrams dropped because a queue was full or there were too many clients.
    pub overflowed: u64,
}

impl RelayStats {
    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            received: self.received - earlier.received,
            lost: self.lost - earlier.lost,
            overflowed: self.overflowed - earlier.overflowed,
        }
    }
}

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    lost: AtomicU64,
    overflowed: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// The socket that all clients send to. It passes their datagrams to one task per client.
struct Front {
    server: SocketAddr,
    config: RelayConfig,
    next_seed: u64,
    socket: Arc<UdpSocket>,
    clients: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
    /// Aborts the clients' tasks when dropped.
    tasks: JoinSet<()>,
    counters: Arc<Counters>,
}

impl Front {
    async fn run(mut self) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            while self.tasks.try_join_next().is_some() {}
            // An error concerns a single datagram, so the relay continues.
            let Ok((len, client)) = self.socket.recv_from(&mut buffer).await else {
                tokio::task::yield_now().await;
                continue;
            };
            Counters::add(&self.counters.received, 1);
            if self.forward(client, &buffer[..len]).is_err() {
                Counters::add(&self.counters.overflowed, 1);
            }
        }
    }

    fn forward(&mut self, client: SocketAddr, datagram: &[u8]) -> Result<(), Overflow> {
        let known = self.clients.get(&client);
        let sender = match known.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender.clone(),
            None => self.admit(client)?,
        };
        sender.try_send(datagram.to_vec()).map_err(|_| Overflow)
    }

    fn admit(&mut self, client: SocketAddr) -> Result<mpsc::Sender<Vec<u8>>, Overflow> {
        self.clients.retain(|_, sender| !sender.is_closed());
        if self.clients.len() >= MAX_CLIENTS {
            return Err(Overflow);
        }
        let upstream = connect(self.server).map_err(|_| Overflow)?;
        let links = [self.next_link(), self.next_link()];
        let path = Path::new(client, Arc::clone(&self.socket), upstream, links);
        let (sender, datagrams) = mpsc::channel(MAX_QUEUED);
        self.tasks
            .spawn(path.run(datagrams, Arc::clone(&self.counters)));
        self.clients.insert(client, sender.clone());
        Ok(sender)
    }

    /// A link with a seed of its own.
    fn next_link(&mut self) -> Link {
        self.next_seed = self.next_seed.wrapping_add(1);
        self.config.link(self.next_seed)
    }
}

/// The datagram was dropped: its queue was full, or there were too many clients.
struct Overflow;

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(unconnected(addr)?.into())
}

fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = unconnected(SocketAddr::new(any, 0))?;
    socket.connect(&server.into())?;
    UdpSocket::from_std(socket.into())
}

fn unconnected(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // Best effort: the system may grant less.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Capacity of each queue, in datagrams: about 12 MB when full of packets of 1500 bytes.
const MAX_QUEUED: usize = 8192;

/// Maximum number of clients at a time. Each has a socket and a task.
const MAX_CLIENTS: usize = 1024;

/// Buffer size in bytes. No UDP payload is larger.
const MAX_DATAGRAM: usize = 65_536;

/// Socket buffer in bytes: holds a whole window of large packets, so that no more is lost than configured.
const SOCKET_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair(config: RelayConfig) -> (UdpSocket, UdpSocket, Relay) {
        let server = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let relay = Relay::start(server.local_addr().unwrap(), config).unwrap();
        let client = bind(([127, 0, 0, 1], 0).into()).unwrap();
        client.connect(relay.local_addr()).await.unwrap();
        (client, server, relay)
    }

    async fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = [0; 64];
        let receiving = socket.recv_from(&mut buffer);
        let received = tokio::time::timeout(Duration::from_millis(500), receiving).await;
        let (len, from) = received.ok()?.unwrap();
        Some((buffer[..len].to_vec(), from))
    }

    #[tokio::test]
    async fn relay_without_impairments_delivers_everything_in_order() {
        let (client, server, relay) = pair(RelayConfig::default()).await;
        for index in 0..200_u16 {
            client.send(&index.to_le_bytes()).await.unwrap();
            let (datagram, from) = receive(&server).await.expect("arrives");
            assert_eq!(datagram, index.to_le_bytes());
            server.send_to(&datagram, from).await.unwrap();
            let (answer, from) = receive(&client).await.expect("comes back");
            assert_eq!(answer, index.to_le_bytes());
            assert_eq!(from, relay.local_addr());
        }
        let stats = relay.stats();
        assert_eq!((stats.received, stats.lost, stats.overflowed), (400, 0, 0));
    }

    #[tokio::test]
    async fn each_client_receives_its_own_answers() {
        let (first, server, relay) = pair(RelayConfig::default()).await;
        let second = bind(([127, 0, 0, 1], 0).into()).unwrap();
        second.connect(relay.local_addr()).await.unwrap();
        first.send(b"first").await.unwrap();
        second.send(b"second").await.unwrap();
        for _ in 0..2 {
            let (datagram, from) = receive(&server).await.expect("arrives");
            server.send_to(&datagram, from).await.unwrap();
        }
        assert_eq!(receive(&first).await.expect("comes back").0, b"first");
        assert_eq!(receive(&second).await.expect("comes back").0, b"second");
    }

    #[tokio::test]
    async fn loss_rate_is_as_configured() {
        let config = RelayConfig {
            loss: 0.2,
            ..RelayConfig::default()
        };
        let (client, server, relay) = pair(config).await;
        let (mut arrived, sent) = (0_u64, 3000);
        for round in 0..sent / 50 {
            for _ in 0..50 {
                client.send(b"x").await.unwrap();
            }
            // Small batches, so that no socket buffer overflows.
            while relay.stats().received < (round + 1) * 50 {
                tokio::task::yield_now().await;
            }
        }
        while arrived + relay.stats().lost < sent && receive(&server).await.is_some() {
            arrived += 1;
        }
        assert_eq!(arrived + relay.stats().lost, sent);
        assert!(
            (500..700).contains(&relay.stats().lost),
            "{:?}",
            relay.stats()
        );
    }

    #[tokio::test]
    async fn limited_bandwidth_delays_datagrams_and_loses_those_beyond_the_queue() {
        let config = RelayConfig {
            rate: Some(10_000),
            queue: 1,
            ..RelayConfig::default()
        };
        let (client, server, relay) = pair(config).await;
        let start = tokio::time::Instant::now();
        for _ in 0..10 {
            client.send(&[0; 500]).await.unwrap();
        }
        let mut arrived = 0;
        while arrived + relay.stats().lost < 10 && receive(&server).await.is_some() {
            arrived += 1;
        }
        assert!((2..10).contains(&arrived), "{:?}", relay.stats());
        // 500 bytes need 50 ms each.
        assert!(start.elapsed() >= Duration::from_millis(50) * arrived as u32);
    }

    #[tokio::test]
    async fn datagrams_arrive_after_the_delay() {
        let config = RelayConfig {
            delay: Duration::from_millis(30),
            duplicate: 1.0,
            ..RelayConfig::default()
        };
        let (client, server, _relay) = pair(config).await;
        let start = tokio::time::Instant::now();
        client.send(b"x").await.unwrap();
        receive(&server).await.expect("arrives");
        assert!(start.elapsed() >= Duration::from_millis(30));
        receive(&server).await.expect("arrives twice");
    }
}
