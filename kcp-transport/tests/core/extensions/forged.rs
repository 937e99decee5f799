//! Frames that the peer did not send, or not so.

use super::*;

/// A window update that carries `frames`, forged with knowledge of the conversation.
fn update(conversation: ConversationId, una: u32, frames: &[Frame]) -> Vec<u8> {
    let mut writer = FrameWriter::new(128);
    assert!(frames.iter().all(|frame| writer.push(frame)));
    let header = SegmentHeader {
        conversation,
        command: Command::WindowUpdate,
        fragments_left: 0,
        window: 1024,
        timestamp: Timestamp::default(),
        sequence: 0,
        unacknowledged: una,
        payload_len: u32::try_from(writer.payload().len()).expect("is short"),
    };
    let mut bytes = vec![0; 24];
    header.encode(&mut bytes);
    bytes.extend_from_slice(writer.payload());
    bytes
}

#[test]
fn forged_frames_without_the_token_change_nothing() {
    let mut pair = exchanged_hellos();
    let conversation = pair.client.session.conversation();
    let guess = Token::new(0x1234_5678);
    let mut confirmed = Hello::new(guess);
    confirmed.confirmed = true;
    confirmed.echo = Some(guess);
    let forged = [
        Frame::Fin { tag: guess, end: 0 },
        Frame::Fin { tag: guess, end: 5 },
        Frame::FinAck { tag: guess, end: 0 },
        Frame::Reset {
            tag: guess,
            code: 1,
        },
        Frame::Pong(3),
        Frame::Hello(Hello::new(guess)),
        Frame::Hello(confirmed),
    ];
    let now = pair.now();
    for side in [Side::Client, Side::Server] {
        let session = &mut pair.peer(side).session;
        let before = session.stats().extension_frames_refused;
        for frame in &forged {
            session.handle_datagram(now, &update(conversation, 0, &[*frame]));
        }
        let refused = session.stats().extension_frames_refused - before;
        assert_eq!(refused, forged.len() as u64);
        assert_eq!(session.state(), State::Established);
        assert!(!session.is_finished());
        assert!(session.has_extensions());
    }
    // And the true peers still understand each other.
    pair.client.session.write(now, b"still here");
    pair.client.session.shutdown(now);
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_readable()));
    read_all(&mut pair, Side::Server);
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_finished()));
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.state()
        == State::Drained));
}

#[test]
fn hello_forged_before_the_true_one_is_forgotten() {
    let mut pair = Pair::new(3, &PairConfig::default());
    let conversation = pair.client.session.conversation();
    let forged = update(
        conversation,
        0,
        &[Frame::Hello(Hello::new(Token::new(666)))],
    );
    pair.server.session.handle_datagram(pair.now(), &forged);
    pair.client.session.handle_datagram(pair.now(), &forged);
    pair.run_for(Duration::from_secs(2));
    assert!(pair.client.session.has_extensions() && pair.server.session.has_extensions());
    pair.client.session.shutdown(pair.now());
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_finished()));
}

/// A session that connects has no other protection: it knows nothing of its peer yet.
#[test]
fn forged_refusals_end_no_session_that_connects() {
    let mut pair = Pair::new(1, &PairConfig::default());
    let conversation = pair.client.session.conversation();
    for code in [ResetCode::GOING_AWAY, ResetCode::BACKLOG_FULL] {
        let (tag, code) = (Token::new(666), code.get());
        let forged = update(conversation, 0, &[Frame::Reset { tag, code }]);
        pair.client.session.handle_datagram(pair.now(), &forged);
    }
    assert_eq!(pair.client.session.error(), None);
    assert_eq!(pair.client.session.stats().extension_frames_refused, 2);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.session.has_extensions() && pair.server.session.has_extensions());
}

/// A Hello of a peer that sends nothing more.
fn invented_hello(conversation: ConversationId) -> Vec<u8> {
    let hello = Hello::new(Token::new(666));
    update(conversation, 0, &[Frame::Hello(hello)])
}

#[test]
fn shutdown_does_not_wait_for_a_peer_known_from_a_forged_hello_only() {
    let mut pair = Pair::new(4, &pair_with(Extensions::On, Extensions::Off));
    pair.run_for(Duration::from_secs(1));
    let conversation = pair.client.session.conversation();
    let forged = invented_hello(conversation);
    pair.client.session.handle_datagram(pair.now(), &forged);
    pair.client.session.shutdown(pair.now());
    let drained = |pair: &mut Pair| pair.client.session.state() == State::Drained;
    assert!(pair.run_until(Duration::from_secs(1), drained));
}

#[test]
fn ended_session_sends_no_more_to_an_address_that_is_not_validated_than_others() {
    let config = Config::builder().mtu(600).build().expect("in range");
    let layout = config.layout(NO_OVERHEAD).expect("has room");
    let conversation = ConversationId::new(9);
    let mut now = Time::from_millis(1);
    let mut session = Session::new(&config, layout, conversation, Role::Accept, 1 << 64, now);
    session.handle_datagram(now, &invented_hello(conversation));
    assert!(session.write(now, &[7; 20_000]) > 0);
    let mut batch = TransmitBatch::new(layout, 32);
    while !session.is_over() {
        now = session.poll_timeout().map_or(now, |at| at.max(now));
        session.handle_timeout(now);
        while session.poll_transmit(now, &mut batch) {}
        assert!(
            batch.total_len() <= 3 * config.mtu(),
            "{}",
            batch.total_len()
        );
    }
    assert!(session.error().is_some());
}

#[test]
fn end_before_what_was_received_is_refused() {
    let mut pair = exchanged_hellos();
    pair.client.session.write(pair.now(), b"data");
    pair.run_for(Duration::from_millis(200));
    // Even with the right token: what was delivered stays delivered.
    let token = pair
        .server
        .session
        .migration_token()
        .expect("both may move");
    let fin = Frame::Fin { tag: token, end: 0 };
    let bytes = update(pair.server.session.conversation(), 0, &[fin]);
    let now = pair.now();
    pair.server.session.handle_datagram(now, &bytes);
    assert_eq!(pair.server.session.stats().extension_frames_refused, 1);
    assert_eq!(read_all(&mut pair, Side::Server), b"data");
    assert!(!pair.server.session.is_finished());
}

#[test]
fn answers_come_to_an_end_in_datagrams_of_any_size() {
    let conversation = ConversationId::new(9);
    let hello = Hello::new(Token::new(666));
    let frames = [Frame::Hello(hello), Frame::Ping(1), Frame::PathChallenge(2)];
    let questions = update(conversation, 0, &frames);
    let now = Time::ZERO;
    for (mtu, fec) in (33..140).flat_map(|mtu| [(mtu, None), (mtu, FecRatio::new(3, 2).ok())]) {
        let config = Config::builder().mtu(mtu).fec(fec).build();
        let config = config.expect("in range");
        let layout = config.layout(NO_OVERHEAD).expect("has room");
        let mut session = Session::new(&config, layout, conversation, Role::Connect, 1 << 64, now);
        session.handle_datagram(now, &questions);
        session.shutdown(now);
        let mut batch = TransmitBatch::new(layout, 32);
        while session.poll_transmit(now, &mut batch) {
            assert!(batch.remaining() > 16, "mtu {mtu}, {fec:?}");
        }
        assert!(
            session.poll_timeout().is_none_or(|at| at > now),
            "mtu {mtu}, {fec:?}"
        );
    }
}
