//! The result of a cell, as JSON and as a line of text.

use serde_json::{Value, json};

use super::fairness::Shares;
use crate::app::cell::Cell;
use crate::app::run::Outcome;

/// The result of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) seed: u64,
    pub(crate) result: Result<Outcome, String>,
}

/// Nearest-rank percentile of sorted values.
pub(crate) fn percentile(sorted: &[u64], part: f64) -> Option<u64> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

impl Row {
    /// The result as an object of the file that `--json` writes.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "link": self.cell.link.to_json(),
            "workload": self.cell.workload.name,
            "subject": self.cell.subject.name,
            "settings": self.cell.settings.0,
            "seed": self.seed,
        });
        let outcome = match &self.result {
            Ok(outcome) => outcome,
            Err(error) => {
                value["error"] = json!(error);
                return value;
            }
        };
        let measured = &outcome.measured;
        let latencies = self.latencies();
        for (name, part) in PERCENTILES {
            value[name] = json!(at(&latencies, *part));
        }
        value["calls"] = json!(latencies.len());
        value["mbit_s"] = json!(measured.mbit_s.map(rounded));
        value["wire_bytes"] = json!(outcome.traffic.bytes());
        value["useful_bytes"] = json!(measured.useful_bytes);
        value["wire_bytes_per_useful_byte"] = json!(self.wire_bytes_per_useful_byte().map(rounded));
        value["packets"] = json!([outcome.traffic.up.packets, outcome.traffic.down.packets]);
        value["lost"] = json!(outcome.traffic.up.lost + outcome.traffic.down.lost);
        value["queue_drops"] = json!(outcome.traffic.queue_drops());
        let rtt = outcome.traffic.mean_rtt();
        value["mean_rtt_ms"] = json!(rtt.map(|rtt| rounded(rtt.as_secs_f64() * 1e3)));
        value["client_cpu_s"] = json!(rounded(outcome.client_cpu.as_secs_f64()));
        value["server_cpu_s"] = json!(rounded(outcome.server_cpu.as_secs_f64()));
        value["seconds"] = json!(rounded(measured.seconds));
        value["cut_short"] = json!(measured.cut_short);
        if let Some(shares) = self.shares() {
            let percent: Vec<_> = shares.percent.iter().copied().map(rounded).collect();
            value["share_percent"] = json!(percent);
            value["jain"] = json!(rounded(shares.jain));
        }
        value
    }

    /// Shares of the flows, if the workload measures fairness.
    pub(crate) fn shares(&self) -> Option<Shares> {
        Shares::of(&self.cell, self.result.as_ref().ok()?)
    }

    /// Latencies in microseconds, sorted.
    pub(crate) fn latencies(&self) -> Vec<u64> {
        let Ok(outcome) = &self.result else {
            return Vec::new();
        };
        let mut latencies = outcome.measured.latencies_us.clone();
        latencies.sort_unstable();
        latencies
    }

    /// IP bytes of both directions for each byte of payload that arrived.
    pub(crate) fn wire_bytes_per_useful_byte(&self) -> Option<f64> {
        let outcome = self.result.as_ref().ok()?;
        let useful = outcome.measured.useful_bytes;
        (useful > 0).then(|| outcome.traffic.bytes() as f64 / useful as f64)
    }

    /// The result as a line of text.
    pub(crate) fn line(&self) -> String {
        let outcome = match &self.result {
            Ok(outcome) => outcome,
            Err(error) => return format!("failed: {error}"),
        };
        let latencies = self.latencies();
        let mut line = String::new();
        if !latencies.is_empty() {
            for (name, part) in ["p50", "p90", "p99", "p99.9", "max"]
                .iter()
                .zip(PERCENTILES)
            {
                let ms = at(&latencies, part.1).unwrap_or_default();
                line += &format!("{name} {ms:.0} ");
            }
            line += "ms";
        }
        if let Some(mbit_s) = outcome.measured.mbit_s {
            let before = if line.is_empty() { "" } else { ", " };
            line += &format!("{before}{mbit_s:.1} Mbit/s");
        }
        if let Some(shares) = self.shares() {
            let percent: Vec<_> = shares
                .percent
                .iter()
                .map(|part| format!("{part:.0}"))
                .collect();
            line += &format!(", shares {} %", percent.join(" "));
        }
        if outcome.measured.cut_short {
            line += " (cut short)";
        }
        if let Some(ratio) = self.wire_bytes_per_useful_byte() {
            line += &format!(", {ratio:.2} IP bytes per byte");
        }
        if let Some(rtt) = outcome.traffic.mean_rtt() {
            line += &format!(", RTT {:.1}", rtt.as_secs_f64() * 1e3);
        }
        line + &format!(
            ", {} dropped, CPU {:.2} + {:.2} s",
            outcome.traffic.queue_drops(),
            outcome.client_cpu.as_secs_f64(),
            outcome.server_cpu.as_secs_f64()
        )
    }
}

/// The latency at a percentile, in milliseconds.
pub(crate) fn at(sorted_us: &[u64], part: f64) -> Option<f64> {
    percentile(sorted_us, part).map(|micros| micros as f64 / 1e3)
}

/// Rounds to three decimals, which is more than the precision of the measurements.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

const PERCENTILES: &[(&str, f64)] = &[
    ("p50_ms", 0.5),
    ("p90_ms", 0.9),
    ("p99_ms", 0.99),
    ("p999_ms", 0.999),
    ("max_ms", 1.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values: Vec<u64> = (1..=600).collect();
        assert_eq!(percentile(&values, 0.5), Some(300));
        assert_eq!(percentile(&values, 0.99), Some(594));
        assert_eq!(percentile(&values, 0.999), Some(600));
        assert_eq!(percentile(&[7], 0.5), Some(7));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
