//! The extension frames between two peers of this crate, which have no effect on other peers.

mod ending;
mod forged;
mod hello;

use std::time::Duration;

use kcp_transport::config::{Config, Extensions};
use kcp_transport::crypto::Overhead;
use kcp_transport::error::{ConnectionError, ResetCode};
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session, State};
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Side, seeds};
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, Frame, FrameWriter, Hello, SegmentHeader, Segments, Timestamp, Token,
};

const PATIENCE: Duration = Duration::from_secs(20);

const NO_OVERHEAD: Overhead = Overhead { front: 0, back: 0 };

fn config(extensions: Extensions) -> Config {
    let builder = Config::builder().extensions(extensions);
    builder.build().expect("in range")
}

fn pair_with(client: Extensions, server: Extensions) -> PairConfig {
    PairConfig {
        client: config(client),
        server: config(server),
        ..PairConfig::default()
    }
}

fn lossy(seed: u64) -> Pair {
    let link = LinkConfig {
        loss: 0.2,
        reorder: 0.1,
        duplicate: 0.1,
        jitter: Duration::from_millis(5),
        ..LinkConfig::default()
    };
    let config = PairConfig {
        link,
        ..PairConfig::default()
    };
    Pair::new(seed, &config)
}

/// A pair whose sides have exchanged_hellos each other, over a clean link.
fn exchanged_hellos() -> Pair {
    let mut pair = Pair::new(1, &PairConfig::default());
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.session.has_extensions() && pair.server.session.has_extensions());
    pair
}

fn read_all(pair: &mut Pair, side: Side) -> Vec<u8> {
    let now = pair.now();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match pair.peer(side).session.read(now, &mut buffer) {
            0 => return all,
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}
