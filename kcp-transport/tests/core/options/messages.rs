//! Message mode.

use super::*;

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
fn first_long_message_waits_for_the_real_window_of_the_peer() {
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
    // A window that was set explicitly holds at once.
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
