//! The serde representation of a configuration: a map with kcptun's names.

mod listener;
mod values;

pub(super) use listener::ListenerFields;

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::builder::in_range;
use super::{
    AckPolicy, Config, ConfigBuilder, Extensions, Mode, MtuDiscovery, Preset, Redundancy,
    WriteCoalescing,
};
use crate::error::ConfigError;
use crate::fec::FecRatio;
use values::{Bit, Millis, NoCongestion, Seconds, Switch};

/// All options, each optional.
///
/// Options of kcptun have its names, units and meaning of 0; the others have those of the builder.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map of options")]
pub(super) struct Fields {
    /// Overrides `nodelay`, `interval`, `resend` and `nc` unless it is `manual`, as in kcptun.
    #[serde(skip_serializing)]
    mode: Option<String>,
    nodelay: Option<Bit>,
    interval: Option<Millis>,
    resend: Option<u32>,
    nc: Option<NoCongestion>,
    mtu: Option<usize>,
    sndwnd: Option<u32>,
    rcvwnd: Option<u32>,
    datashard: Option<usize>,
    parityshard: Option<usize>,
    acknodelay: Option<Switch>,
    dscp: Option<u64>,
    sockbuf: Option<usize>,
    ratelimit: Option<u64>,
    keepalive: Option<Seconds>,
    redundancy: Option<Redundancy>,
    stream: Option<Switch>,
    write_coalescing: Option<WriteCoalescing>,
    connect_timeout: Option<Seconds>,
    user_timeout: Option<Seconds>,
    idle_timeout: Option<Seconds>,
    linger: Option<Seconds>,
    send_buffer: Option<usize>,
    receive_buffer: Option<usize>,
    extensions: Option<Extensions>,
    mtu_discovery: Option<MtuDiscovery>,
}

impl From<Config> for Fields {
    fn from(config: Config) -> Self {
        let off_is_zero = |timeout: Option<Duration>| Some(Seconds(timeout.unwrap_or_default()));
        Self {
            mode: None,
            nodelay: Some(Bit(config.no_delay)),
            interval: Some(Millis(config.flush_interval)),
            resend: Some(config.fast_retransmit_after.map_or(0, NonZeroU32::get)),
            nc: Some(NoCongestion(config.congestion)),
            mtu: Some(config.mtu),
            sndwnd: Some(config.send_window.into()),
            rcvwnd: Some(config.receive_window.into()),
            datashard: Some(config.fec.map_or(0, FecRatio::data)),
            parityshard: Some(config.fec.map_or(0, FecRatio::parity)),
            acknodelay: Some(Switch(config.ack_policy == AckPolicy::Immediate)),
            dscp: Some(config.dscp.into()),
            sockbuf: Some(config.socket_buffer.unwrap_or(0)),
            ratelimit: Some(config.send_rate.map_or(0, NonZeroU64::get)),
            keepalive: off_is_zero(config.keepalive),
            redundancy: Some(config.redundancy),
            stream: Some(Switch(config.mode == Mode::Stream)),
            write_coalescing: Some(config.write_coalescing),
            connect_timeout: Some(Seconds(config.connect_timeout)),
            user_timeout: off_is_zero(config.user_timeout),
            idle_timeout: off_is_zero(config.idle_timeout),
            linger: Some(Seconds(config.linger)),
            send_buffer: Some(config.send_buffer.unwrap_or(0)),
            receive_buffer: Some(config.receive_buffer.unwrap_or(0)),
            extensions: Some(config.extensions),
            mtu_discovery: Some(config.mtu_discovery),
        }
    }
}

impl TryFrom<Fields> for Config {
    type Error = ConfigError;

    fn try_from(fields: Fields) -> Result<Self, ConfigError> {
        let builder = fields.set_timing(Self::builder())?;
        let builder = fields.set_transfer(builder)?;
        let builder = fields.set_times(builder);
        fields.set_socket(builder)?.build()
    }
}

impl Fields {
    fn set_timing(&self, mut builder: ConfigBuilder) -> Result<ConfigBuilder, ConfigError> {
        match self.mode.as_deref() {
            None | Some("manual") => {}
            Some(preset) => return Ok(builder.preset(preset.parse::<Preset>()?)),
        }
        if let Some(Bit(on)) = self.nodelay {
            builder = builder.no_delay(on);
        }
        if let Some(Millis(interval)) = self.interval {
            builder = builder.flush_interval(interval);
        }
        if let Some(acks) = self.resend {
            builder = builder.fast_retransmit_after(NonZeroU32::new(acks));
        }
        if let Some(NoCongestion(congestion)) = self.nc {
            builder = builder.congestion(congestion);
        }
        Ok(builder)
    }

    fn set_transfer(&self, mut builder: ConfigBuilder) -> Result<ConfigBuilder, ConfigError> {
        if let Some(mtu) = self.mtu {
            builder = builder.mtu(mtu);
        }
        let (send, receive) = builder.windows;
        builder = builder.windows(self.sndwnd.unwrap_or(send), self.rcvwnd.unwrap_or(receive));
        match (self.datashard, self.parityshard) {
            // kcptun: either of them 0 is off.
            (None, None) | (Some(0), _) | (_, Some(0)) => {}
            (data, parity) => {
                let ratio = FecRatio::new(data.unwrap_or(0), parity.unwrap_or(0))?;
                builder = builder.fec(ratio);
            }
        }
        if let Some(Switch(immediate)) = self.acknodelay {
            builder = builder.ack_policy(match immediate {
                true => AckPolicy::Immediate,
                false => AckPolicy::Batched,
            });
        }
        if let Some(redundancy) = self.redundancy {
            builder = builder.redundancy(redundancy);
        }
        if let Some(Switch(stream)) = self.stream {
            builder = builder.mode(if stream { Mode::Stream } else { Mode::Message });
        }
        if let Some(policy) = self.write_coalescing {
            builder = builder.write_coalescing(policy);
        }
        if let Some(rate) = self.ratelimit {
            builder = builder.send_rate(NonZeroU64::new(rate));
        }
        if let Some(bytes) = self.send_buffer {
            builder = builder.send_buffer(Some(bytes).filter(|&bytes| bytes > 0));
        }
        if let Some(bytes) = self.receive_buffer {
            builder = builder.receive_buffer(Some(bytes).filter(|&bytes| bytes > 0));
        }
        if let Some(extensions) = self.extensions {
            builder = builder.extensions(extensions);
        }
        if let Some(discovery) = self.mtu_discovery {
            builder = builder.mtu_discovery(discovery);
        }
        Ok(builder)
    }

    fn set_times(&self, mut builder: ConfigBuilder) -> ConfigBuilder {
        let zero_is_off = |Seconds(time): Seconds| Some(time).filter(|time| !time.is_zero());
        if let Some(Seconds(timeout)) = self.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        if let Some(interval) = self.keepalive {
            builder = builder.keepalive(zero_is_off(interval));
        }
        if let Some(timeout) = self.user_timeout {
            builder = builder.user_timeout(zero_is_off(timeout));
        }
        if let Some(timeout) = self.idle_timeout {
            builder = builder.idle_timeout(zero_is_off(timeout));
        }
        if let Some(Seconds(timeout)) = self.linger {
            builder = builder.linger(timeout);
        }
        builder
    }

    fn set_socket(&self, mut builder: ConfigBuilder) -> Result<ConfigBuilder, ConfigError> {
        if let Some(code_point) = self.dscp {
            in_range("dscp", &code_point, 0..=63, "0 to 63")?;
            // At most 63.
            builder = builder.dscp(code_point as u8);
        }
        if let Some(bytes) = self.sockbuf {
            builder = builder.socket_buffer(Some(bytes).filter(|&bytes| bytes > 0));
        }
        Ok(builder)
    }
}
