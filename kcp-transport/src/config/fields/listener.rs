//! The options of a listener as serde sees them: a map with the names of the builder.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::config::ListenerConfig;
use crate::config::builder::in_range;
use crate::error::ConfigError;

/// All options, each of which may be missing.
#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, expecting = "a map of options")]
pub(in crate::config) struct ListenerFields {
    backlog: usize,
    open_rate: NonZeroU32,
    max_unvalidated: usize,
    shards: u64,
    share_port: bool,
    mirror_fec: bool,
    memory_budget: usize,
}

impl Default for ListenerFields {
    fn default() -> Self {
        ListenerConfig::default().into()
    }
}

impl From<ListenerConfig> for ListenerFields {
    fn from(config: ListenerConfig) -> Self {
        Self {
            backlog: config.backlog(),
            open_rate: config.open_rate(),
            max_unvalidated: config.max_unvalidated(),
            shards: config.shards().into(),
            share_port: config.share_port(),
            mirror_fec: config.mirror_fec(),
            memory_budget: config.memory_budget(),
        }
    }
}

impl TryFrom<ListenerFields> for ListenerConfig {
    type Error = ConfigError;

    fn try_from(fields: ListenerFields) -> Result<Self, ConfigError> {
        in_range("shards", &fields.shards, 1..=256, "1 to 256 sockets")?;
        Self::builder()
            .backlog(fields.backlog)
            .open_rate(fields.open_rate)
            .max_unvalidated(fields.max_unvalidated)
            // At most 256.
            .shards(fields.shards as u16)
            .share_port(fields.share_port)
            .mirror_fec(fields.mirror_fec)
            .memory_budget(fields.memory_budget)
            .build()
    }
}
