//! Combination of the rounds of a cell.

use super::row::{Row, at};
use crate::app::cell::Cell;

/// Latencies of all rounds of a cell, and medians of the values that each round has once.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) cell: Cell,
    /// Latencies in microseconds, sorted.
    pub(crate) latencies: Vec<u64>,
    pub(crate) mbit_s: Option<f64>,
    pub(crate) bytes: Option<f64>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) drops: Option<f64>,
    pub(crate) cpu_s: Option<f64>,
    /// Shares of the first round.
    pub(crate) shares: Vec<f64>,
    pub(crate) failure: Option<String>,
}

impl Summary {
    /// One summary for each cell, in the order in which they ran.
    pub(crate) fn all(rows: &[Row]) -> Vec<Self> {
        let mut names: Vec<String> = Vec::new();
        for row in rows {
            let name = row.cell.name();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let summary = |name: &String| {
            let rounds: Vec<_> = rows.iter().filter(|row| row.cell.name() == *name).collect();
            Self::of(&rounds)
        };
        names.iter().filter_map(summary).collect()
    }

    fn of(rounds: &[&Row]) -> Option<Self> {
        let first = rounds.first()?;
        let mut latencies: Vec<u64> = rounds.iter().flat_map(|row| row.latencies()).collect();
        latencies.sort_unstable();
        let outcomes = || rounds.iter().filter_map(|row| row.result.as_ref().ok());
        let rtts = outcomes().filter_map(|outcome| outcome.traffic.mean_rtt());
        Some(Self {
            cell: first.cell.clone(),
            latencies,
            mbit_s: median(outcomes().filter_map(|outcome| outcome.measured.mbit_s)),
            bytes: median(
                rounds
                    .iter()
                    .filter_map(|row| row.wire_bytes_per_useful_byte()),
            ),
            rtt_ms: median(rtts.map(|rtt| rtt.as_secs_f64() * 1e3)),
            drops: median(outcomes().map(|outcome| outcome.traffic.queue_drops() as f64)),
            cpu_s: median(
                outcomes().map(|outcome| (outcome.client_cpu + outcome.server_cpu).as_secs_f64()),
            ),
            shares: first
                .shares()
                .map(|shares| shares.percent)
                .unwrap_or_default(),
            failure: rounds.iter().find_map(|row| row.result.clone().err()),
        })
    }

    /// Latency at a percentile, in milliseconds.
    pub(crate) fn latency_ms(&self, part: f64) -> Option<f64> {
        at(&self.latencies, part)
    }

    /// The subject and its settings.
    pub(crate) fn subject(&self) -> String {
        let Cell {
            subject, settings, ..
        } = &self.cell;
        if settings.0.is_empty() {
            subject.name.to_owned()
        } else {
            format!("{} {}", subject.name, settings.0)
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values.get(middle).copied()
    } else {
        let (low, high) = (values.get(middle.checked_sub(1)?)?, values.get(middle)?);
        Some((low + high) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
