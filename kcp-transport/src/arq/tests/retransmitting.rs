//! When a segment leaves again.

use super::*;

#[test]
fn probe_time_out_is_linear_three_times_and_then_grows_by_half_or_by_itself() {
    let growing = [200, 200, 200, 300, 400];
    let faster = [200, 200, 200, 400, 600];
    for (no_delay, expected) in [(true, growing), (false, faster)] {
        let mut arq = sent(
            ArqConfig {
                no_delay,
                ..config()
            },
            1,
            at(1000),
        );
        let mut last = at(1000);
        for wait in expected {
            let due = arq.poll_timeout().expect("in flight");
            assert_eq!(due - last, ms(wait));
            assert!(pushes(&mut arq, Time::from_micros(due.as_micros() - 1)).is_empty());
            assert_eq!(pushes(&mut arq, due), [0]);
            last = due;
        }
        assert_eq!(stats(&arq).timeout_retransmitted, 5);
    }
}

#[test]
fn probe_time_out_ends_at_a_minute() {
    let mut arq = sent(config(), 1, at(0));
    let mut last = at(0);
    for _ in 0..700 {
        let due = arq.poll_timeout().expect("in flight");
        assert!(due - last <= Duration::from_secs(60));
        pushes(&mut arq, due);
        last = due;
    }
    assert_eq!(arq.poll_timeout().expect("in flight") - last, ms(60_000));
}

/// One with a round trip of 40 ms measured often enough to be sure of it, and nothing in flight.
/// Its next segment has the number 30.
fn settled(config: ArqConfig) -> (Arq, Time) {
    let mut arq = arq(config);
    let mut now = at(0);
    direct(&mut arq, now, &tell(0, 1000));
    for sequence in 0..30 {
        arq.write(&[7; MSS]);
        assert_eq!(pushes(&mut arq, now), [sequence]);
        direct(&mut arq, now + ms(40), &ack(sequence, now, sequence + 1));
        now += ms(50);
    }
    assert!(arq.is_drained());
    (arq, now)
}

fn write(arq: &mut Arq, now: Time, segments: usize) -> Vec<u32> {
    arq.write(&vec![7; segments * MSS]);
    pushes(arq, now)
}

#[test]
fn lost_tail_of_up_to_four_segments_is_probed_after_little_more_than_a_round_trip() {
    for count in 1..=4 {
        let (mut arq, now) = settled(config());
        let all = write(&mut arq, now, count);
        let due = arq.poll_timeout().expect("in flight");
        assert!((ms(40)..=ms(43)).contains(&(due - now)), "{:?}", due - now);
        assert_eq!(pushes(&mut arq, due), all);
    }
}

#[test]
fn of_many_segments_two_are_probed_and_their_ack_shows_the_rest_to_be_lost() {
    let (mut arq, now) = settled(config());
    write(&mut arq, now, 10);
    let due = arq.poll_timeout().expect("in flight");
    assert_eq!(pushes(&mut arq, due), [30, 31]);
    let heard = due + ms(40);
    direct(&mut arq, heard, &ack(31, due, 30));
    assert_eq!(pushes(&mut arq, heard), [32, 33, 34, 35, 36, 37, 38, 39]);
    let due = arq.poll_timeout().expect("the other probe is overdue soon");
    assert!(due - heard <= ms(10));
    assert_eq!(pushes(&mut arq, due), [30]);
}

#[test]
fn segment_is_lost_once_two_sent_later_have_arrived() {
    let mut arq = sent(config(), 10, at(0));
    direct(&mut arq, at(10), &ack(1, at(0), 0));
    assert!(pushes(&mut arq, at(10)).is_empty());
    direct(&mut arq, at(10), &ack(2, at(0), 0));
    assert_eq!(pushes(&mut arq, at(10)), [0]);
    for sequence in 3..10 {
        direct(&mut arq, at(11), &ack(sequence, at(0), 0));
        assert!(pushes(&mut arq, at(11)).is_empty());
    }
    assert_eq!(stats(&arq).fast_retransmitted, 1);
}

#[test]
fn acks_count_however_many_share_a_datagram() {
    let mut arq = sent(config(), 10, at(0));
    let together: Vec<u8> = (1..3).flat_map(|sn| ack(sn, at(0), 0)).collect();
    direct(&mut arq, at(10), &together);
    assert_eq!(pushes(&mut arq, at(10)), [0]);
}

#[test]
fn acks_of_older_transmissions_do_not_count() {
    let mut arq = sent(config(), 4, at(0));
    assert_eq!(pushes(&mut arq, at(200)).len(), 4);
    for sequence in 1..4 {
        direct(&mut arq, at(210), &ack(sequence, at(0), 0));
    }
    assert!(pushes(&mut arq, at(240)).is_empty());
}

#[test]
fn lost_retransmission_is_found_like_any_other() {
    let (mut arq, now) = settled(config());
    write(&mut arq, now, 5);
    let heard = now + ms(40);
    direct(
        &mut arq,
        heard,
        &[ack(31, now, 30), ack(32, now, 30)].concat(),
    );
    assert_eq!(pushes(&mut arq, heard), [30]);
    assert_eq!(write(&mut arq, heard, 2), [35, 36]);
    let again = heard + ms(40);
    direct(
        &mut arq,
        again,
        &[ack(35, heard, 30), ack(36, heard, 30)].concat(),
    );
    assert!(pushes(&mut arq, again).contains(&30));
    assert_eq!(stats(&arq).timeout_retransmitted, 0);
}

#[test]
fn ack_of_a_retransmission_shows_what_was_sent_before_it_to_be_lost() {
    let (mut arq, now) = settled(config());
    write(&mut arq, now, 8);
    let heard = now + ms(40);
    direct(
        &mut arq,
        heard,
        &[ack(31, now, 30), ack(32, now, 30)].concat(),
    );
    assert_eq!(pushes(&mut arq, heard), [30]);
    // The others have higher numbers, but were sent before the retransmission.
    let again = heard + ms(40);
    direct(&mut arq, again, &ack(30, heard, 33));
    assert_eq!(pushes(&mut arq, again), [33, 34, 35, 36, 37]);
}

#[test]
fn una_alone_shows_what_has_arrived() {
    let (mut arq, now) = settled(config());
    write(&mut arq, now, 2);
    assert_eq!(write(&mut arq, now + ms(1), 1), [32]);
    direct(&mut arq, now + ms(40), &ack(30, now, 31));
    assert_eq!(write(&mut arq, now + ms(41), 1), [33]);
    // The ack of 31 is lost, that of 32 says nothing of it.
    direct(&mut arq, now + ms(60), &tell(32, 1000));
    assert_eq!(arq.in_flight(), 2);
    direct(&mut arq, now + ms(81), &ack(33, now + ms(41), 32));
    let due = arq.poll_timeout().expect("in flight");
    assert_eq!(pushes(&mut arq, due.max(now + ms(81))), [32]);
}

#[test]
fn one_of_a_few_that_is_missing_is_waited_for_an_eighth_of_a_round_trip() {
    let (mut arq, now) = settled(config());
    write(&mut arq, now, 2);
    let heard = now + ms(40);
    direct(&mut arq, heard, &ack(31, now, 30));
    assert_eq!(arq.poll_timeout(), Some(heard + ms(5)));
    assert!(pushes(&mut arq, heard + ms(4)).is_empty());
    assert_eq!(pushes(&mut arq, heard + ms(5)), [30]);
    assert_eq!(stats(&arq).early_retransmitted, 1);
}

#[test]
fn overtaken_segment_is_waited_for_once_that_was_seen() {
    let (mut arq, now) = settled(config());
    write(&mut arq, now, 10);
    let heard = now + ms(40);
    let overtaking = [ack(31, now, 30), ack(32, now, 30)].concat();
    direct(&mut arq, heard, &overtaking);
    assert_eq!(pushes(&mut arq, heard), [30]);
    direct(&mut arq, heard + ms(2), &ack(30, now, 40));
    assert_eq!(stats(&arq).spurious_retransmitted, 1);
    assert!(arq.is_drained());
    let now = heard + ms(10);
    write(&mut arq, now, 10);
    let heard = now + ms(40);
    let overtaking = [ack(41, now, 40), ack(42, now, 40), ack(43, now, 40)].concat();
    direct(&mut arq, heard, &overtaking);
    assert!(pushes(&mut arq, heard + ms(9)).is_empty());
    direct(&mut arq, heard + ms(9), &ack(40, now, 50));
    assert_eq!(stats(&arq).retransmitted, 1);
}

#[test]
fn reordering_is_forgotten_after_sixteen_losses_without_any() {
    let (mut arq, now) = settled(config());
    write(&mut arq, now, 10);
    let mut now = now + ms(40);
    direct(
        &mut arq,
        now,
        &[ack(31, at(1500), 30), ack(32, at(1500), 30)].concat(),
    );
    pushes(&mut arq, now);
    direct(&mut arq, now + ms(1), &ack(30, at(1500), 40));
    let mut first = 40;
    let mut waits = Vec::new();
    for _ in 0..20 {
        now += ms(50);
        write(&mut arq, now, 10);
        let heard = now + ms(40);
        let acks: Vec<u8> = (1..10).flat_map(|it| ack(first + it, now, first)).collect();
        direct(&mut arq, heard, &acks);
        let due = arq.poll_timeout().expect("in flight").max(heard);
        waits.push(due > heard);
        assert_eq!(pushes(&mut arq, due), [first]);
        first += 10;
        direct(&mut arq, due + ms(40), &ack(first - 10, due, first));
        now = due + ms(40);
    }
    let waited = waits.iter().take_while(|waits| **waits).count();
    assert_eq!(waited, 16);
    assert!(waits[16..].iter().all(|waits| !waits));
}

#[test]
fn without_counting_the_time_alone_decides() {
    for threshold in [0, 6, u32::MAX] {
        let (mut arq, now) = settled(ArqConfig {
            fast_retransmit_after: NonZeroU32::new(threshold),
            ..config()
        });
        write(&mut arq, now, 20);
        let heard = now + ms(40);
        let acks: Vec<u8> = (31..40).flat_map(|sn| ack(sn, now, 30)).collect();
        direct(&mut arq, heard, &acks);
        assert_eq!(arq.poll_timeout(), Some(heard + ms(10)));
        assert_eq!(pushes(&mut arq, heard + ms(10)), [30]);
    }
}

#[test]
fn first_segment_is_probed_on_the_scale_of_the_handshake() {
    let mut arq = arq(config());
    arq.request_probe();
    assert_eq!(commands(&mut arq, at(0)), [Command::WindowProbe]);
    direct(&mut arq, at(60), &tell(0, 100));
    assert_eq!((arq.rto(), arq.smoothed_rtt()), (ms(90), None));
    assert_eq!(write(&mut arq, at(60), 1), [0]);
    assert_eq!(arq.poll_timeout(), Some(at(150)));
    assert_eq!(pushes(&mut arq, at(150)), [0]);
    // Windows that are told later say nothing.
    direct(&mut arq, at(300), &tell(0, 100));
    assert_eq!(arq.rto(), ms(90));
}

#[test]
fn waiting_time_restarts_at_every_new_ack() {
    let mut arq = sent(config(), 3, at(5));
    assert_eq!(arq.unacknowledged_since(), Some(at(5)));
    direct(&mut arq, at(20), &ack(1, at(5), 0));
    assert_eq!(arq.unacknowledged_since(), Some(at(20)));
    direct(&mut arq, at(30), &ack(1, at(5), 0));
    assert_eq!(arq.unacknowledged_since(), Some(at(20)));
    direct(&mut arq, at(40), &tell(3, 9));
    assert_eq!(arq.unacknowledged_since(), None);
}

#[test]
fn long_pause_resends_one_segment_and_not_the_window() {
    let mut arq = arq(ArqConfig {
        mode: Mode::Message,
        ..config()
    });
    for _ in 0..20 {
        arq.write(b"ten bytes.");
    }
    assert_eq!(pushes(&mut arq, at(0)).len(), 20);
    let wake = at(3_600_000);
    assert_eq!(pushes(&mut arq, wake), [0]);
    assert_eq!(arq.poll_timeout(), Some(wake + ms(200)));
    direct(&mut arq, wake + ms(30), &tell(20, 100));
    assert!(arq.is_drained());
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn every_probe_begins_with_the_first_segment() {
    // A peer that never got it does not know the conversation, and answers nothing else.
    let mut arq = sent(config(), 17, at(1000));
    let mut others = Vec::new();
    for _ in 0..16 {
        let due = arq.poll_timeout().expect("in flight");
        let probes = pushes(&mut arq, due);
        assert_eq!((probes.len(), probes[0]), (2, 0));
        others.push(probes[1]);
    }
    assert_eq!(others, (1..17).collect::<Vec<_>>());
}
