//! Keys that change while a connection lasts.

use std::time::Duration;

use kcp_transport::config::{Config, Preset};
use kcp_transport::crypto::{AeadKey, KeyRing, Security};
use kcp_transport::error::{ConnectionError, OpenError};
use kcp_transport::packet::{Opener, Sealer, TransmitBatch};
use kcp_transport::session::State;
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Peer, Rng};

/// Writes what it can of an endless pattern, and checks that what it reads is the peer's.
#[derive(Default)]
struct Talk {
    written: u64,
    read: u64,
}

impl Talk {
    fn pattern(from: u64) -> impl Iterator<Item = u8> {
        (from..).map(|place| (place * 7 + place / 251) as u8)
    }

    fn go_on(&mut self, now: kcp_transport::time::Time, peer: &mut Peer, most: usize) {
        let data: Vec<u8> = Self::pattern(self.written).take(most).collect();
        self.written += peer.session.write(now, &data) as u64;
        let mut buffer = [0; 4096];
        loop {
            let read = peer.session.read(now, &mut buffer);
            if read == 0 {
                break;
            }
            let expected: Vec<u8> = Self::pattern(self.read).take(read).collect();
            assert!(
                buffer[..read] == expected,
                "something else at {}",
                self.read
            );
            self.read += read as u64;
        }
        assert!(!matches!(peer.session.state(), State::Closed(_)));
    }
}

/// Of several ciphers in turn.
fn key(number: u64) -> AeadKey {
    let mut bytes = [0; 32];
    Rng::new(number).fill(&mut bytes);
    match number % 3 {
        0 => AeadKey::aes_128_gcm(&bytes[..16]),
        1 => AeadKey::chacha20_poly1305(&bytes),
        _ => AeadKey::aes_256_gcm(&bytes),
    }
    .expect("right length")
}

/// A datagram as the owner of `security` would seal it now.
fn sealed_now(security: &Security, seed: u8) -> Vec<u8> {
    let layout = Config::default()
        .layout(security.overhead())
        .expect("has room");
    let mut batch = TransmitBatch::new(layout, 1);
    batch.push_with(|payload| payload.len());
    let sealer = Sealer::new(security, [seed; 32]);
    sealer.seal(&mut batch).expect("far from the limit");
    batch.datagrams().next().expect("one").to_vec()
}

#[test]
fn ten_thousand_rotations_at_ten_percent_loss_lose_no_byte() {
    const ROTATIONS: u64 = 10_000;
    let own = Config::builder()
        .preset(Preset::Fast3)
        .build()
        .expect("in range");
    let config = PairConfig {
        client: own.clone(),
        server: own,
        link: LinkConfig {
            delay: Duration::from_millis(5),
            loss: 0.1,
            reorder: 0.05,
            duplicate: 0.02,
            ..LinkConfig::default()
        },
        ..PairConfig::default()
    };
    let rings = [KeyRing::new(key(0)), KeyRing::new(key(0))];
    let securities = [&rings[0], &rings[1]].map(|ring| Security::Ring(ring.clone()));
    let mut pair = Pair::with_securities(1, &config, [&securities[0], &securities[1]]);
    let mut rng = Rng::new(2);
    let mut talks = [Talk::default(), Talk::default()];
    let mut run = |pair: &mut Pair, talks: &mut [Talk; 2], time: Duration| {
        let now = pair.now();
        talks[0].go_on(now, &mut pair.client, 400);
        talks[1].go_on(now, &mut pair.server, 400);
        pair.run_for(time + rng.duration(time));
    };
    for rotation in 1..=ROTATIONS {
        let old = sealed_now(&securities[0], rotation as u8);
        // Each side takes each step when it likes, as long as the other has made the one before.
        let order = |step: u64| [0, 1].map(|side| side ^ ((rotation >> step) & 1) as usize);
        for side in order(0) {
            rings[side].add_receive(key(rotation)).expect("has one");
            run(&mut pair, &mut talks, Duration::from_millis(2));
        }
        for side in order(1) {
            assert!(rings[side].promote());
            run(&mut pair, &mut talks, Duration::from_millis(2));
        }
        // The grace time: until what is under way has arrived.
        run(&mut pair, &mut talks, Duration::from_millis(20));
        for side in order(2) {
            assert!(rings[side].retire());
            let refused = Opener::new(&securities[side])
                .open(&mut old.clone())
                .map(|_| ());
            assert_eq!(
                refused,
                Err(OpenError::Unauthentic),
                "the old key is retired"
            );
        }
    }
    for _ in 0..1000 {
        let now = pair.now();
        talks[0].go_on(now, &mut pair.client, 0);
        talks[1].go_on(now, &mut pair.server, 0);
        pair.run_for(Duration::from_millis(10));
    }
    assert!(talks[0].written > ROTATIONS * 1000 && talks[1].written > ROTATIONS * 1000);
    assert_eq!(talks[0].written, talks[1].read);
    assert_eq!(talks[1].written, talks[0].read);
    // Nothing came under a key that its receiver did not have; what was refused came twice.
    let duplicates = |peer: &Peer| peer.link.stats().duplicated;
    assert!(pair.client.refused() <= duplicates(&pair.server));
    assert!(pair.server.refused() <= duplicates(&pair.client));
}

#[test]
fn peer_that_knows_the_key_later_loses_no_byte() {
    let rings = [KeyRing::new(key(0)), KeyRing::new(key(0))];
    let securities = [&rings[0], &rings[1]].map(|ring| Security::Ring(ring.clone()));
    let config = PairConfig::default();
    let mut pair = Pair::with_securities(1, &config, [&securities[0], &securities[1]]);
    let mut talks = [Talk::default(), Talk::default()];
    for turn in 0..1000 {
        let now = pair.now();
        let most = if turn < 600 { 400 } else { 0 };
        talks[0].go_on(now, &mut pair.client, most);
        talks[1].go_on(now, &mut pair.server, most);
        match turn {
            100 => {
                rings[0].add_receive(key(1)).expect("has one");
                assert!(rings[0].promote());
            }
            // Three seconds in which the server opens nothing.
            400 => {
                rings[1].add_receive(key(1)).expect("has one");
                assert!(rings[1].promote());
            }
            _ => {}
        }
        pair.run_for(Duration::from_millis(10));
    }
    assert!(pair.server.refused() > 0);
    assert_eq!(talks[0].written, talks[1].read);
    assert_eq!(talks[1].written, talks[0].read);
}

#[test]
fn exhausted_key_ends_the_session_with_an_error_of_its_own() {
    let key = key(0);
    let config = PairConfig {
        security: Security::Aead(key.clone()),
        ..PairConfig::default()
    };
    let mut pair = Pair::new(1, &config);
    let data = vec![1; 100_000];
    assert_eq!(pair.transfer(&data).expect("arrives"), data);
    key.count_sealed(AeadKey::HARD_LIMIT - key.sealed() - 30);
    assert_eq!(
        pair.transfer(&data),
        Err(ConnectionError::KeyExhausted),
        "30 packets are too few"
    );
    assert!(key.sealed() <= AeadKey::HARD_LIMIT);
}
