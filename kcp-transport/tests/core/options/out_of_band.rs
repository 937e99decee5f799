//! Datagrams past the stream.

use super::*;

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
        "out-of-band datagrams need FEC on the sending side; set the fec option"
    );

    let mut with = lazy(Config::builder().fec(FecRatio::new(10, 3).expect("in range")));
    let most = 1400 - 8 - 4;
    assert_eq!(with.max_out_of_band_len(), Some(most));
    assert_eq!(with.send_out_of_band(at(0), &vec![7; most]), Ok(()));
    assert_eq!(datagrams(&mut with, at(0))[0].len(), 1400);
    let refused = with.send_out_of_band(at(0), &vec![7; most + 1]);
    assert_eq!(
        refused.expect_err("too long").to_string(),
        "out-of-band datagram has 1389 bytes; at most 1388 are allowed"
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
fn out_of_band_datagrams_longer_than_any_packet_are_invalid() {
    let received = |len: usize| {
        let mut reader = accepting(Config::builder());
        let mut datagram = vec![0xff, 0xff, 0xff, 0xff, 0xf3, 0];
        let size = u16::try_from(len + 6).expect("below 64 KiB");
        datagram.extend_from_slice(&size.to_le_bytes());
        datagram.extend_from_slice(&CONVERSATION.get().to_le_bytes());
        datagram.resize(12 + len, 7);
        reader.handle_datagram(at(0), &datagram);
        let taken = reader.poll_out_of_band().map(|data| data.len());
        (taken, reader.stats().invalid_received)
    };
    assert_eq!(received(1488), (Some(1488), 0));
    assert_eq!(received(1489), (None, 1));
    assert_eq!(received(60_000), (None, 1));
}

#[test]
fn unread_out_of_band_datagrams_count_as_memory_and_few_are_kept_when_it_is_short() {
    let ratio = FecRatio::new(10, 3).expect("in range");
    let mut sender = lazy(Config::builder().fec(ratio));
    let mut reader = accepting(Config::builder());
    let send = |sender: &mut Session, reader: &mut Session| {
        for _ in 0..64 {
            assert_eq!(sender.send_out_of_band(at(0), &[7; 1000]), Ok(()));
        }
        assert!(sender.memory() >= 64 * 1000);
        carry(at(0), sender, reader);
    };
    let before = reader.memory();
    send(&mut sender, &mut reader);
    assert!(reader.memory() >= before + 64 * 1000);
    reader.set_memory_pressure(true);
    assert!(reader.memory() < before + 9 * 1100, "the oldest are let go");
    send(&mut sender, &mut reader);
    assert!(reader.memory() < before + 9 * 1100, "as are new ones");
    let kept = std::iter::from_fn(|| reader.poll_out_of_band()).count();
    assert_eq!(kept, 8);
    assert_eq!(reader.stats().out_of_band_dropped, 120);
    reader.set_memory_pressure(false);
    send(&mut sender, &mut reader);
    assert_eq!(std::iter::from_fn(|| reader.poll_out_of_band()).count(), 64);
}
