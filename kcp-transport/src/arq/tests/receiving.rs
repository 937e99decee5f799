//! Receiving, acknowledging and the advertised window.

mod gap;
mod received;

use super::*;

fn read_all(arq: &mut Arq) -> Vec<u8> {
    let mut all = Vec::new();
    let mut out = [0; 7];
    loop {
        let len = arq.read(&mut out);
        if len == 0 {
            return all;
        }
        all.extend_from_slice(&out[..len]);
    }
}

fn acks(arq: &mut Arq, now: Time) -> Vec<u32> {
    sequences(arq, now, Command::Ack)
}

fn fragment(sequence: u32, fragments_left: u8, data: &[u8]) -> Vec<u8> {
    encode(
        SegmentHeader {
            sequence,
            fragments_left,
            ..header(Command::Push)
        },
        data,
    )
}

#[test]
fn ack_echoes_number_and_timestamp_and_carries_una_and_window() {
    let mut arq = arq(config());
    direct(&mut arq, at(0), &push(0, b"a"));
    direct(&mut arq, at(0), &push(2, b"c"));
    let sent = transmit(&mut arq, at(0));
    assert_eq!(sent.len(), 1, "una covers the first, the last is echoed");
    assert_eq!((sent[0].sequence, sent[0].timestamp.to_wire()), (2, 502));
    assert_eq!((sent[0].unacknowledged, sent[0].window), (1, 15));
}

#[test]
fn data_alone_is_not_left_while_acks_wait() {
    let mut arq = arq(config());
    arq.write(b"data");
    direct(&mut arq, at(0), &push(0, b"a"));
    assert!(!arq.is_only_data_left());
    transmit(&mut arq, at(0));
    assert!(arq.is_only_data_left());
}

#[test]
fn acks_covered_by_una_are_left_out_except_the_last() {
    let mut arq = arq(config());
    for sequence in [1, 0, 4, 6, 2] {
        direct(&mut arq, at(0), &push(sequence, b"x"));
    }
    assert_eq!(acks(&mut arq, at(0)), [4, 6, 2]);
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn immediate_acks_are_sent_at_once_and_batched_ones_after_a_tick() {
    let mut arq = arq(config());
    direct(&mut arq, at(5), &push(0, b"x"));
    assert_eq!(arq.poll_timeout(), Some(Time::ZERO));

    let batched = ArqConfig {
        ack_policy: AckPolicy::Batched,
        ..config()
    };
    let mut arq = super::arq(batched);
    direct(&mut arq, at(5), &push(0, b"x"));
    direct(&mut arq, at(15), &push(1, b"x"));
    assert_eq!(arq.poll_timeout(), Some(at(25)));
    assert!(acks(&mut arq, at(24)).is_empty());
    assert_eq!(acks(&mut arq, at(25)), [1]);

    for sequence in 3..8 {
        assert_eq!(arq.poll_timeout(), (sequence > 3).then_some(at(50)));
        direct(&mut arq, at(30), &push(sequence, b"x"));
    }
    assert_eq!(arq.poll_timeout(), Some(Time::ZERO), "a datagram is full");
    assert_eq!(acks(&mut arq, at(30)).len(), 5);
}

#[test]
fn batched_acks_of_half_a_window_wait_for_nothing_but_room() {
    let batched = |receive_window| ArqConfig {
        ack_policy: AckPolicy::Batched,
        receive_window,
        ..config()
    };
    for (window, half) in [(2, 1), (3, 2), (8, 4)] {
        let mut arq = arq(batched(window));
        for sequence in 0..half {
            assert_ne!(
                arq.poll_timeout(),
                Some(Time::ZERO),
                "{sequence} of {window}"
            );
            direct(&mut arq, at(5), &push(sequence, b"x"));
        }
        assert_eq!(acks(&mut arq, at(5)), [half - 1], "a window of {window}");
    }

    let mut arq = arq(batched(1));
    direct(&mut arq, at(5), &push(0, b"x"));
    assert_eq!(arq.poll_timeout(), Some(at(25)));
    assert_eq!(read_all(&mut arq), b"x");
    let sent = transmit(&mut arq, at(5));
    assert_eq!((sent[0].command, sent[0].window), (Command::Ack, 1));
}

#[test]
fn batched_acks_are_sent_with_data_and_when_una_advances() {
    let batched = ArqConfig {
        ack_policy: AckPolicy::Batched,
        ..config()
    };
    let mut arq = sent(batched, 1, at(0));
    direct(&mut arq, at(5), &push(0, b"x"));
    arq.write(b"y");
    assert_eq!(commands(&mut arq, at(6)), [Command::Ack, Command::Push]);
    direct(&mut arq, at(7), &push(1, b"x"));
    assert!(commands(&mut arq, at(7)).is_empty());
    direct(&mut arq, at(8), &tell(1, 9));
    assert_eq!(commands(&mut arq, at(8)), [Command::Ack]);
}

#[test]
fn duplicates_and_old_segments_are_acknowledged_again() {
    let mut arq = arq(config());
    for sequence in [0, 0, 2, 2] {
        direct(&mut arq, at(0), &push(sequence, b"x"));
        assert_eq!(acks(&mut arq, at(0)), [sequence]);
    }
    assert_eq!(stats(&arq).duplicates_received, 2);
    assert_eq!(read_all(&mut arq), b"x");
}

#[test]
fn segments_beyond_the_window_are_neither_accepted_nor_acknowledged() {
    for (receive_window, reach) in [(1, 128), (16, 128), (128, 128), (129, 129), (1000, 1000)] {
        let mut arq = arq(with_window(receive_window));
        direct(&mut arq, at(0), &push(reach, b"x"));
        assert_eq!(arq.poll_timeout(), None);
        direct(&mut arq, at(0), &push(reach - 1, b"x"));
        assert_eq!(acks(&mut arq, at(0)), [reach - 1]);
        assert_eq!(stats(&arq).out_of_window_received, 1);
    }
}

#[test]
fn segment_without_room_is_answered_with_the_window() {
    let mut arq = arq(with_window(16));
    for sequence in 0..16 + 128 {
        direct(&mut arq, at(0), &push(sequence, b"ab"));
    }
    transmit(&mut arq, at(0));
    assert_eq!(transmit(&mut arq, at(0)), []);
    direct(&mut arq, at(50), &push(16 + 128, b"ab"));
    let told = transmit(&mut arq, at(50));
    let told: Vec<_> = told.iter().map(|it| (it.command, it.window)).collect();
    assert_eq!(told, [(Command::WindowUpdate, 0)]);
}

#[test]
fn first_flight_before_any_advertised_window_is_acknowledged() {
    for receive_window in [1, 2, 31, 32, 127] {
        let mut arq = arq(with_window(receive_window));
        for sequence in 0..128 {
            direct(&mut arq, at(0), &push(sequence, b"ab"));
        }
        // `una` covers the segments in the reader's queue; the rest is acknowledged individually.
        let held = u32::from(receive_window);
        let sent = transmit(&mut arq, at(0));
        let acked: Vec<u32> = sent.iter().map(|header| header.sequence).collect();
        assert_eq!(acked, (held..128).collect::<Vec<_>>());
        assert!(sent.iter().all(|header| header.unacknowledged == held));
        assert!(sent.iter().all(|header| header.window == 0));
        assert_eq!(arq.unread(), usize::from(receive_window));
        assert_eq!(read_all(&mut arq).len(), 256);
    }
}

#[test]
fn stalled_reader_closes_the_window_and_reopening_is_announced_three_times() {
    let mut arq = arq(config());
    for sequence in 0..16 + 128 + 8 {
        direct(&mut arq, at(0), &push(sequence, b"ab"));
    }
    let sent = transmit(&mut arq, at(0));
    let last = sent.last().expect("acks");
    assert_eq!((last.window, last.unacknowledged), (0, 16));
    assert_eq!(stats(&arq).out_of_window_received, 8);
    assert_eq!(arq.read(&mut [0; 1]), 1);
    assert_eq!(arq.poll_timeout(), None, "no segment is free yet");
    // Waiting segments take the freed room: una moves, the window stays closed.
    assert_eq!(arq.read(&mut [0; 31]), 31);
    for _ in 0..7 {
        assert_eq!(arq.read(&mut [0; 33]), 32, "a window full at a time");
        assert_eq!(arq.poll_timeout(), None);
    }
    assert_eq!(arq.read(&mut [0; 6]), 6);
    let mut told = Vec::new();
    let mut now = at(10);
    while arq.poll_timeout().is_some() {
        now = arq.poll_timeout().expect("announced again").max(now);
        told.extend(transmit(&mut arq, now).iter().map(|header| header.window));
    }
    assert_eq!(told, [3, 3, 3]);
    assert_eq!(read_all(&mut arq).len(), 2 * (16 + 128) - 262);
}

#[test]
fn segments_behind_a_full_queue_are_acknowledged_one_by_one() {
    let mut arq = arq(config());
    for sequence in 0..16 {
        direct(&mut arq, at(0), &push(sequence, b"ab"));
    }
    transmit(&mut arq, at(0));
    direct(&mut arq, at(1), &push(16, b"ab"));
    direct(&mut arq, at(1), &push(17, b"ab"));
    assert_eq!(acks(&mut arq, at(1)), [16, 17]);
}

#[test]
fn window_below_half_is_announced_once_it_grew_by_half() {
    let mut arq = arq(config());
    for sequence in 0..12 {
        direct(&mut arq, at(0), &push(sequence, b"a"));
    }
    transmit(&mut arq, at(0));
    assert_eq!(arq.read(&mut [0; 7]), 7);
    assert_eq!(arq.poll_timeout(), None);
    assert_eq!(arq.read(&mut [0; 1]), 1);
    assert_eq!(commands(&mut arq, at(1)), [Command::WindowUpdate]);
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn window_probe_is_answered_at_once() {
    let mut arq = arq(config());
    direct(&mut arq, at(0), &encode(header(Command::WindowProbe), b""));
    let sent = transmit(&mut arq, at(0));
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].command, sent[0].window),
        (Command::WindowUpdate, 16)
    );
}

#[test]
fn payload_of_a_window_update_is_skipped() {
    let mut arq = arq(config());
    let mut payload = encode(header(Command::WindowUpdate), b"anything");
    payload.extend(push(0, b"data"));
    let outcome = direct(&mut arq, at(0), &payload);
    assert!(outcome.readable && outcome.answered);
    assert_eq!(read_all(&mut arq), b"data");
}

#[test]
fn empty_push_is_acknowledged_and_skipped_in_a_stream() {
    let mut arq = arq(config());
    assert!(!direct(&mut arq, at(0), &push(0, b"")).readable);
    assert_eq!(acks(&mut arq, at(0)), [0]);
    direct(&mut arq, at(0), &push(2, b""));
    assert!(direct(&mut arq, at(0), &push(1, b"x")).readable);
    direct(&mut arq, at(0), &push(3, b"y"));
    assert_eq!(read_all(&mut arq), b"xy");
}

#[test]
fn stream_reader_accepts_any_fragment_count() {
    let mut arq = arq(config());
    for (sequence, frg) in [(0, 255), (1, 3), (2, 9), (3, 0)] {
        direct(&mut arq, at(0), &fragment(sequence, frg, b"ab"));
    }
    assert_eq!(read_all(&mut arq), b"abababab");
    assert_eq!(arq.broken(), None);
}

#[test]
fn message_is_read_when_all_fragments_are_there() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        ..config()
    });
    let mut out = Vec::new();
    direct(&mut arq, at(0), &fragment(0, 2, b"a"));
    direct(&mut arq, at(0), &fragment(1, 1, b"b"));
    assert!(!arq.readable() && !arq.read_message(&mut out));
    direct(&mut arq, at(0), &fragment(2, 0, b"c"));
    direct(&mut arq, at(0), &fragment(3, 0, b""));
    assert!(arq.readable() && arq.read_message(&mut out));
    assert_eq!(out, b"abc");
    assert!(arq.read_message(&mut out), "an empty message is a message");
    assert!(!arq.read_message(&mut out));
    assert_eq!(out, b"abc");
}

#[test]
fn impossible_fragments_break_message_reading() {
    for run in [&[16][..], &[255], &[2, 0], &[1, 1], &[1, 2]] {
        let mut arq = arq(ArqConfig {
            mode: Mode::Message,
            ..config()
        });
        for (sequence, &frg) in (0..).zip(run) {
            direct(&mut arq, at(0), &fragment(sequence, frg, b"a"));
        }
        assert!(arq.readable(), "the reader learns of it");
        assert!(!arq.read_message(&mut Vec::new()));
        assert_eq!(arq.broken(), Some(DecodeError::BadFragments));
    }
}

#[test]
fn fragment_count_of_255_does_not_wrap_and_a_window_below_it_is_an_error() {
    for (receive_window, whole) in [(300, true), (256, true), (255, false), (16, false)] {
        let mut arq = arq(ArqConfig {
            mode: Mode::Message,
            ..with_window(receive_window)
        });
        for sequence in 0..256 {
            direct(
                &mut arq,
                at(0),
                &fragment(sequence, 255 - sequence as u8, b"a"),
            );
        }
        let mut out = Vec::new();
        assert!(arq.readable(), "the reader does not wait forever");
        assert_eq!(arq.read_message(&mut out), whole, "{receive_window}");
        assert_eq!(out.len(), if whole { 256 } else { 0 });
        assert_eq!(arq.broken().is_some(), !whole);
    }
}

#[test]
fn stream_of_empty_pushes_blocks_no_reader() {
    let mut arq = arq(config());
    for round in 0..1000 {
        let next = round * 3;
        direct(&mut arq, at(0), &push(next + 2, b""));
        direct(&mut arq, at(0), &push(next, b""));
        direct(&mut arq, at(0), &push(next + 1, b"x"));
        assert!(arq.readable());
        assert_eq!(read_all(&mut arq), b"x");
        assert!(!arq.readable());
        assert_eq!(arq.receive.window(), 16, "they take no room");
    }
    assert_eq!(stats(&arq).out_of_window_received, 0);
}

#[test]
fn messages_are_refused_when_empty_or_too_long_and_wait_when_full() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        send_buffer: 20_000,
        ..config()
    });
    assert_eq!(arq.write_message(b""), Err(MessageError::Empty));
    direct(&mut arq, at(0), &tell(0, 64));
    let (len, most) = (6401, 6400);
    assert_eq!(
        arq.write_message(&vec![0; len]),
        Err(MessageError::TooLong { len, most })
    );
    assert_eq!(arq.write_message(&[0; 250]), Ok(true));
    let frg: Vec<u8> = transmit(&mut arq, at(0))
        .iter()
        .map(|header| header.fragments_left)
        .collect();
    assert_eq!(frg, [2, 1, 0]);
    let taken = (0..100)
        .filter(|_| arq.write_message(b"x") == Ok(true))
        .count();
    assert_eq!(taken, 64, "as many as the send window");
}

#[test]
fn closed_reader_acknowledges_and_keeps_nothing() {
    let mut arq = arq(config());
    direct(&mut arq, at(0), &push(0, b"read me"));
    direct(&mut arq, at(0), &push(2, b"later"));
    arq.close_receive();
    for sequence in 0..100 {
        let outcome = direct(&mut arq, at(1), &push(sequence, &[1; MSS]));
        assert!(!outcome.readable);
    }
    let sent = transmit(&mut arq, at(1));
    let last = sent.last().expect("acks");
    assert_eq!((last.unacknowledged, last.window), (100, 16));
    arq.shrink();
    assert_eq!(arq.memory(), 0);
}

#[test]
fn pending_acks_are_bounded() {
    for (receive_window, most) in [(1, 256), (16, 256), (128, 256), (200, 400)] {
        let mut arq = arq(with_window(receive_window));
        for _ in 0..1000 {
            direct(&mut arq, at(0), &push(3, b"x"));
        }
        assert_eq!(acks(&mut arq, at(0)).len(), most);
    }
}

#[test]
fn contested_packets_only_fill_gaps() {
    let mut arq = sent(config(), 3, at(0));
    let contested = |arq: &mut Arq, payload: &[u8]| {
        arq.handle_payload(at(5), payload, Provenance::Contested)
            .expect("plausible")
    };
    direct(&mut arq, at(5), &push(0, b"a"));
    direct(&mut arq, at(5), &push(2, b"c"));
    for sequence in [0, 2, 3, 4, 100] {
        contested(&mut arq, &push(sequence, b"x"));
    }
    contested(&mut arq, &ack(0, at(0), 3));
    assert_eq!((arq.in_flight(), arq.remote_window()), (3, 1000));
    contested(&mut arq, &push(1, b"b"));
    direct(&mut arq, at(5), &push(3, b"d"));
    let mut read = [0; 8];
    assert_eq!(arq.read(&mut read), 4);
    assert_eq!(&read[..4], b"abcd");
}
