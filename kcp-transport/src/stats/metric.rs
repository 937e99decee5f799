//! The names, kinds, units and descriptions of published statistics.

use metrics::Unit;

/// A counter or gauge that a method `publish` sets. The same in each release, unless the changelog
/// names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// In the form that Prometheus recommends: the base unit is a suffix, and counters end with
    /// `_total`.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: MetricKind,
    /// Seconds, bytes, or a number.
    pub unit: Unit,
    /// The labels that `publish` adds to those it was given.
    pub labels: &'static [&'static str],
    /// What is counted or measured.
    pub description: &'static str,
}

/// Whether a [`Metric`] only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Increases and decreases.
    Gauge,
}

impl Metric {
    /// A metric without labels of its own, with the unit in its name.
    #[must_use]
    pub const fn new(kind: MetricKind, name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind,
            unit: unit(name),
            labels: &[],
            description,
        }
    }

    /// The same metric with labels that `publish` adds.
    #[must_use]
    pub const fn with_labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    /// Passes the description and the unit to the installed recorder. Does nothing if none is
    /// installed.
    pub fn describe(&self) {
        match self.kind {
            MetricKind::Counter => {
                metrics::describe_counter!(self.name, self.unit, self.description);
            }
            MetricKind::Gauge => metrics::describe_gauge!(self.name, self.unit, self.description),
        }
    }
}

/// The unit that a name ends with, before `_total`.
const fn unit(name: &str) -> Unit {
    let name = match name.as_bytes() {
        [name @ .., b'_', b't', b'o', b't', b'a', b'l'] | name => name,
    };
    if ends_with(name, b"_bytes") {
        Unit::Bytes
    } else if ends_with(name, b"_seconds") {
        Unit::Seconds
    } else if ends_with(name, b"_microseconds") {
        Unit::Microseconds
    } else {
        Unit::Count
    }
}

/// `ends_with` of slices, as a constant.
const fn ends_with(name: &[u8], end: &[u8]) -> bool {
    let Some((_, tail)) = name.split_at_checked(name.len().wrapping_sub(end.len())) else {
        return false;
    };
    let mut at = 0;
    while at < end.len() {
        if tail[at] != end[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_follows_from_the_name() {
        let unit = |name| Metric::new(MetricKind::Counter, name, "").unit;
        assert_eq!(unit("kcp_read_bytes_total"), Unit::Bytes);
        assert_eq!(unit("kcp_rto_seconds"), Unit::Seconds);
        assert_eq!(unit("kcp_busy_microseconds_total"), Unit::Microseconds);
        assert_eq!(unit("kcp_segments_sent_total"), Unit::Count);
        assert_eq!(unit("bytes"), Unit::Count);
    }
}
