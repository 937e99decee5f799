//! Tests of learning and doubting a ratio.

use super::*;
use proptest::prelude::*;

fn ratio(data: usize, parity: usize) -> FecRatio {
    FecRatio::new(data, parity).expect("in range")
}

fn is_parity(sequence: u32, ratio: FecRatio) -> bool {
    ratio.place(sequence).1 >= ratio.data()
}

/// Passes a sender's packets to the detector until the ratio changes; returns their number.
fn changes_after(
    detector: &mut RatioDetector,
    now: Time,
    sender: FecRatio,
    numbers: impl IntoIterator<Item = u32>,
) -> Option<usize> {
    numbers
        .into_iter()
        .position(|number| detector.observe(now, number, is_parity(number, sender)))
        .map(|at| at + 1)
}

#[test]
fn ratio_is_known_soon_after_one_whole_group() {
    for (data, parity) in [
        (1, 1),
        (2, 1),
        (3, 1),
        (10, 3),
        (20, 5),
        (128, 128),
        (255, 1),
    ] {
        let sender = ratio(data, parity);
        let mut detector = RatioDetector::new();
        let after = changes_after(&mut detector, Time::ZERO, sender, 0..2000).expect("learned");
        assert_eq!(detector.ratio(), Some(sender));
        assert!(after <= sender.group() + 8, "{sender:?} after {after}");
    }
}

#[test]
fn ratio_is_learned_across_the_wrap() {
    let sender = ratio(10, 3);
    let mut detector = RatioDetector::new();
    let last = sender.sequence_period();
    let numbers = (last - 10..last).chain(0..100);
    changes_after(&mut detector, Time::ZERO, sender, numbers).expect("learned");
    assert_eq!(detector.ratio(), Some(sender));
}

#[test]
fn known_ratio_takes_no_memory() {
    let mut detector = RatioDetector::knowing(ratio(10, 3));
    assert_eq!(
        changes_after(&mut detector, Time::ZERO, ratio(10, 3), 0..100_000),
        None
    );
    assert!(detector.search.is_none() && detector.is_trusted());
}

#[test]
fn changed_ratio_is_distrusted_at_once_and_learned_after_five_seconds() {
    let mut detector = RatioDetector::new();
    changes_after(&mut detector, Time::ZERO, ratio(3, 1), 0..100).expect("learned");
    let early = Time::from_millis(4999);
    assert_eq!(
        changes_after(&mut detector, early, ratio(10, 3), 100..3900),
        None
    );
    assert!(!detector.is_trusted());
    let late = Time::from_millis(5000);
    changes_after(&mut detector, late, ratio(10, 3), 3900..5000).expect("learned");
    assert_eq!(detector.ratio(), Some(ratio(10, 3)));
    assert!(detector.is_trusted());
}

#[test]
fn single_contradictions_raise_no_doubt() {
    let sender = ratio(10, 3);
    let mut detector = RatioDetector::knowing(sender);
    for number in 0..10_000 {
        detector.observe(Time::ZERO, number, is_parity(number, sender));
        if number % 50 == 0 {
            detector.observe(Time::ZERO, number, !is_parity(number, sender));
        }
        assert!(detector.is_trusted());
    }
    assert_eq!(detector.ratio(), Some(sender));
}

#[test]
fn burst_of_distant_numbers_raises_no_doubt() {
    let sender = ratio(10, 3);
    let mut detector = RatioDetector::knowing(sender);
    for round in 0..200_u32 {
        let honest = round * 100..round * 100 + 100;
        assert_eq!(
            changes_after(&mut detector, Time::ZERO, sender, honest),
            None
        );
        let forged = 1_000_000..1_000_010;
        assert_eq!(
            changes_after(&mut detector, Time::ZERO, ratio(1, 1), forged),
            None
        );
        assert!(detector.is_trusted());
    }
}

#[test]
fn restarted_sender_with_another_ratio_is_detected() {
    let mut detector = RatioDetector::knowing(ratio(10, 3));
    changes_after(&mut detector, Time::ZERO, ratio(10, 3), 900_000..901_000);
    changes_after(&mut detector, Time::ZERO, ratio(3, 1), 0..300).expect("learned");
    assert_eq!(detector.ratio(), Some(ratio(3, 1)));
}

#[test]
fn every_change_is_noticed_however_much_the_ratios_look_alike() {
    let mut pairs = vec![
        (ratio(17, 1), ratio(20, 1)),
        (ratio(127, 1), ratio(255, 1)),
        (ratio(255, 1), ratio(127, 1)),
        (ratio(1, 127), ratio(1, 255)),
        (ratio(200, 56), ratio(199, 57)),
    ];
    let small: Vec<_> = (1..=9)
        .flat_map(|data| (1..=3).map(move |it| ratio(data, it)))
        .collect();
    pairs.extend(
        small
            .iter()
            .flat_map(|&old| small.iter().map(move |&new| (old, new))),
    );
    for (old, new) in pairs {
        let mut detector = RatioDetector::knowing(old);
        let start = 100 * old.group() as u32;
        changes_after(&mut detector, Time::ZERO, old, 0..start);
        let numbers = start..start + 5 * new.group().max(old.group()) as u32 + 16;
        changes_after(&mut detector, Time::from_millis(6000), new, numbers);
        assert_eq!(detector.ratio(), Some(new), "after {old:?}");
    }
}

#[test]
fn unrelated_numbers_teach_no_ratio() {
    for (data, parity) in [(2, 1), (10, 3), (1, 4)] {
        let sender = ratio(data, parity);
        let mut detector = RatioDetector::new();
        let mut forged = 1_u32;
        let mut learned = None;
        for number in 0..300 {
            forged = forged.wrapping_mul(0x9e37_79b1).wrapping_add(7);
            detector.observe(Time::ZERO, forged, number % 2 == 0);
            detector.observe(Time::ZERO, number, is_parity(number, sender));
            let believed = detector.ratio();
            assert!(
                believed.is_none() || believed == Some(sender),
                "{believed:?}"
            );
            learned = learned.or(believed);
        }
        assert_eq!(learned, Some(sender));
    }
}

#[test]
fn repeated_packet_confirms_no_ratio() {
    let sender = ratio(2, 1);
    let mut detector = RatioDetector::new();
    // A packet of another sender excludes the right ratio; one that fits by chance is left.
    detector.observe(Time::ZERO, 9, true);
    for number in [10, 11, 11, 11, 12, 11, 11, 12, 11, 11, 10, 11, 12, 11] {
        detector.observe(Time::ZERO, number, is_parity(number, sender));
        assert_eq!(detector.ratio(), None);
    }
    changes_after(&mut detector, Time::ZERO, sender, 13..40);
    assert_eq!(detector.ratio(), Some(sender));
}

proptest! {
    #[test]
    fn wrong_ratio_is_never_accepted(
        data in 1_usize..40, parity in 1_usize..12, start: u32, seed in 1..u64::MAX,
        loss in 0_u64..60, spread in 1_u64..20,
    ) {
        let sender = ratio(data, parity);
        let start = start % (sender.sequence_period() - 100_000);
        let mut rng = seed;
        let mut draw = |bound: u64| {
            rng ^= rng << 13;
            rng ^= rng >> 7;
            rng ^= rng << 17;
            rng % bound
        };
        let mut detector = RatioDetector::new();
        for number in 0..2000_u64 {
            if draw(100) < loss {
                continue;
            }
            let number = start + (number + draw(spread)) as u32;
            detector.observe(Time::ZERO, number, is_parity(number, sender));
            if let Some(believed) = detector.ratio() {
                prop_assert_eq!(believed, sender);
            }
        }
        prop_assert_eq!(detector.ratio(), Some(sender));
    }
}
