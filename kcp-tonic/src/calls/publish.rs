//! Statistics of calls for the `metrics` facade.

use kcp_tower::kcp_transport::stats::{Metric, MetricKind};
use metrics::Label;

use super::CodeCounts;

/// A metric and how its value is read.
pub(crate) struct Row<T> {
    pub(crate) metric: Metric,
    read: fn(&T) -> f64,
}

impl<T> Row<T> {
    pub(crate) const fn count(
        name: &'static str,
        description: &'static str,
        read: fn(&T) -> f64,
    ) -> Self {
        let metric = Metric::new(MetricKind::Counter, name, description);
        Self { metric, read }
    }

    pub(crate) const fn level(
        name: &'static str,
        description: &'static str,
        read: fn(&T) -> f64,
    ) -> Self {
        let metric = Metric::new(MetricKind::Gauge, name, description);
        Self { metric, read }
    }

    pub(crate) fn publish(&self, stats: &T, labels: &[Label]) {
        let (name, value) = (self.metric.name, (self.read)(stats));
        if self.metric.kind == MetricKind::Counter {
            // Exact up to 2^53 calls.
            metrics::counter!(name, labels.iter()).absolute(value as u64);
        } else {
            metrics::gauge!(name, labels.iter()).set(value);
        }
    }
}

/// Sets a metric for each code.
pub(crate) fn publish_codes(metric: &Metric, codes: &CodeCounts, labels: &[Label]) {
    for (code, count) in codes.iter() {
        let mut labels = labels.to_vec();
        labels.push(Label::new("code", (code as i32).to_string()));
        metrics::counter!(metric.name, labels.iter()).absolute(count);
    }
}
