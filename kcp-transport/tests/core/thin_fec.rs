//! A thin flow of a kcp-go sender with FEC: what is rebuilt must not make its time-outs longer.

use std::collections::VecDeque;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Overhead;
use kcp_transport::fec::{FecEncoder, FecRatio};
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session};
use kcp_transport::testing::Rng;
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, SEGMENT_HEADER_LEN, SHARD_HEADER_LEN, SHARD_SIZE_LEN, SegmentHeader,
    Segments, Timestamp,
};

const CONVERSATION: ConversationId = ConversationId::new(7);
const FRONT: usize = SHARD_HEADER_LEN + SHARD_SIZE_LEN;
const LEN: usize = 40;
/// Of kcp-go's clock, in milliseconds, as all times here.
const TICK: i64 = 20;
const ONE_WAY: i64 = 25;

/// A segment in flight.
struct Sent {
    sequence: u32,
    timestamp: i64,
    resend_at: i64,
    rto: i64,
    later_acks: u32,
}

/// kcp-go v5 kcp.go, Input, parse_fastack, update_ack and flush, as far as a thin flow needs them.
struct KcpGo {
    encoder: FecEncoder,
    flight: Vec<Sent>,
    next: u32,
    srtt: i64,
    rttvar: i64,
    rto: i64,
}

impl KcpGo {
    fn new() -> Self {
        Self {
            encoder: FecEncoder::new(FecRatio::new(10, 3).expect("in range")),
            flight: Vec::new(),
            next: 0,
            srtt: 0,
            rttvar: 0,
            rto: 200,
        }
    }

    fn write(&mut self, now: i64) {
        self.flight.push(Sent {
            sequence: self.next,
            timestamp: now,
            resend_at: now,
            rto: self.rto,
            later_acks: 0,
        });
        self.next += 1;
    }

    /// The datagrams of a tick.
    fn flush(&mut self, now: i64) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let una = self.flight.first().map_or(self.next, |it| it.sequence);
        for sent in &mut self.flight {
            let is_fast = sent.later_acks >= 2;
            if sent.resend_at > now && !is_fast {
                continue;
            }
            if sent.timestamp < now && !is_fast {
                sent.rto += self.rto / 2;
            }
            sent.later_acks = 0;
            sent.timestamp = now;
            sent.resend_at = now + sent.rto;
            let header = SegmentHeader {
                conversation: CONVERSATION,
                command: Command::Push,
                fragments_left: 0,
                window: 128,
                timestamp: Timestamp::from_wire(now as u32),
                sequence: sent.sequence,
                unacknowledged: 0,
                payload_len: LEN as u32,
            };
            let mut packet = vec![una as u8; FRONT + SEGMENT_HEADER_LEN + LEN];
            header.encode(&mut packet[FRONT..]);
            self.encoder
                .encode(Time::from_millis(now as u64), &mut packet);
            datagrams.push(packet);
            let mut parity = [0; 1500];
            while self.encoder.has_parity() {
                let len = self.encoder.take_parity(&mut parity);
                datagrams.push(parity[..len].to_vec());
            }
        }
        datagrams
    }

    fn input(&mut self, now: i64, payload: &[u8]) {
        let mut latest = None;
        for (header, _) in Segments::new(payload).map_while(Result::ok) {
            let una = header.unacknowledged;
            self.flight.retain(|it| it.sequence >= una);
            if header.command == Command::Ack {
                let timestamp = i64::from(header.timestamp.to_wire());
                self.flight.retain(|it| it.sequence != header.sequence);
                for sent in &mut self.flight {
                    let is_later = header.sequence > sent.sequence && timestamp >= sent.timestamp;
                    sent.later_acks += u32::from(is_later);
                }
                latest = Some(timestamp);
            }
        }
        if let Some(latest) = latest {
            self.on_sample(now - latest);
        }
    }

    fn on_sample(&mut self, rtt: i64) {
        if self.srtt == 0 {
            (self.srtt, self.rttvar) = (rtt, rtt / 2);
        } else {
            let delta = rtt - self.srtt;
            self.srtt += delta >> 3;
            let shift = if rtt < self.srtt - self.rttvar { 5 } else { 2 };
            self.rttvar += (delta.abs() - self.rttvar) >> shift;
        }
        self.rto = (self.srtt + (4 * self.rttvar).max(TICK)).clamp(30, 60_000);
    }
}

/// The longest time-out after the first second, and the segments that the receiver rebuilt.
fn run(seed: u64) -> (i64, u64) {
    let config = Config::default();
    let layout = config.layout(Overhead { front: 0, back: 0 });
    let layout = layout.expect("room for data");
    let mut receiver = Session::new(&config, layout, CONVERSATION, Role::Accept, 3, Time::ZERO);
    let mut batch = TransmitBatch::new(layout, 8);
    let (mut sender, mut rng) = (KcpGo::new(), Rng::new(seed));
    let mut up: VecDeque<(i64, Vec<u8>)> = VecDeque::new();
    let mut down: VecDeque<(i64, Vec<u8>)> = VecDeque::new();
    let mut longest = 0;
    for now in 1..30_000 {
        let at = Time::ZERO + Duration::from_millis(now as u64);
        if now % TICK == 0 {
            sender.write(now);
            for datagram in sender.flush(now) {
                if !rng.chance(0.1) {
                    up.push_back((now + ONE_WAY, datagram));
                }
            }
        }
        while up.front().is_some_and(|it| it.0 <= now)
            && let Some((_, datagram)) = up.pop_front()
        {
            receiver.handle_datagram(at, &datagram);
        }
        receiver.handle_timeout(at);
        receiver.read(at, &mut [0; 4096]);
        while receiver.poll_transmit(at, &mut batch) {
            for datagram in batch.datagrams() {
                if !rng.chance(0.1) {
                    down.push_back((now + ONE_WAY, datagram.to_vec()));
                }
            }
            batch.clear();
        }
        while down.front().is_some_and(|it| it.0 <= now)
            && let Some((_, datagram)) = down.pop_front()
        {
            sender.input(now, &datagram);
        }
        if now > 1000 {
            longest = longest.max(sender.rto);
        }
    }
    assert!(sender.flight.len() < 50, "{} wait", sender.flight.len());
    (longest, receiver.stats().fec_recovered)
}

#[test]
fn rebuilt_segments_do_not_lengthen_the_time_out_of_a_kcp_go_sender() {
    for seed in 0..10 {
        let (longest, rebuilt) = run(seed);
        println!("seed {seed}: at most {longest} ms, {rebuilt} rebuilt");
        assert!(longest <= 2 * 2 * ONE_WAY, "{longest} ms");
        assert!(rebuilt > 10, "only {rebuilt}");
    }
}
