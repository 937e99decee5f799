//! What a session sends to an address that may be forged, in virtual time.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::error::{ConnectionError, ResetCode};
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::{PacketLayout, TransmitBatch};
use kcp_transport::session::{Role, Session, State};
use kcp_transport::testing::{Rng, seeds};
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, Frame, FrameWriter, Hello, SegmentHeader, Timestamp, Token,
};

const CONVERSATION: ConversationId = ConversationId::new(7);

/// A session that its peer opened, and what it has sent and received.
struct Server {
    session: Session,
    layout: PacketLayout,
    batch: TransmitBatch,
    sent: usize,
    received: usize,
}

impl Server {
    fn new(config: &Config, security: &Security, seed: u32) -> Self {
        let layout = config.layout(security.overhead()).expect("fits");
        let session = Session::new(
            config,
            layout,
            CONVERSATION,
            Role::Accept,
            seed.into(),
            Time::ZERO,
        );
        Self {
            session,
            layout,
            batch: TransmitBatch::new(layout, 32),
            sent: 0,
            received: 0,
        }
    }

    fn receive(&mut self, now: Time, payload: &[u8]) {
        let overhead = self.layout.overhead();
        self.received += overhead.front + payload.len() + overhead.back;
        self.session.handle_datagram(now, payload);
    }

    /// Lets time pass until `until`, and everything due leave. Returns the payloads.
    fn run(&mut self, now: &mut Time, until: Time) -> Vec<Vec<u8>> {
        let overhead = self.layout.overhead();
        let mut left = Vec::new();
        for step in 0.. {
            assert!(step < 10_000, "a session that is blocked spins");
            while self.session.poll_transmit(*now, &mut self.batch) {
                self.sent += self.batch.total_len();
                left.extend(
                    self.batch
                        .datagrams()
                        .map(|it| it[overhead.front..it.len() - overhead.back].to_vec()),
                );
                self.batch.clear();
            }
            match self.session.poll_timeout() {
                Some(at) if at <= until => *now = at.max(*now),
                _ => break,
            }
            self.session.handle_timeout(*now);
        }
        *now = until;
        left
    }
}

fn header(command: Command, sequence: u32, payload: &[u8]) -> SegmentHeader {
    SegmentHeader {
        conversation: CONVERSATION,
        command,
        fragments_left: 0,
        window: 1024,
        timestamp: Timestamp::from_wire(0),
        sequence,
        unacknowledged: 0,
        payload_len: payload.len() as u32,
    }
}

fn segment(header: &SegmentHeader, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    header.encode(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

fn draw(rng: &mut Rng) -> (Config, Security) {
    let security = ["null", "aes-128", "aes-128-gcm"][rng.below(3) as usize];
    let security = Security::from_password(security, "test", b"salt").expect("known name");
    let fec = rng
        .chance(0.3)
        .then(|| FecRatio::new(1 + rng.below(5) as usize, 1 + rng.below(3) as usize))
        .map(|ratio| ratio.expect("in range"));
    let config = Config::builder()
        .mtu([128, 576, 1400, 1500][rng.below(4) as usize])
        .fec(fec)
        .keepalive(rng.chance(0.5).then_some(Duration::from_secs(1)))
        .user_timeout(None)
        .build()
        .expect("in range");
    (config, security)
}

/// An attacker that forges its source sees no answer: it opens a session, requests as much as it can, and
/// acknowledges blindly what the server may have sent.
#[test]
fn session_that_is_not_validated_sends_at_most_three_times_what_it_received() {
    let (mut most, mut blocked) = (0.0_f64, 0);
    for seed in seeds(0..10_000) {
        let mut rng = Rng::new(seed);
        let (config, security) = draw(&mut rng);
        let mut server = Server::new(&config, &security, rng.next_u32());
        let mut now = Time::ZERO;
        let mut una = 0;
        for step in 0..1 + rng.below(20) {
            let mut forged = header(Command::Push, step as u32, &[]);
            let mut payload = vec![0; rng.below(200) as usize];
            forged.command = match rng.below(4) {
                _ if step == 0 => Command::Push,
                0 => Command::Ack,
                1 => Command::WindowProbe,
                2 => Command::WindowUpdate,
                _ => Command::Push,
            };
            if forged.command != Command::Push {
                payload.clear();
            }
            una += rng.below(3) as u32;
            forged.unacknowledged = una;
            forged.timestamp = Timestamp::from_wire(rng.next_u32());
            forged.payload_len = payload.len() as u32;
            server.receive(now, &segment(&forged, &payload));
            server
                .session
                .write(now, &vec![0; rng.below(8000) as usize]);
            let until = now + rng.duration(Duration::from_secs(2));
            server.run(&mut now, until);
        }
        let until = now + Duration::from_secs(60);
        server.run(&mut now, until);
        let allowed = (3 * server.received).max(3 * config.mtu().max(576));
        assert!(
            server.sent <= allowed,
            "KCP_SIM_SEED={seed}: {} bytes sent for {} received, mtu {}",
            server.sent,
            server.received,
            config.mtu()
        );
        assert!(
            !server.session.is_validated(),
            "KCP_SIM_SEED={seed}: proved"
        );
        most = most.max(server.sent as f64 / allowed as f64);
        blocked += u32::from(server.sent * 10 > allowed * 8);
    }
    println!("at most {most:.3} of what is allowed; {blocked} seeds came near");
    assert!(seeds(0..2).count() < 2 || blocked > 1000, "hardly tried");
}

/// An honest peer that, like kcp-go's, sends no probes by itself.
fn quiet_client(config: &Config, layout: PacketLayout, seed: u32) -> Session {
    let config = config.to_builder().keepalive(None).build().expect("valid");
    let role = Role::ConnectLazy;
    Session::new(&config, layout, CONVERSATION, role, seed.into(), Time::ZERO)
}

/// Everything that the server sends first is lost for `outage`, but not always its acknowledgements.
fn check_recovery(seed: u64, outage: Duration) {
    let mut rng = Rng::new(seed);
    let (config, security) = draw(&mut rng);
    let mut server = Server::new(&config, &security, rng.next_u32());
    let mut client = quiet_client(&config, server.layout, rng.next_u32());
    let acks_arrive = rng.chance(0.5);
    let mut batch = TransmitBatch::new(server.layout, 32);
    let response = vec![7; 1 + rng.below(100_000) as usize];
    let mut unwritten = &response[..];
    let (mut received, mut buffer) = (0, vec![0; 65_536]);
    client.write(Time::ZERO, b"a request");
    let mut now = Time::ZERO;
    while received < response.len() {
        assert!(
            now < Time::ZERO + outage + Duration::from_secs(10),
            "KCP_SIM_SEED={seed}: asleep with {received} of {} bytes, mtu {}",
            response.len(),
            config.mtu()
        );
        let overhead = server.layout.overhead();
        while client.poll_transmit(now, &mut batch) {
            for datagram in batch.datagrams() {
                let payload = &datagram[overhead.front..datagram.len() - overhead.back];
                server.receive(now, payload);
            }
            batch.clear();
        }
        while server.session.read(now, &mut buffer) > 0 {}
        if server.received > 0 {
            let taken = server.session.write(now, unwritten);
            unwritten = &unwritten[taken..];
        }
        let until = now + Duration::from_millis(5);
        let payloads = server.run(&mut now, until);
        for payload in payloads {
            let is_ack = payload.len() <= 24 + 8;
            let lost = now < Time::ZERO + outage && !(is_ack && acks_arrive);
            // A question is as short as an acknowledgement, and would end the trial.
            if !lost && (now >= Time::ZERO + outage || !is_question(&payload)) {
                client.handle_datagram(now, &payload);
            }
        }
        client.handle_timeout(now);
        received += client.read(now, &mut buffer);
    }
}

fn is_question(payload: &[u8]) -> bool {
    let segment = if payload.len() >= 32 {
        &payload[8..]
    } else {
        payload
    };
    segment.get(4) == Some(&81)
}

#[test]
fn unvalidated_session_wakes_when_all_its_first_answers_were_lost() {
    for seed in seeds(0..300) {
        for outage in [0, 300, 1500, 8000] {
            check_recovery(seed, Duration::from_millis(outage));
        }
    }
}

#[test]
fn silence_ends_a_session_that_is_not_validated_like_any_other() {
    let config = Config::default();
    let mut server = Server::new(&config, &Security::Plaintext, 1);
    let opener = header(Command::Push, 0, b"x");
    server.receive(Time::ZERO, &segment(&opener, b"x"));
    server.session.write(Time::ZERO, &[0; 100_000]);
    let mut now = Time::ZERO;
    server.run(&mut now, Time::from_millis(31_000));
    let gone = State::Closed(Some(ConnectionError::PeerUnresponsive));
    assert_eq!(server.session.state(), gone);
    assert!(server.sent <= 3 * config.mtu().max(576));
}

#[test]
fn dropping_an_unvalidated_session_sends_no_more_than_it_may() {
    // So small that questions use all of it up.
    let config = Config::builder().mtu(100).build().expect("in range");
    let hello = Frame::Hello(Hello::new(Token::new(9)));
    let mut frames = FrameWriter::new(100);
    assert!(frames.push(&hello));
    let hello = header(Command::WindowUpdate, 0, frames.payload());
    for seconds in 0..29 {
        let mut server = Server::new(&config, &Security::Plaintext, 1);
        let opener = header(Command::Push, 0, b"x");
        server.receive(Time::ZERO, &segment(&opener, b"x"));
        server.receive(Time::ZERO, &segment(&hello, frames.payload()));
        server.session.write(Time::ZERO, &[0; 100_000]);
        let mut now = Time::ZERO;
        server.run(&mut now, Time::from_millis(seconds * 1000));
        let code = ResetCode::new(1).expect("not reserved");
        server.session.reset(now, code);
        let until = now + Duration::from_secs(600);
        server.run(&mut now, until);
        assert!(server.session.is_over());
        assert!(
            server.sent <= 3 * config.mtu().max(576),
            "{} bytes",
            server.sent
        );
    }
}

#[test]
fn address_validation_lifts_the_limit() {
    let config = Config::default();
    let mut server = Server::new(&config, &Security::Plaintext, 1);
    let opener = header(Command::Push, 0, b"x");
    server.receive(Time::ZERO, &segment(&opener, b"x"));
    server.session.write(Time::ZERO, &[0; 100_000]);
    let mut now = Time::ZERO;
    let first = server.run(&mut now, Time::from_millis(10));
    assert!(server.sent <= 3 * config.mtu().max(576));
    let (sent, _, _) = SegmentHeader::decode(&first[1]).expect("data after the ack");
    assert_eq!(sent.command, Command::Push);
    let echo = SegmentHeader {
        sequence: sent.sequence,
        timestamp: sent.timestamp,
        ..header(Command::Ack, 0, &[])
    };
    server.receive(now, &segment(&echo, &[]));
    assert!(server.session.is_validated());
    server.run(&mut now, Time::from_millis(20));
    assert!(server.sent > 20 * config.mtu());
}
