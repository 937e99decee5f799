//! How a session detects that its peer was restarted, and how the peer detects an old session.

use std::time::Duration;

use kcp_transport::config::{Config, Extensions};
use kcp_transport::crypto::Overhead;
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session, Unsolicited};
use kcp_transport::time::Time;
use kcp_transport::wire::{Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

const CONVERSATION: ConversationId = ConversationId::new(7);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Kinds of all that leaves within `time`.
fn kinds(session: &mut Session, now: &mut Time, time: Duration) -> Vec<Unsolicited> {
    let limit = *now + time;
    let layout = Config::default().layout(Overhead { front: 0, back: 0 });
    let mut batch = TransmitBatch::new(layout.expect("has room"), 32);
    let mut kinds = Vec::new();
    loop {
        while session.poll_transmit(*now, &mut batch) {
            kinds.extend(batch.datagrams().map(Unsolicited::of));
            batch.clear();
        }
        match session.poll_timeout() {
            Some(at) if at <= limit => *now = at.max(*now),
            _ => break,
        }
        session.handle_timeout(*now);
    }
    *now = limit;
    kinds
}

fn data(sequence: u32) -> Vec<u8> {
    let mut packet = vec![0; SEGMENT_HEADER_LEN + 3];
    let header = SegmentHeader {
        conversation: CONVERSATION,
        command: Command::Push,
        fragments_left: 0,
        window: 32,
        timestamp: Timestamp::default(),
        sequence,
        unacknowledged: 0,
        payload_len: 3,
    };
    header.encode(&mut packet);
    packet
}

/// Else a server that was restarted would begin anew, and the reader get the old server's later
/// bytes after the new one's first.
#[test]
fn session_that_lacks_only_the_first_segment_requests_no_new_one() {
    let config = Config::builder()
        .keepalive(KEEPALIVE)
        .extensions(Extensions::Off)
        .build()
        .expect("in range");
    let layout = config.layout(Overhead { front: 0, back: 0 });
    let layout = layout.expect("has room");
    let mut now = Time::ZERO;
    let mut session = Session::new(&config, layout, CONVERSATION, Role::Connect, 1, now);
    let connecting = kinds(&mut session, &mut now, Duration::from_millis(1));
    assert_eq!(connecting, [Unsolicited::Opening]);

    session.handle_datagram(now, &data(1));
    let probes = kinds(&mut session, &mut now, KEEPALIVE * 2);
    // An answer would carry nothing, and keep the session alive for ever.
    assert!(probes.len() > 1);
    assert!(
        probes.iter().all(|&it| it == Unsolicited::Other),
        "{probes:?}"
    );

    // With the first segment, it is any session that has received something.
    session.handle_datagram(now, &data(0));
    let probes = kinds(&mut session, &mut now, KEEPALIVE * 2);
    assert!(
        probes.iter().all(|&it| it == Unsolicited::Other),
        "{probes:?}"
    );
}
