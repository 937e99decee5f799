//! Sending, retransmitting and the windows.

use super::*;

#[test]
fn writes_fill_up_the_last_segment_in_stream_mode_only() {
    for (mode, expected) in [(Mode::Stream, vec![100, 50]), (Mode::Message, vec![60, 90])] {
        let mut arq = arq(ArqConfig { mode, ..config() });
        arq.write(&[1; 60]);
        assert!(arq.has_full_segment() == (mode == Mode::Message));
        arq.write(&[2; 90]);
        let lengths: Vec<u32> = transmit(&mut arq, at(0))
            .iter()
            .map(|header| header.payload_len)
            .collect();
        assert_eq!(lengths, expected);
    }
}

#[test]
fn write_stops_at_the_send_buffer_and_acks_make_room() {
    let mut arq = arq(config());
    assert_eq!(arq.write(&[0; 10_000]), 64 * MSS);
    assert_eq!((arq.write(&[0; 1]), arq.send_capacity()), (0, 0));
    assert_eq!(pushes(&mut arq, at(0)).len(), 32);
    assert!(direct(&mut arq, at(50), &ack(3, at(0), 0)).acknowledged);
    assert_eq!(arq.send_capacity(), MSS);
    assert!(direct(&mut arq, at(50), &tell(32, 100)).acknowledged);
    assert_eq!(arq.send_capacity(), 32 * MSS);
}

/// Lengths of the segments that echo `data` through a window of one, each answered at once.
fn echoed(first: usize, data: &[u8]) -> Vec<u32> {
    let mut arq = arq(ArqConfig {
        send_window: 1,
        send_buffer: MSS,
        ..config()
    });
    assert_eq!(arq.write(&data[..first]), first);
    let (mut at_most, mut sent, mut rest) = (1000, Vec::new(), &data[first..]);
    while !arq.is_drained() || !rest.is_empty() {
        sent.extend(transmit(&mut arq, at(0)).iter().map(|it| it.payload_len));
        rest = &rest[arq.write(rest)..];
        direct(&mut arq, at(1), &tell(sent.len() as u32, 1));
        rest = &rest[arq.write(rest)..];
        at_most -= 1;
        assert!(at_most > 0, "{sent:?}");
    }
    sent
}

#[test]
fn full_send_buffer_does_not_cut_a_stream_into_parts_of_segments() {
    let data = [0; 7 * MSS];
    let whole = [MSS as u32; 7];
    assert_eq!(echoed(MSS, &data), whole);
    // One that does not fill a segment moves the others, and splits none.
    let mut moved = vec![17];
    moved.extend(&whole[1..]);
    moved.push((MSS - 17) as u32);
    assert_eq!(echoed(17, &data), moved);
}

#[test]
fn remote_window_is_32_until_advertised() {
    let mut arq = arq(config());
    arq.write(&[0; 64 * MSS]);
    assert_eq!(pushes(&mut arq, at(0)).len(), 32);
    direct(&mut arq, at(1), &tell(0, 40));
    assert_eq!(pushes(&mut arq, at(1)).len(), 8);
}

#[test]
fn small_segments_share_a_datagram() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        segments_len: 3 * (SEGMENT_HEADER_LEN + 10),
        ..config()
    });
    for _ in 0..4 {
        arq.write(&[0; 10]);
    }
    let lengths: Vec<usize> = datagrams(&mut arq, at(0)).iter().map(Vec::len).collect();
    assert_eq!(lengths, [102, 34]);
}

#[test]
fn acks_and_data_take_turns_where_they_share_no_datagram() {
    let mut arq = arq(config());
    // Without the first segment, the others are acknowledged individually.
    for sequence in 1..13 {
        direct(&mut arq, at(0), &push(sequence, &[7; 10]));
    }
    arq.write(&[0; 3 * MSS]);
    let sent = datagrams(&mut arq, at(0));
    let sent = sent.iter().map(|datagram| {
        let mut segments = Segments::new(datagram);
        let (first, _) = segments.next().expect("not empty").expect("ours");
        (first.command, 1 + segments.count())
    });
    let sent: Vec<_> = sent.collect();
    let (acks, data) = (|count| (Command::Ack, count), (Command::Push, 1));
    assert_eq!(sent, [acks(5), data, acks(5), data, acks(2), data]);
}

#[test]
fn endless_window_requests_do_not_delay_data() {
    let mut arq = arq(config());
    arq.write(&[0; 10 * MSS]);
    let mut out = [0; MSS + SEGMENT_HEADER_LEN];
    for _ in 0..20 {
        arq.request_probe();
        assert!(arq.poll_transmit(at(0), &mut out) > 0);
    }
    assert_eq!(arq.in_flight(), 10);
}

#[test]
fn rtt_is_sampled_from_exact_echoes_only() {
    let mut arq = sent(config(), 4, at(0));
    let wrong = arq.handle_payload(at(40), &ack(0, at(1), 0), Provenance::Direct);
    assert_eq!(wrong, Err(DecodeError::EchoesUnsent));
    assert_eq!((arq.smoothed_rtt(), arq.in_flight()), (None, 4));
    let recovered = arq.handle_payload(at(40), &ack(1, at(0), 0), Provenance::Recovered);
    assert!(recovered.expect("valid").validated);
    assert_eq!(arq.smoothed_rtt(), None);
    let exact = direct(&mut arq, at(40), &ack(2, at(0), 3));
    assert!(
        exact.validated,
        "una of the same segment does not hide the echo"
    );
    assert_eq!(arq.smoothed_rtt(), Some(ms(40)));
}

#[test]
fn first_and_last_transmission_both_give_samples() {
    for (echo, rtt) in [(0, 210), (200, 10)] {
        let mut arq = sent(config(), 1, at(0));
        assert_eq!(pushes(&mut arq, at(200)), [0]);
        direct(&mut arq, at(210), &ack(0, at(echo), 1));
        assert_eq!(arq.smoothed_rtt(), Some(ms(rtt)));
    }
}

#[test]
fn each_of_the_last_three_transmissions_gives_a_sample() {
    for (echo, rtt) in [(200, 410), (400, 210), (600, 10)] {
        let mut arq = sent(config(), 1, at(0));
        for due in [200, 400, 600] {
            assert_eq!(pushes(&mut arq, at(due)), [0]);
        }
        direct(&mut arq, at(610), &ack(0, at(echo), 1));
        assert_eq!(arq.smoothed_rtt(), Some(ms(rtt)));
    }
}

#[test]
fn transmission_in_between_is_acknowledged_without_a_sample() {
    let mut arq = sent(config(), 1, at(0));
    for due in [200, 400, 600, 900] {
        assert_eq!(pushes(&mut arq, at(due)), [0]);
    }
    let outcome = direct(&mut arq, at(910), &ack(0, at(200), 0));
    assert!(outcome.acknowledged && !outcome.validated);
    assert_eq!((arq.smoothed_rtt(), arq.is_drained()), (None, true));
}

#[test]
fn acknowledging_what_was_never_sent_changes_nothing() {
    let mut arq = sent(config(), 3, at(0));
    let before = format!("{:?}", (&arq.send, &arq.receive, arq.remote_window()));
    let mut forged = tell(4, 0);
    forged.extend(push(0, b"x"));
    let refused = arq.handle_payload(at(5), &forged, Provenance::Direct);
    assert_eq!(refused, Err(DecodeError::AcknowledgesUnsent));
    let mut foreign = ack(0, at(0), 1);
    foreign[0] ^= 1;
    let refused = arq.handle_payload(at(5), &foreign, Provenance::Direct);
    assert_eq!(refused, Err(DecodeError::ForeignConversation));
    // Acks of segments that are not in flight, and a una far in the past.
    for payload in [ack(3, at(0), 0), ack(u32::MAX, at(0), 0), tell(1 << 31, 0)] {
        arq.handle_payload(at(5), &payload, Provenance::Direct)
            .expect("old or early, not invalid");
    }
    let after = format!("{:?}", (&arq.send, &arq.receive, arq.remote_window()));
    assert_eq!(before, after);
}

#[test]
fn segments_before_an_invalid_one_are_used() {
    let mut arq = sent(config(), 3, at(0));
    let mut payload = ack(0, at(0), 1);
    let mut unknown = tell(2, 5);
    unknown[4] = 80;
    payload.extend(unknown);
    payload.extend(ack(1, at(0), 2));
    let refused = arq.handle_payload(at(5), &payload, Provenance::Direct);
    assert_eq!(refused, Err(DecodeError::UnknownCommand(80)));
    assert_eq!((arq.in_flight(), arq.remote_window()), (2, 1000));
}

#[test]
fn window_is_taken_from_fresh_direct_segments_only() {
    let mut arq = sent(config(), 3, at(0));
    direct(&mut arq, at(5), &tell(2, 50));
    direct(&mut arq, at(6), &tell(1, 0));
    arq.handle_payload(at(7), &tell(2, 9), Provenance::Recovered)
        .expect("valid");
    assert_eq!(arq.remote_window(), 50);
    direct(&mut arq, at(8), &tell(2, 60));
    assert_eq!(arq.remote_window(), 60);
}

#[test]
fn closed_window_is_probed_and_reopening_resumes() {
    let mut arq = arq(config());
    direct(&mut arq, at(0), &tell(0, 0));
    assert_eq!(
        arq.poll_timeout(),
        None,
        "nothing to send and nothing to request"
    );
    arq.write(&[0; 300]);
    assert_eq!(arq.poll_timeout(), Some(Time::ZERO));
    assert!(commands(&mut arq, at(0)).is_empty());
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let due = arq.poll_timeout().expect("blocked");
        waits.push((due - now).as_millis());
        assert_eq!(commands(&mut arq, due), [Command::WindowProbe]);
        now = due;
    }
    assert_eq!(waits, [500, 750, 1125, 1687, 2000, 2000]);
    direct(&mut arq, now, &tell(0, 2));
    assert_eq!(commands(&mut arq, now), [Command::Push; 2]);
}

#[test]
fn sender_probes_when_all_is_acknowledged_but_una_is_behind() {
    let mut arq = sent(
        ArqConfig {
            send_window: 4,
            ..config()
        },
        4,
        at(0),
    );
    arq.write(&[0; 100]);
    let acks: Vec<u8> = (0..4).flat_map(|sn| ack(sn, at(0), 0)).collect();
    direct(&mut arq, at(10), &acks);
    assert_eq!((arq.in_flight(), arq.is_drained()), (0, false));
    assert!(commands(&mut arq, at(10)).is_empty());
    assert_eq!(commands(&mut arq, at(510)), [Command::WindowProbe]);
    direct(&mut arq, at(520), &tell(4, 10));
    assert_eq!(pushes(&mut arq, at(520)), [4]);
}

#[test]
fn requested_probe_is_sent_at_once() {
    let mut arq = arq(config());
    arq.request_probe();
    assert_eq!(arq.poll_timeout(), Some(Time::ZERO));
    assert_eq!(commands(&mut arq, at(3)), [Command::WindowProbe]);
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn regressed_una_is_reported_until_a_current_one_arrives() {
    let mut arq = sent(config(), 3, at(0));
    direct(&mut arq, at(10), &tell(2, 9));
    direct(&mut arq, at(20), &tell(0, 9));
    direct(&mut arq, at(50), &tell(0, 9));
    assert_eq!(arq.una_regressed_since(), Some(at(20)));
    assert_eq!(arq.una_regressed_for(), ms(30));
    arq.handle_payload(at(55), &tell(2, 9), Provenance::Recovered)
        .expect("valid");
    assert!(arq.una_regressed_since().is_some());
    direct(&mut arq, at(60), &tell(2, 9));
    assert_eq!(arq.una_regressed_since(), None);
}

#[test]
fn advancing_una_is_no_regression_whatever_its_provenance() {
    let mut arq = sent(config(), 3, at(0));
    direct(&mut arq, at(10), &tell(1, 9));
    direct(&mut arq, at(20), &tell(0, 9));
    // The datagram was rebuilt from parity. A restarted peer could not have sent this una.
    arq.handle_payload(at(600), &tell(3, 9), Provenance::Recovered)
        .expect("valid");
    assert_eq!(arq.una_regressed_since(), None);
    direct(&mut arq, at(610), &tell(2, 9));
    assert_eq!(arq.una_regressed_for(), ms(0));
}

#[test]
fn congestion_window_limits_grows_and_collapses() {
    let mut arq = sent(
        ArqConfig {
            congestion: Congestion::Kcp,
            ..config()
        },
        1,
        at(0),
    );
    arq.write(&[0; 40 * MSS]);
    assert!(pushes(&mut arq, at(1)).is_empty());
    direct(&mut arq, at(10), &ack(0, at(0), 1));
    assert_eq!(pushes(&mut arq, at(10)), [1, 2]);
    let due = arq.poll_timeout().expect("in flight");
    pushes(&mut arq, due);
    direct(&mut arq, due + ms(1), &tell(3, 1000));
    assert_eq!(pushes(&mut arq, due + ms(1)), [3, 4]);
}

#[test]
fn ack_cost_does_not_grow_with_the_window() {
    let cost = |window: u16| {
        let mut arq = sent(
            ArqConfig {
                send_window: window,
                send_buffer: 1 << 24,
                ..config()
            },
            usize::from(window).min(1000),
            at(0),
        );
        direct(&mut arq, at(0), &tell(0, window));
        arq.write(&vec![0; usize::from(window) * MSS]);
        pushes(&mut arq, at(0));
        let before = arq.send.loss_steps();
        // One forged ack at the end of the flight, then honest ones.
        direct(&mut arq, at(1), &ack(u32::from(window) - 1, at(0), 0));
        let worst = arq.send.loss_steps() - before;
        direct(&mut arq, at(1), &ack(1, at(0), 0));
        (worst, arq.send.loss_steps() - before - worst)
    };
    assert_eq!(cost(2000), cost(60_000));
}

#[test]
fn crafted_acks_take_a_bounded_number_of_steps_at_the_largest_window() {
    let mut arq = sent(
        ArqConfig {
            send_window: u16::MAX,
            send_buffer: 1 << 24,
            ..config()
        },
        1000,
        at(0),
    );
    direct(&mut arq, at(0), &tell(0, u16::MAX));
    arq.write(&vec![0; 65_000 * MSS]);
    pushes(&mut arq, at(0));
    assert_eq!(arq.in_flight(), 65_535);
    // The end of the flight, so that everything before it is lost. The echoes are correct, which
    // only the peer itself can achieve.
    let mut worst = 0;
    let near = (0..2000).map(|at| 2 * at + 1);
    for sequence in [65_534, 65_533].into_iter().chain(near) {
        let before = arq.send.loss_steps();
        direct(&mut arq, at(1), &ack(sequence, at(0), 0));
        arq.poll_transmit(at(1), &mut [0; 200]);
        let steps = arq.send.loss_steps() - before;
        worst = worst.max(steps);
    }
    // Once for the ack, once for the rest.
    assert_eq!(worst, 2 * 512);
}

#[test]
fn acks_received_after_a_pause_give_no_samples() {
    let mut arq = sent(config(), 4, at(0));
    direct(&mut arq, at(40), &ack(0, at(0), 1));
    let rto = arq.rto();
    let wake = at(60_000);
    direct(&mut arq, wake, &ack(1, at(0), 2));
    assert_eq!(pushes(&mut arq, wake), [2], "one segment probes the state");
    direct(&mut arq, wake + ms(30), &ack(3, at(0), 2));
    assert_eq!(arq.rto(), rto);
    direct(&mut arq, wake + ms(39), &ack(2, wake, 4));
    assert_ne!(arq.rto(), rto, "later transmissions give samples");
    assert!(arq.rto() < ms(200) && arq.is_drained());
}

#[test]
fn nothing_is_kept_after_drain_and_shrink() {
    let mut arq = sent(config(), 30, at(0));
    direct(&mut arq, at(10), &push(3, b"early"));
    let acks: Vec<u8> = (5..30).flat_map(|sn| ack(sn, at(0), 0)).collect();
    direct(&mut arq, at(10), &acks);
    pushes(&mut arq, at(10));
    for sequence in 0..3 {
        direct(&mut arq, at(11), &push(sequence, b"late"));
    }
    direct(&mut arq, at(12), &tell(30, 100));
    commands(&mut arq, at(12));
    assert_eq!(arq.read(&mut [0; 100]), 17);
    assert!(arq.memory() > 0);
    arq.shrink();
    assert_eq!(arq.memory(), 0);
    assert_eq!((arq.poll_timeout(), arq.is_drained()), (None, true));
}
