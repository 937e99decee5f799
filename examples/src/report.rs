//! Tables, percentiles and error lines for the output of programs.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A plain-text table. Numbers are aligned to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row. Rows may differ in length.
    pub fn row<const N: usize>(&mut self, cells: [&dyn fmt::Display; N]) -> &mut Self {
        self.rows
            .push(cells.iter().map(|cell| cell.to_string()).collect());
        self
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                line += gap;
                if cell.starts_with(|first: char| first.is_ascii_digit()) {
                    line += &format!("{cell:>width$}");
                } else {
                    line += &format!("{cell:<width$}");
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Samples of a duration, for percentiles.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    /// Takes samples in any order.
    #[must_use]
    pub fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self { sorted: samples }
    }

    /// The smallest sample that is not exceeded by `percent` of all samples (nearest rank). Zero if there
    /// are no samples.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Duration {
        let count = self.sorted.len();
        let rank = (count * usize::from(percent.min(100))).div_ceil(100);
        let sample = self.sorted.get(rank.saturating_sub(1));
        sample.copied().unwrap_or_default()
    }

    /// [`percentile`](Self::percentile) in whole microseconds.
    #[must_use]
    pub fn percentile_us(&self, percent: u8) -> u64 {
        u64::try_from(self.percentile(percent).as_micros()).unwrap_or(u64::MAX)
    }
}

/// Formats microseconds as milliseconds with two decimals, rounded down.
#[must_use]
pub fn milliseconds(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

/// Formats an error and its sources, without sources whose text an earlier message contains.
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let message = source.to_string();
        if !line.contains(&message) {
            line = format!("{line}: {message}");
        }
        next = source.source();
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(millis: impl Iterator<Item = u64>) -> Latencies {
        Latencies::new(millis.map(Duration::from_millis).collect())
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let hundred = latencies((1..=100).rev());
        for percent in [1, 50, 99, 100] {
            let expected = Duration::from_millis(percent.into());
            assert_eq!(hundred.percentile(percent), expected);
        }
        assert_eq!(hundred.percentile(0), Duration::from_millis(1));
        assert_eq!(hundred.percentile_us(50), 50_000);
    }

    #[test]
    fn percentile_of_few_samples_is_one_of_them() {
        assert_eq!(latencies(0..0).percentile(99), Duration::ZERO);
        assert_eq!(latencies(7..8).percentile(1), Duration::from_millis(7));
        assert_eq!(latencies(1..4).percentile(50), Duration::from_millis(2));
        assert_eq!(latencies(1..4).percentile(99), Duration::from_millis(3));
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new();
        table.row([&"calls", &1000]).row([&"p50", &7]);
        assert_eq!(table.to_string(), "calls  1000\np50       7\n");
    }

    #[test]
    fn milliseconds_have_two_digits() {
        assert_eq!(milliseconds(41_057), "41.05 ms");
    }
}
