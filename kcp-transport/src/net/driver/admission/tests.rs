//! What is admitted, challenged and answered, within which limits.

use super::*;
use std::num::NonZeroU32;
use std::time::Duration;

fn datagram(host: u32, unsolicited: Unsolicited, now: Time) -> UnmatchedDatagram {
    let [_, a, b, c] = host.to_be_bytes();
    UnmatchedDatagram {
        now,
        peer: ([10, a, b, c], 1).into(),
        conversation: ConversationId::new(9),
        unsolicited,
    }
}

fn data(sequence: u32) -> Unsolicited {
    Unsolicited::Data {
        sequence,
        fresh: false,
    }
}

fn admission() -> Admission {
    Admission::new(&ListenerConfig::default(), 1024)
}

#[test]
fn beyond_the_limit_an_opening_is_challenged_and_its_answer_opens() {
    let (mut admission, mut stats) = (admission(), EndpointStats::default());
    let limit = ListenerConfig::default().max_unvalidated();
    let now = Time::from_millis(1);
    let opening = datagram(1, Unsolicited::Opening, now);
    let open = AcceptState::Open;
    let verdict = admission.admit(opening, open, limit - 1, &mut stats);
    assert_eq!(verdict, Verdict::Open { validated: false });
    let verdict = admission.admit(opening, open, limit, &mut stats);
    let Verdict::ChallengeAddress(challenge) = verdict else {
        panic!("no challenge");
    };
    assert_eq!(challenge.command, Command::Push);
    let answer = datagram(1, Unsolicited::Answer(challenge.timestamp), now);
    let verdict = admission.admit(answer, open, limit, &mut stats);
    assert_eq!(verdict, Verdict::Open { validated: true });
    let stolen = datagram(2, Unsolicited::Answer(challenge.timestamp), now);
    let verdict = admission.admit(stolen, open, limit, &mut stats);
    assert_eq!(verdict, Verdict::Ignore);
    assert_eq!((stats.addresses_challenged, stats.stray), (1, 1));
}

#[test]
fn one_network_opens_no_more_than_its_rate_and_others_are_free_to() {
    let (mut admission, mut stats) = (admission(), EndpointStats::default());
    let mut opened = 0;
    for tick in 0..100_000_u64 {
        let now = Time::from_micros(tick * 100);
        let flood = datagram(tick as u32 % 256, Unsolicited::Opening, now);
        let verdict = admission.admit(flood, AcceptState::Open, 0, &mut stats);
        opened += u32::from(verdict == Verdict::Open { validated: false });
    }
    // Ten seconds at 100 a second, and a burst of 200.
    assert!((1195..=1201).contains(&opened), "{opened}");
    let mut passed = 0;
    for net in 1..=1000 {
        let other = datagram(net << 8, Unsolicited::Opening, Time::from_millis(10_000));
        let verdict = admission.admit(other, AcceptState::Open, 0, &mut stats);
        passed += u32::from(verdict == Verdict::Open { validated: false });
    }
    // One network in 4096 shares the slot of the flood, and is challenged.
    assert!(passed >= 990, "{passed}");
}

/// The clients of a NAT or a load balancer share one address.
#[test]
fn one_address_opens_ten_thousand_sessions_in_a_second() {
    let (mut admission, mut stats) = (admission(), EndpointStats::default());
    let limit = ListenerConfig::default().max_unvalidated();
    let mut opened = 0;
    for tick in 0..30_000_u64 {
        let now = Time::from_micros(tick * 100);
        let opening = datagram(1, Unsolicited::Opening, now);
        let verdict = admission.admit(opening, AcceptState::Open, limit, &mut stats);
        let Verdict::ChallengeAddress(challenge) = verdict else {
            continue;
        };
        let answer = datagram(1, Unsolicited::Answer(challenge.timestamp), now);
        let verdict = admission.admit(answer, AcceptState::Open, limit, &mut stats);
        opened += u64::from(verdict == Verdict::Open { validated: true });
    }
    assert_eq!((opened, stats.over_rate), (30_000, 0));
}

#[test]
fn one_network_opens_no_more_than_a_thousand_times_its_rate_with_proof() {
    let config = ListenerConfig::builder().open_rate(NonZeroU32::MIN).build();
    let mut admission = Admission::new(&config.expect("in range"), 1024);
    let mut stats = EndpointStats::default();
    let opening = datagram(1, Unsolicited::Opening, Time::ZERO);
    let Verdict::ChallengeAddress(challenge) =
        admission.admit(opening, AcceptState::Open, usize::MAX, &mut stats)
    else {
        panic!("no challenge");
    };
    let answer = datagram(1, Unsolicited::Answer(challenge.timestamp), Time::ZERO);
    let mut opened = 0;
    for _ in 0..5000 {
        let verdict = admission.admit(answer, AcceptState::Open, 0, &mut stats);
        opened += u64::from(verdict == Verdict::Open { validated: true });
    }
    // Twice the rate in a burst.
    assert_eq!((opened, stats.over_rate), (2000, 3000));
}

#[test]
fn strays_are_answered_only_if_their_peer_waits_for_it() {
    let (mut admission, mut stats) = (admission(), EndpointStats::default());
    let mut una = |unsolicited, accepting| {
        let datagram = datagram(1, unsolicited, Time::ZERO);
        match admission.admit(datagram, accepting, 0, &mut stats) {
            Verdict::Reply(header) => {
                assert_eq!(header.command, Command::WindowUpdate);
                Some(header.unacknowledged)
            }
            _ => None,
        }
    };
    for accepting in [AcceptState::Open, AcceptState::Full, AcceptState::Closed] {
        assert_eq!(una(data(5), accepting), Some(0));
        assert_eq!(una(Unsolicited::Probe, accepting), Some(0));
        assert_eq!(una(Unsolicited::Other, accepting), None);
    }
    // A connecting peer would take it for an answer to its request.
    assert_eq!(una(Unsolicited::Opening, AcceptState::Closed), None);
    assert_eq!(una(Unsolicited::Opening, AcceptState::Full), None);
    assert_eq!(stats.strays_answered, 6);
}

#[test]
fn ended_session_still_acknowledges_what_it_had_received() {
    let (mut admission, mut stats) = (admission(), EndpointStats::default());
    let mut una = |unsolicited| {
        let time_wait = TimeWaitEntry::new(Some(10));
        let verdict = admission.on_closed_conversation(
            datagram(1, unsolicited, Time::ZERO),
            time_wait,
            &mut stats,
        );
        match verdict {
            Verdict::Reply(header) => Some(header.unacknowledged),
            _ => None,
        }
    };
    assert_eq!(una(data(9)), Some(10));
    assert_eq!(una(data(10)), Some(0));
    assert_eq!(una(Unsolicited::Probe), Some(0));
    assert_eq!(una(Unsolicited::Opening), None);
    assert_eq!(una(Unsolicited::Other), None);
    // It may belong to a new session with the same id.
    let fresh = Unsolicited::Data {
        sequence: 9,
        fresh: true,
    };
    assert_eq!(una(fresh), None);
    assert_eq!((stats.late, stats.strays_answered), (6, 3));
}

#[test]
fn replies_to_one_network_are_limited() {
    let (mut admission, mut stats) = (admission(), EndpointStats::default());
    let mut replies = 0;
    for tick in 0..100_000_u64 {
        let now = Time::ZERO + Duration::from_micros(tick * 10);
        let verdict = admission.admit(
            datagram(1, Unsolicited::Probe, now),
            AcceptState::Open,
            0,
            &mut stats,
        );
        replies += u32::from(verdict != Verdict::Ignore);
    }
    assert!(replies <= 2 * REPLIES, "{replies}");
    assert_eq!(stats.strays_answered, u64::from(replies));
}

#[test]
fn openings_that_are_not_challenged_count_as_over_the_rate() {
    let (mut admission, mut stats) = (admission(), EndpointStats::default());
    let opening = datagram(1, Unsolicited::Opening, Time::ZERO);
    let mut challenges = 0;
    for _ in 0..2 * CHALLENGES {
        let verdict = admission.admit(opening, AcceptState::Open, usize::MAX, &mut stats);
        challenges += u64::from(verdict != Verdict::Ignore);
    }
    assert_eq!(challenges, u64::from(CHALLENGES));
    assert_eq!(stats.addresses_challenged, challenges);
    assert_eq!(stats.over_rate, challenges);
}
