//! Options that not all peers have.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use kcp_transport::config::{AckPolicy, ConfigBuilder, Congestion, Extensions, WriteCoalescing};

use super::name::number;

/// Options of our side, and of the peer if it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Our ack policy. The peer uses the opposite one: kcp-go's acks are batched by default.
    pub acks: AckPolicy,
    /// Coalescing of writes on both sides.
    pub coalescing: WriteCoalescing,
    /// Congestion control of both sides.
    pub congestion: Congestion,
    /// Our limit on sent bytes per second.
    pub rate: Option<u32>,
    /// DSCP of the packets of both sides; 0 sets none. The peer drops packets with another DSCP.
    pub dscp: u8,
    /// The id of the conversation, in both directions.
    pub conversation: Option<u32>,
    /// The peer's FEC ratio in the second half of the transfer.
    pub fec_then: Option<(usize, usize)>,
    /// Whether out-of-band datagrams are exchanged beside the stream.
    pub datagrams: bool,
    /// Whether the gRPC connection uses TLS with certificates on both sides.
    pub mtls: bool,
    /// Our extensions. A peer of this workspace has them on.
    pub extensions: Extensions,
}

impl Options {
    /// The default options.
    pub const DEFAULT: Self = Self {
        acks: AckPolicy::Immediate,
        coalescing: WriteCoalescing::Immediate,
        congestion: Congestion::Unlimited,
        rate: None,
        dscp: 0,
        conversation: None,
        fec_then: None,
        datagrams: false,
        mtls: false,
        extensions: Extensions::Migration,
    };

    /// Sets the options of our side.
    pub(super) fn apply(&self, config: ConfigBuilder) -> ConfigBuilder {
        config
            .ack_policy(self.acks)
            .write_coalescing(self.coalescing)
            .congestion(self.congestion)
            .send_rate(self.rate.and_then(|rate| NonZeroU64::new(rate.into())))
            .dscp(self.dscp)
            .extensions(self.extensions)
    }

    /// Adds the flags of the Go peers for options that are not the default.
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

    /// Names of the options that are not the default.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let default = Self::DEFAULT;
        for (name, unusual) in [
            ("batched-acks", self.acks != default.acks),
            ("delayed-writes", self.coalescing != default.coalescing),
            ("congestion-window", self.congestion != default.congestion),
            ("datagrams", self.datagrams),
            ("mtls", self.mtls),
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

    /// Sets an option by its name. Returns false if the name is unknown.
    pub(super) fn set(&mut self, name: &str) -> Result<bool, String> {
        let (key, value) = name.split_once('-').unwrap_or((name, ""));
        match (key, value) {
            ("batched", "acks") => self.acks = AckPolicy::Batched,
            ("delayed", "writes") => self.coalescing = WriteCoalescing::Delayed,
            ("congestion", "window") => self.congestion = Congestion::Kcp,
            ("datagrams", "") => self.datagrams = true,
            ("mtls", "") => self.mtls = true,
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

/// Pause in writing at a change of the FEC ratio: our decoder keeps a detected ratio for at least five seconds.
pub(super) const PAUSE: Duration = Duration::from_millis(5300);
