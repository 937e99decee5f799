//! The state machine of segments against a model that knows only the segments sent and received.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use kcp_transport::arq::{Arq, ArqConfig, Provenance};
use kcp_transport::config::{AckPolicy, Congestion, Mode, Percent, Redundancy, WriteCoalescing};
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Segments, Timestamp,
};

use super::input::Input;
use super::pair::pattern;

/// Segments of a peer that sends valid segments, but at any time and any number of times.
pub fn arq_model(data: &[u8]) {
    let mut input = Input::new(data);
    let mut model = Model::new(&mut input);
    for _ in 0..600 {
        if input.is_empty() {
            break;
        }
        match input.u8() {
            0..=59 => model.push(&mut input),
            60..=99 => model.acknowledge(&mut input),
            100..=109 => model.announce_window(&mut input),
            110..=149 => model.write(input.below(700)),
            150..=189 => {
                model.read(input.below(700));
            }
            choice @ 190..=239 => model.wait(Duration::from_millis(u64::from(choice - 190).pow(2))),
            240..=243 => model.arq.set_memory_pressure(input.flag()),
            244..=246 => model.arq.request_probe(),
            247 => model.arq.shrink(),
            _ => model.wait(Duration::from_secs(input.u8().into())),
        }
        model.check();
    }
    model.finish();
}

struct Model {
    arq: Arq,
    config: ArqConfig,
    now: Time,
    first: u32,
    /// What the peer has sent, as offsets from the first.
    pushed: HashSet<u32>,
    /// Bytes read.
    read: u64,
    /// Bytes accepted for sending.
    written: u64,
    /// For each segment sent: the offset of its bytes, their number, and its timestamps.
    sent: BTreeMap<u32, (u64, usize, Vec<u32>)>,
    laid: u64,
    acked: HashSet<u32>,
    una: u32,
    window: u16,
}

impl Model {
    fn new(input: &mut Input<'_>) -> Self {
        let mut config = ArqConfig::default();
        config.segments_len = SEGMENT_HEADER_LEN + input.pick(&[1, 2, 10, 100, 1376]);
        config.send_window = input.pick(&[1, 2, 8, 32, 200]);
        config.receive_window = input.pick(&[1, 2, 8, 32, 200]);
        config.no_delay = input.flag();
        config.flush_interval = Duration::from_millis(input.pick(&[10, 1, 40, 5000]));
        config.fast_retransmit_after = NonZeroU32::new(input.below(4) as u32);
        config.congestion = input.pick(&[Congestion::Unlimited, Congestion::Kcp]);
        config.redundancy = input.pick(&[
            Redundancy::Off,
            Redundancy::Adaptive {
                overhead: Percent::new(100),
            },
            Redundancy::Always {
                copies: 2,
                overhead: Percent::new(300),
            },
        ]);
        config.mode = Mode::Stream;
        config.ack_policy = input.pick(&[AckPolicy::Immediate, AckPolicy::Batched]);
        config.write_coalescing =
            input.pick(&[WriteCoalescing::Immediate, WriteCoalescing::Delayed]);
        config.send_buffer = input.pick(&[1500, 4000, 65_536]);
        config.receive_buffer = input.pick(&[1 << 20, 65_536, 16_384]);
        let first = input.near(u32::MAX - 10);
        let conversation = ConversationId::new(CONVERSATION);
        let arq = Arq::with_initial_sequence(config, conversation, input.u32(), first, first);
        Self {
            arq,
            config,
            now: Time::ZERO,
            first,
            pushed: HashSet::new(),
            read: 0,
            written: 0,
            sent: BTreeMap::new(),
            laid: 0,
            acked: HashSet::new(),
            una: 0,
            window: 32,
        }
    }

    /// The peer's stream offset after its first `offset` segments.
    fn stream_at(offset: u32) -> u64 {
        (0..offset).map(|it| len_of(it) as u64).sum()
    }

    /// Number of the peer's segments received without a gap.
    fn contiguous(&self) -> u32 {
        (0..)
            .find(|it| !self.pushed.contains(it))
            .expect("finitely many")
    }

    fn push(&mut self, input: &mut Input<'_>) {
        let next = self.contiguous();
        let offset = match input.u8() {
            choice @ 0..=127 => next + u32::from(choice) % 4,
            choice => (next + u32::from(choice) % 64).saturating_sub(32),
        };
        self.push_at(offset, input.u32());
    }

    fn push_at(&mut self, offset: u32, timestamp: u32) {
        let start = Self::stream_at(offset);
        let data: Vec<u8> = (start..).take(len_of(offset)).map(pattern).collect();
        self.pushed.insert(offset);
        self.input(Command::Push, offset, timestamp, &data);
    }

    fn acknowledge(&mut self, input: &mut Input<'_>) {
        let count = self.sent.len() as u32;
        if input.flag() && count > self.una {
            let more = 1 + input.below((count - self.una) as usize) as u32;
            self.acknowledge_until(self.una + more);
        }
        let choice = input.below(self.sent.len().max(1)) as u32;
        let Some((_, _, stamps)) = self.sent.get(&choice) else {
            return;
        };
        let stamp = stamps[input.below(stamps.len())];
        self.acked.insert(choice);
        self.input(Command::Ack, choice, stamp, &[]);
    }

    fn acknowledge_until(&mut self, una: u32) {
        // All earlier ones are acknowledged already, and may be many.
        self.acked.extend(self.una..una);
        self.una = una;
    }

    fn announce_window(&mut self, input: &mut Input<'_>) {
        self.window = input.pick(&[0, 1, 2, 8, 32, 200, u16::MAX]);
        let command = input.pick(&[Command::WindowUpdate, Command::WindowProbe]);
        self.input(command, 0, 0, &[]);
    }

    fn input(&mut self, command: Command, offset: u32, timestamp: u32, data: &[u8]) {
        let header = SegmentHeader {
            conversation: ConversationId::new(CONVERSATION),
            command,
            fragments_left: 0,
            window: self.window,
            timestamp: Timestamp::from_wire(timestamp),
            sequence: self.first.wrapping_add(offset),
            unacknowledged: self.first.wrapping_add(self.una),
            payload_len: data.len() as u32,
        };
        let mut bytes = vec![0; SEGMENT_HEADER_LEN];
        header.encode(&mut bytes);
        bytes.extend_from_slice(data);
        let result = self
            .arq
            .handle_payload(self.now, &bytes, Provenance::Direct);
        assert!(result.is_ok(), "{result:?} for {header:?}");
    }

    fn write(&mut self, len: usize) {
        let data: Vec<u8> = (self.written..).take(len).map(pattern).collect();
        let capacity = self.arq.send_capacity();
        let taken = self.arq.write(&data);
        assert!(taken <= capacity && taken <= len);
        self.written += taken as u64;
    }

    fn read(&mut self, len: usize) -> usize {
        let mut out = vec![0; len];
        let read = self.arq.read(&mut out);
        for byte in &out[..read] {
            assert_eq!(*byte, pattern(self.read), "byte {}", self.read);
            self.read += 1;
        }
        assert!(self.read <= Self::stream_at(self.contiguous()));
        read
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        let mut out = vec![0; self.config.segments_len];
        for turn in 0.. {
            assert!(turn < 10_000, "sends without end");
            let len = self.arq.poll_transmit(self.now, &mut out);
            if len == 0 {
                break;
            }
            for segment in Segments::new(&out[..len]) {
                let (header, data) = segment.expect("a whole segment");
                self.on_sent(&header, data);
            }
        }
        let due = self.arq.poll_timeout();
        assert!(
            due.is_none_or(|at| at > self.now),
            "a timeout stays due after it was handled"
        );
    }

    fn on_sent(&mut self, header: &SegmentHeader, data: &[u8]) {
        assert_eq!(header.conversation.get(), CONVERSATION);
        let una = header.unacknowledged.wrapping_sub(self.first);
        assert!(
            una <= self.contiguous(),
            "acknowledges data that never arrived"
        );
        assert!(header.window <= self.config.receive_window);
        let offset = header.sequence.wrapping_sub(self.first);
        match header.command {
            Command::Ack => assert!(
                self.pushed.contains(&offset),
                "acknowledges a segment too many"
            ),
            Command::Push => self.on_data(offset, header.timestamp.to_wire(), data),
            Command::WindowProbe | Command::WindowUpdate => {}
        }
    }

    fn on_data(&mut self, offset: u32, timestamp: u32, data: &[u8]) {
        let count = self.sent.len() as u32;
        assert!(offset <= count, "skips sequence numbers");
        assert!(!self.acked.contains(&offset), "repeats what was received");
        if offset == count {
            let window = u32::from(self.config.send_window.min(self.window));
            assert!(offset < self.una + window, "sends beyond the window");
            self.sent
                .insert(offset, (self.laid, data.len(), Vec::new()));
            self.laid += data.len() as u64;
            assert!(self.laid <= self.written);
        }
        let (start, len, stamps) = self.sent.get_mut(&offset).expect("known by now");
        assert_eq!(*len, data.len());
        assert!((*start..).zip(data).all(|(at, byte)| pattern(at) == *byte));
        stamps.push(timestamp);
    }

    fn check(&self) {
        assert_eq!(self.arq.in_flight(), self.sent.len() - self.acked.len());
        let drained = self.laid == self.written && self.acked.len() == self.sent.len();
        assert_eq!(self.arq.is_drained(), drained);
        assert_eq!(self.arq.remote_window(), self.window);
    }

    /// With a peer that repeats missing segments and a reader that reads, all data arrives.
    fn finish(&mut self) {
        self.arq.set_memory_pressure(false);
        let highest = self.pushed.iter().max().map_or(0, |it| it + 1);
        for offset in 0..highest {
            self.push_at(offset, 0);
            while self.read(700) > 0 {}
        }
        assert_eq!(self.read, Self::stream_at(highest));
        self.arq.finish_writing();
        self.window = 200;
        self.input(Command::WindowUpdate, 0, 0, &[]);
        for turn in 0.. {
            assert!(turn < 100_000, "does not finish");
            let due = self.arq.poll_timeout();
            let until = due.unwrap_or(self.now).max(self.now);
            self.wait(until - self.now);
            self.acknowledge_until(self.sent.len() as u32);
            if self.arq.is_drained() {
                break;
            }
            self.input(Command::WindowUpdate, 0, 0, &[]);
        }
        assert_eq!(self.laid, self.written);
    }
}

/// Bytes of the peer's segment.
fn len_of(offset: u32) -> usize {
    1 + offset as usize % 7
}

const CONVERSATION: u32 = 0x0102_0304;
