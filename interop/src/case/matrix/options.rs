//! Options that not all peers have, each where its work is seen.

use kcp_transport::config::{AckPolicy, Congestion, Extensions, Mode, WriteCoalescing};

use super::{DIRECTIONS, FECS, SETUPS, with_and_without_loss};
use crate::case::{Case, Fec, Network, Options, Payload, Peer, Shape};

/// One option at a time, and a few that belong together.
#[must_use]
pub fn options() -> Vec<Case> {
    let mut cases = Vec::new();
    for direction in DIRECTIONS {
        let others = Peer::ALL.into_iter();
        for peer in others.filter(|peer| !matches!(peer, Peer::GrpcGo | Peer::Ours)) {
            cases.extend(of_all(Case::new(peer, direction)));
        }
        for peer in Peer::GO {
            let case = Case {
                cipher: "aes-128-gcm",
                fec: FECS[3],
                ..Case::new(peer, direction)
            };
            cases.extend(of_kcp_go(case));
            cases.extend(changes_of_fec(case));
            cases.extend(datagrams(case));
        }
    }
    cases
}

/// Datagrams out of band, for each layout of packets, from little room to the most there is.
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
            cases.extend(with_and_without_loss(super::fitted(case)));
        }
    }
    cases
}

/// Both ends ours: with extensions on both of them and on one of them, for each layout of packets.
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

/// What every peer can take part in.
fn of_all(case: Case) -> Vec<Case> {
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

fn of_kcp_go(case: Case) -> Vec<Case> {
    let marked = with(case, |options| options.dscp = EXPEDITED);
    let mut cases = Vec::from(
        [Network::V4, Network::V6, Network::Dual].map(|network| Case { network, ..marked }),
    );
    let rate = with(case, |options| options.rate = Some(RATE));
    cases.extend(with_and_without_loss(rate));
    cases
}

/// Enough data on both sides of the change for losses to be rebuilt.
fn changes_of_fec(case: Case) -> Vec<Case> {
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
        case.trouble.loss = 10;
        cases.push(case);
    }
    cases
}

fn with(mut case: Case, change: impl FnOnce(&mut Options)) -> Case {
    change(&mut case.options);
    case
}

/// In bytes per second, at which a case takes a second or two.
const RATE: u32 = 250_000;

/// Expedited forwarding.
const EXPEDITED: u8 = 46;

const CONVERSATION: u32 = 0x00c0_ffee;
