//! A subset of the matrix for a quick test.

use std::collections::BTreeSet;

use kcp_transport::config::Mode;

use super::all;
use crate::case::{Case, Payload, Peer};

/// A subset of the matrix that covers every trait of every case: every cipher, FEC setting, peer, option
/// and kind of call, in both directions.
///
/// Greedy: picks the case with the most traits that are not covered yet, until all are.
#[must_use]
pub fn covering() -> Vec<Case> {
    let mut candidates: Vec<(Case, BTreeSet<String>)> =
        runnable().map(|it| (it, traits(&it))).collect();
    let mut cases = Vec::new();
    // Among equals, `max_by_key` takes the last.
    while let Some((case, shown)) = candidates
        .iter()
        .max_by_key(|(_, left)| left.len())
        .filter(|(_, left)| !left.is_empty())
        .cloned()
    {
        cases.push(case);
        for (_, left) in &mut candidates {
            left.retain(|it| !shown.contains(it));
        }
    }
    cases
}

fn runnable() -> impl Iterator<Item = Case> {
    let cases = all().into_iter();
    cases.filter(|case| case.peer.unsupported(case).is_none())
}

/// The traits of a case, each of which the subset must contain at least once.
fn traits(case: &Case) -> BTreeSet<String> {
    let Case {
        peer,
        direction,
        cipher,
        fec,
        ..
    } = case;
    let mut traits = vec![
        format!("{peer}, {direction}"),
        format!("{peer}, {direction}, loss {}", case.impairments.loss),
        format!("{peer}, {:?}", case.mode()),
    ];
    if *peer == Peer::Ours {
        let extensions = case.options.extensions;
        traits.push(format!("{peer}, {cipher}, {extensions:?}, {direction}"));
    }
    if matches!(peer, Peer::KcpGo | Peer::KcpGo5_7 | Peer::KcpGo5_4) {
        traits.push(format!("{peer}, {cipher}"));
        traits.push(format!("{peer}, FEC {fec}, {direction}"));
        traits.push(format!("{peer}, FEC {fec}, loss {}", case.impairments.loss));
    }
    match case.payload {
        Payload::Grpc(kind) => traits.push(format!("{direction}, {kind:?}")),
        Payload::Interop(case) => traits.push(format!("{direction}, {}", case.name())),
        Payload::Echo(shape) => {
            let write = match shape.mode {
                Mode::Message => "message",
                _ => "write",
            };
            traits.push(format!("{write} of {} bytes, {direction}", shape.write));
            if shape.empty {
                traits.push(format!("{peer}, empty messages"));
            }
        }
    }
    traits.extend([
        format!("{:?}, {direction}", case.preset),
        format!("{:?}, {direction}", case.network),
        format!("our window {}", case.windows.ours),
        format!("their window {}", case.windows.theirs),
    ]);
    traits.push(if case.mtu <= SMALL_MTU {
        format!("small mtu, {cipher}")
    } else {
        format!("mtu {}", case.mtu)
    });
    let options = case.options.names().into_iter();
    traits.extend(options.map(|option| format!("{option}, {direction}")));
    traits.into_iter().collect()
}

/// In bytes. The smallest possible MTU of every cipher is below.
const SMALL_MTU: u16 = 100;

#[cfg(test)]
mod tests {
    use kcp_transport::crypto::Security;

    use super::super::{CALL_KINDS, DIRECTIONS, FECS, PRESETS, WINDOWS};
    use super::*;
    use crate::case::Network;

    fn shown(cases: impl Iterator<Item = Case>) -> BTreeSet<String> {
        cases.flat_map(|case| traits(&case)).collect()
    }

    #[test]
    fn subset_covers_every_trait_of_the_matrix() {
        let cases = covering();
        assert!(
            cases
                .iter()
                .all(|case| case.peer.unsupported(case).is_none())
        );
        assert_eq!(shown(cases.iter().copied()), shown(runnable()));
        assert!(
            cases.len() * 5 < all().len(),
            "{} cases are too many for a subset",
            cases.len()
        );
    }

    /// Checks against lists that are independent of the matrix, which may itself be incomplete.
    #[test]
    fn subset_covers_every_cipher_ratio_peer_and_option() {
        let cases = covering();
        let met = |what: &str, is: &dyn Fn(&Case) -> bool| {
            assert!(cases.iter().any(is), "{what} is not covered");
        };
        for cipher in Security::NAMES {
            for peer in Peer::GO {
                met(cipher, &|case| case.peer == peer && case.cipher == *cipher);
            }
        }
        for direction in DIRECTIONS {
            for peer in Peer::ALL {
                met(peer.name(), &|case| {
                    case.peer == peer && case.direction == direction
                });
            }
            for fec in FECS {
                met(&fec.to_string(), &|case| {
                    case.fec == fec && case.direction == direction
                });
            }
            for kind in CALL_KINDS {
                met(kind.name(), &|case| {
                    case.payload == Payload::Grpc(kind) && case.direction == direction
                });
            }
        }
        for preset in PRESETS {
            met(&format!("{preset:?}"), &|case| case.preset == preset);
        }
        for network in [Network::V4, Network::V6, Network::Dual] {
            met(&format!("{network:?}"), &|case| case.network == network);
        }
        for window in WINDOWS {
            met(&format!("window {window}"), &|case| {
                case.windows.ours == window
            });
            met(&format!("window {window}"), &|case| {
                case.windows.theirs == window
            });
        }
        for mtu in [128, 576, 1350, 1472, 1500] {
            met(&format!("mtu {mtu}"), &|case| case.mtu == mtu);
        }
        for interop in crate::case::InteropCase::ALL {
            met(interop.name(), &|case| {
                case.payload == Payload::Interop(interop)
            });
        }
        for peer in Peer::PLAIN {
            for mode in [Mode::Stream, Mode::Message] {
                met(peer.name(), &|case| {
                    case.peer == peer && case.mode() == mode
                });
            }
        }
        // Does not compile if an option is added and not listed here.
        let crate::case::Options {
            acks: _,
            coalescing: _,
            congestion: _,
            rate: _,
            dscp: _,
            conversation: _,
            fec_then: _,
            datagrams: _,
            mtls: _,
            extensions: _,
        } = crate::case::Options::DEFAULT;
        for option in [
            "batched-acks",
            "delayed-writes",
            "congestion-window",
            "rate-",
            "dscp-",
            "conversation-",
            "then-",
            "datagrams",
            "mtls",
            "extensions-on",
            "extensions-off",
        ] {
            met(option, &|case| {
                let mut names = case.options.names().into_iter();
                names.any(|name| name.starts_with(option))
            });
        }
    }
}
