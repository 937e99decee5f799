//! What has arrived beyond a gap, told once more.

use super::*;
use crate::wire::Received;

fn received(base: u32, offsets: &[usize]) -> Received {
    let mut received = Received::new(base);
    assert!(offsets.iter().all(|&offset| received.add(offset)));
    received
}

/// A datagram of `acks`, all of segments sent at the start, and a window update that tells of `told`.
fn tell_received(
    arq: &mut Arq,
    now: Time,
    una: u32,
    acks: &[u32],
    told: Option<Received>,
) -> Result<Outcome, DecodeError> {
    let mut payload: Vec<u8> = acks.iter().flat_map(|&it| ack(it, at(0), una)).collect();
    if told.is_some() {
        let update = SegmentHeader {
            unacknowledged: una,
            ..header(Command::WindowUpdate)
        };
        payload.extend(encode(update, b"frames"));
    }
    arq.handle_payload_with(now, &payload, Provenance::Direct, &mut |data| {
        assert_eq!(data, b"frames");
        told
    })
}

#[test]
fn segment_whose_ack_was_lost_is_not_sent_again_if_the_peer_tells_of_it() {
    for (told, expected) in [(None, vec![0, 1]), (Some(received(0, &[1, 2, 3])), vec![0])] {
        let mut arq = sent(config(), 8, at(0));
        let outcome = tell_received(&mut arq, at(50), 0, &[2, 3], told).expect("valid");
        assert!(outcome.acknowledged);
        assert_eq!(arq.in_flight(), 4 + expected.len());
        assert_eq!(pushes(&mut arq, at(50)), expected);
    }
}

#[test]
fn from_then_on_later_acks_alone_show_no_loss() {
    let mut arq = sent(config(), 12, at(0));
    tell_received(&mut arq, at(50), 0, &[2], Some(received(0, &[2]))).expect("valid");
    tell_received(&mut arq, at(51), 0, &[3], None).expect("valid");
    assert_eq!(
        pushes(&mut arq, at(51)),
        [0, 1],
        "both were told to be missing"
    );
    tell_received(&mut arq, at(52), 0, &[7, 8, 9], None).expect("valid");
    assert_eq!(
        pushes(&mut arq, at(52)),
        [] as [u32; 0],
        "4 to 6 may have arrived"
    );
    let told = received(0, &[2, 3, 4, 6, 7, 8, 9, 10]);
    tell_received(&mut arq, at(56), 0, &[10], Some(told)).expect("valid");
    assert_eq!(pushes(&mut arq, at(56)), [5]);
}

#[test]
fn each_datagram_tells_of_the_first_missing_segment() {
    let mut arq = sent(config(), 12, at(0));
    tell_received(&mut arq, at(50), 0, &[1], Some(received(0, &[1]))).expect("valid");
    tell_received(&mut arq, at(51), 4, &[], None).expect("valid");
    tell_received(&mut arq, at(52), 4, &[6, 7], None).expect("valid");
    assert_eq!(pushes(&mut arq, at(52)), [4], "5 may have arrived");
}

#[test]
fn without_being_told_again_time_shows_a_loss() {
    let mut arq = sent(config(), 12, at(0));
    tell_received(&mut arq, at(50), 1, &[2], Some(received(1, &[1]))).expect("valid");
    tell_received(&mut arq, at(51), 1, &[4, 5, 6, 7], None).expect("valid");
    assert_eq!(pushes(&mut arq, at(51)), [1]);
    let due = arq.poll_timeout().expect("waits");
    assert!((at(55)..=at(70)).contains(&due), "{due:?}");
    assert_eq!(pushes(&mut arq, due), [3]);
}

#[test]
fn announcement_gives_no_sample_of_the_round_trip_time() {
    let mut arq = sent(config(), 4, at(0));
    tell_received(&mut arq, at(50), 0, &[], Some(received(0, &[1, 3]))).expect("valid");
    assert_eq!((arq.in_flight(), arq.smoothed_rtt()), (2, None));
}

#[test]
fn segments_that_were_never_sent_cannot_have_arrived() {
    let lies = [
        received(0, &[1, 4]),
        received(3, &[1]),
        received(1 << 30, &[0]),
    ];
    for lie in lies {
        let mut arq = sent(config(), 4, at(0));
        let result = tell_received(&mut arq, at(50), 0, &[2], Some(lie));
        assert_eq!(result, Err(DecodeError::AcknowledgesUnsent));
        assert_eq!(arq.in_flight(), 3, "what stands before it counts");
    }
}

#[test]
fn segments_of_long_ago_change_nothing() {
    let mut arq = sent(config(), 4, at(0));
    tell_received(&mut arq, at(50), 2, &[1], None).expect("valid");
    let late = received(u32::MAX - 5, &[0, 6, 7]);
    let outcome = tell_received(&mut arq, at(51), 0, &[], Some(late)).expect("valid");
    assert!(!outcome.acknowledged);
    assert_eq!(arq.in_flight(), 2);
}

#[test]
fn receiver_tells_while_there_is_a_gap_and_acks_are_due_but_not_too_often() {
    let mut arq = arq(config());
    assert!(!arq.wants_received(at(0)));
    direct(&mut arq, at(10), &push(0, b"data"));
    assert!(!arq.wants_received(at(10)), "no gap");
    for sequence in [2, 3, 6] {
        direct(&mut arq, at(10), &push(sequence, b"data"));
    }
    assert!(arq.wants_received(at(10)));
    let told = arq.take_received(at(10), 100).expect("a gap");
    assert_eq!(told, received(1, &[1, 2, 5]));
    transmit(&mut arq, at(10));
    assert!(!arq.wants_received(at(20)), "no acks are due");
    direct(&mut arq, at(11), &push(7, b"data"));
    assert!(!arq.wants_received(at(11)));
    assert!(arq.wants_received(at(12)));
    let newest = arq.take_received(at(12), 4).expect("a gap");
    assert_eq!(newest, received(4, &[2, 3]), "the last four");
    assert_eq!(arq.take_received(at(12), 0), None);
}
