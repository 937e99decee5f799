//! Which groups are current, robust against stray packets.
//!
//! kcp-go follows the highest number it receives, so one stray packet ends recovery permanently.
//! Here a distant number is followed only when others agree with it.

use super::FecRatio;
use crate::wire::ShardKind;

/// The newest group, in widened numbers, and the evidence for another position.
///
/// Group numbers are widened to 64 bits when they are first seen, so that they are totally ordered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Groups this much older or newer than the newest are current.
    span: u64,
    /// Number of groups until wire numbers wrap.
    period: u64,
    newest: Option<u64>,
    strays: Option<Strays>,
}

/// Consecutive packets that were not current but agree with each other.
#[derive(Clone, Copy, Debug)]
struct Strays {
    group: u64,
    last_sequence: u32,
    count: u32,
}

/// The position of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In this group, which is current.
    Current(u64),
    /// In this group, which is ahead by a plausible distance.
    Ahead(u64),
    /// In this group, and the sender has restarted its numbers: all older and much newer groups are
    /// invalid.
    Restart(u64),
    /// Too far from the current groups.
    Stray,
}

impl Window {
    pub(super) fn new(ratio: FecRatio) -> Self {
        let group = ratio.group() as u64;
        Self {
            span: MIN_SPAN_GROUPS.max(MIN_SPAN_PACKETS / group),
            period: u64::from(ratio.sequence_period()) / group,
            newest: None,
            strays: None,
        }
    }

    /// Whether a group with this number is too old to be kept.
    pub(super) fn is_past(&self, group: u64) -> bool {
        self.newest.is_some_and(|newest| group + self.span < newest)
    }

    /// Whether a group with this number is too new to be current.
    pub(super) fn is_ahead(&self, group: u64) -> bool {
        self.newest.is_some_and(|newest| group > newest + self.span)
    }

    /// The number of the newest group, as on the wire.
    pub(super) fn newest_on_wire(&self) -> Option<u32> {
        // Narrowing is safe: the period is less than 2^32 groups.
        self.newest.map(|newest| (newest % self.period) as u32)
    }

    /// Maximum number of current groups: parity may be ahead of the newest by a span.
    pub(super) fn capacity(&self) -> usize {
        2 * usize::try_from(self.span).expect("spans are small") + 1
    }

    /// Determines the position of a packet with group number `wire`, and moves the window if the
    /// number is plausible.
    ///
    /// Data identifies its conversation, parity does not: if several conversations share an
    /// address, parity may belong to another one. It therefore moves the window by at most one
    /// group, and does not confirm a jump.
    pub(super) fn place(&mut self, kind: ShardKind, wire: u32, sequence: u32) -> Place {
        let Some(newest) = self.newest else {
            let group = self.first(wire);
            self.newest = Some(group);
            return Place::Current(group);
        };
        if kind == ShardKind::Parity {
            return self.place_parity(newest, wire);
        }
        let group = self.widen(newest, wire);
        if group + self.span >= newest && group <= newest + self.span {
            self.newest = Some(newest.max(group));
            self.strays = None;
            return Place::Current(group);
        }
        let agreeing = self.count_stray(group, sequence);
        if group > newest {
            if agreeing >= STRAYS_TO_MOVE_ON {
                self.newest = Some(group);
                self.strays = None;
                Place::Current(group)
            } else if group - newest <= MAX_JUMP_GROUPS {
                Place::Ahead(group)
            } else {
                Place::Stray
            }
        } else if agreeing >= STRAYS_TO_MOVE_BACK {
            let group = self.first(wire);
            self.newest = Some(group);
            self.strays = None;
            Place::Restart(group)
        } else {
            Place::Stray
        }
    }

    fn place_parity(&mut self, newest: u64, wire: u32) -> Place {
        let group = self.widen(newest, wire);
        if group == newest + 1 {
            self.newest = Some(group);
        }
        match group.checked_sub(newest) {
            Some(ahead) if ahead <= self.span => Place::Current(group),
            Some(ahead) if ahead <= MAX_JUMP_GROUPS => Place::Ahead(group),
            None if group + self.span >= newest => Place::Current(group),
            _ => Place::Stray,
        }
    }

    /// Counts a packet that is not current; returns how many consecutive ones agree.
    fn count_stray(&mut self, group: u64, sequence: u32) -> u32 {
        let count = match self.strays {
            Some(strays) if strays.last_sequence == sequence => strays.count,
            Some(strays) if strays.group.abs_diff(group) <= self.span => strays.count + 1,
            _ => 1,
        };
        self.strays = Some(Strays {
            group,
            last_sequence: sequence,
            count,
        });
        count
    }

    /// Widens the first group number, far from 0, so that older groups have a number too.
    fn first(&self, wire: u32) -> u64 {
        self.period + u64::from(wire)
    }

    /// The widened number nearest to `near` whose wire number is `wire`.
    fn widen(&self, near: u64, wire: u32) -> u64 {
        let ahead = (self.period + u64::from(wire) - near % self.period) % self.period;
        if ahead <= self.period / 2 {
            near + ahead
        } else {
            // `near` is at least one period, see `first`.
            near + ahead - self.period
        }
    }
}

/// Groups kept in addition to the newest, as in kcp-go.
const MIN_SPAN_GROUPS: u64 = 3;

/// Small groups are kept for at least this many packets, so that this much reordering is tolerated
/// whatever the ratio.
const MIN_SPAN_PACKETS: u64 = 64;

/// How far ahead the shard of a single packet is kept. After a longer outage of the path, only the
/// two packets before the jump is confirmed are lost for recovery.
const MAX_JUMP_GROUPS: u64 = 64;

/// Consecutive packets that must agree before a jump ahead is followed.
const STRAYS_TO_MOVE_ON: u32 = 3;

/// Consecutive packets that must agree before the numbers count as restarted. More, because a burst
/// of late packets looks the same.
const STRAYS_TO_MOVE_BACK: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(data: usize, parity: usize) -> Window {
        Window::new(FecRatio::new(data, parity).expect("in range"))
    }

    fn place(window: &mut Window, group: u32, sequence: u32) -> Place {
        window.place(ShardKind::Data, group, sequence)
    }

    fn group(place: Place) -> u64 {
        match place {
            Place::Current(group) => group,
            other => panic!("{other:?} is not current"),
        }
    }

    #[test]
    fn one_packet_far_ahead_does_not_move_the_window() {
        let mut window = window(10, 3);
        let here = group(place(&mut window, 100, 0));
        assert_eq!(place(&mut window, 5000, 1), Place::Stray);
        assert_eq!(place(&mut window, 160, 2), Place::Ahead(here + 60));
        assert_eq!(group(place(&mut window, 96, 3)), here - 4);
        assert_eq!(place(&mut window, 95, 3), Place::Stray);
    }

    #[test]
    fn three_agreeing_packets_in_a_row_move_the_window() {
        let mut window = window(10, 3);
        let here = group(place(&mut window, 100, 0));
        assert_eq!(place(&mut window, 5000, 1), Place::Stray);
        assert_eq!(
            place(&mut window, 5000, 1),
            Place::Stray,
            "a duplicate confirms nothing"
        );
        assert_eq!(place(&mut window, 5001, 2), Place::Stray);
        assert_eq!(group(place(&mut window, 5000, 3)), here + 4900);
    }

    #[test]
    fn scattered_strays_never_move_the_window() {
        let mut window = window(10, 3);
        group(place(&mut window, 100, 0));
        for at in 1..1000 {
            let place = place(&mut window, 100_000 + at * 7919, at);
            assert_eq!(place, Place::Stray);
        }
        for at in 1..1000 {
            assert_eq!(place(&mut window, 100_000, at * 2), Place::Stray);
            group(place(&mut window, 100, at * 2 + 1));
        }
    }

    #[test]
    fn restarted_sender_is_followed_eventually() {
        let mut window = window(10, 3);
        group(place(&mut window, 100_000, 0));
        let follows = (1..).find(|&at| matches!(place(&mut window, 0, at), Place::Restart(_)));
        assert_eq!(follows, Some(STRAYS_TO_MOVE_BACK));
        group(place(&mut window, 0, 99));
    }

    #[test]
    fn numbers_go_on_where_the_wire_wraps() {
        for (data, parity) in [(1, 1), (10, 3), (128, 128)] {
            let mut window = window(data, parity);
            let period = u32::try_from(window.period).expect("fits");
            let last = group(place(&mut window, period - 1, 0));
            assert_eq!(window.newest_on_wire(), Some(period - 1));
            assert_eq!(group(place(&mut window, 0, 1)), last + 1);
            assert_eq!(window.newest_on_wire(), Some(0));
            assert_eq!(group(place(&mut window, period - 1, 2)), last);
        }
    }

    #[test]
    fn parity_moves_the_window_by_one_group_at_most_and_confirms_no_jump() {
        let mut window = window(10, 3);
        let parity = |window: &mut Window, group| window.place(ShardKind::Parity, group, 0);
        let here = group(place(&mut window, 100, 0));
        for sequence in 1..100 {
            // Three consecutive packets of a sender that is far ahead, and some of one that is
            // near.
            for _ in 0..3 {
                assert_eq!(parity(&mut window, 5000), Place::Stray);
            }
            assert_eq!(parity(&mut window, 160), Place::Ahead(here + 60));
            assert_eq!(parity(&mut window, 103), Place::Current(here + 3));
            assert_eq!(parity(&mut window, 97), Place::Current(here - 3));
            assert_eq!(group(place(&mut window, 100, sequence)), here);
        }
        assert_eq!(group(parity(&mut window, 101)), here + 1);
        assert!(window.is_past(here - window.span) && !window.is_past(here + 1 - window.span));
    }
}
