//! Options that set when something happens.

use super::*;

#[test]
fn no_delay_lowers_the_rto_and_its_back_off() {
    let timeouts = |no_delay| {
        let mut session = lazy(Config::builder().no_delay(no_delay));
        session.write(at(0), b"x");
        let mut sent = Vec::new();
        for millis in 0..1000 {
            if pushes(&mut session, at(millis)) > 0 {
                sent.push(millis);
            }
        }
        sent
    };
    assert_eq!(timeouts(true), [0, 200, 400, 600, 900]);
    assert_eq!(timeouts(false), [0, 200, 400, 600]);

    let floor = |no_delay| {
        let options = || Config::builder().no_delay(no_delay).flush_interval(ms(10));
        let (mut sender, mut reader) = (lazy(options()), accepting(options()));
        sender.write(at(0), b"x");
        carry(at(0), &mut sender, &mut reader);
        carry(at(1), &mut reader, &mut sender);
        sender.stats().rto
    };
    assert_eq!(floor(true), ms(30));
    assert_eq!(floor(false), ms(100));
}

#[test]
fn flush_interval_is_how_long_batched_acks_wait() {
    for interval in [10, 40, 100] {
        let options = Config::builder()
            .ack_policy(AckPolicy::Batched)
            .flush_interval(ms(interval));
        let (mut sender, mut reader) = (lazy(Config::builder()), accepting(options));
        sender.write(at(5), b"x");
        carry(at(5), &mut sender, &mut reader);
        assert_eq!(headers(&mut reader, at(4 + interval)), []);
        assert_eq!(headers(&mut reader, at(5 + interval)).len(), 1);
    }
}

#[test]
fn immediate_acks_do_not_wait() {
    let (mut sender, mut reader) = (lazy(Config::builder()), accepting(Config::builder()));
    sender.write(at(5), b"x");
    carry(at(5), &mut sender, &mut reader);
    assert_eq!(headers(&mut reader, at(5)).len(), 1);
}

#[test]
fn lost_segment_is_repeated_after_so_many_later_acks() {
    let repeated_after = |acks: Option<u32>| {
        let options = Config::builder().fast_retransmit_after(acks.and_then(NonZeroU32::new));
        let (mut sender, mut reader) = (lazy(options), accepting(Config::builder()));
        sender.write(at(0), &[7; 10 * 1376]);
        // More than the peer takes waits, so that nothing is repeated for want of new data.
        sender.write(at(0), &[7; 60 * 1376]);
        let sent = datagrams(&mut sender, at(0));
        for (count, datagram) in sent[1..].iter().enumerate() {
            reader.handle_datagram(at(1), datagram);
            carry(at(1), &mut reader, &mut sender);
            datagrams(&mut sender, at(1));
            if sender.stats().fast_retransmitted > 0 {
                return Some(count + 1);
            }
        }
        None
    };
    assert_eq!(repeated_after(Some(2)), Some(2));
    assert_eq!(repeated_after(Some(5)), Some(5));
    assert_eq!(repeated_after(None), None);
}

#[test]
fn time_outs_end_the_session_at_their_time() {
    let options = || {
        Config::builder()
            .connect_timeout(ms(700))
            .user_timeout(ms(1300))
            .idle_timeout(ms(2900))
            .linger(ms(400))
    };
    let mut connecting = session(options(), Role::Connect);
    let end = end_alone(&mut connecting, at(0));
    assert_eq!(end, (at(700), Some(ConnectionError::ConnectTimeout)));

    let mut unanswered = lazy(options());
    unanswered.write(at(100), b"x");
    let end = end_alone(&mut unanswered, at(100));
    assert_eq!(end, (at(1400), Some(ConnectionError::PeerUnresponsive)));

    let end = end_alone(&mut lazy(options()), at(0));
    assert_eq!(end, (at(2900), Some(ConnectionError::IdleTimeout)));

    let mut draining = lazy(options());
    draining.write(at(0), b"x");
    datagrams(&mut draining, at(0));
    draining.shutdown(at(0));
    let end = end_alone(&mut draining, at(0));
    assert_eq!(end, (at(400), Some(ConnectionError::LingerTimeout)));
}

#[test]
fn user_timeout_counts_from_the_first_answer_whatever_was_sent_before() {
    let options = Config::builder()
        .connect_timeout(ms(5000))
        .user_timeout(ms(1300));
    let mut session = session(options, Role::Connect);
    session.write(at(0), b"x");
    datagrams(&mut session, at(0));
    let mut peer = accepting(Config::builder());
    let question = SegmentHeader {
        conversation: CONVERSATION,
        command: Command::WindowProbe,
        fragments_left: 0,
        window: 32,
        timestamp: Timestamp::default(),
        sequence: 0,
        unacknowledged: 0,
        payload_len: 0,
    };
    let mut datagram = [0; SEGMENT_HEADER_LEN];
    question.encode(&mut datagram);
    peer.handle_datagram(at(3000), &datagram);
    carry(at(3000), &mut peer, &mut session);
    assert_eq!(session.state(), State::Established);
    let end = end_alone(&mut session, at(3000));
    assert_eq!(end, (at(4300), Some(ConnectionError::PeerUnresponsive)));
}

#[test]
fn keepalive_probes_after_so_much_silence() {
    let mut session = lazy(Config::builder().keepalive(ms(250)));
    session.handle_timeout(at(249));
    assert_eq!(headers(&mut session, at(249)), []);
    session.handle_timeout(at(250));
    let sent = headers(&mut session, at(250));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].command, Command::WindowProbe);
}

#[test]
fn delayed_writes_share_a_datagram_and_shutting_down_hastens_them() {
    let options = || {
        Config::builder()
            .write_coalescing(WriteCoalescing::Delayed)
            .flush_interval(ms(50))
    };
    let mut immediate = lazy(Config::builder());
    immediate.write(at(0), b"one");
    assert_eq!(pushes(&mut immediate, at(0)), 1);

    let mut delayed = lazy(options());
    for millis in 0..50 {
        delayed.write(at(millis), b"word");
        assert_eq!(pushes(&mut delayed, at(millis)), 0);
    }
    assert_eq!(delayed.poll_timeout(), Some(at(50)));
    let sent = headers(&mut delayed, at(50));
    assert_eq!((sent.len(), sent[0].payload_len), (1, 200));

    let mut closing = lazy(options());
    closing.write(at(0), b"last words");
    assert_eq!(pushes(&mut closing, at(0)), 0);
    closing.shutdown(at(1));
    assert_eq!(pushes(&mut closing, at(1)), 1);
}
