//! Cases that vary one parameter at a time: MTU, windows, timing, sizes of writes, addresses.

use kcp_transport::config::Mode;
use kcp_transport::crypto::Security;

use super::{
    DIRECTIONS, FECS, PRESETS, WINDOWS, size_limited, smallest_mtu, with_and_without_loss,
};
use crate::case::{Case, Network, Payload, Peer, Shape, Windows};

/// One parameter at a time against kcp-go v5.6 and v5.7.
#[must_use]
pub fn parameters() -> Vec<Case> {
    let mut cases = Vec::new();
    for (peer, direction) in Peer::GO
        .into_iter()
        .flat_map(|peer| DIRECTIONS.map(|it| (peer, it)))
    {
        let case = Case {
            cipher: "aes-128-gcm",
            fec: FECS[3],
            ..Case::new(peer, direction)
        };
        cases.extend(MTUS.map(|mtu| size_limited(Case { mtu, ..case })));
        for cipher in Security::NAMES.iter().copied() {
            for fec in [FECS[0], FECS[3]] {
                let case = Case {
                    cipher,
                    fec,
                    ..case
                };
                let mtu = smallest_mtu(&case);
                cases.push(size_limited(Case { mtu, ..case }));
            }
        }
        for ours in WINDOWS {
            for theirs in WINDOWS {
                let windows = Windows { ours, theirs };
                if windows != case.windows {
                    cases.push(size_limited(Case { windows, ..case }));
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

/// One parameter at a time against the peers that lack flags of the Go peers.
#[must_use]
pub fn parameters_of_others() -> Vec<Case> {
    let mut cases = Vec::new();
    let others = [Peer::KcpGo5_4].into_iter().chain(Peer::PLAIN);
    for (peer, direction) in others.flat_map(|peer| DIRECTIONS.map(|it| (peer, it))) {
        let case = Case::new(peer, direction);
        cases.extend(MTUS.map(|mtu| size_limited(Case { mtu, ..case })));
        for ours in WINDOWS {
            for theirs in WINDOWS {
                let windows = Windows { ours, theirs };
                if windows != case.windows {
                    cases.push(size_limited(Case { windows, ..case }));
                }
            }
        }
        let presets = PRESETS.into_iter().filter(|p| *p != case.preset);
        cases.extend(presets.map(|preset| Case { preset, ..case }));
        cases.extend([Network::V6, Network::Dual].map(|network| Case { network, ..case }));
    }
    cases
}

const MTUS: [u16; 5] = [128, 576, 1350, 1472, 1500];

/// Bytes per write: from one byte to a mebibyte, with values around the size of a segment.
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

/// Bytes of data per segment at MTU 1400 with AEAD and FEC.
const FULL_MSS: u32 = 1340;
