//! Tests of the whole state machine, and shared helpers.

mod coalescing;
mod controlling;
mod exchange;
mod forgery;
mod memory;
mod models;
mod protecting;
mod receiving;
mod retransmitting;
mod sending;
mod window;

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::error::DecodeError;
use crate::stats::Stats;
use crate::wire::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Segments};

const CONVERSATION: ConversationId = ConversationId::new(0x1234);
const OFFSET: u32 = 77_000;
const MSS: usize = 100;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// Fast2 timing; a datagram holds five acks or one full segment.
fn config() -> ArqConfig {
    ArqConfig {
        segments_len: MSS + SEGMENT_HEADER_LEN,
        send_window: 64,
        receive_window: 16,
        no_delay: true,
        flush_interval: ms(20),
        fast_retransmit_after: NonZeroU32::new(2),
        congestion: Congestion::Unlimited,
        redundancy: Redundancy::Off,
        mode: Mode::Stream,
        ack_policy: AckPolicy::Immediate,
        write_coalescing: WriteCoalescing::Immediate,
        send_buffer: 64 * MSS,
        receive_buffer: ArqConfig::default_receive_buffer(16),
    }
}

/// As [`config`], with another receive window and the receive buffer it needs.
fn with_window(receive_window: u16) -> ArqConfig {
    ArqConfig {
        receive_window,
        receive_buffer: ArqConfig::default_receive_buffer(receive_window),
        ..config()
    }
}

fn arq(config: ArqConfig) -> Arq {
    Arq::new(config, CONVERSATION, OFFSET)
}

/// A conversation with `segments` full segments in flight, sent at `now`.
fn sent(config: ArqConfig, segments: usize, now: Time) -> Arq {
    let mut arq = arq(config);
    arq.handle_payload(now, &tell(0, 1000), Provenance::Direct)
        .expect("valid");
    assert_eq!(arq.write(&vec![7; segments * MSS]), segments * MSS);
    assert_eq!(pushes(&mut arq, now).len(), segments);
    arq
}

fn header(command: Command) -> SegmentHeader {
    SegmentHeader {
        conversation: CONVERSATION,
        command,
        fragments_left: 0,
        window: 1000,
        timestamp: Timestamp::default(),
        sequence: 0,
        unacknowledged: 0,
        payload_len: 0,
    }
}

fn encode(header: SegmentHeader, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; SEGMENT_HEADER_LEN];
    let payload_len = data.len() as u32;
    SegmentHeader {
        payload_len,
        ..header
    }
    .encode(&mut bytes);
    bytes.extend_from_slice(data);
    bytes
}

fn push(sequence: u32, data: &[u8]) -> Vec<u8> {
    let timestamp = Timestamp::from_wire(sequence + 500);
    encode(
        SegmentHeader {
            sequence,
            timestamp,
            ..header(Command::Push)
        },
        data,
    )
}

/// An ack of a segment sent at `sent`.
fn ack(sequence: u32, sent: Time, una: u32) -> Vec<u8> {
    encode(
        SegmentHeader {
            sequence,
            timestamp: stamp(sent, OFFSET),
            unacknowledged: una,
            ..header(Command::Ack)
        },
        &[],
    )
}

fn tell(una: u32, window: u16) -> Vec<u8> {
    encode(
        SegmentHeader {
            unacknowledged: una,
            window,
            ..header(Command::WindowUpdate)
        },
        &[],
    )
}

fn direct(arq: &mut Arq, now: Time, payload: &[u8]) -> Outcome {
    arq.handle_payload(now, payload, Provenance::Direct)
        .expect("valid")
}

/// All datagrams due now.
fn datagrams(arq: &mut Arq, now: Time) -> Vec<Vec<u8>> {
    let mut out = [0; 1500];
    let mut datagrams = Vec::new();
    loop {
        let len = arq.poll_transmit(now, &mut out);
        if len == 0 {
            return datagrams;
        }
        datagrams.push(out[..len].to_vec());
    }
}

fn segments(payload: &[u8]) -> Vec<SegmentHeader> {
    Segments::new(payload)
        .map(|segment| segment.expect("ours").0)
        .collect()
}

/// Headers of all segments due now.
fn transmit(arq: &mut Arq, now: Time) -> Vec<SegmentHeader> {
    let all = datagrams(arq, now);
    all.iter().flat_map(|payload| segments(payload)).collect()
}

/// Sequence numbers of all segments of a command that are due now.
fn sequences(arq: &mut Arq, now: Time, command: Command) -> Vec<u32> {
    let all = transmit(arq, now).into_iter();
    all.filter(|header| header.command == command)
        .map(|header| header.sequence)
        .collect()
}

fn pushes(arq: &mut Arq, now: Time) -> Vec<u32> {
    sequences(arq, now, Command::Push)
}

fn commands(arq: &mut Arq, now: Time) -> Vec<Command> {
    let all = transmit(arq, now).into_iter();
    all.map(|header| header.command).collect()
}

fn stats(arq: &Arq) -> Stats {
    let mut stats = Stats::default();
    arq.stats_into(&mut stats);
    stats
}

#[test]
fn new_conversation_holds_no_memory_and_has_no_timer() {
    let arq = arq(config());
    assert_eq!(arq.memory(), 0);
    assert_eq!(arq.poll_timeout(), None);
    assert!(arq.is_drained());
    assert!(size_of::<Arq>() <= 1024, "{} bytes", size_of::<Arq>());
}
