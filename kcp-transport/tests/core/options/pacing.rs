//! The send rate.

use super::*;

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
fn keep_alives_that_use_up_the_rate_do_not_hold_up_data() {
    // A question and its parity take at least 37 ms at this rate, and another is due every 10 ms.
    for (extensions, mtu) in [(Extensions::Off, 33), (Extensions::On, 120)] {
        let client = Config::builder()
            .mtu(mtu)
            .fec(FecRatio::new(1, 230).ok())
            .keepalive(ms(10))
            .send_rate(NonZeroU64::new(200_000))
            .extensions(extensions)
            .build()
            .expect("in range");
        let config = PairConfig {
            client,
            server: Config::builder().mtu(mtu).build().expect("in range"),
            ..PairConfig::default()
        };
        let mut pair = Pair::new(1, &config);
        let segments = 20;
        let data = vec![7; segments * (mtu - 32)];
        assert!(pair.run_until(Duration::from_secs(1), |pair| {
            pair.client.session.state() == State::Established
        }));
        assert_eq!(pair.client.session.write(pair.now(), &data), data.len());
        let arrived = pair.run_until(Duration::from_secs(10), |pair| {
            pair.server.session.stats().unread == segments
        });
        assert!(arrived, "{extensions:?}");
    }
}
