//! A sender that changes its ratio while it runs, which kcp-go never does.

use std::collections::HashSet;

use crate::fec::{FecDecoder, FecEncoder, FecRatio, Rebuilt};
use crate::time::Time;
use crate::wire::ShardHeader;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }

    fn ratio(&mut self) -> FecRatio {
        let (data, parity) = (1 + self.below(12), 1 + self.below(8));
        FecRatio::new(data as usize, parity as usize).expect("in range")
    }
}

/// Enough groups for `count` packets, from number `first` on. Data packets differ only in their
/// number, as those of a bulk transfer do.
fn groups(ratio: FecRatio, first: u32, count: usize) -> Vec<Vec<u8>> {
    let left = (ratio.sequence_period() - first) / ratio.group() as u32;
    let mut encoder = FecEncoder::with_groups_left(ratio, left);
    let mut packets = Vec::new();
    while packets.len() < count {
        let mut packet = vec![0; 8];
        packet.extend([7; 30]);
        packet[20..24].copy_from_slice(&(first + packets.len() as u32).to_le_bytes());
        encoder.encode(Time::ZERO, &mut packet);
        packets.push(packet);
        let mut parity = [0; 100];
        while encoder.has_parity() {
            let len = encoder.take_parity(&mut parity);
            packets.push(parity[..len].to_vec());
        }
    }
    packets
}

/// Loses one packet in `loss`, and delays as many.
fn channel(packets: Vec<Vec<u8>>, loss: u64, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut arriving: Vec<_> = packets
        .into_iter()
        .enumerate()
        .filter_map(|(at, packet)| match rng.below(loss) {
            0 => None,
            1 => Some((at as u64 + rng.below(10), packet)),
            _ => Some((at as u64, packet)),
        })
        .collect();
    arriving.sort_by_key(|(at, _)| *at);
    arriving.into_iter().map(|(_, packet)| packet).collect()
}

#[test]
fn nearly_all_that_is_wrong_after_an_unannounced_change_is_contested() {
    let mut rng = Rng(5);
    let (changes, mut lies, mut contested_lies) = (3000, 0, 0);
    for _ in 0..changes {
        let (old, new) = (rng.ratio(), rng.ratio());
        let mut packets = groups(old, 0, 100);
        let size = new.group() as u32;
        let first = (packets.len() as u32 + size) / size * size;
        packets.extend(groups(new, first, 300));
        let sent: HashSet<Vec<u8>> = packets.iter().map(|packet| packet[8..].to_vec()).collect();
        let mut decoder = FecDecoder::knowing(old);
        for packet in channel(packets, 20, &mut rng) {
            let (header, shard) = ShardHeader::detect(&packet).expect("has a header");
            decoder.decode(
                Time::from_millis(9000),
                header,
                shard,
                &mut |rebuilt: Rebuilt<'_>| {
                    let is_lie = |packet: &&[u8]| !sent.contains(*packet);
                    let count = rebuilt.packets().filter(is_lie).count();
                    lies += if rebuilt.is_contested() { 0 } else { count };
                    contested_lies += if rebuilt.is_contested() { count } else { 0 };
                    true
                },
            );
        }
        assert_eq!(decoder.ratio(), Some(new), "after {old:?}");
    }
    // The packet that would have contradicted the ratio may be lost or late.
    assert!(lies * 50 < changes, "{lies} lies in {changes} changes");
    assert!(contested_lies > 2 * lies, "{lies} and {contested_lies}");
}
