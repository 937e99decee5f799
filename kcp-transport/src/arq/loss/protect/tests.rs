use super::*;
use crate::arq::buffers::Buffers;
use crate::arq::loss::{Rack, Sent};
use crate::arq::options::Percent;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn adaptive(overhead: u16) -> Redundancy {
    Redundancy::Adaptive {
        overhead: Percent::new(overhead),
    }
}

/// A path of that round-trip time on which one in so many transmissions was lost.
fn path(trip: Duration, one_in: usize) -> PathModel {
    let mut path = PathModel::new(true);
    for index in 0..2000 {
        path.on_sample(Time::ZERO, trip);
        path.on_outcome(one_in > 0 && index % one_in == one_in - 1);
    }
    path
}

fn copies(redundancy: Redundancy, path: &PathModel) -> u8 {
    Protector::new(redundancy, 1000).copies(at(0), path)
}

/// A flight of so many segments of 1000 bytes.
fn flight(count: u32) -> Flight {
    let mut flight = Flight::new(SeqNumber::first(0));
    let mut rack = Rack::new(None);
    let mut buffers = Buffers::default();
    for sequence in 0..count {
        let sent = rack.on_sent(SeqNumber::first(sequence), Time::ZERO);
        let mut data = buffers.take(1000);
        buffers.append(&mut data, &[0; 1000]);
        flight.push(Sent::new(data, 0, sent));
    }
    flight
}

#[test]
fn number_of_copies_follows_the_loss_and_the_budget() {
    let expected = [
        (0, 0, 1),
        (500, 1, 1),
        (100, 1, 1),
        (20, 1, 2),
        (8, 2, 2),
        (5, 2, 2),
    ];
    for (one_in, copied, always_copied) in expected {
        let path = path(ms(50), one_in);
        assert_eq!(copies(adaptive(400), &path), copied, "1 in {one_in}");
        assert_eq!(copies(adaptive(100), &path), copied.min(1));
        assert_eq!(copies(adaptive(0), &path), 0);
        assert_eq!(copies(Redundancy::Off, &path), 0);
        let always = Redundancy::Always {
            copies: 1,
            overhead: Percent::new(200),
        };
        assert_eq!(copies(always, &path), always_copied, "1 in {one_in}");
    }
}

#[test]
fn path_that_loses_little_is_protected_for_four_hundred_transmissions_after_a_loss() {
    let mut path = path(ms(50), 500);
    for _ in 0..400 {
        assert_eq!(copies(adaptive(100), &path), 1);
        path.on_outcome(false);
    }
    assert_eq!(copies(adaptive(100), &path), 0);
}

#[test]
fn short_and_unknown_paths_are_not_protected() {
    assert_eq!(copies(adaptive(400), &path(ms(7), 20)), 0);
    assert_eq!(copies(adaptive(400), &PathModel::new(true)), 0);
}

#[test]
fn new_path_is_protected_until_enough_has_arrived() {
    let mut path = PathModel::new(true);
    path.on_handshake(ms(50), ms(50));
    let mut clean = 0;
    while copies(adaptive(100), &path) > 0 {
        path.on_outcome(false);
        clean += 1;
    }
    assert!((20..80).contains(&clean), "{clean}");
    path.on_outcome(true);
    assert_eq!(copies(adaptive(100), &path), 1);
}

#[test]
fn path_that_loses_half_of_all_is_overloaded() {
    let heavy = path(ms(50), 2);
    let mut protector = Protector::new(adaptive(400), 1000);
    assert_eq!(protector.copies(at(0), &heavy), 0);
    let better = path(ms(50), 10);
    assert_eq!(protector.copies(at(4999), &better), 0);
    assert!(protector.copies(at(5000), &better) > 0);
}

#[test]
fn path_with_a_standing_queue_is_overloaded_after_a_second() {
    let mut full = path(ms(50), 20);
    for _ in 0..100 {
        full.on_sample(Time::ZERO, ms(160));
    }
    let mut protector = Protector::new(adaptive(100), 1000);
    assert_eq!(protector.copies(at(0), &full), 1);
    assert_eq!(protector.copies(at(999), &full), 1);
    assert_eq!(protector.copies(at(1000), &full), 0);
}

#[test]
fn segments_of_a_small_flush_are_copied_after_the_spacing_and_of_a_large_one_are_not() {
    let path = path(ms(50), 20);
    for count in 1..8 {
        let flight = flight(count);
        let mut protector = Protector::new(adaptive(100), 1000);
        for sequence in 0..count {
            protector.on_new(SeqNumber::first(sequence));
        }
        protector.on_flushed(at(10), &path, count as usize);
        if count > 4 {
            assert_eq!(protector.next(), None);
            continue;
        }
        assert_eq!(protector.next(), Some(at(12)));
        assert_eq!(protector.peek(at(11), &flight), None);
        for sequence in (0..count).map(SeqNumber::first) {
            assert_eq!(protector.peek(at(12), &flight), Some(sequence));
            protector.on_copied(at(12), sequence, 1000, &path, None);
        }
        assert_eq!(protector.next(), None);
    }
}

#[test]
fn nothing_is_copied_while_much_is_in_flight() {
    let path = path(ms(50), 20);
    let mut protector = Protector::new(adaptive(100), 1000);
    protector.on_new(SeqNumber::first(0));
    protector.on_flushed(at(10), &path, 17);
    assert_eq!(protector.next(), None);
}

#[test]
fn segment_that_is_sent_again_last_is_copied_once_on_a_path_that_loses() {
    let flight = flight(1);
    let sequence = SeqNumber::first(0);
    for (loss, copies) in [(0, 0), (20, 1)] {
        let path = path(ms(50), loss);
        let mut protector = Protector::new(adaptive(100), 1000);
        protector.on_resent(at(10), &path, sequence);
        assert_eq!(protector.next(), (copies > 0).then_some(at(12)));
        while let Some(sequence) = protector.peek(at(12), &flight) {
            protector.on_copied(at(12), sequence, 1000, &path, None);
        }
        assert_eq!(protector.next(), None);
    }
}

#[test]
fn what_is_acknowledged_is_not_copied() {
    let path = path(ms(50), 20);
    let mut protector = Protector::new(adaptive(100), 1000);
    protector.on_new(SeqNumber::first(7));
    protector.on_flushed(at(10), &path, 1);
    protector.drop_acknowledged(&flight(3));
    assert_eq!(protector.next(), None);
}

#[test]
fn budget_is_the_overhead_and_sixteen_datagrams() {
    let path = path(ms(50), 20);
    for overhead in [10, 50, 100, 300] {
        let flight = flight(1);
        let mut protector = Protector::new(adaptive(overhead), 1000);
        let mut copied = 0;
        for call in 0..1000 {
            let now = at(call * 60);
            protector.on_sent(1000);
            protector.on_new(SeqNumber::first(0));
            protector.on_flushed(now, &path, 1);
            while let Some(due) = protector.next() {
                if let Some(sequence) = protector.peek(due, &flight) {
                    protector.on_copied(due, sequence, 1000, &path, None);
                    copied += 1;
                }
            }
        }
        let budget = 1000 * u64::from(overhead.min(100)) / 100 + SAVED_DATAGRAMS;
        assert!(copied <= budget, "{copied} at {overhead} %");
        assert!(
            copied + 2 * SAVED_DATAGRAMS >= budget,
            "{copied} at {overhead} %"
        );
    }
}

/// What outcomes of segments and copies make of spacing and loss.
fn outcomes(all: impl Iterator<Item = [bool; 2]>) -> (u32, f64) {
    outcomes_on(path(ms(50), 100), ms(50), all)
}

/// The same if the path's round-trip time changes after the first copy is planned.
fn outcomes_on(
    mut path: PathModel,
    trip: Duration,
    all: impl Iterator<Item = [bool; 2]>,
) -> (u32, f64) {
    let mut protector = Protector::new(adaptive(100), 1000);
    protector.spacing(&path);
    path.on_sample(Time::ZERO, trip);
    for (index, acked) in (0..).zip(all) {
        let now = at(index * 1000);
        let sequence = SeqNumber::first(index as u32);
        let stamps = [0, 2].map(|it| Timestamp::from_wire(index as u32 * 1000 + it));
        protector.on_copied(now, sequence, 1000, &path, Some(stamps));
        for (stamp, _) in stamps.into_iter().zip(acked).filter(|it| it.1) {
            protector.on_ack(sequence, stamp, SeqNumber::first(0));
        }
        protector.judge(now + ms(900), &mut path);
        assert!(!protector.watches(sequence));
    }
    (protector.spacing * 250, path.loss())
}

#[test]
fn acks_of_the_first_copy_are_awaited_for_two_round_trips_of_the_handshake() {
    let mut path = PathModel::new(true);
    path.on_handshake(ms(400), ms(400));
    let mut protector = Protector::new(adaptive(100), 1000);
    let sequence = SeqNumber::first(1);
    let stamps = [0, 2].map(Timestamp::from_wire);
    protector.on_copied(at(2), sequence, 1000, &path, Some(stamps));
    protector.on_ack(sequence, stamps[0], SeqNumber::first(0));
    protector.judge(at(400), &mut path);
    assert!(protector.watches(sequence));
    protector.on_ack(sequence, stamps[1], SeqNumber::first(0));
    protector.judge(at(402), &mut path);
    assert!(!protector.watches(sequence));
    assert!(path.loss() < 1.0 / 100.0, "{}", path.loss());
}

#[test]
fn path_that_becomes_too_short_for_copies_keeps_them_within_a_third_of_its_round_trip() {
    for micros in [0, 1, 700, 2000, 2999, 3000, 7999] {
        let trip = Duration::from_micros(micros);
        for together in [true, false] {
            let lost = (0..800).map(|index| {
                if together {
                    [index % 10 > 0; 2]
                } else {
                    alone(index)
                }
            });
            let (spacing, _) = outcomes_on(path(ms(50), 100), trip, lost);
            let most = (micros as u32 / 3).max(250);
            assert!(spacing <= most, "{spacing} of {micros}");
        }
    }
}

#[test]
fn copies_that_are_lost_with_their_segments_move_away_from_them() {
    let bursts = (0..400).map(|index| [index % 10 > 0; 2]);
    assert_eq!(outcomes(bursts).0, 16_500, "to a third of the round trip");
    let (spacing, _) = outcomes((0..800).map(alone));
    assert_eq!(spacing, 2000, "no closer than they began");
}

#[test]
fn each_of_both_counts_as_lost_or_not() {
    let (_, loss) = outcomes((0..2000).map(alone));
    assert!((0.03..0.07).contains(&loss), "{loss}");
}

/// A tenth of all segments, or their copies in turn, is lost.
fn alone(index: u64) -> [bool; 2] {
    [!index.is_multiple_of(20), index % 20 != 10]
}

/// Segments in pairs, of which the second is acknowledged beside this `una`, counted from the first; each
/// copy of the second is acknowledged too.
fn pairs(una: u32) -> f64 {
    let mut path = path(ms(50), 0);
    let mut protector = Protector::new(adaptive(100), 1000);
    for index in 0..200 {
        let now = at(index * 1000);
        let first = index as u32 * 2;
        let pair = [first, first + 1].map(SeqNumber::first);
        let stamps = [0, 2].map(|it| Timestamp::from_wire(index as u32 * 1000 + it));
        for sequence in pair {
            protector.on_copied(now, sequence, 1000, &path, Some(stamps));
        }
        protector.on_ack(pair[1], stamps[0], SeqNumber::first(first + una));
        protector.on_ack(pair[1], stamps[1], SeqNumber::first(first + 2));
        protector.judge(now + ms(900), &mut path);
    }
    path.loss()
}

#[test]
fn acks_that_a_later_one_covers_are_not_missing() {
    assert!(pairs(2) < 0.001, "{}", pairs(2));
}

#[test]
fn segment_that_had_not_arrived_with_a_later_one_was_lost() {
    // A third of all outcomes, as nothing is known of every other copy.
    let loss = pairs(0);
    assert!((0.25..0.4).contains(&loss), "{loss}");
}

#[test]
fn peer_that_acknowledges_only_the_last_of_both_loses_nothing() {
    let (_, loss) = outcomes((0..2000).map(|_| [false, true]));
    assert!(loss < 0.001, "{loss}");
}
