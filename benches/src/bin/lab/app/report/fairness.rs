//! Shares of flows on a link.

use std::time::Duration;

use crate::app::cell::Cell;
use crate::app::run::Outcome;
use crate::app::workloads::plan::Measured;
use crate::app::workloads::upload::BIN;

/// Shares of the flows in the last two thirds of the subject's time. The subject's flows are first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shares {
    /// Share of each flow, in percent.
    pub(crate) percent: Vec<f64>,
    /// Jain's index: 1 if all flows get the same, 1/n if one flow gets everything.
    pub(crate) jain: f64,
}

impl Shares {
    /// The shares of a fairness cell; `None` for other workloads and if nothing was carried.
    pub(crate) fn of(cell: &Cell, outcome: &Outcome) -> Option<Self> {
        if !cell.workload.is_fairness() {
            return None;
        }
        let plan = &cell.workload.plan;
        let limit = plan.limit_ms as f64 / 1e3;
        let end = outcome.measured.started + limit;
        let window = (end - limit * 2.0 / 3.0)..end;
        let gap = Duration::from_millis(plan.stagger_ms).as_secs_f64();
        let mut bytes = in_window(&outcome.measured, gap, &window);
        if let Some(rival) = &outcome.rival {
            bytes.extend(in_window(rival, 0.0, &window));
        }
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[f64]) -> Option<Self> {
        let total: f64 = bytes.iter().sum();
        let squares: f64 = bytes.iter().map(|bytes| bytes * bytes).sum();
        (total > 0.0).then(|| Self {
            percent: bytes.iter().map(|bytes| bytes * 100.0 / total).collect(),
            jain: total * total / (bytes.len() as f64 * squares),
        })
    }
}

/// Bytes of each flow of a client in the window. `gap` is the time between the starts of the flows.
fn in_window(measured: &Measured, gap: f64, window: &std::ops::Range<f64>) -> Vec<f64> {
    let flow = |(index, bins): (usize, &Vec<u64>)| {
        let start = measured.started + gap * index as f64;
        let inside = bins.iter().enumerate().filter(|(bin, _)| {
            let at = start + BIN.as_secs_f64() * (*bin as f64 + 0.5);
            window.contains(&at)
        });
        inside.map(|(_, bytes)| *bytes as f64).sum()
    };
    measured.flows.iter().enumerate().map(flow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_bytes_in_the_window() {
        let measured = Measured {
            started: 100.0,
            flows: vec![vec![10; 100], vec![30; 80]],
            ..Measured::default()
        };
        // The second flow starts two seconds later. Both are active for 5 s in the window.
        let bytes = in_window(&measured, 2.0, &(105.0..110.0));
        assert_eq!(bytes, [500.0, 1500.0]);
        let shares = Shares::from_bytes(&bytes).expect("not empty");
        assert_eq!(shares.percent, [25.0, 75.0]);
        assert!((shares.jain - 0.8).abs() < 1e-9);
        assert_eq!(Shares::from_bytes(&[0.0, 0.0]), None);
    }
}
