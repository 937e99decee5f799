//! The matrix of cases.

mod covering;
mod options;
mod parameters;

use kcp_transport::config::{Mode, Preset};
use kcp_transport::crypto::Security;

use super::{CallKind, Case, Direction, Fec, InteropCase, Payload, Peer, Shape, Windows};

pub use covering::covering;
pub use options::{options, ours};
pub use parameters::{parameters, parameters_of_others};

/// All cases of the matrix.
#[must_use]
pub fn all() -> Vec<Case> {
    let lists = [
        echo_matrix(),
        version_5_7(),
        version_5_4(),
        plain_peers(),
        filled_windows(),
        parameters(),
        parameters_of_others(),
        options(),
        ours(),
        grpc_matrix(),
        grpc_interop(),
    ];
    lists.concat()
}

/// Every cipher with every FEC setting against kcp-go, in both directions, with and without loss.
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

/// Every cipher against kcp-go v5.7: without FEC, with FEC, and with a different ratio on each side.
#[must_use]
pub fn version_5_7() -> Vec<Case> {
    let mut cases = Vec::new();
    for cipher in Security::NAMES.iter().copied() {
        for direction in DIRECTIONS {
            for fec in [FECS[0], FECS[3], FECS[5]] {
                let case = Case::new(Peer::KcpGo5_7, direction);
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

/// Every cipher against kcp-go v5.4, which rpcx links, including the ciphers that it lacks, and its FEC against a
/// listener without.
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
    for theirs in [(1, 1), (3, 2), (10, 3)] {
        let fec = Fec {
            ours: None,
            theirs: Some(theirs),
        };
        let case = Case::new(Peer::KcpGo5_4, Direction::PeerToRust);
        cases.extend(with_and_without_loss(Case { fec, ..case }));
    }
    cases
}

/// Streams and messages against the peers with plain KCP only, and one unsupported case each for ciphers and FEC.
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

/// Messages of one segment, of several segments, of several with empty ones in between, and of a whole window.
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

/// Messages that fill the windows of both sides to the last segment, for the echo peers.
///
/// A receiver delivers only complete messages, so that its window is full until the message is complete. kcp-go
/// receives such messages, but sends each segment as a message of its own.
#[must_use]
pub fn filled_windows() -> Vec<Case> {
    let mut cases = Vec::new();
    let others = Peer::GO.into_iter().chain([Peer::KcpGo5_4]);
    let others = others.chain(Peer::PLAIN);
    for (peer, direction) in others.flat_map(|peer| DIRECTIONS.map(|it| (peer, it))) {
        for (window, messages) in FILLED {
            let windows = Windows {
                ours: window,
                theirs: window,
            };
            let write = u32::from(window) * PLAIN_MSS;
            let case = Case {
                windows,
                payload: Payload::Echo(Shape {
                    mode: Mode::Message,
                    bytes: messages * write,
                    write,
                    empty: false,
                }),
                ..Case::new(peer, direction)
            };
            cases.extend(with_and_without_loss(case));
        }
    }
    cases
}

/// Every kind of gRPC call, in both directions, with one cipher of each layout, with and without loss.
#[must_use]
pub fn grpc_matrix() -> Vec<Case> {
    let mut cases = Vec::new();
    for (cipher, fec) in SETUPS {
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

/// All of gRPC's interoperability cases in both directions, at several rates of loss, and once through mutual TLS.
#[must_use]
pub fn grpc_interop() -> Vec<Case> {
    let mut cases = Vec::new();
    for direction in DIRECTIONS {
        for interop in InteropCase::ALL {
            let (cipher, fec) = SETUPS[0];
            let case = Case {
                payload: Payload::Interop(interop),
                cipher,
                fec,
                ..Case::new(Peer::GrpcInterop, direction)
            };
            for loss in [0, 5, 20] {
                let mut case = case;
                case.impairments.loss = loss;
                cases.push(case);
            }
            let mut case = case;
            case.options.mtls = true;
            cases.push(case);
        }
    }
    cases
}

fn with_and_without_loss(case: Case) -> [Case; 2] {
    LOSSES.map(|loss| {
        let mut case = case;
        case.impairments.loss = loss;
        case
    })
}

/// Limits the number of bytes so that the case takes a few seconds at most.
pub(in crate::case) fn size_limited(mut case: Case) -> Case {
    let mss = case.layout().map_or(1, |layout| layout.mss());
    let window = case.windows.ours.min(case.windows.theirs);
    if let Payload::Echo(shape) = &mut case.payload {
        // kcp-go acknowledges once per interval, so that each window takes one interval.
        let segments = (usize::from(window) * ROUNDS).min(MOST_SEGMENTS);
        // A small message takes a whole segment.
        let filled = match shape.mode {
            Mode::Message => mss.min(shape.write as usize),
            _ => mss,
        };
        let bytes = u32::try_from(filled * segments).unwrap_or(u32::MAX);
        shape.bytes = shape.bytes.min(bytes);
    }
    case
}

/// The smallest MTU that leaves room for a byte of data on both sides.
pub(in crate::case) fn smallest_mtu(case: &Case) -> u16 {
    let mut case = *case;
    case.fec.ours = case.fec.ours.or(case.fec.theirs);
    let fits = |mtu: &u16| Case { mtu: *mtu, ..case }.layout().is_ok();
    (1..=MAX_MTU).find(fits).unwrap_or(MAX_MTU)
}

/// FEC settings: off, short and long groups, and a different ratio on each side.
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

/// Both directions.
pub const DIRECTIONS: [Direction; 2] = [Direction::RustToPeer, Direction::PeerToRust];

/// All kinds of gRPC calls.
pub const CALL_KINDS: [CallKind; 4] = [
    CallKind::Unary,
    CallKind::ServerStream,
    CallKind::ClientStream,
    CallKind::Bidi,
];

/// kcptun's presets.
pub const PRESETS: [Preset; 4] = [Preset::Normal, Preset::Fast, Preset::Fast2, Preset::Fast3];

/// Loss in each direction, in percent.
const LOSSES: [u8; 2] = [0, 10];

pub(in crate::case) const MAX_MTU: u16 = 1500;

pub(in crate::case) const WINDOWS: [u16; 4] = [1, 32, 1024, 65_535];

/// Window that each message fills, in segments, and the number of messages.
const FILLED: [(u16, u32); 2] = [(1, 30), (32, 8)];

/// Bytes of data per segment at MTU 1400 without cipher and FEC.
const PLAIN_MSS: u32 = 1376;

/// Maximum number of full windows that a case sends.
const ROUNDS: usize = 30;

/// Maximum number of segments that a case sends, because a small MTU makes many small segments.
const MOST_SEGMENTS: usize = 600;

/// One cipher of each packet layout: AEAD with FEC, checksum, no cipher.
const SETUPS: [(&str, Fec); 3] = [
    ("aes-128-gcm", Fec::both(Some((10, 3)))),
    ("aes", Fec::OFF),
    ("null", Fec::OFF),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn matrix_has_no_duplicates() {
        let cases: HashSet<Case> = all().into_iter().collect();
        assert_eq!(cases.len(), all().len());
        assert!(covering().iter().all(|case| cases.contains(case)));
        assert_eq!(echo_matrix().len(), Security::NAMES.len() * 6 * 2 * 2);
    }

    #[test]
    fn messages_that_fill_a_window_are_supported_by_their_peers() {
        for case in filled_windows() {
            let Payload::Echo(shape) = case.payload else {
                panic!("{case} has no messages");
            };
            let mss = case.layout().expect("options are in range").mss();
            assert_eq!(usize::from(case.windows.ours) * mss, shape.write as usize);
            assert!(
                case.windows.ours <= case.peer.max_fragments(&case),
                "{case}"
            );
            assert_eq!(case.peer.unsupported(&case), None, "{case}");
        }
    }

    #[test]
    fn seeds_differ_by_case_and_run() {
        let seeds = all()
            .into_iter()
            .flat_map(|case| [case.seed(1), case.seed(2)]);
        assert_eq!(seeds.collect::<HashSet<_>>().len(), 2 * all().len());
    }
}
