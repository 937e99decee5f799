//! Options of a listener, apart from those of its connections.

use std::num::NonZeroU32;

use crate::error::ConfigError;

use super::builder::in_range;
#[cfg(feature = "serde")]
use super::fields;

/// Options of a listener, apart from those of its connections: which peers it accepts, and what
/// resources they may take.
///
/// kcp-go has none of them but a backlog of 128. With the `serde` feature it is a map of options
/// with the names of the builder's methods; missing ones have their defaults, unknown ones are an
/// error, and so is what [`ListenerConfigBuilder::build`] refuses.
///
/// ```
/// use kcp_transport::config::ListenerConfig;
///
/// let config = ListenerConfig::builder()
///     .shards(4)
///     .memory_budget(2 << 30)
///     .build()?;
/// assert_eq!(config.backlog(), 1024);
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "fields::ListenerFields", into = "fields::ListenerFields")
)]
pub struct ListenerConfig {
    backlog: usize,
    open_rate: NonZeroU32,
    max_unvalidated: usize,
    shards: u16,
    share_port: bool,
    mirror_fec: bool,
    memory_budget: usize,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            backlog: 1024,
            open_rate: DEFAULT_OPEN_RATE,
            max_unvalidated: 512,
            shards: 1,
            share_port: false,
            mirror_fec: true,
            memory_budget: 512 << 20,
        }
    }
}

impl ListenerConfig {
    /// Starts from [`ListenerConfig::default`].
    pub fn builder() -> ListenerConfigBuilder {
        Self::default().to_builder()
    }

    /// Starts from this configuration.
    pub fn to_builder(&self) -> ListenerConfigBuilder {
        ListenerConfigBuilder {
            config: self.clone(),
        }
    }

    /// Most connections that wait for `accept`. Default 1024, 1 to 65536.
    ///
    /// Datagrams that would open one beyond that are dropped and counted in
    /// [`EndpointStats::backlog_full`](crate::stats::EndpointStats::backlog_full). A peer repeats
    /// them, and connects once there is room. A peer of this crate gets the reason, and fails at its connect
    /// time-out with [`ResetCode::BACKLOG_FULL`](crate::error::ResetCode::BACKLOG_FULL). A constant in
    /// kcp-go, 128.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Connections that peers of one network (24 bits of an IPv4 address, 64 of an IPv6 one) may open
    /// in a second, with bursts of twice as many, before they must validate their addresses.
    /// Default 100.
    ///
    /// Validation costs a peer one round trip; the listener keeps its first datagrams meanwhile.
    /// Peers that have done so may open a thousand times as many, so a NAT or a load balancer in
    /// front of the listener works without other settings. What one address may open is bounded by
    /// [`backlog`](Self::backlog) and [`memory_budget`](Self::memory_budget): size the first for the
    /// connections that open while the program is busy, the second for those that are open.
    ///
    /// Datagrams beyond the rate are dropped and counted in
    /// [`EndpointStats::over_rate`](crate::stats::EndpointStats::over_rate); challenges are counted
    /// in [`EndpointStats::addresses_challenged`](crate::stats::EndpointStats::addresses_challenged).
    #[must_use]
    pub fn open_rate(&self) -> NonZeroU32 {
        self.open_rate
    }

    /// Largest number of connections whose peers have not validated their addresses. Beyond it, a
    /// new peer must answer a challenge before the listener keeps any state for it. Default 512, 0
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
    /// the last answer: with the default, 17 such clients a second open without a challenge. In
    /// kcp-go every packet with a forged address creates a connection.
    #[must_use]
    pub fn max_unvalidated(&self) -> usize {
        self.max_unvalidated
    }

    /// Number of sockets of the listener. Each is driven by its own task, so that several cores share
    /// the work. Default 1, 1 to 256.
    ///
    /// They share the listener's address (`SO_REUSEPORT`), and the system distributes peers over
    /// them. More sockets than cores bring no benefit. Where the system does not support this,
    /// binding a listener with more than 1 is an error. A listener on transports of the caller's has
    /// one for each.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Whether other sockets of this user, of another listener or process, may be bound to the
    /// listener's address. Default false: a port is taken once.
    ///
    /// The system spreads peers over all that are bound to the address, and spreads them anew when
    /// one is closed or another comes: connections of a peer that goes elsewhere are lost. For
    /// Linux and Android.
    #[must_use]
    #[doc(alias = "SO_REUSEPORT")]
    pub fn share_port(&self) -> bool {
        self.share_port
    }

    /// Whether connections send FEC if their peers do, at the ratio of the peer. Default true. Has no
    /// effect with [`Config::fec`], which sets a ratio.
    ///
    /// Some peers with FEC drop packets without: kcp-go v5.4, which rpcx uses, and C++ libraries with its
    /// wire format. They also need their own ratio, or rebuild wrong data. So no parity is sent until the
    /// ratio is known, which takes one to two groups of packets from the peer.
    ///
    /// [`Config::fec`]: super::Config::fec
    #[must_use]
    pub fn mirror_fec(&self) -> bool {
        self.mirror_fec
    }

    /// Maximum memory of all connections of the listener together, by the size of their buffers, in
    /// bytes. Default 512 MiB, at least 1 MiB.
    ///
    /// Above three quarters of it, connections advertise windows of a few segments; above the whole
    /// no new connections are opened. Acknowledged data and written data are kept in any case, so
    /// leave room for the [`Config::send_buffer`] of each connection.
    ///
    /// [`Config::send_buffer`]: super::Config::send_buffer
    #[must_use]
    pub fn memory_budget(&self) -> usize {
        self.memory_budget
    }
}

/// Builds a [`ListenerConfig`]; each option is described at the getter of the same name there.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until built"]
pub struct ListenerConfigBuilder {
    config: ListenerConfig,
}

impl ListenerConfigBuilder {
    /// Most connections that wait for `accept`. Default 1024, 1 to 65536.
    pub fn backlog(mut self, connections: usize) -> Self {
        self.config.backlog = connections;
        self
    }

    /// Connections that a network may open in a second without validating its address. Default 100.
    pub fn open_rate(mut self, per_second: NonZeroU32) -> Self {
        self.config.open_rate = per_second;
        self
    }

    /// Connections with peers of addresses that are not validated. Default 512, 0 to 65536.
    pub fn max_unvalidated(mut self, connections: usize) -> Self {
        self.config.max_unvalidated = connections;
        self
    }

    /// Sockets of the listener. Default 1, 1 to 256.
    pub fn shards(mut self, sockets: u16) -> Self {
        self.config.shards = sockets;
        self
    }

    /// Whether other sockets may be bound to the listener's address. Default false.
    pub fn share_port(mut self, share: bool) -> Self {
        self.config.share_port = share;
        self
    }

    /// Whether connections send FEC if their peers do. Default true.
    pub fn mirror_fec(mut self, mirror: bool) -> Self {
        self.config.mirror_fec = mirror;
        self
    }

    /// Bytes that all connections of the listener may hold together. Default 512 MiB, at least 1 MiB.
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.config.memory_budget = bytes;
        self
    }

    /// Checks every option.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the first option that is out of range.
    pub fn build(self) -> Result<ListenerConfig, ConfigError> {
        let config = self.config;
        in_range(
            "backlog",
            &config.backlog,
            1..=1 << 16,
            "1 to 65536 connections",
        )?;
        in_range(
            "max unvalidated",
            &config.max_unvalidated,
            0..=1 << 16,
            "0 to 65536 connections",
        )?;
        in_range("shards", &config.shards, 1..=256, "1 to 256 sockets")?;
        in_range(
            "memory budget",
            &config.memory_budget,
            1 << 20..=usize::MAX,
            "1 MiB or more",
        )?;
        Ok(config)
    }
}

/// Far above normal use and far below a flood.
const DEFAULT_OPEN_RATE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_passes_its_own_checks() {
        let built = ListenerConfig::builder().build();
        assert_eq!(built, Ok(ListenerConfig::default()));
    }

    #[test]
    fn refusal_names_option_value_and_range() {
        let builder = ListenerConfig::builder;
        let refusals = [
            (builder().backlog(0), "backlog is 0; allowed: 1 to 65536"),
            (
                builder().max_unvalidated(65_537),
                "max unvalidated is 65537",
            ),
            (builder().shards(0), "shards is 0; allowed: 1 to 256"),
            (builder().memory_budget(1), "memory budget is 1"),
        ];
        for (builder, expected) in refusals {
            let message = builder.build().expect_err("out of range").to_string();
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
    }
}
