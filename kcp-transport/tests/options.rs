//! What each option does, seen on the wire or in virtual time.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use kcp_transport::arq::MessageError;
use kcp_transport::config::{
    AckPolicy, Config, ConfigBuilder, Congestion, Extensions, Mode, Preset, WriteCoalescing,
};
use kcp_transport::crypto::Security;
use kcp_transport::error::{ConnectionError, DatagramError};
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::{Overhead, TransmitBatch};
use kcp_transport::session::{Role, Session, State};
use kcp_transport::testing::{LinkConfig, Pair, PairConfig};
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Segments, ShardHeader, ShardKind,
    Timestamp,
};

const CONVERSATION: ConversationId = ConversationId::new(0x0403_0201);
const NONE: Overhead = Overhead { front: 0, back: 0 };

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn session(builder: ConfigBuilder, role: Role) -> Session {
    // Plain KCP, so that all that leaves is what the options say.
    let builder = builder.extensions(Extensions::Off);
    let config = builder.build().expect("in range");
    let layout = config.layout(NONE).expect("has room");
    Session::new(&config, layout, CONVERSATION, role, 0, Time::ZERO)
}

fn lazy(builder: ConfigBuilder) -> Session {
    session(builder, Role::ConnectLazy)
}

fn accepting(builder: ConfigBuilder) -> Session {
    session(builder, Role::Accept)
}

/// Everything due now, a datagram each.
fn datagrams(session: &mut Session, now: Time) -> Vec<Vec<u8>> {
    let layout = Config::builder()
        .mtu(1500)
        .build()
        .and_then(|config| config.layout(NONE))
        .expect("has room");
    let mut batch = TransmitBatch::new(layout, 1000);
    while session.poll_transmit(now, &mut batch) {}
    batch.datagrams().map(<[u8]>::to_vec).collect()
}

/// Headers of everything due now, of a session without FEC.
fn headers(session: &mut Session, now: Time) -> Vec<SegmentHeader> {
    let all = datagrams(session, now);
    let segments = all.iter().flat_map(|datagram| Segments::new(datagram));
    segments.map(|segment| segment.expect("ours").0).collect()
}

fn pushes(session: &mut Session, now: Time) -> usize {
    let all = headers(session, now);
    all.iter()
        .filter(|header| header.command == Command::Push)
        .count()
}

fn carry(now: Time, from: &mut Session, to: &mut Session) {
    for datagram in datagrams(from, now) {
        to.handle_datagram(now, &datagram);
    }
}

/// Lets time pass for a session that hears nothing, until it ends; returns when and why.
fn end_alone(session: &mut Session, mut now: Time) -> (Time, Option<ConnectionError>) {
    for _ in 0..10_000 {
        datagrams(session, now);
        session.handle_timeout(now);
        if let State::Closed(error) = session.state() {
            return (now, error);
        }
        let next = session.poll_timeout().expect("not ended yet");
        now = next.max(now + Duration::from_micros(1));
    }
    panic!("never ends");
}

#[test]
fn each_bad_input_has_an_error_of_its_own_before_anything_is_sent() {
    let config = |builder: ConfigBuilder| builder.build().expect_err("out of range").to_string();
    let shards = |data, parity| {
        FecRatio::new(data, parity)
            .expect_err("refused")
            .to_string()
    };
    let window = "allowed are 1 to 65535 segments";
    let ratio = "data and parity of at least 1 each, together at most 256";
    let aead = Overhead {
        front: 12,
        back: 16,
    };
    let tight = Config::builder()
        .mtu(60)
        .fec(FecRatio::new(10, 3).expect("in range"));
    let tight = tight.build().expect("has room without a cipher");
    let cipher = Security::from_password("rot13", "secret", Security::KCPTUN_SALT);
    let mut session = lazy(Config::builder().fec(FecRatio::new(10, 3).expect("in range")));
    let datagram = session.send_out_of_band(at(0), &[0; 1400]);
    for (error, parts) in [
        (shards(200, 57), ["200/57", ratio]),
        (shards(0, 3), ["0/3", ratio]),
        (shards(10, 0), ["10/0", ratio]),
        (
            config(Config::builder().mtu(24)),
            ["mtu is 24", "25 to 1500"],
        ),
        (
            tight.layout(aead).expect_err("no room").to_string(),
            ["mtu is 60", "at least 61 is needed"],
        ),
        (
            config(Config::builder().windows(0, 1)),
            ["send window is 0", window],
        ),
        (
            config(Config::builder().windows(65_536, 1)),
            ["send window is 65536", window],
        ),
        (
            config(Config::builder().windows(1, 0)),
            ["receive window is 0", window],
        ),
        (
            config(Config::builder().windows(1, 65_536)),
            ["receive window is 65536", window],
        ),
        (
            datagram.expect_err("too long").to_string(),
            ["out-of-band datagram has 1400 bytes", "at most 1388"],
        ),
        (
            cipher.expect_err("unknown").to_string(),
            ["unknown cipher \"rot13\"", "aes-128-gcm"],
        ),
    ] {
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
    assert_eq!(datagrams(&mut session, at(0)), Vec::<Vec<u8>>::new());
}

#[test]
fn mtu_is_the_largest_datagram() {
    for mtu in [100, 576, 1400, 1500] {
        let mut session = lazy(Config::builder().mtu(mtu));
        session.write(at(0), &[7; 20_000]);
        let sent = datagrams(&mut session, at(0));
        assert_eq!(sent.iter().map(Vec::len).max(), Some(mtu));
    }
}

#[test]
fn send_window_limits_what_is_in_flight() {
    for window in [1, 4, 20] {
        let mut session = lazy(Config::builder().windows(window, 32));
        session.write(at(0), &[7; 20 * 1376]);
        assert_eq!(pushes(&mut session, at(0)), window as usize);
    }
}

#[test]
fn receive_window_is_told_less_what_is_unread() {
    let mut sender = lazy(Config::builder());
    let mut reader = accepting(Config::builder().windows(32, 500));
    sender.write(at(0), &[7; 3 * 1376]);
    carry(at(0), &mut sender, &mut reader);
    let acks = headers(&mut reader, at(0));
    assert!(acks.iter().all(|ack| ack.window == 497), "{acks:?}");
    assert_eq!(reader.stats().unread, 3);
}

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
    assert_eq!(timeouts(true), [0, 200, 500, 900]);
    assert_eq!(timeouts(false), [0, 200, 600]);

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
fn congestion_window_starts_small_and_unlimited_has_none() {
    for (congestion, first) in [(Congestion::Kcp, 1), (Congestion::Unlimited, 32)] {
        let mut session = lazy(Config::builder().congestion(congestion));
        session.write(at(0), &[7; 100 * 1376]);
        assert_eq!(pushes(&mut session, at(0)), first, "{congestion:?}");
    }
}

#[test]
fn mode_decides_whether_writes_share_a_segment() {
    for (mode, segments) in [(Mode::Stream, 1), (Mode::Message, 2)] {
        let mut session = lazy(Config::builder().mode(mode));
        session.write(at(0), b"one");
        session.write(at(0), b"two");
        assert_eq!(pushes(&mut session, at(0)), segments, "{mode:?}");
    }
}

#[test]
fn fec_adds_parity_to_each_group() {
    let ratio = FecRatio::new(4, 2).expect("in range");
    let mut session = lazy(Config::builder().fec(ratio));
    session.write(at(0), &[7; 8 * 1300]);
    let kinds: Vec<ShardKind> = datagrams(&mut session, at(0))
        .iter()
        .map(|datagram| ShardHeader::detect(datagram).expect("FEC is on").0.kind)
        .collect();
    use ShardKind::{Data, Parity};
    let group = [Data, Data, Data, Data, Parity, Parity];
    assert_eq!(kinds[..12], [group, group].concat());
}

#[test]
fn time_outs_end_the_session_when_they_say() {
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
fn keepalive_asks_after_so_much_silence() {
    let mut session = lazy(Config::builder().keepalive(ms(250)));
    session.handle_timeout(at(249));
    assert_eq!(headers(&mut session, at(249)), []);
    session.handle_timeout(at(250));
    let sent = headers(&mut session, at(250));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].command, Command::WindowProbe);
}

#[test]
fn send_buffer_bounds_what_a_write_takes() {
    let mut small = lazy(Config::builder().send_buffer(5000));
    assert_eq!(small.write(at(0), &[7; 10_000]), 5000);
    let mut default = lazy(Config::builder().windows(10, 10));
    assert_eq!(default.write(at(0), &[7; 100_000]), 10 * 1376);
}

#[test]
fn presets_set_the_four_numbers_of_their_names() {
    let numbers = |preset| {
        let config = Config::builder().preset(preset).build().expect("in range");
        let resend = config.fast_retransmit_after().map_or(0, NonZeroU32::get);
        (
            config.no_delay(),
            config.flush_interval(),
            resend,
            config.congestion() == Congestion::Unlimited,
        )
    };
    assert_eq!(numbers(Preset::Normal), (false, ms(40), 2, true));
    assert_eq!(numbers(Preset::Fast), (false, ms(30), 2, true));
    assert_eq!(numbers(Preset::Fast2), (true, ms(20), 2, true));
    assert_eq!(numbers(Preset::Fast3), (true, ms(10), 2, true));
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

/// Bytes that leave in each millisecond, while `session` has more than enough to send.
fn sent_each_millisecond(session: &mut Session, millis: u64) -> Vec<u64> {
    let mut each = Vec::new();
    for now in 0..millis {
        session.write(at(now), &[7; 1 << 20]);
        let before = session.stats().wire_bytes_sent;
        let sent = datagrams(session, at(now));
        assert!(session.poll_timeout().expect("more waits") > at(now));
        let bytes: usize = sent.iter().map(Vec::len).sum();
        assert_eq!(session.stats().wire_bytes_sent - before, bytes as u64);
        each.push(bytes as u64);
    }
    each
}

#[test]
fn send_rate_holds_for_batches_parity_and_retransmissions() {
    for fec in [None, FecRatio::new(10, 3).ok()] {
        let rate = 1_000_000;
        let options = Config::builder()
            .fec(fec)
            .send_rate(NonZeroU64::new(rate))
            .user_timeout(None);
        let mut session = lazy(options);
        // Nothing is ever acknowledged: after 32 segments all of this is sent again and again.
        let each = sent_each_millisecond(&mut session, 3000);
        let burst = 5000;
        assert!(each[0] <= burst && each[0] > burst - 1400, "{}", each[0]);
        for span in [1, 10, 100, 1000] {
            let most = each
                .windows(span)
                .map(|sent| sent.iter().sum::<u64>())
                .max();
            let allowed = burst + rate * span as u64 / 1000;
            assert!(most <= Some(allowed), "{most:?} in {span} ms");
        }
        assert!(session.stats().timeout_retransmitted > 0);
    }
}

#[test]
fn send_rate_is_reached_and_the_transfer_takes_its_time() {
    let config = PairConfig {
        link: LinkConfig {
            delay: ms(5),
            ..LinkConfig::default()
        },
        client: Config::builder()
            .send_rate(NonZeroU64::new(500_000))
            .build()
            .expect("in range"),
        ..PairConfig::default()
    };
    let mut pair = Pair::new(1, &config);
    let data = vec![7; 2_000_000];
    assert_eq!(pair.transfer(&data), Ok(data));
    let took = pair.now() - Time::ZERO;
    let sent = pair.client.session.stats().wire_bytes_sent;
    let least = Duration::from_secs_f64((sent - 2800) as f64 / 500_000.0);
    assert!(
        took >= least && took <= least + ms(100),
        "{took:?} {least:?}"
    );
}

#[test]
fn out_of_band_datagram_has_the_bytes_of_kcp_go_and_goes_first() {
    let ratio = FecRatio::new(10, 3).expect("in range");
    let mut sender = lazy(Config::builder().fec(ratio));
    let mut reader = accepting(Config::builder());
    sender.write(at(0), b"stream");
    assert_eq!(sender.send_out_of_band(at(0), b"beside"), Ok(()));
    assert_eq!(sender.poll_timeout(), Some(Time::ZERO));
    let sent = datagrams(&mut sender, at(0));
    let mut expected = vec![0xff, 0xff, 0xff, 0xff, 0xf3, 0, 12, 0, 1, 2, 3, 4];
    expected.extend_from_slice(b"beside");
    assert_eq!(sent[0], expected);
    assert_eq!(sent[1][..4], [0; 4], "it has no number in the groups");
    for datagram in &sent {
        reader.handle_datagram(at(0), datagram);
    }
    assert!(reader.has_out_of_band());
    assert_eq!(reader.poll_out_of_band(), Some(b"beside".to_vec()));
    assert_eq!(reader.poll_out_of_band(), None);
    let stats = (sender.stats(), reader.stats());
    assert_eq!(
        (stats.0.out_of_band_sent, stats.1.out_of_band_received),
        (1, 1)
    );
}

#[test]
fn out_of_band_datagram_needs_fec_and_fits_into_one_packet() {
    let mut without = lazy(Config::builder());
    assert_eq!(without.max_out_of_band_len(), None);
    let refused = without.send_out_of_band(at(0), b"x");
    assert_eq!(refused, Err(DatagramError::FecOff));
    assert_eq!(
        DatagramError::FecOff.to_string(),
        "out-of-band datagrams need FEC on at the sending side; set the fec option"
    );

    let mut with = lazy(Config::builder().fec(FecRatio::new(10, 3).expect("in range")));
    let most = 1400 - 8 - 4;
    assert_eq!(with.max_out_of_band_len(), Some(most));
    assert_eq!(with.send_out_of_band(at(0), &vec![7; most]), Ok(()));
    assert_eq!(datagrams(&mut with, at(0))[0].len(), 1400);
    let refused = with.send_out_of_band(at(0), &vec![7; most + 1]);
    assert_eq!(
        refused.expect_err("too long").to_string(),
        "out-of-band datagram has 1389 bytes; allowed are at most 1388"
    );
    assert_eq!(with.send_out_of_band(at(0), b""), Ok(()));
    assert_eq!(datagrams(&mut with, at(0))[0].len(), 12);
}

#[test]
fn foreign_or_broken_out_of_band_datagram_changes_nothing_but_a_counter() {
    let mut session = accepting(Config::builder().keepalive(None));
    let foreign = [0xff, 0xff, 0xff, 0xff, 0xf3, 0, 7, 0, 9, 9, 9, 9, 1];
    let short = [0xff, 0xff, 0xff, 0xff, 0xf3, 0, 4, 0, 1, 2];
    let lying = [0xff, 0xff, 0xff, 0xff, 0xf3, 0, 90, 0, 1, 2, 3, 4];
    for (count, datagram) in [&foreign[..], &short, &lying].into_iter().enumerate() {
        session.handle_datagram(at(50_000), datagram);
        assert_eq!(session.stats().invalid_received, count as u64 + 1);
    }
    assert!(!session.has_out_of_band());
    assert_eq!(session.state(), State::Established);
    assert_eq!(datagrams(&mut session, at(50_000)), Vec::<Vec<u8>>::new());
    let end = end_alone(&mut session, at(50_000));
    let silence = (at(90_000), Some(ConnectionError::IdleTimeout));
    assert_eq!(end, silence, "none of them is a sign of life");
}

#[test]
fn out_of_band_queues_drop_the_oldest_and_count() {
    let ratio = FecRatio::new(10, 3).expect("in range");
    let mut sender = lazy(Config::builder().fec(ratio));
    let mut reader = accepting(Config::builder());
    for round in 0..3_u8 {
        for index in 0..40 {
            let sent = sender.send_out_of_band(at(0), &[round * 40 + index]);
            assert_eq!(sent, Ok(()));
        }
        carry(at(0), &mut sender, &mut reader);
    }
    assert_eq!(reader.stats().out_of_band_received, 120);
    assert_eq!(reader.stats().out_of_band_dropped, 120 - 64);
    let kept: Vec<u8> = std::iter::from_fn(|| reader.poll_out_of_band())
        .map(|datagram| datagram[0])
        .collect();
    assert_eq!(kept, (56..120).collect::<Vec<u8>>());
    for index in 0..100 {
        assert_eq!(sender.send_out_of_band(at(0), &[index]), Ok(()));
    }
    assert_eq!(datagrams(&mut sender, at(0)).len(), 64);
    assert_eq!(sender.stats().out_of_band_dropped, 36);
}

#[test]
fn messages_survive_a_bad_link_with_their_boundaries() {
    let own = Config::builder()
        .mode(Mode::Message)
        .build()
        .expect("in range");
    let config = PairConfig {
        client: own.clone(),
        server: own,
        link: LinkConfig {
            loss: 0.2,
            reorder: 0.2,
            duplicate: 0.1,
            ..LinkConfig::default()
        },
        ..PairConfig::default()
    };
    let mut pair = Pair::new(11, &config);
    let lengths: Vec<usize> = (1..60)
        .map(|index| (index * index * 97) % 50_000 + 1)
        .collect();
    let mut unsent = lengths.iter().enumerate();
    let mut next = unsent.next();
    let mut received = Vec::new();
    let mut message = Vec::new();
    let all = pair.run_until(Duration::from_secs(600), |pair| {
        let now = pair.now();
        while let Some((index, &len)) = next
            && pair.client.session.state() == State::Established
            && pair
                .client
                .session
                .write_message(now, &vec![index as u8; len])
                .expect("short enough")
        {
            next = unsent.next();
        }
        while pair.server.session.read_message(now, &mut message) {
            assert!(
                message
                    .iter()
                    .all(|&byte| usize::from(byte) == received.len())
            );
            received.push(message.len());
            message.clear();
        }
        received.len() == lengths.len()
    });
    assert!(all);
    assert_eq!(received, lengths);
}

#[test]
fn message_errors_name_what_was_given_and_what_is_allowed() {
    let mut session = lazy(Config::builder().mode(Mode::Message));
    let refused = session.write_message(at(0), b"");
    assert_eq!(refused, Err(MessageError::Empty));
    let most = 32 * 1376;
    assert_eq!(
        session.max_message_len(),
        most,
        "nothing is known of the peer"
    );
    assert_eq!(
        questions(&mut session, most + 1),
        [0, 10, 30, 70, 150, 310, 630]
    );
    let refused = session.write_message(at(1270), &vec![0; most + 1]);
    let expected = "message has 44033 bytes; allowed are at most 44032";
    assert_eq!(refused.expect_err("too long").to_string(), expected);
    assert_eq!(session.write_message(at(1270), &vec![0; most]), Ok(true));

    let mut session = lazy(Config::builder().mode(Mode::Message));
    let longest = 255 * 1376;
    let refused = session.write_message(at(0), &vec![0; longest + 1]);
    assert!(refused.is_err(), "no peer takes that");
}

/// When the peer is asked for its window while a message of `len` bytes waits; all in vain.
fn questions(session: &mut Session, len: usize) -> Vec<u64> {
    let mut asked = Vec::new();
    for now in 0..1270 {
        if now % 3 == 0 {
            assert_eq!(session.write_message(at(now), &vec![0; len]), Ok(false));
            assert!(!session.is_writable());
        }
        session.handle_timeout(at(now));
        let sent = headers(session, at(now));
        if !sent.is_empty() {
            assert!(
                sent.iter()
                    .all(|header| header.command == Command::WindowProbe)
            );
            asked.push(now);
        }
        assert!(session.poll_timeout().is_some_and(|next| next > at(now)));
    }
    session.handle_timeout(at(1270));
    assert!(session.is_writable());
    asked
}

#[test]
fn first_long_message_waits_until_the_peer_tells_its_real_window() {
    let mut session = lazy(Config::builder().mode(Mode::Message));
    let told = |session: &mut Session, now, window| {
        let header = SegmentHeader {
            conversation: CONVERSATION,
            command: Command::WindowUpdate,
            fragments_left: 0,
            window,
            timestamp: kcp_transport::wire::Timestamp::default(),
            sequence: 0,
            unacknowledged: 0,
            payload_len: 0,
        };
        let mut datagram = [0; 24];
        header.encode(&mut datagram);
        session.handle_datagram(now, &datagram);
    };
    // kcp-go's session, before its program has accepted it.
    told(&mut session, at(0), 32);
    let message = vec![0; 100 * 1376];
    assert_eq!(session.write_message(at(1), &message), Ok(false));
    assert_eq!(
        headers(&mut session, at(1))[0].command,
        Command::WindowProbe
    );
    told(&mut session, at(2), 32);
    assert!(!session.is_writable());
    assert_eq!(
        session.write_message(at(2), b"short"),
        Ok(true),
        "others do not wait"
    );
    assert!(session.is_writable());
    assert_eq!(session.write_message(at(3), &message), Ok(false));
    told(&mut session, at(4), 100);
    assert!(session.is_writable());
    assert_eq!(session.write_message(at(4), &message), Ok(true));
    // What somebody has set is believed at once.
    assert!(session.write_message(at(4), &vec![0; 101 * 1376]).is_err());
}

#[test]
fn fragments_that_make_no_message_end_the_session() {
    let mut session = accepting(Config::builder().mode(Mode::Message).windows(16, 16));
    let header = SegmentHeader {
        conversation: CONVERSATION,
        command: Command::Push,
        fragments_left: 200,
        window: 32,
        timestamp: kcp_transport::wire::Timestamp::default(),
        sequence: 0,
        unacknowledged: 0,
        payload_len: 0,
    };
    let mut datagram = [0; 24];
    header.encode(&mut datagram);
    session.handle_datagram(at(0), &datagram);
    assert!(session.is_readable(), "the reader is to find out");
    assert!(!session.read_message(at(0), &mut Vec::new()));
    assert!(matches!(
        session.error(),
        Some(ConnectionError::Protocol(_))
    ));
}
