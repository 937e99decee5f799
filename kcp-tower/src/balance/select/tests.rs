//! Each selection over candidates without connections.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::balance::track::RequestGuard;

struct Fake {
    endpoint: Endpoint,
    address: String,
    track: Arc<Track>,
    link: Option<Link>,
}

impl Measured for Fake {
    fn link(&self) -> Option<Link> {
        self.link
    }
}

impl Fake {
    fn new(id: u64) -> Self {
        let address = format!("10.0.0.{id}:4000");
        Self {
            endpoint: Endpoint::parse(format!("kcp://{address}")).expect("is a URI"),
            address,
            track: Track::new(id),
            link: None,
        }
    }

    fn weight(mut self, weight: u32) -> Self {
        self.endpoint = self.endpoint.weight(weight);
        self
    }

    fn zone(mut self, zone: &str) -> Self {
        self.endpoint = self.endpoint.zone(zone);
        self
    }

    fn link(mut self, millis: u64, loss: f64) -> Self {
        let rtt = Duration::from_millis(millis);
        self.link = Some(Link { rtt, loss });
        self
    }
}

fn fakes(count: u64) -> Vec<Fake> {
    (0..count).map(Fake::new).collect()
}

fn candidates<'a>(fakes: &'a [Fake]) -> Vec<Candidate<'a>> {
    let candidate = |fake: &'a Fake| Candidate {
        endpoint: &fake.endpoint,
        address: &fake.address,
        track: &fake.track,
        link: fake,
    };
    fakes.iter().map(candidate).collect()
}

fn build(selection: &Selection) -> Arc<dyn Select> {
    selection.build(Some(1))
}

/// How often each was selected, by id.
fn counts(select: &dyn Select, fakes: &[Fake], requests: u64) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    let candidates = candidates(fakes);
    for request in 0..requests {
        let key = Key::of(request.to_string());
        let at = select
            .select(&candidates, Some(key))
            .expect("there are some");
        *counts.entry(candidates[at].id()).or_default() += 1;
    }
    counts
}

fn assert_near(count: u64, expected: u64) {
    let tolerance = expected / 10;
    assert!(
        count.abs_diff(expected) <= tolerance,
        "{count}, not {expected}"
    );
}

#[test]
fn every_selection_has_no_answer_without_candidates_and_the_only_one_with_one() {
    for selection in [
        Selection::RoundRobin,
        Selection::Random,
        Selection::WeightedRoundRobin,
        Selection::LeastInFlight,
        Selection::consistent_hash(),
        Selection::Sticky,
        Selection::LinkQuality,
        Selection::nearest_zone(["z"], Selection::RoundRobin),
    ] {
        let select = build(&selection);
        let key = Some(Key::of("x"));
        assert_eq!(select.select(&[], key), None, "{selection:?}");
        let one = fakes(1);
        let chosen = select.select(&candidates(&one), key);
        assert_eq!(chosen, Some(0), "{selection:?}");
    }
}

#[test]
fn round_robin_is_even_and_ignores_weights() {
    let mut all = fakes(4);
    all.push(Fake::new(4).weight(9));
    let counts = counts(&*build(&Selection::RoundRobin), &all, 1000);
    assert!(counts.values().all(|&it| it == 200), "{counts:?}");
}

#[test]
fn round_robin_stays_even_while_candidates_come_and_go() {
    let select = build(&Selection::RoundRobin);
    let all = fakes(5);
    let mut counts = BTreeMap::<u64, u64>::new();
    for round in 0..1000 {
        // One of the five is left out each time, as one that a request has tried already.
        let mut some = candidates(&all);
        some.remove(round % 5);
        let at = select.select(&some, None).expect("there are some");
        *counts.entry(some[at].id()).or_default() += 1;
    }
    counts.values().for_each(|&it| assert_near(it, 200));
}

#[test]
fn random_is_even() {
    let counts = counts(&*build(&Selection::Random), &fakes(4), 8000);
    counts.values().for_each(|&it| assert_near(it, 2000));
}

#[test]
fn seed_repeats_random_choices() {
    let all = fakes(10);
    let choices = |seed| {
        let select = Selection::Random.build(Some(seed));
        let candidates = candidates(&all);
        let choose = |_| select.select(&candidates, None);
        (0..20).map(choose).collect::<Vec<_>>()
    };
    assert_eq!(choices(3), choices(3));
    assert_ne!(choices(3), choices(4));
}

#[test]
fn weights_are_kept_exactly_and_smoothly() {
    let all = [Fake::new(0).weight(5), Fake::new(1), Fake::new(2)];
    let select = build(&Selection::WeightedRoundRobin);
    let candidates = candidates(&all);
    let order: Vec<_> = (0..7)
        .filter_map(|_| select.select(&candidates, None))
        .collect();
    // nginx's example.
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn least_in_flight_goes_to_the_idle_one_and_takes_equal_ones_in_turn() {
    let all = fakes(3);
    let select = build(&Selection::LeastInFlight);
    let mut open: Vec<RequestGuard> = Vec::new();
    for _ in 0..9 {
        let at = select
            .select(&candidates(&all), None)
            .expect("there is one");
        open.push(all[at].track.start());
    }
    assert!(all.iter().all(|it| it.track.in_flight() == 3));
    open.pop();
    let idle = all.iter().position(|it| it.track.in_flight() == 2);
    assert_eq!(select.select(&candidates(&all), None), idle);
    drop(open);
    let counts = counts(&*select, &all, 300);
    counts.values().for_each(|&it| assert_near(it, 100));
}

#[test]
fn hash_leads_equal_keys_to_the_same_endpoint_and_spreads_the_others() {
    let all = fakes(5);
    let select = build(&Selection::consistent_hash());
    let counts = counts(&*select, &all, 20_000);
    counts.values().for_each(|&it| assert_near(it, 4000));
    let mut reversed = fakes(5);
    reversed.reverse();
    for key in (0..100).map(|it| Key::of(format!("user {it}"))) {
        let here = select.select(&candidates(&all), Some(key)).expect("one");
        let there = build(&Selection::consistent_hash());
        let there = there
            .select(&candidates(&reversed), Some(key))
            .expect("one");
        assert_eq!(all[here].address, reversed[there].address);
    }
}

#[test]
fn hash_of_a_key_is_the_same_in_all_versions() {
    let all = fakes(5);
    let select = build(&Selection::consistent_hash());
    let chosen = |key: &str| select.select(&candidates(&all), Some(Key::of(key)));
    let chosen: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(chosen).into();
    assert_eq!(chosen, EXPECTED.map(Some));
}

const EXPECTED: [usize; 6] = [4, 2, 1, 4, 4, 2];

#[test]
fn only_keys_of_an_endpoint_that_leaves_move() {
    let all = fakes(5);
    let mut fewer = fakes(5);
    fewer.remove(2);
    let select = build(&Selection::consistent_hash());
    let mut moved = BTreeMap::<u64, u64>::new();
    for key in (0..10_000).map(|it| Key::of(format!("user {it}"))) {
        let before = select.select(&candidates(&all), Some(key)).expect("one");
        let after = select.select(&candidates(&fewer), Some(key)).expect("one");
        let (before, after) = (&all[before], &fewer[after]);
        if before.address != after.address {
            assert_eq!(before.track.id, 2);
            *moved.entry(after.track.id).or_default() += 1;
        }
    }
    assert_near(moved.values().sum(), 2000);
    assert_eq!(moved.len(), 4, "all others take over: {moved:?}");
}

#[test]
fn hash_follows_weights() {
    let all = [Fake::new(0).weight(3), Fake::new(1), Fake::new(2)];
    let counts = counts(&*build(&Selection::consistent_hash()), &all, 20_000);
    assert_near(counts[&0], 12_000);
    assert_near(counts[&1], 4000);
}

#[test]
fn one_key_with_many_requests_is_bounded() {
    let all = fakes(4);
    let select = build(&Selection::ConsistentHash { bound: 1.25 });
    let key = Some(Key::of("popular"));
    let mut open = Vec::new();
    for _ in 0..400 {
        let at = select.select(&candidates(&all), key).expect("there is one");
        open.push(all[at].track.start());
    }
    let most = all.iter().map(|it| it.track.in_flight()).max();
    assert!(most <= Some(125), "{most:?}");
}

#[test]
fn sticky_keys_stay_until_their_endpoint_is_gone_and_do_not_come_back() {
    let all = fakes(3);
    let select = build(&Selection::Sticky);
    let key = Some(Key::of("user"));
    let first = select.select(&candidates(&all), key).expect("one");
    let busy: Vec<_> = (0..50).map(|_| all[first].track.start()).collect();
    assert_eq!(select.select(&candidates(&all), key), Some(first));
    drop(busy);
    let mut fewer = candidates(&all);
    fewer.remove(first);
    let second = select.select(&fewer, key).expect("one");
    let second = fewer[second].id();
    let again = candidates(&all);
    let at = select.select(&again, key).expect("one");
    assert_eq!(again[at].id(), second);
}

#[test]
fn sticky_spreads_new_keys_by_requests_in_flight() {
    let counts = counts(&*build(&Selection::Sticky), &fakes(4), 400);
    counts.values().for_each(|&it| assert_near(it, 100));
}

#[test]
fn better_paths_get_more() {
    let all = [
        Fake::new(0).link(10, 0.0),
        Fake::new(1).link(20, 0.0),
        Fake::new(2).link(10, 0.1),
        Fake::new(3).link(10, 0.1).weight(2),
        Fake::new(4),
    ];
    let counts = counts(&*build(&Selection::LinkQuality), &all, 40_000);
    for (id, expected) in [(0, 10_000), (1, 5000), (2, 5000), (3, 10_000), (4, 10_000)] {
        assert_near(counts[&id], expected);
    }
}

#[test]
fn very_short_paths_are_equal() {
    let mut all = [Fake::new(0).link(0, 0.0), Fake::new(1).link(1, 0.0)];
    all[0].link = Some(Link {
        rtt: Duration::ZERO,
        loss: 0.0,
    });
    let counts = counts(&*build(&Selection::LinkQuality), &all, 8000);
    counts.values().for_each(|&it| assert_near(it, 4000));
}

#[test]
fn nearest_zone_with_an_endpoint_is_used_and_otherwise_all() {
    let all = [
        Fake::new(0).zone("far"),
        Fake::new(1).zone("near"),
        Fake::new(2).zone("near"),
        Fake::new(3),
    ];
    let zones = |zones: &[&str]| {
        let zones = zones.iter().copied();
        let select = Selection::nearest_zone(zones, Selection::RoundRobin);
        let counts = counts(&*build(&select), &all, 100);
        counts.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(zones(&["here", "near", "far"]), [1, 2]);
    assert_eq!(zones(&["far", "near"]), [0]);
    assert_eq!(zones(&["unknown"]), [0, 1, 2, 3]);
    assert_eq!(zones(&[]), [0, 1, 2, 3]);
}
