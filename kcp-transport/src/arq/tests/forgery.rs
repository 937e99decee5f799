//! Forged datagrams, from a sender that does not know the state of the conversation.

use super::*;
use proptest::prelude::*;

/// The field that is forged; all other fields are random.
#[derive(Clone, Debug)]
enum Forgery {
    /// A `una` that far beyond the data sent, with valid segments before and after it.
    Unsent(u32),
    /// Any window in a segment whose `una` is that far in the past.
    StaleWindow(u32),
    /// Ack of a segment in flight, that many milliseconds after its last transmission.
    Echo(u32),
    /// Ack of a segment that far beyond those in flight.
    UnsentAck(u32),
    /// Data that far beyond the reach.
    BeyondReach(u32),
    /// A length that far beyond the datagram.
    Length(u32),
    Command(u8),
    Conversation(u32),
    /// Cut off in the header.
    Cut(usize),
}

fn forgeries() -> impl Strategy<Value = Forgery> {
    let behind = 4..1_u32 << 31;
    prop_oneof![
        prop_oneof![1..100_u32, 1..(1_u32 << 31) - 10].prop_map(Forgery::Unsent),
        behind.prop_map(Forgery::StaleWindow),
        prop_oneof![1..1000_u32, 1..u32::MAX - 200].prop_map(Forgery::Echo),
        (0..1_u32 << 30).prop_map(Forgery::UnsentAck),
        (0..1_u32 << 30).prop_map(Forgery::BeyondReach),
        prop_oneof![1..100_u32, 1..u32::MAX - 200].prop_map(Forgery::Length),
        prop_oneof![0..=80_u8, 85..=255_u8].prop_map(Forgery::Command),
        (1..u32::MAX).prop_map(Forgery::Conversation),
        (1..SEGMENT_HEADER_LEN).prop_map(Forgery::Cut),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    prop::sample::select(&[Command::Push, Command::Ack, Command::WindowUpdate][..])
}

/// An active conversation: some of the data in flight is acknowledged or retransmitted, and data
/// was received in order and early and not read.
fn live() -> Arq {
    let mut arq = sent(config(), 12, at(0));
    let mut acks = ack(0, at(0), 4);
    acks.extend(ack(6, at(0), 4));
    direct(&mut arq, at(40), &acks);
    for sequence in [0, 1, 2, 5, 9] {
        direct(&mut arq, at(45), &push(sequence, b"data"));
    }
    arq.read(&mut [0; 6]);
    transmit(&mut arq, at(50));
    arq.write(&[1; 150]);
    arq
}

/// The whole state except for the counters and the time of the last call.
fn digest(arq: &mut Arq) -> String {
    arq.counters = Counters::default();
    arq.last_call = Time::ZERO;
    arq.una_regressed = None;
    format!("{arq:?}")
}

/// The forged datagram, for what [`live`] returns.
fn forge(forgery: &Forgery, random: SegmentHeader, data: &[u8]) -> Vec<u8> {
    const UNA: u32 = 4;
    const SENT: u32 = 12;
    let genuine = ack(7, at(0), 5);
    let stale = SegmentHeader {
        unacknowledged: UNA.wrapping_sub(9),
        ..random
    };
    match *forgery {
        Forgery::Unsent(beyond) => {
            let unacknowledged = SENT + beyond;
            let forged = SegmentHeader {
                unacknowledged,
                ..random
            };
            [genuine.clone(), encode(forged, data), genuine].concat()
        }
        Forgery::StaleWindow(behind) => {
            let forged = SegmentHeader {
                unacknowledged: UNA.wrapping_sub(behind),
                command: Command::WindowUpdate,
                ..random
            };
            encode(forged, data)
        }
        Forgery::Echo(after) => {
            let forged = SegmentHeader {
                command: Command::Ack,
                sequence: 8,
                timestamp: Timestamp::from_wire(stamp(at(0), OFFSET).to_wire().wrapping_add(after)),
                ..stale
            };
            [encode(forged, &[]), genuine].concat()
        }
        Forgery::UnsentAck(beyond) => {
            let forged = SegmentHeader {
                command: Command::Ack,
                sequence: SENT + beyond,
                ..stale
            };
            encode(forged, &[])
        }
        Forgery::BeyondReach(beyond) => {
            let forged = SegmentHeader {
                command: Command::Push,
                sequence: 3 + 128 + beyond,
                ..stale
            };
            encode(forged, data)
        }
        Forgery::Length(beyond) => {
            let mut forged = encode(random, data);
            let len = data.len() as u32 + 24 + beyond;
            forged[20..24].copy_from_slice(&len.to_le_bytes());
            [forged, genuine[..24].to_vec()].concat()
        }
        Forgery::Command(command) => {
            let mut forged = encode(random, data);
            forged[4] = command;
            [forged, genuine].concat()
        }
        Forgery::Conversation(difference) => {
            let conversation = ConversationId::new(CONVERSATION.get() ^ difference);
            let forged = SegmentHeader {
                conversation,
                ..random
            };
            [encode(forged, data), genuine].concat()
        }
        Forgery::Cut(len) => encode(random, data)[..len].to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn forged_una_wnd_ts_frg_and_len_change_nothing_but_counters(
        forged in prop::collection::vec(
            (
                forgeries(),
                (commands(), any::<u8>(), any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>()),
                prop::collection::vec(any::<u8>(), 0..60),
            ),
            1..5,
        ),
        recovered: bool,
    ) {
        let mut arq = live();
        let before = digest(&mut arq);
        for (forgery, (command, frg, window, ts, sn, una), data) in forged {
            let random = SegmentHeader {
                conversation: CONVERSATION,
                command,
                fragments_left: frg,
                window,
                timestamp: Timestamp::from_wire(ts),
                sequence: sn,
                unacknowledged: una,
                payload_len: 0,
            };
            let datagram = forge(&forgery, random, &data);
            let from = if recovered { Provenance::Recovered } else { Provenance::Direct };
            let result = arq.handle_payload(at(60), &datagram, from);
            let (counted, refused) = (arq.counters, result.is_err());
            let harmless = matches!(
                forgery,
                Forgery::StaleWindow(_) | Forgery::UnsentAck(_) | Forgery::BeyondReach(_)
            );
            prop_assert_eq!(refused, !harmless);
            prop_assert!(refused || counted.segments_received > 0, "counted one way or other");
            prop_assert_eq!(digest(&mut arq), before.clone());
        }
    }
}

#[test]
fn one_forged_echo_does_not_move_the_time_out() {
    let mut arq = sent(config(), 4, at(100_000));
    direct(&mut arq, at(100_040), &ack(0, at(100_000), 1));
    let rto = arq.rto();
    let exact = stamp(at(100_000), OFFSET).to_wire();
    let near = 1..70_000_u32;
    let far = (0..32).map(|bit| 1 << bit);
    for distance in near.chain(far) {
        for echo in [exact.wrapping_add(distance), exact.wrapping_sub(distance)] {
            let mut forged = ack(1, at(0), 1);
            forged[8..12].copy_from_slice(&echo.to_le_bytes());
            let refused = arq.handle_payload(at(100_050), &forged, Provenance::Direct);
            assert_eq!(refused, Err(DecodeError::EchoesUnsent));
            assert_eq!((arq.rto(), arq.in_flight()), (rto, 3));
        }
    }
    direct(&mut arq, at(100_050), &ack(1, at(100_000), 1));
    assert_ne!(arq.rto(), rto, "the true echo does");
}
