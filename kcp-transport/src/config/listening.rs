//! Options of listeners.

use std::num::NonZeroU32;

use super::{Config, ConfigBuilder};
use crate::error::ConfigError;

use super::builder::in_range;

/// How a listener handles new peers, and its resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    open_rate: NonZeroU32,
    max_unvalidated: usize,
    shards: u16,
    memory_budget: usize,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            open_rate: DEFAULT_OPEN_RATE,
            max_unvalidated: 256,
            shards: 1,
            memory_budget: 512 << 20,
        }
    }
}

impl Listening {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        in_range(
            "max unvalidated",
            &self.max_unvalidated,
            0..=1 << 16,
            "0 to 65536 connections",
        )?;
        in_range("shards", &self.shards, 1..=256, "1 to 256 sockets")?;
        let budgets = 1 << 20..=usize::MAX;
        in_range(
            "memory budget",
            &self.memory_budget,
            budgets,
            "1 MiB or more",
        )
    }
}

impl Config {
    /// Connections that peers of one network (24 bits of a v4 address, 64 of a v6 one) may open in a
    /// second, with bursts of twice as many, before they must validate their addresses. Default 100.
    ///
    /// Validation costs a peer one round trip; the listener keeps its first datagrams meanwhile.
    /// Peers that have done so may open a thousand times as many, so a NAT or a load balancer in
    /// front of the listener works without other settings. What one address may open is bounded
    /// by [`Config::backlog`] and [`Config::memory_budget`]: size the first for the connections that
    /// open while the program is busy, the second for those that are open.
    ///
    /// Datagrams beyond the rate are dropped and counted in
    /// [`EndpointStats::over_rate`](crate::stats::EndpointStats::over_rate); challenges are counted
    /// in [`EndpointStats::addresses_challenged`](crate::stats::EndpointStats::addresses_challenged).
    /// For listeners only; kcp-go has no limit.
    #[must_use]
    pub fn open_rate(&self) -> NonZeroU32 {
        self.listening.open_rate
    }

    /// Largest number of connections whose peers have not validated their addresses. Beyond it, a
    /// new peer must answer a challenge before the listener keeps any state for it. Default 256, 0
    /// to 65536; 0 challenges every peer.
    ///
    /// Challenging every peer also rejects first packets that an attacker has recorded, or delayed
    /// on their way, and replays from an address of its own: with an AEAD, only a holder of the key
    /// can answer. It costs nothing where `KcpStream::connect` comes before the first write, and
    /// other peers, those of kcp-go among them, one round trip: the listener keeps up to 512 of
    /// their first datagrams, 512 KiB in all, until the answer arrives. A flood that pushes them out
    /// makes those peers repeat them, after 200 ms in kcp-go.
    ///
    /// A peer validates its address by acknowledging data, so a connection on which only the peer
    /// sends counts until it ends. So does one of a kcp-go client that closes without acknowledging
    /// the last answer. For listeners only; in kcp-go every packet with a forged address
    /// creates a connection.
    #[must_use]
    pub fn max_unvalidated(&self) -> usize {
        self.listening.max_unvalidated
    }

    /// Number of sockets of a listener. Each is driven by its own task, so that several cores share
    /// the work. Default 1, 1 to 256.
    ///
    /// They share the listener's address (`SO_REUSEPORT`), and the system distributes peers over
    /// them. More sockets than cores bring no benefit. Where the system does not support this,
    /// binding a listener with more than 1 is an error.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.listening.shards
    }

    /// Maximum memory of all connections of a listener together, by the size of their buffers, in
    /// bytes. Default 512 MiB, at least 1 MiB.
    ///
    /// Above three quarters of it, connections advertise windows of a few segments; above the whole
    /// no new connections are opened. Acknowledged data and written data are kept in any case, so
    /// leave room for the [`Config::send_buffer`] of each connection. For listeners only.
    #[must_use]
    pub fn memory_budget(&self) -> usize {
        self.listening.memory_budget
    }
}

impl ConfigBuilder {
    /// Number of connections that a network may open per second without address validation.
    pub fn open_rate(mut self, per_second: NonZeroU32) -> Self {
        self.config.listening.open_rate = per_second;
        self
    }

    /// Maximum number of connections with peers whose addresses are not validated, 0..=65536.
    pub fn max_unvalidated(mut self, connections: usize) -> Self {
        self.config.listening.max_unvalidated = connections;
        self
    }

    /// Number of sockets of a listener, 1..=256.
    pub fn shards(mut self, sockets: u16) -> Self {
        self.config.listening.shards = sockets;
        self
    }

    /// Maximum memory of all connections of a listener together in bytes, at least 1 MiB.
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.config.listening.memory_budget = bytes;
        self
    }
}

/// Far above normal use and far below a flood.
const DEFAULT_OPEN_RATE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
