//! Finds the largest datagram that a path carries, after RFC 8899.
//!
//! Datagrams begin at a size that nearly every path carries. A larger size is used once a probe of
//! that size was acknowledged: first the configured mtu is tried, then common sizes, then those
//! halfway between the largest that passed and the smallest that did not.
//!
//! ```text
//!              full datagrams are sent
//!    [resting] -----------------------> [growing] <--------------------------------+
//!        ^                               |     |                                   |
//!        +---- the largest is found -----+     | at the base or below,             |
//!        |                                     | large segments do not arrive      |
//!        |                                     v                                   |
//!        +-------- no smaller one passes -- [shrinking] -- a smaller size passes --+
//! ```
//!
//! Above the base, a path that seems to have become narrower is met by falling back to the base and
//! growing from there. Below it, the size is lowered only if a smaller probe was acknowledged and
//! data of the present size was not, neither before nor after: an outage is no narrow path.

use std::time::Duration;

use crate::config::MtuDiscovery;
use crate::time::Time;
use crate::wire::Timestamp;

/// The size of datagrams, in bytes of UDP payload, and the search for a better one.
#[derive(Debug)]
pub(in crate::session) struct PathMtu {
    /// The configured mtu.
    ceiling: usize,
    current: usize,
    is_on: bool,
    /// Made when larger datagrams are wanted, or when they do not arrive.
    search: Option<Box<Search>>,
    /// The number of time-outs in a row of which the last was taken for a narrow path.
    suspected: u32,
    /// Sizes probed so far.
    number: u32,
    /// The last size that passed, and when.
    passed: Option<(u16, Time)>,
    pub(in crate::session) counters: Counters,
}

/// The part of the statistics that is counted here.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::session) struct Counters {
    pub(in crate::session) sent: u64,
    pub(in crate::session) lost: u64,
    pub(in crate::session) narrowed: u64,
}

#[derive(Debug)]
struct Search {
    phase: Phase,
    /// The smallest size that has failed, or one more than the ceiling.
    too_large: usize,
    probe: Option<Probe>,
    /// The length of the next rest.
    rest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Larger sizes are probed.
    Growing,
    /// Smaller sizes are probed. One may have passed: it is used if the current one fails once more.
    Shrinking(Option<usize>),
    /// Nothing is probed before this time.
    Resting(Time),
}

/// A size that is being tried.
#[derive(Clone, Copy, Debug)]
struct Probe {
    size: usize,
    lost: u32,
    /// What all its transmissions carry, once one was sent.
    name: Option<Name>,
    wait: Wait,
    /// Something was received since the last transmission.
    is_heard: bool,
}

/// Sequence number and timestamp of a probe, which its acknowledgement echoes.
pub(super) type Name = (u32, Timestamp);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// A transmission is due.
    Due,
    /// The last transmission counts as lost at this time.
    Until(Time),
    /// Nothing at all was received after the last transmission, although data is unacknowledged: its
    /// loss proves nothing.
    Stalled,
}

impl PathMtu {
    pub(in crate::session) fn new(ceiling: usize, discovery: MtuDiscovery) -> Self {
        let is_on = discovery == MtuDiscovery::On;
        Self {
            ceiling,
            current: if is_on { ceiling.min(BASE) } else { ceiling },
            is_on,
            search: None,
            suspected: 0,
            number: 0,
            passed: None,
            counters: Counters::default(),
        }
    }

    /// Lowers the configured mtu. With discovery, the size is searched for anew if it may still grow.
    pub(in crate::session) fn lower_ceiling(&mut self, ceiling: usize) {
        self.ceiling = ceiling;
        self.current = self.current.min(ceiling);
        self.search = None;
    }

    /// The largest datagram with data, in bytes of UDP payload.
    pub(in crate::session) fn current(&self) -> usize {
        self.current
    }

    /// The next smaller size to try if the current one does not arrive; the current one if there is
    /// none.
    pub(super) fn narrower(&self) -> usize {
        let below = STEPS.into_iter().find(|&step| step < self.current);
        below.unwrap_or(self.current)
    }

    /// A datagram full of data was sent.
    pub(super) fn on_full(&mut self, now: Time) {
        if !self.is_on || self.current >= self.ceiling {
            return;
        }
        let ceiling = self.ceiling;
        let new = || Box::new(Search::new(ceiling));
        let search = self.search.get_or_insert_with(new);
        if let Phase::Resting(until) = search.phase
            && until <= now
        {
            search.grow(ceiling);
        }
    }

    /// Checks whether large segments still arrive: `timeouts` probe time-outs have passed in a row,
    /// and `lost` large segments were sent again since one was acknowledged. Returns whether the path
    /// is taken for too narrow.
    pub(super) fn check(&mut self, timeouts: u32, lost: u32) -> bool {
        if timeouts < self.suspected {
            self.suspected = timeouts;
            if let Some(search) = &mut self.search
                && search.phase != Phase::Growing
            {
                search.grow(self.ceiling);
            }
        }
        let phase = self.search.as_ref().map(|it| it.phase);
        let enough = if matches!(phase, Some(Phase::Shrinking(Some(_)))) {
            self.suspected + 1
        } else {
            // In an outage, smaller sizes are tried less and less often.
            SILENT_TIMEOUTS.max(self.suspected.saturating_mul(2))
        };
        let silent = timeouts >= enough;
        if !self.is_on || !(silent || lost >= LARGE_LOSSES) {
            return false;
        }
        self.suspected = timeouts;
        self.narrow();
        true
    }

    /// The current size does not arrive.
    pub(super) fn narrow(&mut self) {
        if !self.is_on {
            return;
        }
        if self.current > BASE {
            self.move_to(BASE);
            self.search = Some(Box::new(Search::new(self.ceiling)));
        } else if self.narrower() < self.current {
            let ceiling = self.ceiling;
            let new = || Box::new(Search::new(ceiling));
            let search = self.search.get_or_insert_with(new);
            match search.phase {
                Phase::Shrinking(None) => {}
                Phase::Shrinking(Some(passed)) => {
                    search.grow(ceiling);
                    self.move_to(passed);
                }
                Phase::Growing | Phase::Resting(_) => {
                    search.phase = Phase::Shrinking(None);
                    search.probe = None;
                    search.too_large = self.current;
                }
            }
        }
    }

    fn move_to(&mut self, size: usize) {
        tracing::debug!(from = self.current, to = size, "size of datagrams changes");
        self.counters.narrowed += u64::from(size < self.current);
        self.current = size;
    }

    /// The path is another.
    pub(super) fn on_new_path(&mut self) {
        if self.is_on {
            self.current = self.ceiling.min(BASE);
            self.search = None;
        }
    }

    /// When a probe is due or counts as lost: the epoch if now.
    pub(super) fn next(&self) -> Option<Time> {
        let search = self.search.as_ref()?;
        if matches!(search.phase, Phase::Resting(_) | Phase::Shrinking(Some(_))) {
            return None;
        }
        match search.probe.map(|it| it.wait) {
            Some(Wait::Stalled) => None,
            Some(Wait::Until(at)) => Some(at),
            Some(Wait::Due) | None => Some(Time::ZERO),
        }
    }

    /// The size, number and name of the probe that is due. `unanswered` is whether data waits for an
    /// acknowledgement.
    pub(super) fn poll(
        &mut self,
        now: Time,
        unanswered: bool,
    ) -> Option<(usize, u32, Option<Name>)> {
        let search = self.search.as_mut()?;
        let tries = if search.phase == Phase::Growing {
            TRIES
        } else {
            SMALL_TRIES
        };
        if let Some(probe) = &mut search.probe
            && let Wait::Until(at) = probe.wait
            && at <= now
        {
            if search.phase == Phase::Growing && unanswered && !probe.is_heard {
                probe.wait = Wait::Stalled;
            } else {
                self.counters.lost += 1;
                probe.lost += 1;
                probe.wait = Wait::Due;
                if probe.lost >= tries {
                    search.too_large = probe.size;
                    search.probe = None;
                }
            }
        }
        if search.probe.is_none() && search.choose(now, self.current, self.ceiling) {
            self.number = self.number.wrapping_add(1);
        }
        let probe = search.probe.filter(|it| it.wait == Wait::Due)?;
        Some((probe.size, self.number, probe.name))
    }

    /// The probe was sent, and its acknowledgement is expected within `timeout`.
    pub(super) fn on_sent(&mut self, now: Time, timeout: Duration, name: Name) {
        self.counters.sent += 1;
        if let Some(probe) = self.search.as_mut().and_then(|it| it.probe.as_mut()) {
            probe.name = Some(name);
            probe.wait = Wait::Until(now + timeout);
            probe.is_heard = false;
        }
    }

    /// The name of the probe whose acknowledgement is awaited.
    pub(super) fn awaited(&self) -> Option<Name> {
        self.search.as_ref()?.probe?.name
    }

    /// Something was received.
    pub(super) fn on_received(&mut self) {
        if let Some(probe) = self.search.as_mut().and_then(|it| it.probe.as_mut()) {
            probe.is_heard = true;
            if probe.wait == Wait::Stalled {
                probe.wait = Wait::Due;
            }
        }
    }

    /// The probe is acknowledged: its size is used from now on.
    pub(super) fn on_acknowledged(&mut self, now: Time) {
        let Some(search) = &mut self.search else {
            return;
        };
        let Some(probe) = search.probe.take() else {
            return;
        };
        self.passed = u16::try_from(probe.size).ok().map(|size| (size, now));
        if matches!(search.phase, Phase::Shrinking(_)) {
            search.phase = Phase::Shrinking(Some(probe.size));
            return;
        }
        self.move_to(probe.size);
        if self.current >= self.ceiling {
            self.search = None;
        }
    }

    /// The size of a probe that has passed since that time.
    pub(in crate::session) fn passed_since(&self, since: Time) -> Option<u16> {
        self.passed
            .filter(|(_, at)| *at > since)
            .map(|(size, _)| size)
    }

    /// The system refused a datagram for its length: the probe if one is under way.
    pub(super) fn on_too_long(&mut self) {
        let search = self.search.as_mut();
        let probe = search.and_then(|search| Some((search.probe?, search)));
        match probe {
            Some((probe, search)) if probe.size > self.current && probe.name.is_some() => {
                self.counters.lost += 1;
                search.too_large = probe.size;
                search.probe = None;
            }
            _ => self.narrow(),
        }
    }
}

impl Search {
    fn new(ceiling: usize) -> Self {
        Self {
            phase: Phase::Growing,
            too_large: ceiling + 1,
            probe: None,
            rest: FIRST_REST,
        }
    }

    fn grow(&mut self, ceiling: usize) {
        self.phase = Phase::Growing;
        self.too_large = ceiling + 1;
        self.probe = None;
    }

    /// Chooses the next size to probe, or rests if there is none. Returns whether there is one.
    fn choose(&mut self, now: Time, current: usize, ceiling: usize) -> bool {
        let size = match self.phase {
            Phase::Resting(_) | Phase::Shrinking(Some(_)) => return false,
            Phase::Growing => self.larger(current, ceiling),
            Phase::Shrinking(None) => STEPS.into_iter().find(|&step| step < self.too_large),
        };
        let Some(size) = size else {
            self.phase = if self.phase == Phase::Shrinking(None) {
                // Nothing passes: the path is cut, not narrow.
                Phase::Resting(now)
            } else {
                let until = now + self.rest;
                self.rest = (self.rest * 2).min(LONGEST_REST);
                Phase::Resting(until)
            };
            return false;
        };
        self.probe = Some(Probe {
            size,
            lost: 0,
            name: None,
            wait: Wait::Due,
            is_heard: false,
        });
        true
    }

    fn larger(&self, current: usize, ceiling: usize) -> Option<usize> {
        if self.too_large > ceiling {
            return Some(ceiling);
        }
        if self.too_large - current <= PRECISION {
            return None;
        }
        let is_open = |size: &usize| (current + 1..self.too_large).contains(size);
        let common = COMMON.into_iter().find(is_open);
        Some(common.unwrap_or(current.midpoint(self.too_large)))
    }
}

/// The size of datagrams before a larger one was acknowledged. QUIC requires it of every path (RFC
/// 9000, section 14).
const BASE: usize = 1200;

/// Sizes that are used where a larger one does not arrive, from the largest: the last is what is
/// left of the 576 bytes that every IPv4 host accepts (RFC 1122, section 3.3.2) with the largest
/// headers. Smaller configured mtus are used as they are.
const STEPS: [usize; 3] = [BASE, 960, 508];

/// What is left for the payload of UDP over IPv4 and IPv6 on a jumbo frame (9000), Ethernet (1500),
/// WireGuard (1420) and the smallest link of IPv6 (1280).
const COMMON: [usize; 8] = [8972, 8952, 1472, 1452, 1392, 1372, 1252, 1232];

/// A size within so many bytes of the largest is good enough: it costs two percent.
const PRECISION: usize = 24;

/// Transmissions of a probe before its size counts as too large (RFC 8899, MAX_PROBES). On a path
/// that loses a tenth both ways, one size of a hundred and fifty is missed.
const TRIES: u32 = 3;

/// Transmissions of a smaller probe. It is tried again if data still does not arrive.
const SMALL_TRIES: u32 = 2;

/// Probe time-outs in a row after which large datagrams are suspected not to arrive. Fewer are
/// usual where several datagrams in a row are lost.
const SILENT_TIMEOUTS: u32 = 3;

/// Large segments sent again, without one being acknowledged for a probe time-out, after which they
/// are suspected not to arrive. On a path that loses every second datagram that happens once in 64 times.
const LARGE_LOSSES: u32 = 6;

/// Rest after the first search; each is twice the one before.
const FIRST_REST: Duration = Duration::from_secs(60);

/// Longest rest (RFC 8899, PMTU_RAISE_TIMER).
const LONGEST_REST: Duration = Duration::from_secs(600);
