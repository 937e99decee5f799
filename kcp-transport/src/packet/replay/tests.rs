use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::testing::Rng;

fn filter() -> ReplayFilter {
    ReplayFilter::new([7; 16], 100_000)
}

fn counted(prefix: u64, counter: u32) -> [u8; AEAD_NONCE_LEN] {
    let mut nonce = [0; AEAD_NONCE_LEN];
    nonce[..8].copy_from_slice(&prefix.to_be_bytes());
    nonce[8..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

fn random(rng: &mut Rng) -> [u8; AEAD_NONCE_LEN] {
    let mut nonce = [0; AEAD_NONCE_LEN];
    rng.fill(&mut nonce);
    nonce
}

impl ReplayFilter {
    fn memory(&self) -> usize {
        fn table<V>(table: &Table<V>) -> usize {
            table.capacity().div_ceil(7) * 8 * (size_of::<(Mark, V)>() + 1)
        }
        let senders = [&self.senders.current, &self.senders.previous];
        let singles = [&self.singles.current, &self.singles.previous];
        senders.map(table).iter().sum::<usize>()
            + singles.map(table).iter().sum::<usize>()
            + senders
                .iter()
                .flat_map(|table| table.values())
                .map(Window::memory)
                .sum::<usize>()
    }
}

#[test]
fn replayed_nonces_of_a_sender_that_counts_never_pass() {
    let mut filter = filter();
    for counter in 0..1_000_000 {
        assert!(filter.accept(&counted(5, counter)));
    }
    let replayed = (0..1_000_000).filter(|&counter| filter.accept(&counted(5, counter)));
    assert_eq!(replayed.count(), 0, "however old they are");
}

#[test]
fn replayed_random_nonces_never_pass() {
    let mut filter = filter();
    let mut rng = Rng::new(1);
    let nonces: Vec<_> = (0..100_000).map(|_| random(&mut rng)).collect();
    assert!(nonces.iter().all(|nonce| filter.accept(nonce)));
    assert_eq!(
        nonces.iter().filter(|nonce| filter.accept(nonce)).count(),
        0
    );
    // Twice as many are remembered, including the previous generation.
    for _ in 0..100_000 {
        assert!(filter.accept(&random(&mut rng)));
    }
    assert_eq!(
        nonces.iter().filter(|nonce| filter.accept(nonce)).count(),
        0
    );
}

#[test]
fn ten_million_packets_half_of_them_replayed_pass_once_each() {
    let mut filter = filter();
    let mut rng = Rng::new(2);
    let (mut fresh, mut replayed) = (0, 0);
    let mut recent = vec![counted(0, 0); 4096];
    let mut counters = [0_u32; 8];
    for turn in 0..5_000_000_usize {
        // Eight counting senders and one with random nonces.
        let sender = rng.next_u32() as usize % 9;
        let nonce = match counters.get_mut(sender) {
            Some(counter) => {
                *counter += 1;
                counted(sender as u64, *counter)
            }
            None => random(&mut rng),
        };
        fresh += u32::from(filter.accept(&nonce));
        recent[turn % 4096] = nonce;
        let old = recent[(rng.next_u32() as usize % 4096).min(turn)];
        replayed += u32::from(filter.accept(&old));
    }
    assert_eq!((fresh, replayed), (5_000_000, 0));
}

#[test]
fn counter_that_wraps_into_the_next_prefix_passes_once() {
    let mut filter = filter();
    let mut numbers: Vec<u64> = (0xffff_f000..0x1_0000_1000).collect();
    // Reordered across the wrap.
    for pair in numbers.chunks_mut(512) {
        pair.reverse();
    }
    let mut pass = |number: u64| filter.accept(&counted(9 + (number >> 32), number as u32));
    assert!(numbers.iter().all(|&number| pass(number)));
    assert!(!numbers.iter().any(|&number| pass(number)));
}

#[test]
fn largest_counters_pass_once() {
    let mut filter = filter();
    for counter in [0, u32::MAX, 1, u32::MAX - 1, u32::MAX / 2] {
        assert!(filter.accept(&counted(3, counter)), "{counter}");
        assert!(!filter.accept(&counted(3, counter)), "{counter}");
    }
}

#[test]
fn sender_with_many_peers_may_be_late_by_as_many_packets() {
    // One peer of a thousand receives runs of three counters that are far apart; one packet is
    // delayed until 4000 others have arrived.
    let mut filter = filter();
    let held = counted(1, 300_001);
    for turn in 0..100_000_u32 {
        let counter = turn / 3 * 3000 + turn % 3;
        if counter != 300_001 {
            assert!(filter.accept(&counted(1, counter)));
        }
        if turn == 301 + 4000 {
            assert!(filter.accept(&held));
            assert!(!filter.accept(&held));
        }
    }
}

#[test]
fn memory_stays_within_what_the_documentation_says() {
    const CAPACITY: usize = 7000;
    let mut rng = Rng::new(3);
    let mut filter = ReplayFilter::new([1; 16], CAPACITY);
    let mut most = 0;
    let mut look = |filter: &ReplayFilter| {
        most = most.max(filter.memory());
        assert!(most <= 200 * CAPACITY, "{most} bytes, {filter:?}");
    };
    assert_eq!(filter.memory(), 0);
    // A sender with sparse counters, then more and more senders at a time, then random nonces.
    for senders in [1, 2, 10, 100, 1000, 5000, 50_000] {
        for turn in 0..100_000 {
            let sender = rng.next_u64() % senders;
            let _ = filter.accept(&counted(senders << 32 | sender, turn * 64));
            if turn % 1000 == 0 {
                look(&filter);
            }
        }
    }
    for turn in 0..100_000 {
        let _ = filter.accept(&random(&mut rng));
        if turn % 1000 == 0 {
            look(&filter);
        }
    }
}

#[test]
fn as_many_senders_as_promised_are_remembered() {
    let mut filter = ReplayFilter::new([1; 16], 4000);
    for counter in 0..2 {
        for sender in 0..1000 {
            assert!(filter.accept(&counted(sender, counter)));
        }
    }
    for sender in 0..1000 {
        assert!(!filter.accept(&counted(sender, 0)));
        assert!(!filter.accept(&counted(sender, 1)));
        assert!(filter.accept(&counted(sender, 2)));
    }
}

#[test]
fn debug_shows_no_nonce_and_no_secret() {
    let mut filter = ReplayFilter::new([0xab; 16], 100);
    assert!(filter.accept(&[0xcd; 12]));
    assert_eq!(
        format!("{filter:?}"),
        "ReplayFilter { senders: 0, singles: 1, capacity: 100, .. }"
    );
}

proptest! {
    /// The expected result: a set of all nonces received, except for packets overtaken by 4096
    /// others.
    #[test]
    fn reordering_is_never_dropped_and_replays_never_pass(
        seed: u64, spread in 1_u32..200, gap in 1_u32..50, replays in 0_u32..50,
    ) {
        let mut rng = Rng::new(seed);
        let mut filter = filter();
        let mut model = HashSet::new();
        // Each packet is late by up to `spread`.
        let mut sent: Vec<(u32, u32)> = (0..10_000_u32)
            .map(|number| (number + rng.next_u32() % spread, number * gap))
            .collect();
        sent.sort_unstable();
        for (index, &(_, counter)) in sent.iter().enumerate() {
            let prefix = u64::from(counter % 3);
            prop_assert_eq!(
                filter.accept(&counted(prefix, counter)), model.insert((prefix, counter))
            );
            if rng.next_u32() % 100 < replays {
                let (_, old) = sent[rng.next_u32() as usize % (index + 1)];
                let fresh = filter.accept(&counted(u64::from(old % 3), old));
                prop_assert!(!fresh && !model.insert((u64::from(old % 3), old)));
            }
        }
    }

    #[test]
    fn nothing_that_passed_passes_again_as_long_as_there_is_room(
        nonces in proptest::collection::vec((0_u64..4, 0_u32..300, 0_u32..3), 0..500),
    ) {
        let mut filter = filter();
        let mut passed = HashSet::new();
        for (prefix, low, high) in nonces {
            let counter = low | high << 30;
            let fresh = filter.accept(&counted(prefix, counter));
            prop_assert_eq!(fresh, passed.insert((prefix, counter)));
        }
    }
}
