//! Lists of cases.

use kcp_transport::config::{Mode, Preset};
use kcp_transport::crypto::Security;

use super::{CallKind, Case, Direction, Fec, Network, Payload, Peer, Shape, Windows};

/// All cases.
#[must_use]
pub fn all() -> Vec<Case> {
    let lists = [
        echo_matrix(),
        version_5_4(),
        plain_peers(),
        parameters(),
        grpc_matrix(),
    ];
    lists.concat()
}

/// Every cipher with every FEC setting against kcp-go, both directions, with and without loss.
#[must_use]
pub fn echo_matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for cipher in Security::NAMES.iter().copied() {
        for direction in DIRECTIONS {
            for fec in FECS {
                let case = Case::new(Peer::KcpGo, direction);
                cases.extend(with_and_without_loss(Case {
                    cipher,
                    fec,
                    ..case
                }));
            }
        }
    }
    cases
}

/// Every cipher against the kcp-go that rpcx links, those it lacks included.
#[must_use]
pub fn version_5_4() -> Vec<Case> {
    let mut cases = Vec::new();
    for cipher in Security::NAMES.iter().copied() {
        for direction in DIRECTIONS {
            for fec in [FECS[0], FECS[3]] {
                let case = Case::new(Peer::KcpGo5_4, direction);
                cases.extend(with_and_without_loss(Case {
                    cipher,
                    fec,
                    ..case
                }));
            }
        }
    }
    cases
}

/// Streams and messages against the peers without ciphers, one cell for each thing they lack.
#[must_use]
pub fn plain_peers() -> Vec<Case> {
    let mut cases = Vec::new();
    for peer in Peer::PLAIN {
        for direction in DIRECTIONS {
            let case = Case::new(peer, direction);
            cases.extend(with_and_without_loss(case));
            for shape in message_shapes(&case) {
                let payload = Payload::Echo(shape);
                cases.extend(with_and_without_loss(Case { payload, ..case }));
            }
            let cipher = "aes";
            cases.push(Case { cipher, ..case });
            let fec = FECS[3];
            cases.push(Case { fec, ..case });
        }
    }
    cases
}

/// Messages of one segment, of several, of a whole window, and empty ones in between.
fn message_shapes(case: &Case) -> [Shape; 4] {
    let messages = |write, bytes, empty| Shape {
        mode: Mode::Message,
        bytes,
        write,
        empty,
    };
    let largest = u32::from(case.peer.max_fragments(case)) * PLAIN_MSS;
    [
        messages(100, 20_000, false),
        messages(5000, Shape::STREAM.bytes, false),
        messages(5000, Shape::STREAM.bytes, true),
        messages(largest, 3 * largest, false),
    ]
}

/// One option at a time against kcp-go: mtu, windows, timing, sizes of writes, addresses.
#[must_use]
pub fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    for direction in DIRECTIONS {
        let case = Case {
            cipher: "aes-128-gcm",
            fec: FECS[3],
            ..Case::new(Peer::KcpGo, direction)
        };
        cases.extend(MTUS.map(|mtu| fitted(Case { mtu, ..case })));
        for cipher in Security::NAMES.iter().copied() {
            for fec in [FECS[0], FECS[3]] {
                let case = Case {
                    cipher,
                    fec,
                    ..case
                };
                let mtu = smallest_mtu(&case);
                cases.push(fitted(Case { mtu, ..case }));
            }
        }
        for ours in WINDOWS {
            for theirs in WINDOWS {
                let windows = Windows { ours, theirs };
                if windows != case.windows {
                    cases.push(fitted(Case { windows, ..case }));
                }
            }
        }
        let presets = PRESETS.into_iter().filter(|p| *p != case.preset);
        cases.extend(presets.map(|preset| Case { preset, ..case }));
        for write in WRITES {
            for mode in [Mode::Stream, Mode::Message] {
                let shape = Shape {
                    mode,
                    write,
                    bytes: write.saturating_mul(2000).clamp(2000, 1 << 20),
                    empty: false,
                };
                let payload = Payload::Echo(shape);
                let longest = u32::from(case.peer.max_fragments(&case)) * FULL_MSS;
                if mode == Mode::Stream || write <= longest {
                    cases.push(Case { payload, ..case });
                }
            }
        }
        let networks = [Network::V6, Network::Dual];
        for network in networks {
            cases.extend(with_and_without_loss(Case { network, ..case }));
        }
    }
    cases
}

/// Every kind of call, both directions, a few ciphers, with and without loss.
#[must_use]
pub fn grpc_matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for (cipher, fec) in GRPC_SETUPS {
        for direction in DIRECTIONS {
            for kind in CALL_KINDS {
                cases.extend(with_and_without_loss(Case {
                    payload: Payload::Grpc(kind),
                    cipher,
                    fec,
                    ..Case::new(Peer::GrpcGo, direction)
                }));
            }
        }
    }
    cases
}

/// A subset for a quick test, of which every cipher, FEC setting, direction, peer, option and kind
/// of call is part.
#[must_use]
pub fn covering() -> Vec<Case> {
    let mut cases: Vec<Case> = Security::NAMES
        .iter()
        .copied()
        .enumerate()
        .map(|(index, cipher)| {
            // Every FEC setting meets both directions: they go round at different speeds.
            let direction = DIRECTIONS[index / FECS.len() % 2];
            let mut case = Case::new(Peer::KcpGo, direction);
            case.trouble.loss = LOSSES[(index + index / FECS.len()) % 2];
            Case {
                cipher,
                fec: FECS[index % FECS.len()],
                ..case
            }
        })
        .collect();
    cases.extend(every(&version_5_4(), 7));
    cases.extend(every(&plain_peers(), 5));
    // A step would miss some of what there are few cases of.
    let is_rare = |case: &Case| case.preset != Preset::Fast2 || case.network != Network::V4;
    let (rare, common): (Vec<Case>, Vec<Case>) = parameters().into_iter().partition(is_rare);
    cases.extend(rare);
    cases.extend(every(&common, 5));
    cases.extend(every(&grpc_matrix(), 3));
    cases
}

/// One of `step`; a step without a common divisor with the lengths of the inner lists meets all of
/// their members.
fn every(cases: &[Case], step: usize) -> impl Iterator<Item = Case> {
    cases.iter().copied().step_by(step)
}

fn with_and_without_loss(case: Case) -> [Case; 2] {
    LOSSES.map(|loss| {
        let mut case = case;
        case.trouble.loss = loss;
        case
    })
}

/// With as many bytes as go through in a few seconds.
pub(super) fn fitted(mut case: Case) -> Case {
    let mss = case.layout().map_or(1, |layout| layout.mss());
    let window = case.windows.ours.min(case.windows.theirs);
    if let Payload::Echo(shape) = &mut case.payload {
        // kcp-go acknowledges once per interval, so that is how long each window takes.
        let segments = (usize::from(window) * ROUNDS).min(MOST_SEGMENTS);
        // Small messages take a segment each.
        let filled = match shape.mode {
            Mode::Message => mss.min(shape.write as usize),
            _ => mss,
        };
        let bytes = u32::try_from(filled * segments).unwrap_or(u32::MAX);
        shape.bytes = shape.bytes.min(bytes);
    }
    case
}

/// The smallest mtu that leaves room for a byte of data on both sides.
pub(super) fn smallest_mtu(case: &Case) -> u16 {
    let mut case = *case;
    case.fec.ours = case.fec.ours.or(case.fec.theirs);
    let fits = |mtu: &u16| Case { mtu: *mtu, ..case }.layout().is_ok();
    (1..=MAX_MTU).find(fits).unwrap_or(MAX_MTU)
}

/// FEC off, long and short groups, and different ones on each side.
pub const FECS: [Fec; 6] = [
    Fec::OFF,
    Fec::both(Some((1, 1))),
    Fec::both(Some((2, 1))),
    Fec::both(Some((10, 3))),
    Fec::both(Some((20, 5))),
    Fec {
        ours: Some((10, 3)),
        theirs: Some((3, 1)),
    },
];

/// Both.
pub const DIRECTIONS: [Direction; 2] = [Direction::RustToPeer, Direction::PeerToRust];

/// All four.
pub const CALL_KINDS: [CallKind; 4] = [
    CallKind::Unary,
    CallKind::ServerStream,
    CallKind::ClientStream,
    CallKind::Bidi,
];

/// All four.
pub const PRESETS: [Preset; 4] = [Preset::Normal, Preset::Fast, Preset::Fast2, Preset::Fast3];

const LOSSES: [u8; 2] = [0, 10];

const MTUS: [u16; 4] = [128, 576, 1350, 1500];

pub(super) const MAX_MTU: u16 = 1500;

pub(super) const WINDOWS: [u16; 4] = [1, 32, 1024, 65_535];

/// From one byte to a mebibyte, around the size of a segment too.
const WRITES: [u32; 9] = [
    1,
    17,
    FULL_MSS - 1,
    FULL_MSS,
    FULL_MSS + 1,
    4096,
    42_880,
    65_536,
    1 << 20,
];

/// At mtu 1400 with everything on.
const FULL_MSS: u32 = 1340;

/// At mtu 1400 with nothing on.
const PLAIN_MSS: u32 = 1376;

/// Windows full of data that a slow case sends.
const ROUNDS: usize = 30;

/// A small mtu makes many segments of few bytes.
const MOST_SEGMENTS: usize = 600;

/// One of each layout of packets: AEAD with FEC, checksum, bare.
const GRPC_SETUPS: [(&str, Fec); 3] = [
    ("aes-128-gcm", Fec::both(Some((10, 3)))),
    ("aes", Fec::OFF),
    ("null", Fec::OFF),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_case_is_there_twice() {
        let cases: HashSet<Case> = all().into_iter().collect();
        assert_eq!(cases.len(), all().len());
        assert!(covering().iter().all(|case| cases.contains(case)));
        assert_eq!(echo_matrix().len(), Security::NAMES.len() * 6 * 2 * 2);
    }

    #[test]
    fn subset_covers_everything() {
        let cases = covering();
        let covered = |what: &dyn Fn(&Case) -> bool| {
            let runs = |case: &&Case| case.peer.refuses(case).is_none();
            cases.iter().filter(runs).any(what)
        };
        let echo = |case: &Case| case.peer == Peer::KcpGo;
        for cipher in Security::NAMES {
            assert!(covered(&|c| echo(c) && c.cipher == *cipher), "{cipher}");
        }
        for fec in FECS {
            for direction in DIRECTIONS {
                let met = |c: &Case| echo(c) && c.fec == fec && c.direction == direction;
                assert!(covered(&met), "{fec}, {direction}");
            }
            let lossy = |c: &Case| c.fec == fec && c.trouble.loss > 0;
            assert!(covered(&lossy), "{fec} with loss");
        }
        for direction in DIRECTIONS {
            for peer in Peer::ALL {
                let met = |c: &Case| c.peer == peer && c.direction == direction;
                assert!(covered(&met), "{peer}, {direction}");
            }
            for kind in CALL_KINDS {
                let met = |c: &Case| c.payload == Payload::Grpc(kind) && c.direction == direction;
                assert!(covered(&met), "{direction}, {kind:?}");
            }
        }
        for peer in Peer::PLAIN {
            for mode in [Mode::Stream, Mode::Message] {
                let met = |c: &Case| c.peer == peer && c.mode() == mode;
                assert!(covered(&met), "{peer}, {mode:?}");
            }
        }
        for preset in PRESETS {
            assert!(covered(&|c| c.preset == preset), "{preset:?}");
        }
        for network in [Network::V4, Network::V6, Network::Dual] {
            assert!(covered(&|c| c.network == network), "{network:?}");
        }
    }

    #[test]
    fn luck_differs_by_case_and_seed() {
        let seeds = all()
            .into_iter()
            .flat_map(|case| [case.seed(1), case.seed(2)]);
        assert_eq!(seeds.collect::<HashSet<_>>().len(), 2 * all().len());
    }
}
