//! Random cases from the whole space of options.

use kcp_transport::config::{AckPolicy, Congestion, Extensions, Mode, WriteCoalescing};
use kcp_transport::crypto::Security;

use super::matrix::{MAX_MTU, WINDOWS, size_limited, smallest_mtu};
use super::{
    CALL_KINDS, Case, DIRECTIONS, FECS, Fec, Impairments, Network, Options, PRESETS, Payload, Peer,
    Shape, Windows,
};

/// Draws cases that the peers support. The same seed gives the same cases.
pub fn random(seed: u64, count: usize) -> impl Iterator<Item = Case> {
    let mut rng = SplitMix(seed);
    let cases = std::iter::repeat_with(move || draw(&mut rng));
    cases
        .filter(|case| case.peer.unsupported(case).is_none())
        .take(count)
}

fn draw(rng: &mut SplitMix) -> Case {
    let peer = rng.pick(&PEERS);
    let mut case = Case::new(peer, rng.pick(&DIRECTIONS));
    if !peer.is_plain() {
        case.cipher = rng.pick(Security::NAMES);
        case.fec = fec(rng);
    }
    case.preset = rng.pick(&PRESETS);
    case.network = rng.pick(&[Network::V4, Network::V4, Network::V6, Network::Dual]);
    case.impairments = impairments(rng);
    if peer == Peer::GrpcGo {
        // HTTP/2 is too slow with small windows and packets: its SETTINGS frames alone take several round trips.
        case.payload = Payload::Grpc(rng.pick(&CALL_KINDS));
        case.mtu = rng.between(400, MAX_MTU.into());
        case.windows = windows(rng, 64);
        case.options = timing(rng);
        return case;
    }
    let smallest = match peer {
        // They silently ignore an MTU below 50, and their subtraction of the headers wraps around.
        Peer::KcpGo5_4 | Peer::Ikcp | Peer::TokioKcp | Peer::KcpTokio => 100,
        Peer::KcpGo | Peer::KcpGo5_7 | Peer::GrpcGo | Peer::GrpcInterop | Peer::Ours => {
            smallest_mtu(&case).into()
        }
    };
    case.mtu = rng.between(smallest, peer.max_mtu().into());
    case.windows = windows(rng, 1);
    case.payload = Payload::Echo(shape(rng, &case));
    case.options = options(rng, &case);
    size_limited(case)
}

fn options(rng: &mut SplitMix, case: &Case) -> Options {
    let mut options = timing(rng);
    options.rate = rng.sometimes(16, 250_000..=2_000_000);
    options.conversation = rng.sometimes(16, 1..=u32::MAX.into());
    if case.peer.takes_go_flags() {
        options.dscp = rng.sometimes(8, 1..=63).unwrap_or(0);
        options.datagrams = rng.below(8) == 0;
        // Drawn rarely: such a case takes more than five seconds.
        let then = rng.below(24) == 0 && case.mode() == Mode::Stream;
        let ratio = (rng.between(1, 20), rng.between(1, 10));
        options.fec_then = then.then_some(ratio);
    }
    options
}

/// Options that every peer supports.
fn timing(rng: &mut SplitMix) -> Options {
    let mut options = Options::DEFAULT;
    if rng.below(4) == 0 {
        options.acks = AckPolicy::Batched;
    }
    if rng.below(8) == 0 {
        options.coalescing = WriteCoalescing::Delayed;
    }
    if rng.below(8) == 0 {
        options.congestion = Congestion::Kcp;
    }
    if rng.below(8) == 0 {
        options.extensions = rng.pick(&[Extensions::Off, Extensions::On]);
    }
    options
}

fn fec(rng: &mut SplitMix) -> Fec {
    match rng.below(3) {
        0 => Fec::OFF,
        1 => rng.pick(&FECS),
        _ => {
            let mut ratio = || match rng.below(5) {
                0 => None,
                _ => Some((rng.between(1, 20), rng.between(1, 10))),
            };
            let (ours, theirs) = (ratio(), ratio());
            Fec { ours, theirs }
        }
    }
}

fn impairments(rng: &mut SplitMix) -> Impairments {
    let mut percent = |most| match rng.below(2) {
        0 => 0,
        _ => rng.between(1, most),
    };
    Impairments {
        loss: percent(20),
        reorder: percent(20),
        duplicate: percent(20),
    }
}

fn windows(rng: &mut SplitMix, least: u64) -> Windows {
    let mut window = || match rng.below(2) {
        0 => rng.pick(&WINDOWS).max(u16::try_from(least).unwrap_or(1)),
        // Uniform in the logarithm.
        _ => 1_u16 << rng.below(16),
    };
    let (ours, theirs) = (window(), window());
    let least = u16::try_from(least).unwrap_or(1);
    Windows {
        ours: ours.max(least),
        theirs: theirs.max(least),
    }
}

fn shape(rng: &mut SplitMix, case: &Case) -> Shape {
    let messages = rng.below(2) == 0;
    let mss = case.layout().map_or(1, |layout| layout.mss());
    let largest = if messages {
        let fragments = usize::from(case.peer.max_fragments(case));
        u32::try_from(fragments * mss).unwrap_or(u32::MAX)
    } else {
        1 << 20
    };
    // Uniform in the logarithm.
    let write = 1_u64 << rng.below(21);
    let write = write + rng.below(write);
    let write = u32::try_from(write).unwrap_or(u32::MAX).min(largest);
    Shape {
        mode: if messages {
            Mode::Message
        } else {
            Mode::Stream
        },
        write,
        bytes: write.saturating_mul(500).clamp(500, 512 << 10),
        empty: messages && rng.below(4) == 0,
    }
}

/// The SplitMix64 generator.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`, which must not be 0. The slight bias of the modulo does not matter here.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number from `least` to `most`, both included.
    fn between<T: TryFrom<u64>>(&mut self, least: u64, most: u64) -> T {
        let drawn = least + self.below(most - least + 1);
        let Ok(drawn) = T::try_from(drawn) else {
            unreachable!("callers give bounds that their type holds")
        };
        drawn
    }

    /// A number from the range with probability 1/`times`, else `None`.
    fn sometimes<T: TryFrom<u64>>(
        &mut self,
        times: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<T> {
        let drawn = self.between(*range.start(), *range.end());
        (self.below(times) == 0).then_some(drawn)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = usize::try_from(self.below(from.len() as u64));
        from[index.unwrap_or(0)]
    }
}

/// The peers, repeated according to their weight.
const PEERS: [Peer; 11] = [
    Peer::KcpGo,
    Peer::KcpGo,
    Peer::KcpGo5_7,
    Peer::KcpGo5_7,
    Peer::KcpGo5_4,
    Peer::KcpGo5_4,
    Peer::Ikcp,
    Peer::TokioKcp,
    Peer::KcpTokio,
    Peer::GrpcGo,
    Peer::Ours,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_draws_the_same_cases() {
        let draw = |seed| random(seed, 50).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn random_cases_are_in_range() {
        for case in random(3, 1000) {
            case.layout()
                .unwrap_or_else(|error| panic!("{case}: {error}"));
        }
    }
}
