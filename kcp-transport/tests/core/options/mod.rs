//! What each option does, seen on the wire or in virtual time.

mod messages;
mod out_of_band;
mod pacing;
mod refused;
mod sizes;
mod timing;

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use kcp_transport::arq::MessageError;
use kcp_transport::config::{
    AckPolicy, Config, ConfigBuilder, Congestion, Extensions, Mode, MtuDiscovery, Preset,
    WriteCoalescing,
};
use kcp_transport::crypto::{Overhead, Security};
use kcp_transport::error::{ConnectionError, DatagramError};
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::TransmitBatch;
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
    // Plain KCP, so that only what the options cause is sent.
    let builder = builder.extensions(Extensions::Off);
    let builder = builder.mtu_discovery(MtuDiscovery::Off);
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

/// Lets time pass for a session that receives nothing, until it ends; returns when and why.
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

/// When probes leave while a message of `len` bytes waits and no probe is answered.
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
