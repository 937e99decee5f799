//! What two peers of this crate can say to each other, and what it does to others: nothing.

use std::time::Duration;

use kcp_transport::config::{Config, Extensions};
use kcp_transport::error::{ConnectionError, ResetCode};
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::{Overhead, TransmitBatch};
use kcp_transport::session::{Role, Session, State};
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Side, seeds};
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, Frame, FrameWriter, Hello, SegmentHeader, Segments, Timestamp, Token,
};

const PATIENCE: Duration = Duration::from_secs(20);

const NO_OVERHEAD: Overhead = Overhead { front: 0, back: 0 };

fn config(extensions: Extensions) -> Config {
    let builder = Config::builder().extensions(extensions);
    builder.build().expect("in range")
}

fn pair_with(client: Extensions, server: Extensions) -> PairConfig {
    PairConfig {
        client: config(client),
        server: config(server),
        ..PairConfig::default()
    }
}

fn lossy(seed: u64) -> Pair {
    let link = LinkConfig {
        loss: 0.2,
        reorder: 0.1,
        duplicate: 0.1,
        jitter: Duration::from_millis(5),
        ..LinkConfig::default()
    };
    let config = PairConfig {
        link,
        ..PairConfig::default()
    };
    Pair::new(seed, &config)
}

/// A pair whose sides have greeted each other, over a clean link.
fn greeted() -> Pair {
    let mut pair = Pair::new(1, &PairConfig::default());
    pair.run_for(Duration::from_secs(1));
    assert!(pair.client.session.has_extensions() && pair.server.session.has_extensions());
    pair
}

fn read_all(pair: &mut Pair, side: Side) -> Vec<u8> {
    let now = pair.now();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match pair.peer(side).session.read(now, &mut buffer) {
            0 => return all,
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

/// A window update that carries `frames`, as from someone who knows the conversation.
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
fn both_sides_know_within_two_round_trips() {
    let mut pair = Pair::new(1, &PairConfig::default());
    let both = |pair: &mut Pair| {
        pair.client.session.has_extensions() && pair.server.session.has_extensions()
    };
    assert!(pair.run_until(Duration::from_millis(100), both));
}

#[test]
fn greeting_survives_loss() {
    for seed in seeds(0..200) {
        let mut pair = lossy(seed);
        // Something to do, or nobody repeats anything.
        let sent = vec![1; 200_000];
        assert_eq!(pair.transfer(&sent), Ok(sent), "seed {seed}");
        pair.run_for(Duration::from_secs(5));
        let heard = pair.client.session.has_extensions() || pair.server.session.has_extensions();
        assert!(heard, "seed {seed}");
    }
}

#[test]
fn one_side_without_extensions_makes_plain_kcp() {
    for (client, server) in [
        (Extensions::Off, Extensions::Migration),
        (Extensions::Migration, Extensions::Off),
        (Extensions::Off, Extensions::Off),
    ] {
        let mut pair = Pair::new(1, &pair_with(client, server));
        let sent = vec![7; 50_000];
        assert_eq!(pair.transfer(&sent), Ok(sent));
        pair.client.session.shutdown(pair.now());
        let drained = |pair: &mut Pair| pair.client.session.state() == State::Drained;
        assert!(pair.run_until(PATIENCE, drained), "{client:?} {server:?}");
        assert!(!pair.client.session.has_extensions() && !pair.server.session.has_extensions());
        assert!(!pair.server.session.is_finished());
    }
}

/// All segments a side sends within `time`, without delivering them.
fn sent_alone(config: &PairConfig, side: Side, time: Duration) -> Vec<(Command, usize)> {
    let deaf = PairConfig {
        link: LinkConfig {
            loss: 1.0,
            ..LinkConfig::default()
        },
        ..config.clone()
    };
    let mut pair = Pair::new(1, &deaf);
    let now = pair.now();
    pair.peer(side).session.write(now, &[1; 100]);
    let mut segments = Vec::new();
    let mut batch = kcp_transport::packet::TransmitBatch::new(
        config
            .client
            .layout(config.security.overhead())
            .expect("fits"),
        32,
    );
    let end = now + time;
    let mut now = now;
    while now < end {
        let session = &mut pair.peer(side).session;
        while session.poll_transmit(now, &mut batch) {
            for datagram in batch.datagrams() {
                segments.extend(
                    Segments::new(datagram)
                        .map(|segment| segment.expect("is ours"))
                        .map(|(header, data)| (header.command, data.len())),
                );
            }
            batch.clear();
        }
        now = session
            .poll_timeout()
            .unwrap_or(end)
            .max(now + Duration::from_micros(1));
        session.handle_timeout(now);
    }
    segments
}

#[test]
fn without_extensions_window_updates_are_empty() {
    let config = pair_with(Extensions::Off, Extensions::Off);
    for side in [Side::Client, Side::Server] {
        let sent = sent_alone(&config, side, Duration::from_secs(8));
        let updates = sent
            .iter()
            .filter(|(command, _)| *command == Command::WindowUpdate);
        assert_eq!(updates.count(), 0);
    }
}

#[test]
fn accepting_side_never_speaks_first() {
    let config = PairConfig::default();
    let sent = sent_alone(&config, Side::Server, Duration::from_secs(8));
    let frames = sent
        .iter()
        .filter(|(command, len)| *command == Command::WindowUpdate && *len > 0);
    assert_eq!(frames.count(), 0);
}

#[test]
fn peer_that_does_not_answer_hears_a_handful_of_hellos() {
    // The server is plain KCP: it answers probes and nothing else.
    let mut pair = Pair::new(1, &pair_with(Extensions::Migration, Extensions::Off));
    let sent = vec![7; 10_000];
    assert_eq!(pair.transfer(&sent), Ok(sent));
    let segments = |pair: &Pair| pair.client.session.stats().segments_sent;
    pair.run_for(Duration::from_secs(10));
    let before = segments(&pair);
    pair.run_for(Duration::from_secs(19));
    assert!(segments(&pair) <= before + 1, "a keepalive, and no hello");
}

#[test]
fn reader_sees_the_end_after_the_last_byte() {
    for seed in seeds(0..100) {
        let mut pair = lossy(seed);
        let sent: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        let mut unsent = &sent[..];
        let mut received = Vec::new();
        for _ in 0..1_000_000 {
            let now = pair.now();
            let taken = pair.client.session.write(now, unsent);
            unsent = &unsent[taken..];
            if unsent.is_empty() {
                pair.client.session.shutdown(now);
            }
            assert!(!pair.server.session.is_finished() || received.len() == sent.len());
            pair.step();
            received.extend(read_all(&mut pair, Side::Server));
            let over = pair.server.session.is_finished();
            if over && pair.client.session.state() == State::Drained {
                break;
            }
        }
        assert!(received == sent, "seed {seed}");
        assert!(pair.server.session.is_finished(), "seed {seed}");
        assert_eq!(pair.client.session.state(), State::Drained, "seed {seed}");
        assert!(
            !pair.client.session.is_finished(),
            "the other direction goes on"
        );
    }
}

#[test]
fn half_closed_connection_answers() {
    let mut pair = greeted();
    let now = pair.now();
    pair.client.session.write(now, b"question");
    pair.client.session.shutdown(now);
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_readable()));
    assert_eq!(read_all(&mut pair, Side::Server), b"question");
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_finished()));
    let now = pair.now();
    assert_eq!(pair.server.session.write(now, b"answer"), 6);
    pair.server.session.shutdown(now);
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_readable()));
    assert_eq!(read_all(&mut pair, Side::Client), b"answer");
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_finished()));
}

#[test]
fn sides_that_have_both_finished_are_gone_soon() {
    let mut pair = greeted();
    let now = pair.now();
    pair.client.session.write(now, b"bye");
    pair.client.session.abandon(now);
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_readable()));
    read_all(&mut pair, Side::Server);
    pair.server.session.abandon(pair.now());
    let start = pair.now();
    let over = |pair: &mut Pair| pair.client.session.is_over() && pair.server.session.is_over();
    assert!(pair.run_until(PATIENCE, over));
    let took = pair.now() - start;
    assert!(took < Duration::from_secs(2), "{took:?}");
    for side in [Side::Client, Side::Server] {
        assert_eq!(pair.peer(side).session.state(), State::Closed(None));
    }
}

#[test]
fn peer_that_is_gone_once_it_has_all_delays_shutting_down_by_a_moment() {
    let mut pair = greeted();
    pair.client.session.write(pair.now(), b"bye");
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_drained()));
    pair.client.link.set_cut(true);
    let start = pair.now();
    pair.client.session.shutdown(start);
    let drained = |pair: &mut Pair| pair.client.session.state() == State::Drained;
    assert!(pair.run_until(PATIENCE, drained));
    let took = pair.now() - start;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn unread_data_resets_a_dropped_stream() {
    let mut pair = greeted();
    pair.server.session.abandon(pair.now());
    pair.run_for(Duration::from_millis(500));
    pair.client.session.write(pair.now(), b"anyone there?");
    let closed = |pair: &mut Pair| pair.client.session.error().is_some();
    assert!(pair.run_until(Duration::from_secs(1), closed));
    let expected = ConnectionError::Reset(ResetCode::UNREAD);
    assert_eq!(pair.client.session.error(), Some(expected));
}

#[test]
fn reset_ends_the_other_side_within_a_trip() {
    let mut pair = greeted();
    let code = ResetCode::new(42).expect("is not reserved");
    let start = pair.now();
    pair.client.session.reset(start, code);
    assert_eq!(pair.client.session.state(), State::Closed(None));
    let closed = |pair: &mut Pair| pair.server.session.error().is_some();
    assert!(pair.run_until(PATIENCE, closed));
    assert_eq!(
        pair.server.session.error(),
        Some(ConnectionError::Reset(code))
    );
    assert!(pair.now() - start < Duration::from_millis(100));
    // What is repeated in vain ends too.
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_over()));
    assert!(!pair.step(), "nothing happens any more");
}

#[test]
fn reset_is_repeated_when_lost() {
    let mut heard = 0;
    for seed in 0..200 {
        let mut pair = lossy(seed);
        pair.run_for(Duration::from_secs(3));
        if !pair.client.session.has_extensions() {
            continue;
        }
        let now = pair.now();
        pair.client.session.reset(now, ResetCode::GOING_AWAY);
        pair.run_for(Duration::from_secs(5));
        heard += u32::from(pair.server.session.error().is_some());
    }
    assert!(heard > 190, "{heard} of 200 at 20 % loss");
}

#[test]
fn application_codes_stop_where_ours_begin() {
    assert!(ResetCode::new(ResetCode::FIRST_RESERVED - 1).is_ok());
    let error = ResetCode::new(ResetCode::FIRST_RESERVED).expect_err("is reserved");
    assert!(
        error.to_string().contains("reset code is 4294967040"),
        "{error}"
    );
}

#[test]
fn what_arrived_before_a_reset_can_be_read() {
    let mut pair = greeted();
    pair.client.session.write(pair.now(), b"last words");
    pair.run_for(Duration::from_millis(200));
    pair.client.session.reset(pair.now(), ResetCode::GOING_AWAY);
    pair.run_for(Duration::from_millis(200));
    assert!(pair.server.session.error().is_some());
    assert_eq!(read_all(&mut pair, Side::Server), b"last words");
}

#[test]
fn timed_out_side_tells_the_other() {
    let mut pair = greeted();
    // Nothing reaches the server; what it says does reach the client.
    pair.client.link.set_config(LinkConfig {
        loss: 1.0,
        ..LinkConfig::default()
    });
    pair.server.session.write(pair.now(), b"hello?");
    let closed = |pair: &mut Pair| pair.client.session.error().is_some();
    assert!(pair.run_until(Duration::from_secs(40), closed));
    let expected = ConnectionError::Reset(ResetCode::TIMED_OUT);
    assert_eq!(pair.client.session.error(), Some(expected));
}

#[test]
fn forged_frames_without_the_token_change_nothing() {
    let mut pair = greeted();
    let conversation = pair.client.session.conversation();
    let guess = Token::new(0x1234_5678);
    let forged = [
        Frame::Fin { tag: guess, end: 0 },
        Frame::Fin { tag: guess, end: 5 },
        Frame::FinAck { tag: guess, end: 0 },
        Frame::Reset {
            tag: guess,
            code: 1,
        },
        Frame::Pong(3),
        Frame::Hello(Hello {
            confirmed: false,
            capabilities: 0,
            token: guess,
            echo: None,
        }),
        Frame::Hello(Hello {
            confirmed: true,
            capabilities: 0,
            token: guess,
            echo: Some(guess),
        }),
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
        &[Frame::Hello(Hello {
            confirmed: false,
            capabilities: 0,
            token: Token::new(666),
            echo: None,
        })],
    );
    pair.server.session.handle_datagram(pair.now(), &forged);
    pair.client.session.handle_datagram(pair.now(), &forged);
    pair.run_for(Duration::from_secs(2));
    assert!(pair.client.session.has_extensions() && pair.server.session.has_extensions());
    pair.client.session.shutdown(pair.now());
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_finished()));
}

/// A hello from someone who will never be heard of again.
fn invented_hello(conversation: ConversationId) -> Vec<u8> {
    let hello = Hello {
        confirmed: false,
        capabilities: 0,
        token: Token::new(666),
        echo: None,
    };
    update(conversation, 0, &[Frame::Hello(hello)])
}

#[test]
fn shutdown_does_not_wait_for_an_invented_peer() {
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
fn ended_session_says_no_more_to_an_unproved_address_than_others() {
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
fn session_let_go_of_ends_when_its_end_was_said_often_enough() {
    let mut pair = greeted();
    // Silence before that counts for nothing.
    pair.run_for(Duration::from_secs(8));
    pair.client.link.set_cut(true);
    pair.server.link.set_cut(true);
    let now = pair.now();
    pair.client.session.abandon(now);
    let ended = |pair: &mut Pair| pair.client.session.state() == State::Closed(None);
    let sent = |pair: &Pair| pair.client.session.stats().datagrams_sent;
    let mut last = (now, sent(&pair));
    while !ended(&mut pair) {
        pair.run_for(Duration::from_millis(50));
        if sent(&pair) > last.1 {
            last = (pair.now(), sent(&pair));
        }
        assert!(pair.now() - now < Duration::from_secs(60));
    }
    assert!(pair.now() - last.0 < Duration::from_millis(200));
}

#[test]
fn end_before_what_was_received_is_refused() {
    let mut pair = greeted();
    pair.client.session.write(pair.now(), b"data");
    pair.run_for(Duration::from_millis(200));
    // Even with the right token: whoever has it does not take back what was delivered.
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
fn idle_peers_ping_each_other() {
    let mut pair = greeted();
    let before = pair.server.session.stats();
    pair.run_for(Duration::from_secs(600));
    assert_eq!(pair.client.session.state(), State::Established);
    assert_eq!(pair.server.session.state(), State::Established);
    let after = pair.server.session.stats();
    assert_eq!(after.extension_frames_refused, 0);
    let per_keepalive = (after.datagrams_sent - before.datagrams_sent) as f64 / 30.0;
    assert!((0.5..=2.5).contains(&per_keepalive), "{per_keepalive}");
}

#[test]
fn ends_are_told_with_fec_and_small_datagrams_too() {
    for mtu in [85, 110, 200, 1400] {
        let mut builder = Config::builder().mtu(mtu);
        builder = builder.fec(FecRatio::new(3, 2).expect("in range"));
        let own = builder.build().expect("in range");
        let config = PairConfig {
            client: own.clone(),
            server: own,
            link: LinkConfig {
                loss: 0.1,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        };
        let mut pair = Pair::new(9, &config);
        let sent = vec![3; 5000];
        assert_eq!(pair.transfer(&sent), Ok(sent), "mtu {mtu}");
        pair.client.session.shutdown(pair.now());
        let drained = |pair: &mut Pair| pair.client.session.state() == State::Drained;
        assert!(pair.run_until(PATIENCE, drained), "mtu {mtu}");
        assert!(pair.server.session.is_finished(), "mtu {mtu}");
    }
}

#[test]
fn datagrams_without_room_for_frames_carry_none() {
    let own = Config::builder().mtu(51).build().expect("in range");
    let config = PairConfig {
        client: own.clone(),
        server: own,
        ..PairConfig::default()
    };
    let mut pair = Pair::new(9, &config);
    let sent = vec![3; 500];
    assert_eq!(pair.transfer(&sent), Ok(sent));
    assert!(!pair.client.session.has_extensions());
}

#[test]
fn answers_come_to_an_end_in_datagrams_of_any_size() {
    let conversation = ConversationId::new(9);
    let hello = Hello {
        confirmed: false,
        capabilities: 0,
        token: Token::new(666),
        echo: None,
    };
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
