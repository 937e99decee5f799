//! Datagrams that come together do what they do one by one.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Overhead;
use kcp_transport::error::ResetCode;
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session, State};
use kcp_transport::time::Time;
use kcp_transport::wire::ConversationId;

const PLAIN: Overhead = Overhead { front: 0, back: 0 };

fn session(config: &Config, role: Role, seed: u128) -> Session {
    let layout = config.layout(PLAIN).expect("room for data");
    let conversation = ConversationId::new(7);
    Session::new(config, layout, conversation, role, seed, Time::ZERO)
}

/// All that is due, datagram by datagram.
fn transmit(session: &mut Session, now: Time, config: &Config) -> Vec<Vec<u8>> {
    transmit_by(session, now, config, 8)
}

/// All that is due, laid out so many datagrams at a time.
fn transmit_by(session: &mut Session, now: Time, config: &Config, most: usize) -> Vec<Vec<u8>> {
    let layout = config.layout(PLAIN).expect("room for data");
    let mut batch = TransmitBatch::new(layout, most);
    let mut all = Vec::new();
    while session.poll_transmit(now, &mut batch) {
        all.extend(batch.datagrams().map(<[u8]>::to_vec));
        batch.clear();
    }
    all
}

#[test]
fn run_of_datagrams_does_what_they_do_one_by_one() {
    let fec = Config::builder()
        .fec(FecRatio::new(3, 2).expect("in range"))
        .build()
        .expect("in range");
    for config in [Config::default(), fec] {
        let mut client = session(&config, Role::Connect, 1 | 1 << 64);
        let mut alone = session(&config, Role::Accept, 2 | 2 << 64);
        let mut together = session(&config, Role::Accept, 2 | 2 << 64);
        let mut read = 0;
        for step in 0..400 {
            let now = Time::ZERO + Duration::from_millis(10 * step);
            client.handle_timeout(now);
            client.write(now, &[step as u8; 5000]);
            if step == 390 {
                // Repeated below, so that the session ends in the middle of the run.
                client.reset(now, ResetCode::CANCELLED);
            }
            let mut run = transmit(&mut client, now, &config);
            let mut index = 0;
            run.retain(|_| {
                index += 1;
                (index + step) % 7 != 0
            });
            if step == 390 {
                run.extend_from_within(..);
            }
            for datagram in &run {
                alone.handle_datagram(now, datagram);
            }
            together.handle_datagrams(now, run.iter().map(Vec::as_slice));
            let mut bytes = [[0; 10_000]; 2];
            let lens = [
                alone.read(now, &mut bytes[0]),
                together.read(now, &mut bytes[1]),
            ];
            assert_eq!(lens[0], lens[1], "step {step}");
            assert_eq!(bytes[0], bytes[1], "step {step}");
            read += lens[0];
            for server in [&mut alone, &mut together] {
                server.write(now, &[1; 300]);
                server.handle_timeout(now);
            }
            let answers = transmit(&mut alone, now, &config);
            assert_eq!(
                transmit(&mut together, now, &config),
                answers,
                "step {step}"
            );
            assert_eq!(alone.poll_timeout(), together.poll_timeout(), "step {step}");
            assert_eq!(alone.state(), together.state(), "step {step}");
            for datagram in answers.iter().skip(usize::from(step % 5 == 0)) {
                client.handle_datagram(now, datagram);
            }
        }
        assert!(read > 1_000_000, "{read} bytes");
        assert!(matches!(alone.state(), State::Closed(Some(_))));
    }
}

#[test]
fn session_that_ends_within_a_run_still_resets_its_peer() {
    let config = Config::default();
    let mut client = session(&config, Role::Connect, 1 | 1 << 64);
    let mut server = session(&config, Role::Accept, 2 | 2 << 64);
    let mut now = Time::ZERO;
    for _ in 0..20 {
        now += Duration::from_millis(10);
        client.write(now, b"some");
        server.write(now, b"thing");
        for datagram in transmit(&mut client, now, &config) {
            server.handle_datagram(now, &datagram);
        }
        for datagram in transmit(&mut server, now, &config) {
            client.handle_datagram(now, &datagram);
        }
    }
    assert!(server.has_extensions() && client.has_extensions());
    // What a restarted client sends, from the first segment again.
    let mut restarted = session(&config, Role::ConnectLazy, 3);
    let mut ended = false;
    for _ in 0..2000 {
        now += Duration::from_millis(10);
        restarted.write(now, b"again");
        restarted.handle_timeout(now);
        let said = transmit(&mut restarted, now, &config);
        let run = said.iter().chain(&said).map(Vec::as_slice);
        server.handle_datagrams(now, run);
        if matches!(server.state(), State::Closed(Some(_))) {
            ended = true;
            break;
        }
        transmit(&mut server, now, &config);
    }
    assert!(ended, "notices that the peer has restarted");
    assert!(
        !transmit(&mut server, now, &config).is_empty(),
        "a farewell"
    );
}

#[test]
fn datagrams_laid_out_in_a_run_are_those_laid_out_one_by_one() {
    let fec = Config::builder()
        .fec(FecRatio::new(3, 2).expect("in range"))
        .build()
        .expect("in range");
    for config in [Config::default(), fec] {
        let mut alone = session(&config, Role::Connect, 1 | 1 << 64);
        let mut together = session(&config, Role::Connect, 1 | 1 << 64);
        let mut server = session(&config, Role::Accept, 2 | 2 << 64);
        let mut bytes = vec![0; 100_000];
        for step in 0..60 {
            let now = Time::ZERO + Duration::from_millis(10 * step);
            for client in [&mut alone, &mut together] {
                client.handle_timeout(now);
                client.write(now, &[step as u8; 20_000]);
            }
            let run = transmit_by(&mut together, now, &config, 64);
            assert_eq!(run, transmit_by(&mut alone, now, &config, 1), "step {step}");
            for (index, datagram) in run.iter().enumerate() {
                if !(index as u64 + step).is_multiple_of(9) {
                    server.handle_datagram(now, datagram);
                }
            }
            server.handle_timeout(now);
            server.read(now, &mut bytes);
            // More acks than a datagram has room for, since the first segment is lost.
            let answers: Vec<_> = (0..100)
                .flat_map(|_| {
                    server.write(now, &[2; 10]);
                    transmit(&mut server, now, &config)
                })
                .collect();
            for client in [&mut alone, &mut together] {
                for answer in &answers[1..] {
                    client.handle_datagram(now, answer);
                }
                client.read(now, &mut bytes);
            }
        }
        assert_eq!(alone.stats(), together.stats());
    }
}
