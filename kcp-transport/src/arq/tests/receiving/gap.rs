//! The ack of a segment after a gap, sent once more.

use super::*;

fn receive(arq: &mut Arq, now: Time, sequence: u32) {
    arq.handle_payload(now, &push(sequence, b"x"), Provenance::Direct)
        .expect("valid");
}

fn acks(arq: &mut Arq, now: Time) -> Vec<u32> {
    sequences(arq, now, Command::Ack)
}

/// A side that has received the segments before 4, and lost that, at 100 ms.
fn with_gap() -> Arq {
    let mut arq = arq(config());
    for sequence in [0, 1, 2, 3, 5] {
        receive(&mut arq, at(100), sequence);
    }
    assert_eq!(acks(&mut arq, at(100)), [5]);
    arq
}

#[test]
fn ack_of_the_only_segment_after_a_gap_is_sent_once_more() {
    let mut arq = with_gap();
    assert_eq!(arq.poll_timeout(), Some(at(110)));
    assert_eq!(acks(&mut arq, at(109)), [] as [u32; 0]);
    let again = transmit(&mut arq, at(112));
    let expected = SegmentHeader {
        sequence: 5,
        timestamp: Timestamp::from_wire(505),
        unacknowledged: 4,
        window: again[0].window,
        ..header(Command::Ack)
    };
    assert_eq!(again, [expected]);
    assert_eq!(arq.poll_timeout(), None);
    receive(&mut arq, at(200), 5);
    assert_eq!(acks(&mut arq, at(200)), [5], "the peer has sent it again");
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn ack_is_not_sent_again_if_the_gap_is_filled() {
    let mut arq = with_gap();
    receive(&mut arq, at(105), 4);
    assert_eq!(acks(&mut arq, at(105)).len(), 1);
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn ack_is_not_sent_again_if_another_follows() {
    let mut arq = with_gap();
    receive(&mut arq, at(105), 6);
    assert_eq!(acks(&mut arq, at(105)), [6]);
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn segments_that_wait_for_the_reader_leave_no_gap() {
    let mut arq = arq(with_window(1));
    receive(&mut arq, at(0), 0);
    receive(&mut arq, at(0), 1);
    transmit(&mut arq, at(0));
    assert_eq!(arq.poll_timeout(), None);
}

#[test]
fn peers_that_are_told_of_gaps_get_no_ack_again() {
    let mut arq = arq(config());
    arq.set_told();
    for sequence in [0, 1, 2, 3, 5] {
        receive(&mut arq, at(100), sequence);
    }
    assert_eq!(acks(&mut arq, at(100)), [5]);
    assert_eq!(arq.poll_timeout(), None);
}
