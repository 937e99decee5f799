//! Finds out the sender's ratio from the kinds of its packets.
//!
//! Groups start at multiples of their size, so wherever parity is followed by data at the next
//! number, a group begins, and wherever data is followed by parity, its parity begins. Three such
//! edges in a row show a whole group. Loss hides edges and can make two groups look like one;
//! so groups are counted by ratio, and the most frequent one must also fit the other packets.

use std::collections::VecDeque;
use std::time::Duration;

use super::FecRatio;
use crate::time::Time;

/// Watches a sender, and says when its ratio is another than believed.
///
/// Costs a comparison a packet and no memory as long as packets fit the ratio.
#[derive(Debug)]
pub(super) struct Tuner {
    ratio: Option<FecRatio>,
    /// Packets in a row that were rebuilt with the ratio and made sense, up to [`PROOFS`].
    proofs: u8,
    changed_at: Option<Time>,
    /// The last packets, in order of arrival; empty while all is well.
    samples: VecDeque<Sample>,
    /// Packets since the samples were last looked at.
    unexamined: usize,
    /// Packets in a row that fit the ratio.
    fitting: usize,
}

/// A packet's number and kind. Ordered by plain number: where numbers wrap, the samples fall into
/// two stretches that are as good as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    sequence: u32,
    parity: bool,
}

/// A place where the kind changes.
#[derive(Clone, Copy, Debug)]
struct Edge {
    /// The first packet after the change.
    sequence: u32,
    /// That packet's place among the samples.
    at: usize,
    /// Whether the change is to data, so that a group begins.
    begins_group: bool,
    /// Whether the packet before it is there too, so that the place is certain.
    exact: bool,
}

/// How often a ratio was seen.
#[derive(Clone, Copy, Debug)]
struct Tally {
    ratio: FecRatio,
    groups: usize,
    /// Of these, without any gap.
    gapless: usize,
}

impl Tuner {
    /// A tuner that believes `hint` until it is contradicted.
    pub(super) const fn new(hint: Option<FecRatio>) -> Self {
        Self {
            ratio: hint,
            proofs: 0,
            changed_at: None,
            samples: VecDeque::new(),
            unexamined: 0,
            fitting: 0,
        }
    }

    /// The ratio that is believed now.
    pub(super) const fn ratio(&self) -> Option<FecRatio> {
        self.ratio
    }

    /// Notes that a packet was rebuilt with the ratio, and whether it made sense. A ratio that
    /// works changes less easily.
    pub(super) fn on_rebuilt(&mut self, sensible: bool) {
        self.proofs = if sensible {
            PROOFS.min(self.proofs + 1)
        } else {
            0
        };
    }

    const fn is_proven(&self) -> bool {
        self.proofs >= PROOFS
    }

    /// Releases all memory, and with it what was seen so far.
    pub(super) fn shrink(&mut self) {
        self.samples = VecDeque::new();
    }

    /// Looks at a packet; returns whether the ratio changed.
    pub(super) fn observe(&mut self, now: Time, sequence: u32, parity: bool) -> bool {
        let sample = Sample { sequence, parity };
        let fits = self.ratio.is_some_and(|ratio| sample.fits(ratio));
        if fits && self.samples.is_empty() {
            return false;
        }
        self.fitting = if fits { self.fitting + 1 } else { 0 };
        if self.fitting > MAX_SAMPLES {
            self.shrink();
            return false;
        }
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.unexamined += 1;
        // The first packets are looked at one by one, later ones in batches, so that the work for
        // a packet stays the same however many there are.
        if fits || self.unexamined * EXAMINATIONS_PER_WINDOW < self.samples.len() {
            return false;
        }
        let changed_lately = |at: Time| now - at < MIN_TIME_BETWEEN_CHANGES;
        if self.is_proven() && self.changed_at.is_some_and(changed_lately) {
            return false;
        }
        self.unexamined = 0;
        let Some(ratio) = self.examine() else {
            return false;
        };
        *self = Self::new(Some(ratio));
        self.changed_at = Some(now);
        true
    }

    /// The ratio the samples speak for, if it is another than the present one.
    fn examine(&self) -> Option<FecRatio> {
        let mut sorted: Vec<Sample> = self.samples.iter().copied().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let best = tally(&edges(&sorted))
            .into_iter()
            .max_by_key(|tally| (tally.groups, tally.gapless))?;
        let enough = if self.is_proven() {
            best.groups >= GROUPS_TO_CHANGE
        } else {
            best.groups >= 2 || best.gapless >= 1
        };
        let misfits = self.misfits(best.ratio, best.ratio);
        let better = self
            .ratio
            .is_none_or(|ratio| misfits < self.misfits(ratio, best.ratio));
        (enough && better && Some(best.ratio) != self.ratio && self.explains(best.ratio))
            .then_some(best.ratio)
    }

    /// Whether a ratio fits the last packets but for a few: one in 16, and one parity in 8, which
    /// would not show among the data of large groups.
    fn explains(&self, ratio: FecRatio) -> bool {
        let recent = || self.recent(ratio);
        let parity = || recent().filter(|sample| sample.parity);
        let parity_misfits = parity().filter(|sample| !sample.fits(ratio)).count();
        self.misfits(ratio, ratio) * 16 <= recent().count()
            && parity_misfits * 8 <= parity().count()
    }

    /// How many of the last packets do not fit `ratio`, where `scale` says how many are looked at.
    fn misfits(&self, ratio: FecRatio, scale: FecRatio) -> usize {
        self.recent(scale)
            .filter(|sample| !sample.fits(ratio))
            .count()
    }

    /// The packets that a change to `ratio` must be borne out by.
    ///
    /// Four groups, so that a sender that changed its mind is understood before all samples of the
    /// old ratio are gone; but never so few that somebody else could slip them in.
    fn recent(&self, ratio: FecRatio) -> impl Iterator<Item = Sample> {
        let count = (4 * ratio.group()).max(MIN_RECENT);
        self.samples.iter().rev().take(count).copied()
    }
}

impl Sample {
    /// Whether a packet of this number has this kind in groups of `ratio`.
    fn fits(self, ratio: FecRatio) -> bool {
        self.sequence < ratio.sequence_period()
            && (ratio.place(self.sequence).1 >= ratio.data()) == self.parity
    }
}

/// All places where the kind changes; number 0 begins a group though nothing comes before it.
fn edges(sorted: &[Sample]) -> Vec<Edge> {
    let start = sorted.first().filter(|first| first.sequence == 0);
    let start = start.map(|first| Edge {
        sequence: 0,
        at: 0,
        begins_group: !first.parity,
        exact: true,
    });
    let changes = sorted
        .windows(2)
        .enumerate()
        .filter_map(|(at, pair)| match pair {
            [before, after] if before.parity != after.parity => Some(Edge {
                sequence: after.sequence,
                at: at + 1,
                begins_group: before.parity,
                exact: before.sequence.checked_add(1) == Some(after.sequence),
            }),
            _ => None,
        });
    start.into_iter().chain(changes).collect()
}

/// Counts the whole groups between edges.
fn tally(edges: &[Edge]) -> Vec<Tally> {
    let mut tallies: Vec<Tally> = Vec::new();
    for edges in edges.windows(3) {
        let [begin, middle, end] = edges else {
            continue;
        };
        let exact = begin.exact && middle.exact && end.exact;
        if !begin.begins_group || !exact {
            continue;
        }
        let data = middle.sequence - begin.sequence;
        let parity = end.sequence - middle.sequence;
        let Ok(ratio) = FecRatio::new(data as usize, parity as usize) else {
            continue;
        };
        if ratio.place(begin.sequence).1 != 0 {
            continue;
        }
        let gapless = usize::from(end.at - begin.at == ratio.group());
        match tallies.iter_mut().find(|tally| tally.ratio == ratio) {
            Some(tally) => {
                tally.groups += 1;
                tally.gapless += gapless;
            }
            None => tallies.push(Tally {
                ratio,
                groups: 1,
                gapless,
            }),
        }
    }
    tallies
}

/// Packets that are remembered while a ratio is looked for: four of the largest groups, 8 KiB.
const MAX_SAMPLES: usize = 1024;

/// The samples are looked at again after this fraction of them is new.
const EXAMINATIONS_PER_WINDOW: usize = 8;

/// Fewer packets than this are all looked at, however small the groups.
const MIN_RECENT: usize = 64;

/// Rebuilt packets that must make sense before a ratio counts as working. With a wrong one, a size
/// field is plausible about once in fifty.
const PROOFS: u8 = 3;

/// Whole groups that speak for a change of a ratio that worked.
const GROUPS_TO_CHANGE: usize = 3;

/// A ratio that works is kept for at least so long. No sender changes its ratio while it runs; to
/// rebuild the tables more often would be somebody else's wish.
const MIN_TIME_BETWEEN_CHANGES: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(data: usize, parity: usize) -> FecRatio {
        FecRatio::new(data, parity).expect("in range")
    }

    fn prove(tuner: &mut Tuner) {
        for _ in 0..PROOFS {
            tuner.on_rebuilt(true);
        }
    }

    fn is_parity(sequence: u32, ratio: FecRatio) -> bool {
        ratio.place(sequence).1 >= ratio.data()
    }

    /// Shows a sender's packets to the tuner until the ratio changes; returns after how many.
    fn changes_after(
        tuner: &mut Tuner,
        now: Time,
        sender: FecRatio,
        numbers: impl IntoIterator<Item = u32>,
    ) -> Option<usize> {
        numbers
            .into_iter()
            .position(|number| tuner.observe(now, number, is_parity(number, sender)))
            .map(|at| at + 1)
    }

    #[test]
    fn first_ratio_is_known_after_one_whole_group() {
        for (data, parity) in [(1, 1), (3, 1), (10, 3), (2, 5), (128, 128)] {
            let (mut tuner, sender) = (Tuner::new(None), ratio(data, parity));
            let after = changes_after(&mut tuner, Time::ZERO, sender, 0..2000).expect("learned");
            assert_eq!(tuner.ratio(), Some(sender));
            let group = sender.group();
            assert!(after <= group + group / 4 + 1, "{sender:?} after {after}");
        }
    }

    #[test]
    fn wrong_hint_is_corrected_within_a_few_groups() {
        for sender in [ratio(3, 1), ratio(10, 2), ratio(10, 4), ratio(11, 3)] {
            let mut tuner = Tuner::new(Some(ratio(10, 3)));
            let after = changes_after(&mut tuner, Time::ZERO, sender, 0..200).expect("learned");
            assert_eq!(tuner.ratio(), Some(sender));
            assert!(after <= 60, "{sender:?} after {after}");
        }
    }

    #[test]
    fn right_hint_takes_no_memory() {
        let mut tuner = Tuner::new(Some(ratio(10, 3)));
        assert_eq!(
            changes_after(&mut tuner, Time::ZERO, ratio(10, 3), 0..5000),
            None
        );
        assert_eq!(tuner.samples.capacity(), 0);
    }

    #[test]
    fn memory_is_released_once_the_contradictions_end() {
        let mut tuner = Tuner::new(Some(ratio(10, 3)));
        tuner.observe(Time::ZERO, 0, true);
        assert_ne!(tuner.samples.capacity(), 0);
        assert_eq!(
            changes_after(&mut tuner, Time::ZERO, ratio(10, 3), 0..5000),
            None
        );
        assert_eq!(tuner.samples.capacity(), 0);
    }

    #[test]
    fn samples_are_bounded() {
        let mut tuner = Tuner::new(None);
        for number in 0..100_000 {
            tuner.observe(Time::ZERO, number, false);
        }
        assert_eq!(tuner.samples.len(), MAX_SAMPLES);
    }

    #[test]
    fn groups_beyond_256_are_not_learned() {
        let mut tuner = Tuner::new(None);
        for number in 0..5000 {
            assert!(!tuner.observe(Time::ZERO, number, number % 300 >= 200));
        }
    }

    #[test]
    fn ratio_that_works_needs_three_groups_and_five_seconds() {
        let mut tuner = Tuner::new(None);
        changes_after(&mut tuner, Time::ZERO, ratio(3, 1), 0..100).expect("learned");
        prove(&mut tuner);
        let early = Time::from_millis(4999);
        assert_eq!(
            changes_after(&mut tuner, early, ratio(10, 3), 1300..3900),
            None
        );
        assert_eq!(tuner.ratio(), Some(ratio(3, 1)));
        let late = Time::from_millis(5000);
        changes_after(&mut tuner, late, ratio(10, 3), 3900..5000).expect("learned");
        assert_eq!(tuner.ratio(), Some(ratio(10, 3)));
    }

    #[test]
    fn burst_of_forged_groups_does_not_change_a_ratio_that_works() {
        let mut tuner = Tuner::new(Some(ratio(10, 3)));
        prove(&mut tuner);
        for round in 0..200_u32 {
            let honest = round * 100..round * 100 + 100;
            assert_eq!(
                changes_after(&mut tuner, Time::ZERO, ratio(10, 3), honest),
                None
            );
            let forged = 1_000_000..1_000_010;
            assert_eq!(
                changes_after(&mut tuner, Time::ZERO, ratio(1, 1), forged),
                None
            );
        }
    }

    #[test]
    fn ratio_is_learned_across_the_wrap() {
        let sender = ratio(10, 3);
        let mut tuner = Tuner::new(None);
        let period = sender.sequence_period();
        let numbers = (period - 5..period).chain(0..100);
        changes_after(&mut tuner, Time::ZERO, sender, numbers).expect("learned");
        assert_eq!(tuner.ratio(), Some(sender));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn ratio_is_learned_under_loss_duplication_and_reordering(
            (data, parity) in (1..=20_usize, 1..=8_usize),
            hinted: bool,
            start in 0..1_000_000_u32,
            luck in prop::collection::vec((0..10_u8, 0..10_u8, 0..8_usize), 1500),
        ) {
            let sender = ratio(data, parity);
            let mut numbers: Vec<u32> = Vec::new();
            for (number, &(lost, duplicated, back)) in (start..).zip(&luck) {
                if lost == 0 {
                    continue;
                }
                let at = numbers.len().saturating_sub(if back == 7 { 3 } else { 0 });
                numbers.insert(at, number);
                if duplicated == 0 {
                    numbers.push(number);
                }
            }
            let mut tuner = Tuner::new(hinted.then(|| ratio(5, 2)));
            for number in numbers {
                tuner.observe(Time::ZERO, number, is_parity(number, sender));
            }
            prop_assert_eq!(tuner.ratio(), Some(sender));
        }

        #[test]
        fn any_packets_are_watched_without_panic(
            hint in prop::option::of((1..=128_usize, 1..=128_usize)),
            packets in prop::collection::vec((any::<u32>(), any::<bool>()), 0..2000),
        ) {
            let mut tuner = Tuner::new(hint.map(|(data, parity)| ratio(data, parity)));
            for (number, parity) in packets {
                tuner.observe(Time::ZERO, number, parity);
            }
        }
    }
}
