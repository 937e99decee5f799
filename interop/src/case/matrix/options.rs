//! Cases for options that not all peers have, each with a payload on which the option has a visible effect.

use kcp_transport::config::{AckPolicy, Congestion, Extensions, Mode, WriteCoalescing};

use super::{DIRECTIONS, FECS, SETUPS, with_and_without_loss};
use crate::case::{Case, Fec, Network, Options, Payload, Peer, Shape};

/// One option at a time, and a few combinations.
#[must_use]
pub fn options() -> Vec<Case> {
    let mut cases = Vec::new();
    for direction in DIRECTIONS {
        let others = Peer::ALL.into_iter();
        for peer in
            others.filter(|peer| !matches!(peer, Peer::GrpcGo | Peer::GrpcInterop | Peer::Ours))
        {
            cases.extend(with_common_options(Case::new(peer, direction)));
        }
        for peer in Peer::GO {
            let case = Case {
                cipher: "aes-128-gcm",
                fec: FECS[3],
                ..Case::new(peer, direction)
            };
            cases.extend(with_kcp_go_options(case));
            cases.extend(fec_changes(case));
            cases.extend(datagrams(case));
        }
    }
    cases
}

/// Out-of-band datagrams with each packet layout, from a small MTU to the peer's maximum.
fn datagrams(case: Case) -> Vec<Case> {
    let mut cases = Vec::new();
    for cipher in ["null", "aes", "aes-128-gcm"] {
        for mtu in [128, 1400, case.peer.max_mtu()] {
            let case = Case {
                cipher,
                mtu,
                ..case
            };
            let case = with(case, |options| options.datagrams = true);
            cases.extend(with_and_without_loss(super::size_limited(case)));
        }
    }
    cases
}

/// This implementation on both sides, with each packet layout: extensions on both sides, and on one side.
#[must_use]
pub fn ours() -> Vec<Case> {
    let mut cases = Vec::new();
    let all = [Extensions::Migration, Extensions::On, Extensions::Off];
    for (cipher, fec) in SETUPS {
        for (direction, extensions) in DIRECTIONS.into_iter().flat_map(|it| all.map(|on| (it, on)))
        {
            let case = Case {
                cipher,
                fec,
                ..Case::new(Peer::Ours, direction)
            };
            let case = with(case, |options| options.extensions = extensions);
            cases.extend(with_and_without_loss(case));
            let payload = Payload::Echo(Shape {
                mode: Mode::Message,
                ..Shape::STREAM
            });
            cases.extend(with_and_without_loss(Case { payload, ..case }));
        }
    }
    cases
}

/// Options that every peer supports.
fn with_common_options(case: Case) -> Vec<Case> {
    let small = Case {
        payload: Payload::Echo(Shape {
            mode: Mode::Message,
            bytes: 60_000,
            write: 100,
            empty: false,
        }),
        ..case
    };
    let batched = with(case, |options| options.acks = AckPolicy::Batched);
    let delayed = with(small, |options| {
        options.coalescing = WriteCoalescing::Delayed;
    });
    let both = with(delayed, |options| options.acks = AckPolicy::Batched);
    let congestion = with(case, |options| options.congestion = Congestion::Kcp);
    let rate = with(case, |options| options.rate = Some(RATE));
    let own = with(case, |options| options.conversation = Some(CONVERSATION));
    let off = with(case, |options| options.extensions = Extensions::Off);
    let mut cases = vec![delayed, both, own];
    for case in [batched, congestion, rate, off] {
        cases.extend(with_and_without_loss(case));
    }
    cases
}

fn with_kcp_go_options(case: Case) -> Vec<Case> {
    let marked = with(case, |options| options.dscp = EXPEDITED);
    let mut cases = Vec::from(
        [Network::V4, Network::V6, Network::Dual].map(|network| Case { network, ..marked }),
    );
    let rate = with(case, |options| options.rate = Some(RATE));
    cases.extend(with_and_without_loss(rate));
    cases
}

/// Changes of the FEC ratio, with enough data before and after for FEC to recover losses.
fn fec_changes(case: Case) -> Vec<Case> {
    let payload = Payload::Echo(Shape {
        bytes: 512 << 10,
        ..Shape::STREAM
    });
    let changes = [((10, 3), (3, 1)), ((3, 1), (10, 3)), ((2, 1), (20, 5))];
    let mut cases = Vec::new();
    for (before, after) in changes {
        let fec = Fec::both(Some(before));
        let case = Case {
            fec,
            payload,
            ..case
        };
        let mut case = with(case, |options| options.fec_then = Some(after));
        case.impairments.loss = 10;
        cases.push(case);
    }
    cases
}

fn with(mut case: Case, change: impl FnOnce(&mut Options)) -> Case {
    change(&mut case.options);
    case
}

/// In bytes per second. A case takes a second or two at this rate.
const RATE: u32 = 250_000;

/// The code point of expedited forwarding (RFC 3246).
const EXPEDITED: u8 = 46;

const CONVERSATION: u32 = 0x00c0_ffee;
