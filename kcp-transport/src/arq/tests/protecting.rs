//! Copies of segments that nothing would follow.

use super::*;

/// One on a path of 50 ms that may have lost one in a hundred of what was sent.
fn protected(redundancy: Redundancy) -> Arq {
    let mut arq = arq(ArqConfig {
        redundancy,
        ..config()
    });
    arq.on_handshake(ms(50), ms(50));
    direct(&mut arq, at(0), &tell(0, 1000));
    arq
}

const ADAPTIVE: Redundancy = Redundancy::Adaptive {
    overhead: Percent::new(100),
};

/// Numbers and timestamps of data segments.
fn stamped(arq: &mut Arq, now: Time) -> Vec<(u32, Timestamp)> {
    let all = transmit(arq, now).into_iter();
    all.filter(|header| header.command == Command::Push)
        .map(|header| (header.sequence, header.timestamp))
        .collect()
}

#[test]
fn segment_is_copied_once_after_two_milliseconds_under_a_time_of_its_own() {
    let mut arq = protected(ADAPTIVE);
    arq.write(&[7; 60]);
    assert_eq!(stamped(&mut arq, at(100)), [(0, stamp(at(100), OFFSET))]);
    assert_eq!(arq.poll_timeout(), Some(at(102)));
    assert_eq!(stamped(&mut arq, at(101)), []);
    assert_eq!(stamped(&mut arq, at(102)), [(0, stamp(at(102), OFFSET))]);
    assert_eq!(
        arq.poll_timeout(),
        Some(at(175)),
        "the probe, from the first"
    );
    let stats = stats(&arq);
    assert_eq!((stats.redundant_sent, stats.redundant_bytes), (1, 84));
    assert_eq!((stats.retransmitted, stats.data_segments_sent), (0, 1));
}

#[test]
fn segment_that_opens_a_session_is_not_copied_and_the_next_one_is() {
    let mut arq = protected(ADAPTIVE);
    arq.set_opens_session();
    arq.write(&[7; 60]);
    assert_eq!(stamped(&mut arq, at(100)), [(0, stamp(at(100), OFFSET))]);
    assert_eq!(stamped(&mut arq, at(110)), []);
    arq.write(&[7; 60]);
    assert_eq!(stamped(&mut arq, at(111)), [(1, stamp(at(111), OFFSET))]);
    assert_eq!(stamped(&mut arq, at(113)), [(1, stamp(at(113), OFFSET))]);
    assert_eq!(stats(&arq).redundant_sent, 1);
}

/// Commands and payload lengths of what is laid out with a mark.
fn marked(arq: &mut Arq, now: Time, extension: &[u8]) -> Vec<Vec<(Command, usize)>> {
    let mut out = [0; MSS + SEGMENT_HEADER_LEN];
    let mut datagrams = Vec::new();
    loop {
        let used = arq.poll_transmit_marked(now, extension, &[9; 28], &mut out);
        if used == 0 {
            return datagrams;
        }
        let segments = Segments::new(&out[..used]).map(|it| it.expect("laid out"));
        datagrams.push(
            segments
                .map(|(it, data)| (it.command, data.len()))
                .collect(),
        );
    }
}

#[test]
fn copy_of_the_segment_that_opens_a_session_has_a_mark_and_no_other_transmission_has() {
    let push = (Command::Push, 40);
    let mark = (Command::WindowUpdate, 28);
    let mut arq = protected(ADAPTIVE);
    arq.set_opens_session();
    arq.write(&[7; 40]);
    assert_eq!(marked(&mut arq, at(100), &[]), [[push]]);
    assert_eq!(marked(&mut arq, at(102), &[]), [[push, mark]]);
    assert_eq!(marked(&mut arq, at(175), &[]), [[push]]);
    assert_eq!(marked(&mut arq, at(177), &[]), [[push, mark]]);
    arq.write(&[7; 40]);
    assert_eq!(marked(&mut arq, at(178), &[]), [[push]]);
    assert_eq!(marked(&mut arq, at(180), &[]), [[push]]);
    assert_eq!(stats(&arq).redundant_sent, 3);
}

#[test]
fn segment_that_opens_a_session_is_not_copied_if_it_leaves_no_room_for_a_mark() {
    for (len, copies) in [(MSS - 24 - 28, 1), (MSS - 24 - 27, 0), (MSS, 0)] {
        let mut arq = protected(ADAPTIVE);
        arq.set_opens_session();
        arq.write(&vec![7; len]);
        assert_eq!(marked(&mut arq, at(100), &[]).len(), 1);
        assert_eq!(marked(&mut arq, at(102), &[]).len(), copies, "{len} bytes");
        assert_eq!(arq.poll_timeout(), Some(at(175)));
    }
}

#[test]
fn marked_copy_that_no_longer_fits_is_not_sent() {
    let mut arq = protected(ADAPTIVE);
    arq.set_opens_session();
    arq.write(&[7; MSS - 24 - 28]);
    assert_eq!(marked(&mut arq, at(100), &[]).len(), 1);
    arq.set_segments_len(MSS + SEGMENT_HEADER_LEN - 1, MSS);
    assert!(marked(&mut arq, at(102), &[]).is_empty());
    assert_eq!(arq.poll_timeout(), Some(at(175)));
}

#[test]
fn ack_of_segment_or_copy_acknowledges_and_gives_a_sample() {
    for echo in [100, 102] {
        let mut arq = protected(ADAPTIVE);
        arq.write(&[7; 60]);
        pushes(&mut arq, at(100));
        pushes(&mut arq, at(102));
        let outcome = direct(&mut arq, at(152), &ack(0, at(echo), 1));
        assert!(outcome.acknowledged && outcome.validated);
        assert_eq!(arq.smoothed_rtt(), Some(ms(152 - echo)));
        assert_eq!((arq.is_drained(), arq.poll_timeout()), (true, None));
        assert_eq!(stats(&arq).spurious_retransmitted, 0);
        // The ack of the other one changes nothing.
        direct(&mut arq, at(154), &ack(0, at(202 - echo), 1));
        assert_eq!((arq.is_drained(), arq.poll_timeout()), (true, None));
    }
}

#[test]
fn nothing_is_copied_once_it_is_acknowledged() {
    let mut arq = protected(ADAPTIVE);
    arq.write(&[7; 60]);
    pushes(&mut arq, at(100));
    direct(&mut arq, at(101), &ack(0, at(100), 1));
    assert_eq!(arq.poll_timeout(), None);
    assert!(pushes(&mut arq, at(102)).is_empty());
}

#[test]
fn flush_of_more_than_four_segments_is_not_copied() {
    for count in 1..8 {
        let mut arq = protected(ADAPTIVE);
        arq.write(&vec![7; count * MSS]);
        assert_eq!(pushes(&mut arq, at(100)).len(), count);
        let copied = if count <= 4 { count } else { 0 };
        assert_eq!(pushes(&mut arq, at(102)).len(), copied);
    }
}

#[test]
fn nothing_is_copied_where_it_is_off_or_the_path_unknown() {
    let mut off = protected(Redundancy::Off);
    let mut unknown = arq(ArqConfig {
        redundancy: ADAPTIVE,
        ..config()
    });
    for arq in [&mut off, &mut unknown] {
        arq.write(&[7; 60]);
        pushes(arq, at(100));
        assert!(pushes(arq, at(110)).is_empty());
    }
}

#[test]
fn probe_of_a_thin_flow_is_sent_twice() {
    let mut arq = protected(ADAPTIVE);
    arq.write(&[7; 60]);
    pushes(&mut arq, at(100));
    pushes(&mut arq, at(102));
    assert_eq!(pushes(&mut arq, at(175)), [0]);
    assert_eq!(arq.poll_timeout(), Some(at(177)));
    assert_eq!(pushes(&mut arq, at(177)), [0]);
    let stats = stats(&arq);
    assert_eq!((stats.timeout_retransmitted, stats.redundant_sent), (1, 2));
}

#[test]
fn path_without_loss_has_no_copies_after_a_while() {
    let mut arq = protected(ADAPTIVE);
    let mut now = at(100);
    for sequence in 0..200 {
        arq.write(&[7; 60]);
        let first = now;
        assert_eq!(pushes(&mut arq, now), [sequence]);
        now += ms(2);
        let copied = pushes(&mut arq, now);
        direct(
            &mut arq,
            first + ms(50),
            &ack(sequence, first, sequence + 1),
        );
        if !copied.is_empty() {
            direct(&mut arq, now + ms(50), &ack(sequence, now, sequence + 1));
        }
        now += ms(60);
        assert!(pushes(&mut arq, now).is_empty());
    }
    let copied = stats(&arq).redundant_sent;
    assert!((10..30).contains(&copied), "{copied}");
    assert_eq!(stats(&arq).retransmitted, 0);
}
