//! How much memory a peer, a reader and a writer can make a conversation hold.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Allowed beyond the budget: spare capacity of lists and of a segment.
const SLACK: usize = 16 * 1024;

/// Lengths around each limit of the buffer classes.
const LENGTHS: [usize; 10] = [0, 1, 2, 67, 100, 511, 512, 700, 1376, 1476];

#[derive(Clone, Debug)]
enum Step {
    /// A segment that far after the next expected one, of that length.
    Push(u32, usize),
    /// A run of segments without a gap.
    Run(u32, u32, usize),
    Read(usize),
    Transmit,
    Pressure(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop::sample::select(&LENGTHS[..]);
    let ahead = prop_oneof![0..4_u32, 0..200_u32, 0..70_000_u32];
    let run = (0..300_u32, 1..300_u32, len.clone());
    let step = prop_oneof![
        8 => (ahead, len).prop_map(|(ahead, len)| Step::Push(ahead, len)),
        3 => run.prop_map(|(ahead, count, len)| Step::Run(ahead, count, len)),
        2 => (0..200_000_usize).prop_map(Step::Read),
        1 => Just(Step::Transmit),
        1 => any::<bool>().prop_map(Step::Pressure),
    ];
    prop::collection::vec(step, 1..120)
}

fn configs() -> impl Strategy<Value = ArqConfig> {
    let window = prop::sample::select(&[1_u16, 16, 128, 1000, 65_535][..]);
    let buffer = prop::sample::select(&[Some(16 * 1024), Some(64 * 1024), Some(1 << 20), None][..]);
    (window, buffer).prop_map(|(window, buffer)| {
        let config = with_window(window);
        ArqConfig {
            receive_buffer: buffer.unwrap_or(config.receive_buffer),
            ..config
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn adversarial_sizes_stay_within_the_receive_budget_and_lose_nothing_acknowledged(
        config in configs(), steps in steps(),
    ) {
        let mut arq = arq(config);
        let mut acknowledged = BTreeMap::new();
        let mut read = Vec::new();
        let mut most = 0;
        let offer = |arq: &mut Arq, acknowledged: &mut BTreeMap<u32, Vec<u8>>, sequence, len| {
            let data = vec![sequence as u8; len];
            let before = stats(arq);
            direct(arq, at(0), &push(sequence, &data));
            let after = stats(arq);
            let new = before.out_of_window_received == after.out_of_window_received
                && before.duplicates_received == after.duplicates_received;
            if new {
                acknowledged.insert(sequence, data);
            }
            new
        };
        for step in steps {
            let next = arq.receive.next().to_wire();
            match step {
                Step::Push(ahead, len) => {
                    offer(&mut arq, &mut acknowledged, next + ahead, len);
                }
                Step::Run(ahead, count, len) => {
                    for sequence in next + ahead..next + ahead + count {
                        offer(&mut arq, &mut acknowledged, sequence, len);
                    }
                }
                Step::Read(limit) => {
                    let mut out = vec![0; limit];
                    let len = arq.read(&mut out);
                    read.extend_from_slice(&out[..len]);
                }
                Step::Transmit => {
                    transmit(&mut arq, at(0));
                }
                Step::Pressure(on) => arq.set_memory_pressure(on),
            }
            most = most.max(arq.memory());
            prop_assert!(
                arq.memory() <= config.receive_buffer + SLACK,
                "{} of {}", arq.memory(), config.receive_buffer
            );
        }
        // With an active reader, the next segment is accepted however much waits behind it.
        arq.set_memory_pressure(false);
        let last = acknowledged.last_key_value().map_or(0, |(&last, _)| last);
        loop {
            let mut out = vec![0; 100_000];
            let len = arq.read(&mut out);
            read.extend_from_slice(&out[..len]);
            let next = arq.receive.next().to_wire();
            if next > last && len == 0 {
                break;
            }
            if len == 0 {
                prop_assert!(arq.receive.window() > 0, "an empty buffer has room");
                prop_assert!(offer(&mut arq, &mut acknowledged, next, 1476), "taken");
            }
            prop_assert!(arq.memory() <= config.receive_buffer + SLACK);
        }
        let sent: Vec<u8> = acknowledged.into_values().flatten().collect();
        prop_assert!(read == sent, "{} bytes of {}", read.len(), sent.len());
    }
}

/// A window that needs more memory than the budget of 64 KiB has.
fn scarce() -> Arq {
    arq(ArqConfig {
        receive_buffer: 64 * 1024,
        ..with_window(1000)
    })
}

#[test]
fn one_byte_segments_take_less_than_a_hundred_bytes_each() {
    let mut arq = arq(with_window(1024));
    for sequence in 0..1024 {
        direct(&mut arq, at(0), &push(sequence, b"x"));
        transmit(&mut arq, at(0));
    }
    assert_eq!(arq.unread(), 1024);
    assert!(arq.memory() < 100 * 1024, "{}", arq.memory());
}

#[test]
fn default_budget_never_makes_the_window_smaller() {
    for window in [1, 2, 100, 127, 128, 129, 1000, 1024, 1025] {
        let mut arq = arq(with_window(window));
        for round in 0..3 {
            // The worst order: all but the first segment, then the first.
            let next = u32::from(window) * round;
            for sequence in (next + 1..next + u32::from(window)).rev() {
                direct(&mut arq, at(0), &push(sequence, &[1; 1476]));
                assert_eq!(arq.receive.window(), window);
            }
            direct(&mut arq, at(0), &push(next, &[1; 1476]));
            assert_eq!(arq.receive.window(), 0);
            assert_eq!(arq.unread(), usize::from(window));
            let mut out = vec![0; 1476 * usize::from(window)];
            assert_eq!(arq.read(&mut out), out.len());
            assert_eq!(arq.receive.window(), window);
        }
        assert_eq!(stats(&arq).out_of_window_received, 0);
    }
}

#[test]
fn advertised_window_shrinks_under_pressure_of_the_budget() {
    let mut arq = scarce();
    let room = 40; // 15/16 of 64 KiB, by 1500
    assert_eq!(arq.receive.window(), room);
    let mut sequence = 0;
    while arq.receive.window() > 0 {
        direct(&mut arq, at(0), &push(sequence, &[1; 1476]));
        sequence += 1;
        assert!(arq.receive.window() >= room.saturating_sub(sequence as u16));
    }
    transmit(&mut arq, at(0));
    assert_eq!(stats(&arq).out_of_window_received, 0);
    direct(&mut arq, at(0), &push(sequence, &[1; 1476]));
    assert_eq!(stats(&arq).out_of_window_received, 1);
    // Neither accepted nor acknowledged.
    assert_eq!(commands(&mut arq, at(0)), [Command::WindowUpdate]);
    arq.read(&mut [0; 20 * 1476]);
    assert_eq!(commands(&mut arq, at(1)), [Command::WindowUpdate]);
    assert!(arq.receive.window() >= 20);
}

#[test]
fn early_data_beyond_the_budget_is_not_acknowledged_and_the_missing_segment_always_is() {
    let mut arq = scarce();
    let early = (1..1000).filter(|&sequence| {
        direct(&mut arq, at(0), &push(sequence, &[1; 1476]));
        sequences(&mut arq, at(0), Command::Ack) == [sequence]
    });
    let early = early.count();
    assert!((38..=41).contains(&early), "{early}");
    direct(&mut arq, at(0), &push(0, &[1; 1476]));
    assert_eq!(arq.unread(), early + 1);
}

#[test]
fn distant_segment_is_charged_for_all_that_is_missing_before_it() {
    let mut arq = scarce();
    let steps = [
        (41, 1, false),
        (40, 1, true),
        (41, 1476, false),
        (41, 1, true),
        (39, 1476, true),
        (0, 1476, true),
    ];
    for (sequence, len, taken) in steps {
        direct(&mut arq, at(0), &push(sequence, &[1; 1476][..len]));
        let acked = sequences(&mut arq, at(0), Command::Ack);
        assert_eq!(!acked.is_empty(), taken, "{sequence} of {len}");
    }
}

#[test]
fn pressure_from_outside_shrinks_the_window_and_its_end_is_announced() {
    let mut arq = arq(with_window(1024));
    direct(&mut arq, at(0), &encode(header(Command::WindowProbe), b""));
    assert_eq!(transmit(&mut arq, at(0))[0].window, 1024);
    arq.set_memory_pressure(true);
    assert_eq!(arq.receive.window(), 8);
    // Segments already on their way are accepted as long as the reader keeps up.
    for sequence in 0..100 {
        direct(&mut arq, at(1), &push(sequence, &[1; 1476]));
        assert_eq!(arq.read(&mut [0; 1476]), 1476);
    }
    // Without the reader, no more than the small window is accepted.
    for sequence in 100..200 {
        direct(&mut arq, at(2), &push(sequence, &[1; 1476]));
    }
    assert_eq!((arq.unread(), arq.receive.window()), (8, 0));
    transmit(&mut arq, at(2));
    arq.set_memory_pressure(false);
    assert_eq!(transmit(&mut arq, at(3))[0].window, 1016);
}

#[test]
fn pressure_does_not_stop_a_message_that_is_longer_than_the_small_window() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        ..with_window(1024)
    });
    arq.set_memory_pressure(true);
    for sequence in 0..256 {
        let frg = 255 - sequence as u8;
        let fragment = SegmentHeader {
            sequence,
            fragments_left: frg,
            ..super::header(Command::Push)
        };
        direct(&mut arq, at(0), &encode(fragment, &[1; 1476]));
    }
    let mut message = Vec::new();
    assert!(arq.read_message(&mut message));
    assert_eq!(message.len(), 256 * 1476);
}

/// Sends the fragments of one message within the advertised windows until it can be read. Returns
/// the number of round trips.
fn round_trips_of_a_message(receiver: &mut Arq, fragments: u32) -> Option<usize> {
    let mut told = usize::from(receiver.receive.window());
    let mut sent = 0;
    let mut message = Vec::new();
    for trip in 1..=1000 {
        let flight = told.min((fragments - sent) as usize) as u32;
        for sequence in sent..sent + flight {
            let fragment = SegmentHeader {
                sequence,
                fragments_left: (fragments - 1 - sequence) as u8,
                ..super::header(Command::Push)
            };
            direct(receiver, at(0), &encode(fragment, &[1; 1476]));
        }
        if receiver.read_message(&mut message) {
            return Some(trip);
        }
        let answers = transmit(receiver, at(0));
        let (una, window) = answers
            .last()
            .map_or((sent, 0), |answer| (answer.unacknowledged, answer.window));
        assert_eq!(
            una,
            sent + flight,
            "everything sent within the window is accepted"
        );
        (sent, told) = (una, window.into());
    }
    None
}

#[test]
fn window_admits_a_whole_message_before_it_can_be_read() {
    // More fragments than fit into any budget, from a sender that keeps to the window.
    for (pressed, receive_buffer, most) in [(false, 64 * 1024, 30), (true, 1 << 21, 40)] {
        let mut receiver = arq(ArqConfig {
            mode: Mode::Message,
            receive_buffer,
            ..with_window(1024)
        });
        receiver.set_memory_pressure(pressed);
        let trips = round_trips_of_a_message(&mut receiver, 256);
        assert!(trips.is_some_and(|trips| trips <= most), "{trips:?}");
        let idle = receiver.receive.window();
        assert!(idle > 0, "there is room again");
    }
}

#[test]
fn window_is_closed_while_a_whole_message_waits_for_its_reader() {
    let mut receiver = arq(ArqConfig {
        mode: Mode::Message,
        ..with_window(1024)
    });
    receiver.set_memory_pressure(true);
    for sequence in 0..8 {
        direct(&mut receiver, at(0), &push(sequence, &[1; 1476]));
    }
    assert_eq!(receiver.receive.window(), 0);
}

#[test]
fn one_byte_messages_are_not_accepted_beyond_the_send_window() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        send_window: 1024,
        send_buffer: 1 << 20,
        ..config()
    });
    let mut now = at(0);
    let mut taken = 0;
    for _ in 0..10_000 {
        taken += arq.write(b"x");
        now += ms(1);
        transmit(&mut arq, now);
    }
    // 32 segments are sent, since the peer has advertised no window yet; the rest waits.
    assert_eq!((taken, arq.queued(), arq.in_flight()), (1056, 1024, 32));
    assert!(arq.is_crowded());
    assert!(arq.memory() < 512 * 1024, "{}", arq.memory());
    direct(&mut arq, now, &tell(0, 65_535));
    transmit(&mut arq, now);
    while arq.write(b"x") > 0 {}
    assert_eq!((arq.queued(), arq.in_flight()), (1024, 1024));
    assert!(arq.memory() < 512 * 1024, "{}", arq.memory());
}

#[test]
fn released_conversation_keeps_only_readable_data() {
    let mut arq = sent(config(), 20, Time::ZERO);
    arq.write(&[1; 10_000]);
    for sequence in [0, 1, 2, 4, 5, 6, 7, 8] {
        direct(
            &mut arq,
            Time::ZERO,
            &push(sequence, &[sequence as u8; 1000]),
        );
    }
    arq.release();
    let held = arq.memory();
    assert!((3000..3000 + 1024).contains(&held), "{held}");
    assert_eq!((arq.queued(), arq.in_flight(), arq.unread()), (0, 0, 3));
    let mut out = [0; 5000];
    assert_eq!(arq.read(&mut out), 3000);
    assert_eq!((out[0], out[1000], out[2000]), (0, 1, 2));
    arq.release();
    assert_eq!(arq.memory(), 0);
}

#[test]
fn segment_that_is_never_acknowledged_holds_no_more_memory_the_longer_it_is_sent_again() {
    let congestion = Congestion::Model;
    let mut arq = arq(ArqConfig {
        congestion,
        ..config()
    });
    arq.write(b"hello");
    let mut now = Time::ZERO;
    while now < at(30_000) {
        transmit(&mut arq, now);
        now = arq
            .poll_timeout()
            .expect("waits for an ack")
            .max(now + ms(1));
    }
    assert!(stats(&arq).retransmitted >= 20, "{:?}", stats(&arq));
    assert!(arq.memory() <= 2500, "{} bytes", arq.memory());
}
