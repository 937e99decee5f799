//! Forward error correction, and the arithmetic under it.

use std::collections::HashSet;
use std::time::Duration;

use kcp_transport::fec::{FecDecoder, FecEncoder, FecRatio};
use kcp_transport::testing::field;
use kcp_transport::time::Time;
use kcp_transport::wire::{ShardHeader, ShardKind};

use super::input::Input;

/// Packets of an honest sender among any others: no panic, bounded memory.
pub fn fec_decode(data: &[u8]) {
    let mut input = Input::new(data);
    let mut now = Time::ZERO;
    let mut decoder = FecDecoder::new();
    let ratio = FecRatio::new(1 + input.below(10), 1 + input.below(4)).expect("in range");
    let mut sender = Sender::new(ratio);
    // A large ratio would only cost the sender time for its tables.
    let mut changes_left = 3;
    let mut newest = 0;
    while !input.is_empty() {
        match input.u8() {
            choice @ 0..=99 => {
                for packet in sender.send(now, 1 + usize::from(choice)) {
                    newest = packet.0.sequence;
                    feed(&mut decoder, now, &packet);
                }
            }
            choice @ 100..=129 => {
                sender.send(now, 1 + usize::from(choice));
            }
            choice @ 130..=219 => {
                let kind = [ShardKind::Data, ShardKind::Parity][usize::from(choice) % 2];
                let sequence = input.near(newest);
                let shard = input.chunk().to_vec();
                feed(&mut decoder, now, &(ShardHeader { sequence, kind }, shard));
            }
            220..=239 => now += Duration::from_millis(input.u16().into()),
            240..=247 => decoder.shrink(),
            248..=251 if changes_left > 0 => {
                changes_left -= 1;
                let (data, parity) = (1 + input.below(255), 1 + input.below(255));
                if let Ok(ratio) = FecRatio::new(data, parity) {
                    sender = Sender::new(ratio);
                }
            }
            _ => {
                // Long and many packets, as in large groups.
                let sequence = input.near(newest);
                for offset in 0..64 {
                    let header = ShardHeader {
                        sequence: sequence.wrapping_add(offset),
                        kind: ShardKind::Data,
                    };
                    feed(&mut decoder, now, &(header, vec![1; 1494]));
                }
            }
        }
        assert!(decoder.memory() <= 700 << 10, "{} bytes", decoder.memory());
    }
}

/// A sender's ratio is learned from packets that arrive in order, whatever was lost before, and
/// nothing is rebuilt that was not sent, even if the sender changes its ratio.
pub fn fec_ratio(data: &[u8]) {
    let mut input = Input::new(data);
    let mut now = Time::ZERO;
    let mut decoder = FecDecoder::new();
    for turn in 0..1 + input.below(3) {
        let (data, parity) = (1 + input.below(24), 1 + input.below(12));
        let next = FecRatio::new(data, parity).expect("in range");
        let mut sender = Sender::new(next);
        let mut sent = HashSet::new();
        for _ in 0..input.below(64) {
            let fate = input.u8();
            for packet in sender.send(now, 1 + usize::from(fate & 31)) {
                sent.insert(body(&packet).to_vec());
                if fate < 160 {
                    let recovered = feed(&mut decoder, now, &packet);
                    let known = recovered.iter().all(|it| sent.contains(it));
                    // A group's rest from the previous ratio may mix with packets of this one.
                    assert!(turn > 0 || known, "rebuilt what was never sent");
                }
            }
            now += Duration::from_millis(u64::from(fate >> 5));
        }
        // A changed ratio is first suspected and then searched for, at most once in five seconds.
        for _ in 0..2 {
            now += Duration::from_secs(6);
            for index in 0..4 * next.group() {
                for packet in sender.send(now, 1 + index % 30) {
                    feed(&mut decoder, now, &packet);
                }
            }
        }
        assert_eq!(decoder.ratio(), Some(next));
    }
}

/// Every loss that parity covers is rebuilt byte for byte, in any order of arrival.
pub fn fec_roundtrip(data: &[u8]) {
    let mut input = Input::new(data);
    let ratio = FecRatio::new(1 + input.below(20), 1 + input.below(10)).expect("in range");
    let mut sender = Sender::new(ratio);
    let mut decoder = FecDecoder::new();
    let now = Time::ZERO;
    // Until no other ratio explains its packets.
    while !(sender.sequence as usize).is_multiple_of(ratio.group()) || sender.groups < 6 {
        for packet in sender.send(now, 3) {
            feed(&mut decoder, now, &packet);
        }
    }
    assert_eq!(decoder.ratio(), Some(ratio));
    for _ in 0..input.below(8) {
        let mut group = Vec::new();
        while group.len() < ratio.group() {
            let len = 1 + input.below(300);
            group.extend(sender.send_with(now, len, input.u8()));
        }
        let sent: HashSet<Vec<u8>> = group
            .iter()
            .filter(|(header, _)| header.kind == ShardKind::Data)
            .map(|packet| body(packet).to_vec())
            .collect();
        let mut arrived = HashSet::new();
        for _ in 0..input.below(ratio.parity() + 1) {
            group.remove(input.below(group.len()));
        }
        while !group.is_empty() {
            let packet = group.swap_remove(input.below(group.len()));
            for recovered in feed(&mut decoder, now, &packet) {
                assert!(sent.contains(&recovered), "rebuilt what was never sent");
                arrived.insert(recovered);
            }
            if packet.0.kind == ShardKind::Data {
                arrived.insert(body(&packet).to_vec());
            }
        }
        assert_eq!(arrived, sent);
    }
}

/// Every kernel gives the products of plain multiplication, byte by byte.
pub fn field_kernels(data: &[u8]) {
    let mut input = Input::new(data);
    let factor = input.u8();
    let add = input.flag();
    let (from, to) = (input.below(64), input.below(64));
    let fill = input.u8();
    let len = input.below(1600);
    let mut bytes = input.take(len + 64).to_vec();
    bytes.resize(len + 64, fill);
    let source = &bytes[from.min(64)..from.min(64) + len];
    let target: Vec<u8> = bytes.iter().rev().map(|byte| byte ^ fill).collect();
    let mut wanted = target.clone();
    for (out, &byte) in wanted[to..to + len].iter_mut().zip(source) {
        let product = multiply(factor, byte);
        *out = product ^ if add { *out } else { 0 };
    }
    field::each_kernel(|name, kernel| {
        let mut result = target.clone();
        kernel(add, factor, source, &mut result[to..to + len]);
        assert_eq!(result, wanted, "{name}");
    });
}

/// Multiplication of polynomials over bits, reduced by 0x11d.
fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0_u16;
    for bit in (0..8).rev() {
        product <<= 1;
        if product & 0x100 != 0 {
            product ^= 0x11d;
        }
        if b >> bit & 1 == 1 {
            product ^= u16::from(a);
        }
    }
    // Below 256 after each step.
    product as u8
}

type Packet = (ShardHeader, Vec<u8>);

/// The bytes that a data shard carries; a parity shard unchanged.
fn body((header, shard): &Packet) -> &[u8] {
    match header.kind {
        ShardKind::Data => ShardHeader::body(shard).expect("an honest sender"),
        _ => shard,
    }
}

/// An honest sender.
struct Sender {
    encoder: FecEncoder,
    count: u8,
    /// After the last one sent.
    sequence: u32,
    groups: usize,
}

impl Sender {
    fn new(ratio: FecRatio) -> Self {
        Self {
            encoder: FecEncoder::new(ratio),
            count: 0,
            sequence: 0,
            groups: 0,
        }
    }

    /// A packet of `len` bytes, and the parity of its group if it is the last.
    fn send(&mut self, now: Time, len: usize) -> Vec<Packet> {
        self.count = self.count.wrapping_add(1);
        self.send_with(now, len, self.count)
    }

    fn send_with(&mut self, now: Time, len: usize, fill: u8) -> Vec<Packet> {
        let mut packet = vec![fill; 8 + len];
        // In a group of one, the first packet is also the last.
        let complete = self.encoder.encode(now, &mut packet);
        let mut packets = vec![split(&packet)];
        let mut parity = [0; 1600];
        while self.encoder.has_parity() {
            let len = self.encoder.take_parity(&mut parity);
            packets.push(split(&parity[..len]));
        }
        self.groups += usize::from(complete);
        self.sequence = packets.last().map_or(0, |(header, _)| header.sequence + 1);
        packets
    }
}

fn split(packet: &[u8]) -> Packet {
    let (header, shard) = ShardHeader::detect(packet).expect("has a header");
    (header, shard.to_vec())
}

/// Gives the decoder a packet and returns what it rebuilt.
fn feed(decoder: &mut FecDecoder, now: Time, (header, shard): &Packet) -> Vec<Vec<u8>> {
    let mut recovered = Vec::new();
    decoder.decode(now, *header, shard, &mut |rebuilt| {
        for body in rebuilt.packets() {
            assert!(body.len() <= 1500);
            recovered.push(body.to_vec());
        }
        true
    });
    recovered
}
