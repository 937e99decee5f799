//! Tables, percentiles and error lines for the output of programs.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use kcp_transport::{ConnectError, ConnectErrorReason};

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

/// Formats an error and its sources, without sources whose text an earlier message contains. Of a [`ConnectError`]
/// below another error, only the reasons are printed, since the other error names the host.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let connect = chain(error).find_map(connect_error);
    let mut line = error.to_string();
    for source in chain(error).skip(1) {
        let mut message = source.to_string();
        if let Some(connect) = connect {
            message = message.replace(&connect.to_string(), &reasons(connect, &line));
        }
        if !line.contains(&message) {
            line = format!("{line}: {message}");
        }
    }
    line.replace('\n', " ")
}

/// The error and its sources.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&it| it.source())
}

fn connect_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ConnectError> {
    let inner = error.downcast_ref().and_then(ConnectError::from_io);
    inner.or_else(|| error.downcast_ref())
}

/// Why connecting failed. Each reason has the addresses to which it applies, unless the only one is in the line already.
fn reasons(error: &ConnectError, line: &str) -> String {
    if let ConnectErrorReason::Resolve(error) = error.reason() {
        return error.to_string();
    }
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for attempt in error.attempts() {
        let (reason, addr) = (attempt.error().to_string(), attempt.addr().to_string());
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, addrs)) => addrs.push(addr),
            None => reasons.push((reason, vec![addr])),
        }
    }
    match &reasons[..] {
        [] => error.to_string(),
        [(reason, addrs)] if addrs.len() == 1 && line.contains(&addrs[0]) => reason.clone(),
        _ => {
            let each = reasons.iter();
            let each = each.map(|(reason, addrs)| format!("{}: {reason}", addrs.join(", ")));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use kcp_transport::ConnectAttempt;

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

    #[derive(Debug)]
    struct To(&'static str, io::Error);

    impl fmt::Display for To {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "cannot connect to {}", self.0)
        }
    }

    impl Error for To {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn address_and_cause_of_a_failed_connect_are_printed_once() {
        let attempt = |addr: &str, reason: &str| {
            ConnectAttempt::new(
                addr.parse().expect("an address"),
                io::Error::other(reason.to_owned()),
            )
        };
        let line = |target, reason: ConnectErrorReason| one_line(&To(target, reason.into()));
        let (four, six) = ("127.0.0.1:9", "[::1]:9");
        let one = || ConnectErrorReason::Failed(vec![attempt(four, "it is closed")]);
        assert_eq!(
            line(four, one()),
            "cannot connect to 127.0.0.1:9: it is closed"
        );
        assert_eq!(
            line("host:9", one()),
            "cannot connect to host:9: 127.0.0.1:9: it is closed"
        );
        let both = vec![attempt(four, "it is closed"), attempt(six, "it is closed")];
        assert_eq!(
            line("host:9", ConnectErrorReason::Failed(both)),
            "cannot connect to host:9: 127.0.0.1:9, [::1]:9: it is closed"
        );
        let both = vec![attempt(four, "it is closed"), attempt(six, "no route")];
        assert_eq!(
            line("host:9", ConnectErrorReason::Failed(both)),
            "cannot connect to host:9: 127.0.0.1:9: it is closed; [::1]:9: no route"
        );
        let unknown = ConnectErrorReason::Resolve(io::Error::other("no such host"));
        assert_eq!(
            line("host:9", unknown),
            "cannot connect to host:9: no such host"
        );
    }

    #[test]
    fn milliseconds_have_two_digits() {
        assert_eq!(milliseconds(41_057), "41.05 ms");
    }
}
