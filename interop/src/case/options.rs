//! Options beyond those that all peers share.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use kcp_transport::config::{AckPolicy, ConfigBuilder, Congestion, Extensions, WriteCoalescing};

use super::name::number;

/// Options of our side, and of the peer's where it has them too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// When our acks leave. The peer's do the other thing: a kcp-go's wait by default.
    pub acks: AckPolicy,
    /// When data leaves that either side has written.
    pub coalescing: WriteCoalescing,
    /// Whether both sides have a congestion window.
    pub congestion: Congestion,
    /// Most bytes that we send per second.
    pub rate: Option<u32>,
    /// What both sides mark their packets with; 0 is nothing. The peer loses what is not marked so.
    pub dscp: u8,
    /// The id of the conversation, in both directions.
    pub conversation: Option<u32>,
    /// The peer's FEC ratio from the middle of the transfer on.
    pub fec_then: Option<(usize, usize)>,
    /// Datagrams out of band beside the stream.
    pub datagrams: bool,
    /// Our extensions. A peer of this crate has them on.
    pub extensions: Extensions,
}

impl Options {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        acks: AckPolicy::Immediate,
        coalescing: WriteCoalescing::Immediate,
        congestion: Congestion::Unlimited,
        rate: None,
        dscp: 0,
        conversation: None,
        fec_then: None,
        datagrams: false,
        extensions: Extensions::Migration,
    };

    /// Sets them on our side.
    pub(super) fn apply(&self, config: ConfigBuilder) -> ConfigBuilder {
        config
            .ack_policy(self.acks)
            .write_coalescing(self.coalescing)
            .congestion(self.congestion)
            .send_rate(self.rate.and_then(|rate| NonZeroU64::new(rate.into())))
            .dscp(self.dscp)
            .extensions(self.extensions)
    }

    /// Adds the flags of Go peers that are not at their defaults.
    pub(super) fn flags(&self, option: &mut impl FnMut(&str, &dyn fmt::Display)) {
        if self.acks == AckPolicy::Batched {
            option("acknodelay", &true);
        }
        if self.coalescing == WriteCoalescing::Delayed {
            option("writedelay", &true);
        }
        if self.congestion == Congestion::Kcp {
            option("congestion", &true);
        }
    }

    /// Those that are not at their defaults, as they are named.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let default = Self::DEFAULT;
        for (name, unusual) in [
            ("batched-acks", self.acks != default.acks),
            ("delayed-writes", self.coalescing != default.coalescing),
            ("congestion-window", self.congestion != default.congestion),
            ("datagrams", self.datagrams),
            ("extensions-off", self.extensions == Extensions::Off),
            ("extensions-on", self.extensions == Extensions::On),
        ] {
            if unusual {
                names.push(name.to_owned());
            }
        }
        let dscp = (self.dscp != default.dscp).then_some(self.dscp.into());
        for (name, value) in [
            ("rate", self.rate),
            ("dscp", dscp),
            ("conversation", self.conversation),
        ] {
            names.extend(value.map(|value| format!("{name}-{value}")));
        }
        names.extend(
            self.fec_then
                .map(|(data, parity)| format!("then-{data}-{parity}")),
        );
        names
    }

    /// Sets one by its name; false if there is none of this name.
    pub(super) fn set(&mut self, name: &str) -> Result<bool, String> {
        let (key, value) = name.split_once('-').unwrap_or((name, ""));
        match (key, value) {
            ("batched", "acks") => self.acks = AckPolicy::Batched,
            ("delayed", "writes") => self.coalescing = WriteCoalescing::Delayed,
            ("congestion", "window") => self.congestion = Congestion::Kcp,
            ("datagrams", "") => self.datagrams = true,
            ("extensions", "off") => self.extensions = Extensions::Off,
            ("extensions", "on") => self.extensions = Extensions::On,
            ("rate", _) => self.rate = some(value)?,
            ("dscp", _) => self.dscp = number(value)?,
            ("conversation", _) => self.conversation = some(value)?,
            ("then", _) => {
                let ratio = value.split_once('-').ok_or("a ratio needs two numbers")?;
                self.fec_then = Some((number(ratio.0)?, number(ratio.1)?));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn some<T: FromStr>(text: &str) -> Result<Option<T>, String> {
    number(text).map(Some)
}

/// How long nothing is written around a change of the FEC ratio: we keep a ratio for at least five
/// seconds, whatever packets contain.
pub(super) const PAUSE: Duration = Duration::from_millis(5300);
