//! Kinds of trouble, each of which a seed has or has not.

use std::fmt;

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    /// Each datagram is lost with the same probability.
    Loss,
    /// Losses come in bursts (Gilbert and Elliott's model).
    Burst,
    /// Some datagrams take longer, so that others overtake.
    Reorder,
    Jitter,
    Duplicate,
    /// Bits flip. Not without a cipher or checksum.
    Flip,
    Truncate,
    Extend,
    /// A bottleneck with a queue in front.
    Rate,
    /// Both directions are dead for a while.
    BlackHole,
    /// One direction is dead for a while.
    OneWay,
    /// Both directions die for good.
    Vanish,
    /// The client's address changes.
    Rebind,
    /// The server loses all state and starts again at its address.
    CrashServer,
    /// A client loses all state and starts again, maybe at its address.
    CrashClient,
    /// A host stands still, with or without its clock.
    Pause,
    /// Clocks run at slightly different speeds.
    Drift,
    /// Clocks begin just below a wrap of their milliseconds.
    ClockWrap,
    /// Sequence and group numbers begin just below their wrap.
    NumberWrap,
    /// Timers fire late, on a grid.
    LateTimers,
    /// Sends fail.
    SendErrors,
    /// Random bytes come from somewhere.
    Garbage,
    /// Well-formed packets of other conversations come. Only without a cipher.
    ForgeForeign,
    /// Packets of the right conversation with impossible fields come. Only without a cipher.
    ForgeOwn,
    /// Old packets come again.
    Replay,
    /// Packets come back to their sender. Not without a cipher or checksum.
    Reflect,
    SlowReader,
    /// A reader that never reads.
    Unread,
    /// A side shuts down or lets go in the middle.
    EarlyEnd,
    /// Several clients.
    Crowd,
    /// Several conversations on a client's socket.
    SharedSocket,
    /// Both sides have time-outs switched off.
    Patience,
    /// A side gives up in the middle, and resets its peer if it can.
    GiveUp,
    /// A host is short of memory, for a while or from then on.
    Scarce,
    /// Datagrams over a length are lost, which changes for a while.
    Narrow,
}

impl Class {
    pub(crate) const ALL: [Self; 35] = [
        Self::Loss,
        Self::Burst,
        Self::Reorder,
        Self::Jitter,
        Self::Duplicate,
        Self::Flip,
        Self::Truncate,
        Self::Extend,
        Self::Rate,
        Self::BlackHole,
        Self::OneWay,
        Self::Vanish,
        Self::Rebind,
        Self::CrashServer,
        Self::CrashClient,
        Self::Pause,
        Self::Drift,
        Self::ClockWrap,
        Self::NumberWrap,
        Self::LateTimers,
        Self::SendErrors,
        Self::Garbage,
        Self::ForgeForeign,
        Self::ForgeOwn,
        Self::Replay,
        Self::Reflect,
        Self::SlowReader,
        Self::Unread,
        Self::EarlyEnd,
        Self::Crowd,
        Self::SharedSocket,
        Self::Patience,
        Self::GiveUp,
        Self::Scarce,
        Self::Narrow,
    ];

    /// Those that do no harm: without others the strictest checks apply.
    pub(crate) const HARMLESS: [Self; 5] = [
        Self::ClockWrap,
        Self::NumberWrap,
        Self::Crowd,
        Self::SharedSocket,
        Self::Patience,
    ];

    /// Those after which two sides that want to talk may not be able to.
    pub(crate) const CUTS: [Self; 9] = [
        Self::BlackHole,
        Self::OneWay,
        Self::Vanish,
        Self::Rebind,
        Self::CrashServer,
        Self::CrashClient,
        Self::Pause,
        Self::EarlyEnd,
        Self::GiveUp,
    ];

    /// Those after which a side may have ended unnoticed by the other.
    pub(crate) const ENDS: [Self; 10] = [
        Self::BlackHole,
        Self::OneWay,
        Self::Vanish,
        Self::Rebind,
        Self::CrashServer,
        Self::CrashClient,
        Self::Pause,
        Self::EarlyEnd,
        Self::GiveUp,
        Self::Replay,
    ];
}

/// A set of [`Class`]es.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Classes(u64);

impl Classes {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(u64::MAX);

    pub(crate) fn has(self, class: Class) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    pub(crate) fn has_any(self, classes: &[Class]) -> bool {
        classes.iter().any(|&class| self.has(class))
    }

    pub(crate) fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    pub(crate) fn without(self, class: Class) -> Self {
        Self(self.0 & !(1 << class as u8))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is no trouble at all.
    pub(crate) fn are_calm(self) -> bool {
        self.iter().all(|class| Class::HARMLESS.contains(&class))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |&class| self.has(class))
    }

    /// The classes named in a list with commas between.
    pub(crate) fn parse(list: &str) -> Self {
        let named = |class: &Class| list.split(',').any(|name| name == format!("{class:?}"));
        Class::ALL
            .into_iter()
            .filter(named)
            .fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|class| format!("{class:?}")).collect();
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
