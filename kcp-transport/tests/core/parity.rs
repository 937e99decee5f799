//! Parity belongs to an address, not to a conversation: what is rebuilt from another's is refused.

use kcp_transport::config::Config;
use kcp_transport::crypto::Overhead;
use kcp_transport::fec::{FecEncoder, FecRatio};
use kcp_transport::session::{Role, Session};
use kcp_transport::testing::{Rng, seeds};
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, SEGMENT_HEADER_LEN, SHARD_HEADER_LEN, SHARD_SIZE_LEN, SegmentHeader,
    Timestamp,
};

const DATA: usize = 10;
const PARITY: usize = 3;
const LEN: usize = 40;
const FRONT: usize = SHARD_HEADER_LEN + SHARD_SIZE_LEN;

/// One of several conversations of an address, each with groups of its own.
struct Sender {
    conversation: u32,
    encoder: FecEncoder,
    next: u32,
}

impl Sender {
    fn new(conversation: u32) -> Self {
        let ratio = FecRatio::new(DATA, PARITY).expect("in range");
        Self {
            conversation,
            encoder: FecEncoder::new(ratio),
            next: 0,
        }
    }

    fn byte(&self, sequence: u32) -> u8 {
        (sequence as u8).wrapping_mul(7) ^ self.conversation as u8
    }

    /// Data and parity of the next group.
    fn group(&mut self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut data, mut parity) = (Vec::new(), Vec::new());
        for _ in 0..DATA {
            let header = SegmentHeader {
                conversation: ConversationId::new(self.conversation),
                command: Command::Push,
                fragments_left: 0,
                window: 128,
                timestamp: Timestamp::from_wire(1000 + self.next),
                sequence: self.next,
                unacknowledged: 0,
                payload_len: LEN as u32,
            };
            let mut packet = vec![self.byte(self.next); FRONT + SEGMENT_HEADER_LEN + LEN];
            header.encode(&mut packet[FRONT..]);
            self.encoder.encode(Time::ZERO, &mut packet);
            self.next += 1;
            data.push(packet);
        }
        let mut packet = [0; 1500];
        while self.encoder.has_parity() {
            let len = self.encoder.take_parity(&mut packet);
            parity.push(packet[..len].to_vec());
        }
        (data, parity)
    }
}

fn session(conversation: u32) -> Session {
    let config = Config::default();
    let layout = config.layout(Overhead { front: 0, back: 0 });
    let layout = layout.expect("room for data");
    let id = ConversationId::new(conversation);
    Session::new(&config, layout, id, Role::Accept, 3, Time::ZERO)
}

#[test]
fn parity_of_another_conversation_takes_no_place_of_the_true_one() {
    let (mut own, mut other) = (Sender::new(7), Sender::new(9));
    let mut session = session(7);
    for group in 0..400 {
        let ((data, parity), (_, others)) = (own.group(), other.group());
        // Until the ratio is known, nothing is lost.
        let first = if group > 2 { group % DATA } else { DATA };
        let lost = first..first + PARITY;
        for (at, packet) in data.iter().enumerate() {
            if !lost.contains(&at) {
                session.handle_datagram(Time::ZERO, packet);
            }
        }
        for packet in others.iter().chain(&parity) {
            session.handle_datagram(Time::ZERO, packet);
        }
        let mut bytes = [0; 2 * DATA * LEN];
        let len = session.read(Time::ZERO, &mut bytes);
        assert_eq!(len, DATA * LEN, "group {group}");
        // Nothing is placed before the ratio is known.
        let newest = session.stats().fec_newest_group as usize;
        assert!(newest == group || group < 3 && newest == 0, "{newest}");
    }
}

#[test]
fn parity_of_another_conversation_brings_no_wrong_bytes() {
    for seed in seeds(0..20) {
        let mut rng = Rng::new(seed);
        let mut own = Sender::new(rng.next_u32());
        let mut other = Sender::new(rng.next_u32());
        let mut session = session(own.conversation);
        let (mut read, mut refused) = (0, 0);
        for group in 0..400 {
            let ((data, parity), (_, others)) = (own.group(), other.group());
            // Until the ratio is known, nothing is lost.
            let mut lost: Vec<usize> = (0..DATA).collect();
            while lost.len() > PARITY {
                lost.swap_remove(rng.below(lost.len() as u64) as usize);
            }
            let is_lost = |at: usize| group > 2 && lost.contains(&at);
            for (at, packet) in data.iter().enumerate() {
                if !is_lost(at) {
                    session.handle_datagram(Time::ZERO, packet);
                }
            }
            let mixed = parity.iter().zip(&others);
            let errors = session.stats().fec_errors;
            for (own, other) in mixed {
                let takes_other = group > 2 && rng.chance(0.5);
                session.handle_datagram(Time::ZERO, if takes_other { other } else { own });
            }
            refused += session.stats().fec_errors - errors;
            // What was lost comes again, outside of any group.
            for &at in &lost {
                session.handle_datagram(Time::ZERO, &data[at][FRONT..]);
            }
            let mut bytes = [0; 2 * DATA * LEN];
            let len = session.read(Time::ZERO, &mut bytes);
            assert_eq!(len, DATA * LEN, "KCP_SIM_SEED={seed}");
            for segment in bytes[..len].chunks_exact(LEN) {
                let expected = [own.byte(read); LEN];
                assert_eq!(segment, expected, "KCP_SIM_SEED={seed}: segment {read}");
                read += 1;
            }
        }
        assert!(refused > 300, "KCP_SIM_SEED={seed}: {refused}");
        let recovered = session.stats().fec_recovered;
        assert!(recovered > 3 * 25, "KCP_SIM_SEED={seed}: {recovered}");
    }
}
