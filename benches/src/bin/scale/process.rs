//! What a process uses.

use std::fmt;
use std::time::Duration;

use crate::AnyError;

/// Memory and processor time of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) resident: usize,
    pub(crate) processor: Duration,
}

impl Usage {
    /// Of a process by its number, or of this one as `self`.
    pub(crate) fn of(process: impl fmt::Display) -> Result<Self, AnyError> {
        let statm = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
        let pages = statm.split_whitespace().nth(1).ok_or("statm is short")?;
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name of the program, in parentheses, may have spaces.
        let (_, fields) = stat.rsplit_once(')').ok_or("stat has no name")?;
        let fields: Vec<_> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).ok_or("stat is short");
        let ticks = ticks(11)?.parse::<u64>()? + ticks(12)?.parse::<u64>()?;
        Ok(Self {
            resident: pages.parse::<usize>()? * PAGE,
            processor: Duration::from_millis(ticks * 1000 / TICKS),
        })
    }

    /// How much more memory than before.
    pub(crate) fn grown(&self, before: &Self) -> usize {
        self.resident.saturating_sub(before.resident)
    }

    /// Processor time since before, as a share of one core.
    pub(crate) fn load(&self, before: &Self, time: Duration) -> f64 {
        let used = self.processor.saturating_sub(before.processor);
        used.as_secs_f64() / time.as_secs_f64()
    }
}

const PAGE: usize = 4096;

/// In a second, on all Linux systems.
const TICKS: u64 = 100;
