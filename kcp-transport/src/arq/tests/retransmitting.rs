//! When a segment leaves again.

use super::*;

#[test]
fn time_out_backs_off_by_half_or_by_doubling() {
    for (no_delay, expected) in [(true, [200, 300, 400, 500]), (false, [200, 400, 600, 800])] {
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
        assert_eq!(stats(&arq).timeout_retransmitted, 4);
    }
}

#[test]
fn back_off_ends_at_a_minute() {
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

#[test]
fn fast_retransmit_happens_once_until_the_time_out() {
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
    let due = arq.poll_timeout().expect("in flight");
    assert_eq!(pushes(&mut arq, due), [0]);
    assert_eq!(stats(&arq).timeout_retransmitted, 1);
}

#[test]
fn acks_in_one_datagram_count_once() {
    let mut arq = sent(config(), 10, at(0));
    let together: Vec<u8> = (1..9).flat_map(|sn| ack(sn, at(0), 0)).collect();
    direct(&mut arq, at(10), &together);
    assert!(pushes(&mut arq, at(10)).is_empty());
    direct(&mut arq, at(11), &ack(9, at(0), 0));
    assert_eq!(pushes(&mut arq, at(11)), [0]);
}

#[test]
fn acks_of_older_transmissions_do_not_count() {
    let mut arq = sent(config(), 5, at(0));
    // All time out at 200 and are sent again.
    assert_eq!(pushes(&mut arq, at(200)).len(), 5);
    for sequence in 1..5 {
        direct(&mut arq, at(210), &ack(sequence, at(0), 0));
    }
    assert!(pushes(&mut arq, at(240)).is_empty());
}

#[test]
fn counting_starts_afresh_after_a_time_out() {
    let mut arq = sent(config(), 5, at(0));
    direct(&mut arq, at(10), &ack(1, at(0), 0));
    direct(&mut arq, at(10), &ack(2, at(0), 0));
    assert_eq!(pushes(&mut arq, at(10)), [0]);
    let due = arq.poll_timeout().expect("in flight");
    let resent = arq.send.flight().outstanding(SeqNumber::first(0));
    assert_eq!(resent.expect("in flight").later_acks, 2);
    pushes(&mut arq, due);
    // Later acks of segments sent after the time-out count again.
    arq.write(&[0; 3 * MSS]);
    let later = due + ms(5);
    assert_eq!(pushes(&mut arq, later), [5, 6, 7]);
    direct(&mut arq, later + ms(1), &ack(5, later, 0));
    direct(&mut arq, later + ms(1), &ack(6, later, 0));
    assert!(pushes(&mut arq, later + ms(1)).contains(&0));
    assert!(stats(&arq).fast_retransmitted >= 2);
}

#[test]
fn early_retransmit_waits_a_tick_and_for_no_new_data() {
    let mut arq = sent(config(), 3, at(0));
    direct(&mut arq, at(10), &ack(1, at(0), 0));
    assert_eq!(arq.poll_timeout(), Some(at(30)));
    assert!(pushes(&mut arq, at(29)).is_empty());
    arq.write(&[0; 5]);
    assert_eq!(pushes(&mut arq, at(30)), [3]);
    assert_eq!(arq.poll_timeout(), Some(at(50)));
    assert_eq!(pushes(&mut arq, at(50)), [0]);
    assert_eq!(stats(&arq).early_retransmitted, 1);
}

#[test]
fn early_retransmit_is_immediate_when_una_moves_or_fast_retransmit_is_off() {
    let mut arq = sent(config(), 4, at(0));
    direct(&mut arq, at(10), &ack(2, at(0), 1));
    assert_eq!(pushes(&mut arq, at(10)), [1]);
    let mut arq = sent(config(), 4, at(0));
    direct(&mut arq, at(10), &ack(3, at(0), 0));
    direct(&mut arq, at(11), &tell(1, 1000));
    assert_eq!(pushes(&mut arq, at(11)), [1, 2]);
    let mut arq = sent(
        ArqConfig {
            fast_retransmit_after: None,
            ..config()
        },
        3,
        at(0),
    );
    direct(&mut arq, at(10), &ack(2, at(0), 0));
    assert_eq!(pushes(&mut arq, at(10)), [0, 1]);
    assert_eq!(stats(&arq).early_retransmitted, 2);
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
