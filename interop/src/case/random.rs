//! Cases drawn from the whole space.

use kcp_transport::config::{AckPolicy, Congestion, Extensions, Mode, WriteCoalescing};
use kcp_transport::crypto::Security;

use super::matrix::{MAX_MTU, WINDOWS, fitted, smallest_mtu};
use super::{
    CALL_KINDS, Case, DIRECTIONS, FECS, Fec, Network, Options, PRESETS, Payload, Peer, Shape,
    Trouble, Windows,
};

/// Draws cases that the peers support, the same ones for the same seed.
pub fn random(seed: u64, count: usize) -> impl Iterator<Item = Case> {
    let mut rng = SplitMix(seed);
    let cases = std::iter::repeat_with(move || draw(&mut rng));
    cases
        .filter(|case| case.peer.refuses(case).is_none())
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
    case.trouble = trouble(rng);
    if peer == Peer::GrpcGo {
        // HTTP/2 needs some room to get anywhere: its frames of settings alone are a round trip each.
        case.payload = Payload::Grpc(rng.pick(&CALL_KINDS));
        case.mtu = rng.between(400, MAX_MTU.into());
        case.windows = windows(rng, 64);
        case.options = timing(rng);
        return case;
    }
    let smallest = match peer {
        // Below 50 its setting is ignored without an error, and what is reserved for headers wraps.
        Peer::KcpGo5_4 | Peer::Ikcp | Peer::TokioKcp | Peer::KcpTokio => 100,
        Peer::KcpGo | Peer::KcpGo5_7 | Peer::GrpcGo | Peer::Ours => smallest_mtu(&case).into(),
    };
    case.mtu = rng.between(smallest, peer.max_mtu().into());
    case.windows = windows(rng, 1);
    case.payload = Payload::Echo(shape(rng, &case));
    case.options = options(rng, &case);
    fitted(case)
}

fn options(rng: &mut SplitMix, case: &Case) -> Options {
    let mut options = timing(rng);
    options.rate = rng.sometimes(16, 250_000..=2_000_000);
    options.conversation = rng.sometimes(16, 1..=u32::MAX.into());
    if case.peer.takes_go_flags() {
        options.dscp = rng.sometimes(8, 1..=63).unwrap_or(0);
        options.datagrams = rng.below(8) == 0;
        // It takes more than five seconds.
        let then = rng.below(24) == 0 && case.mode() == Mode::Stream;
        let ratio = (rng.between(1, 20), rng.between(1, 10));
        options.fec_then = then.then_some(ratio);
    }
    options
}

/// What every peer goes along with.
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

fn trouble(rng: &mut SplitMix) -> Trouble {
    let mut percent = |most| match rng.below(2) {
        0 => 0,
        _ => rng.between(1, most),
    };
    Trouble {
        loss: percent(20),
        reorder: percent(20),
        duplicate: percent(20),
    }
}

fn windows(rng: &mut SplitMix, least: u64) -> Windows {
    let mut window = || match rng.below(2) {
        0 => rng.pick(&WINDOWS).max(u16::try_from(least).unwrap_or(1)),
        // As many small ones as large ones.
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
    // As many of each length in digits.
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

/// The generator of this name, of 64 bits.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Below `end`, which is not 0. Slightly uneven, which does not matter here.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Both ends included.
    fn between<T: TryFrom<u64>>(&mut self, least: u64, most: u64) -> T {
        let drawn = least + self.below(most - least + 1);
        let Ok(drawn) = T::try_from(drawn) else {
            unreachable!("callers give bounds that their type holds")
        };
        drawn
    }

    /// One time in so many.
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

/// How often each peer is drawn.
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
    fn what_is_drawn_is_in_order() {
        for case in random(3, 1000) {
            case.layout()
                .unwrap_or_else(|error| panic!("{case}: {error}"));
        }
    }
}
