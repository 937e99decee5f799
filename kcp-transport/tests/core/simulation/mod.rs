//! Seeded simulations of two sessions over bad links, in virtual time.
//!
//! A failure prints its seed; `KCP_SIM_SEED=<seed> cargo test -p kcp-transport --test core
//! simulation` runs that seed alone.

mod delivery;
mod ending;
mod life;

use std::time::Duration;

use kcp_transport::config::{
    AckPolicy, Config, Congestion, Extensions, Mode, MtuDiscovery, Preset,
};
use kcp_transport::crypto::{Overhead, Security};
use kcp_transport::error::ConnectionError;
use kcp_transport::fec::FecRatio;
use kcp_transport::session::{Role, Session, State};
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Rng, Side, seeds};
use kcp_transport::time::Time;
use kcp_transport::wire::{Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    Rng::new(seed).fill(&mut data);
    data
}

fn patient() -> Config {
    Config::builder()
        .connect_timeout(Duration::from_secs(600))
        .user_timeout(Duration::from_secs(600))
        .build()
        .expect("in range")
}

fn connected(seed: u64, config: &PairConfig) -> Pair {
    let mut pair = Pair::new(seed, config);
    let up = pair.run_until(Duration::from_secs(10), |pair| {
        pair.client.session.state() == State::Established
    });
    assert!(up, "connects");
    pair
}
