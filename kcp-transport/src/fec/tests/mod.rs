//! Tests of encoder and decoder together, and shared helpers.

mod poison;
mod ratio_change;
mod roundtrip;

use std::collections::HashSet;

use proptest::prelude::*;

use super::{FecDecoder, FecEncoder, FecRatio, FecStats, Rebuilt};
use crate::time::Time;
use crate::wire::{ShardHeader, ShardKind};

fn ratio(data: usize, parity: usize) -> FecRatio {
    FecRatio::new(data, parity).expect("in range")
}

/// A small generator, so that a test depends on its seed alone.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

/// The segments of data packet `at`: its number, then a random number of bytes.
fn segments(at: usize) -> Vec<u8> {
    let mut rng = Rng(at as u64 + 1);
    let len = 4 + rng.below(60);
    let mut segments = at.to_le_bytes()[..4].to_vec();
    segments.extend((4..len).map(|_| rng.below(256) as u8));
    segments
}

/// Sends `count` data packets; returns all packets with their parity, in order.
fn packets(encoder: &mut FecEncoder, count: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for at in 0..count {
        let mut packet = vec![0; 8];
        packet.extend(segments(at));
        let complete = encoder.encode(Time::ZERO, &mut packet);
        packets.push(packet);
        assert!(complete || encoder.take_parity(&mut []) == 0);
        let mut parity = [0; 100];
        packets.extend(std::iter::from_fn(|| {
            match encoder.take_parity(&mut parity) {
                0 => None,
                len => Some(parity[..len].to_vec()),
            }
        }));
    }
    packets
}

/// A decoder, and which data packets arrived or were rebuilt.
struct Receiver {
    decoder: FecDecoder,
    arrived: HashSet<usize>,
    rebuilt: HashSet<usize>,
    /// Packets of another sender arrive too, so rebuilt packets may be wrong.
    poisoned: bool,
}

impl Receiver {
    fn new(decoder: FecDecoder) -> Self {
        Self {
            decoder,
            arrived: HashSet::new(),
            rebuilt: HashSet::new(),
            poisoned: false,
        }
    }

    fn receive(&mut self, packet: &[u8]) {
        let (header, shard) = ShardHeader::detect(packet).expect("has a header");
        let number =
            |body: &[u8]| u32::from_le_bytes(body[..4].try_into().expect("4 bytes")) as usize;
        if header.kind == ShardKind::Data {
            let body = ShardHeader::body(shard).expect("whole");
            self.arrived.insert(number(body));
        }
        let (rebuilt, poisoned) = (&mut self.rebuilt, self.poisoned);
        self.decoder
            .decode(Time::ZERO, header, shard, &mut |group: Rebuilt<'_>| {
                for body in group.packets() {
                    let right = body.len() >= 4 && body == segments(number(body));
                    assert!(right || poisoned, "rebuilt byte by byte");
                    if right {
                        let first = rebuilt.insert(number(body));
                        assert!(first || poisoned, "rebuilt once");
                    }
                }
                true
            });
    }

    /// Offers a packet that was not sent by the encoder.
    fn receive_forged(&mut self, sequence: u32, kind: ShardKind) {
        let header = ShardHeader { sequence, kind };
        let shard = [
            20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
        ];
        self.decoder
            .decode(Time::ZERO, header, &shard, &mut |_: Rebuilt<'_>| true);
    }

    fn got(&self, at: usize) -> bool {
        self.arrived.contains(&at) || self.rebuilt.contains(&at)
    }

    fn stats(&self) -> FecStats {
        self.decoder.stats()
    }
}

fn ratios() -> impl Strategy<Value = FecRatio> {
    let small = (1..=20_usize, 1..=8_usize).prop_map(|(data, parity)| ratio(data, parity));
    let any = (1..=255_usize)
        .prop_flat_map(|data| (Just(data), 1..=(256 - data)))
        .prop_map(|(data, parity)| ratio(data, parity));
    prop_oneof![9 => small, 1 => any]
}

#[test]
fn ratio_has_at_least_one_of_each_and_at_most_256() {
    for (data, parity) in [(1, 1), (10, 3), (255, 1), (1, 255), (128, 128)] {
        assert!(FecRatio::new(data, parity).is_ok(), "{data}/{parity}");
    }
    for (data, parity) in [
        (0, 1),
        (1, 0),
        (0, 0),
        (256, 1),
        (129, 128),
        (usize::MAX, 1),
    ] {
        let error = FecRatio::new(data, parity)
            .expect_err("refused")
            .to_string();
        assert!(error.contains(&format!("{data}/{parity}")), "{error}");
    }
}

#[test]
fn ratio_survives_display_and_parsing() {
    for text in ["10/3", "1/1", "255/1"] {
        let ratio: FecRatio = text.parse().expect("in range");
        assert_eq!(ratio.to_string(), text);
    }
    for text in [
        "", "10", "10:3", "10/3/1", "-1/3", "ten/3", "10/0", "200/57",
    ] {
        let error = text.parse::<FecRatio>().expect_err("refused").to_string();
        assert!(
            error.starts_with(&format!("fec ratio is {text};")),
            "{error}"
        );
        assert!(error.contains("such as 10/3"), "{error}");
    }
}
