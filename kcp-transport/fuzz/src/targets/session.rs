//! One session, and a peer that may send anything.

use std::time::Duration;

use kcp_transport::arq::ArqConfig;
use kcp_transport::config::{Config, Mode};
use kcp_transport::crypto::Overhead;
use kcp_transport::packet::{PacketLayout, TransmitBatch};
use kcp_transport::session::{Role, Session};
use kcp_transport::stats::Stats;
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, FrameWriter, SEGMENT_HEADER_LEN, SegmentHeader, Segments, ShardHeader,
    ShardKind, Timestamp,
};

use super::input::Input;
use super::options::any_config;
use super::wire::{any_command, any_frame};

/// Datagrams of any bytes.
pub fn session_input(data: &[u8]) {
    run(data, |input, _| input.chunk().to_vec());
}

/// Datagrams of segments whose numbers are near the session's, or near the ends of their range.
pub fn session_input_structured(data: &[u8]) {
    run(data, structured);
}

fn run(data: &[u8], datagram: impl Fn(&mut Input<'_>, &Victim) -> Vec<u8>) {
    let mut input = Input::new(data);
    let mut victim = Victim::new(&mut input);
    for _ in 0..500 {
        if input.is_empty() {
            break;
        }
        match input.u8() {
            0..=149 => {
                let payload = datagram(&mut input, &victim);
                victim.session.handle_datagram(victim.now, &payload);
            }
            150..=179 => victim.write(input.below(3000)),
            180..=209 => victim.read(input.below(3000)),
            choice @ 210..=239 => {
                victim.now += Duration::from_millis(u64::from(choice - 209).pow(3));
            }
            240..=243 => victim.session.set_memory_pressure(input.flag()),
            244..=246 => victim.session.shutdown(victim.now),
            247 => victim.session.abandon(victim.now),
            248..=249 => {
                let _ = victim.session.send_out_of_band(victim.now, &[1; 20]);
                let _ = victim.session.poll_out_of_band();
            }
            250 => victim.session.handle_refused(victim.now),
            _ => victim.now += Duration::from_secs(u64::from(input.u16())),
        }
        victim.settle();
    }
}

/// How often a timeout may be due at one time, for a session with these statistics.
pub(super) fn most_rounds(stats: &Stats) -> u64 {
    // Losses are looked for in up to 512 transmissions at a time.
    let transmissions = stats.data_segments_sent + stats.retransmitted + stats.redundant_sent;
    4 + 2 * transmissions / 512
}

struct Victim {
    session: Session,
    config: Config,
    layout: PacketLayout,
    batch: TransmitBatch,
    now: Time,
    /// Headers of the last segments sent, for the peer to acknowledge.
    sent: Vec<SegmentHeader>,
    /// The sequence number after the last data sent.
    next: u32,
    /// The sequence number after the last data received in order.
    una: u32,
}

impl Victim {
    fn new(input: &mut Input<'_>) -> Self {
        let mode = input.pick(&[Mode::Stream, Mode::Message]);
        let config = any_config(input, mode);
        let layout = config.layout(Overhead { front: 0, back: 0 });
        let layout = layout.expect("has room");
        let role = input.pick(&[Role::Accept, Role::Connect, Role::ConnectLazy]);
        let now = Time::ZERO;
        let session = Session::new(&config, layout, CONVERSATION, role, SEED, now);
        Self {
            session,
            batch: TransmitBatch::new(layout, 8),
            config,
            layout,
            now,
            sent: Vec::new(),
            next: 0,
            una: 0,
        }
    }

    fn write(&mut self, len: usize) {
        let data = vec![1; len];
        if self.config.mode() == Mode::Message {
            let _ = self.session.write_message(self.now, &data);
        } else {
            self.session.write(self.now, &data);
        }
    }

    fn read(&mut self, len: usize) {
        if self.config.mode() == Mode::Message {
            self.session.read_message(self.now, &mut Vec::new());
        } else {
            self.session.read(self.now, &mut vec![0; len]);
        }
    }

    /// Handles what is due, and checks what must hold for every session at any time.
    fn settle(&mut self) {
        let most_rounds = most_rounds(&self.session.stats());
        for round in 0.. {
            self.session.handle_timeout(self.now);
            self.transmit();
            if self.session.poll_timeout().is_none_or(|at| at > self.now) {
                break;
            }
            assert!(
                round < most_rounds,
                "a timeout stays due after it was handled"
            );
        }
        let due = self.session.poll_timeout();
        let stats = self.session.stats();
        if !self.session.is_validated() {
            let datagram = self.layout.mtu().max(576) as u64;
            let most = 3 * stats.wire_bytes_received.max(datagram);
            let sent = stats.wire_bytes_sent;
            assert!(sent <= most, "amplifies: {sent} bytes, {most} allowed");
        }
        let memory = self.session.memory();
        assert!(memory <= self.budget(), "{memory} bytes");
        if self.session.is_over() {
            assert_eq!(due, None);
        }
    }

    fn transmit(&mut self) {
        for turn in 0.. {
            assert!(turn < 20_000, "sends without end");
            if !self.session.poll_transmit(self.now, &mut self.batch) {
                break;
            }
            let batch = std::mem::replace(&mut self.batch, TransmitBatch::new(self.layout, 8));
            batch.datagrams().for_each(|it| self.on_sent(it));
        }
    }

    fn on_sent(&mut self, datagram: &[u8]) {
        assert!(datagram.len() <= self.layout.mtu());
        let segments = match ShardHeader::detect(datagram) {
            None => datagram,
            Some((header, shard)) if header.kind == ShardKind::Data => {
                ShardHeader::body(shard).expect("a size")
            }
            Some(_) => return,
        };
        for segment in Segments::new(segments) {
            let (header, _) = segment.expect("a whole segment");
            assert_eq!(header.conversation, CONVERSATION);
            assert!(header.window <= self.config.receive_window());
            self.una = header.unacknowledged;
            if header.command == Command::Push && header.sequence == self.next {
                self.next = self.next.wrapping_add(1);
            }
            if self.sent.len() >= 64 {
                self.sent.remove(0);
            }
            self.sent.push(header);
        }
    }

    /// The bound in the documentation of the options, and 16 KiB.
    fn budget(&self) -> usize {
        let receive = self
            .config
            .receive_buffer()
            .unwrap_or_else(|| ArqConfig::default_receive_buffer(self.config.receive_window()));
        // Small writes cost more than their bytes.
        let segments = usize::from(self.config.send_window().max(255));
        let send = self.config.send_buffer();
        let send = send.unwrap_or(segments * self.layout.mss());
        receive + 3 * send + 512 * segments + 2 * (700 << 10) + (16 << 10)
    }
}

fn structured(input: &mut Input<'_>, victim: &Victim) -> Vec<u8> {
    let mut segments = Vec::new();
    for _ in 0..1 + input.below(4) {
        let answered = victim.sent.get(input.below(victim.sent.len().max(1)));
        let command = any_command(input);
        let sequence = match (command, answered) {
            (Command::Ack, Some(sent)) => sent.sequence,
            _ => victim.una,
        };
        let timestamp = answered.map_or(0, |sent| sent.timestamp.to_wire());
        let payload = match command {
            Command::Push | Command::WindowUpdate => input.below(64),
            _ => 0,
        };
        let payload = match input.u8() {
            250.. => input.below(1400),
            _ => payload,
        };
        let header = SegmentHeader {
            conversation: match input.u8() {
                255 => ConversationId::new(input.u32()),
                _ => CONVERSATION,
            },
            command,
            fragments_left: input.u8().saturating_sub(200),
            window: input.pick(&[128, 0, 1, 32, 1024, u16::MAX]),
            timestamp: Timestamp::from_wire(input.near(timestamp)),
            sequence: input.near(sequence),
            unacknowledged: input.near(victim.next),
            payload_len: match input.u8() {
                255 => input.u32(),
                _ => payload as u32,
            },
        };
        let start = segments.len();
        segments.resize(start + SEGMENT_HEADER_LEN, 0);
        if command == Command::WindowUpdate && input.flag() {
            let mut writer = FrameWriter::new(128);
            while writer.push(&any_frame(input, TOKEN)) && input.flag() {}
            let payload_len = writer.payload().len() as u32;
            SegmentHeader {
                payload_len,
                ..header
            }
            .encode(&mut segments[start..]);
            segments.extend_from_slice(writer.payload());
            continue;
        }
        header.encode(&mut segments[start..]);
        let data = input.take(payload);
        segments.extend_from_slice(data);
        segments.resize(start + SEGMENT_HEADER_LEN + payload, 0);
    }
    let kind = match input.u8() {
        0..=179 => return segments,
        180..=229 => ShardKind::Data,
        230..=244 => ShardKind::Parity,
        _ => ShardKind::OutOfBand,
    };
    let mut packet = vec![0; 8];
    packet.append(&mut segments);
    let sequence = input.near(0);
    ShardHeader { sequence, kind }.encode(&mut packet);
    ShardHeader::encode_size(&mut packet[6..]);
    packet
}

/// The token in the upper half, the shift of timestamps in the lower.
const SEED: u128 = (TOKEN as u128) << 64 | 0x0505_0505;

const TOKEN: u64 = 0x0707_0707;

const CONVERSATION: ConversationId = ConversationId::new(7);
