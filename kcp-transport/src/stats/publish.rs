//! Statistics for the `metrics` facade.

use metrics::{IntoLabels, Label};

use super::measure::Value;
use super::{EndpointStats, Metric, Stats};

/// Implements publishing for a struct of statistics.
macro_rules! impl_publish {
    ($name:ident) => {
        #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
        impl $name {
            /// The metrics that [`publish`](Self::publish) sets, one for each field.
            pub fn metrics() -> impl Iterator<Item = Metric> {
                Self::METRICS.iter().copied()
            }

            /// Passes the descriptions and units of these metrics to the installed recorder. Call
            /// it once, after the recorder is installed. Exporters show them as help texts.
            pub fn describe() {
                Self::METRICS.iter().for_each(Metric::describe);
            }

            /// Sets the metric of each field in the installed recorder.
            ///
            /// Integers that only grow are counters, set to their absolute value; all others are
            /// gauges, times in seconds. A time that is not known yet is left out. Call it at the
            /// pace of your collection, with labels that tell this source from others: counters
            /// of two sources under the same labels overwrite each other.
            ///
            /// Recorders keep every combination of labels, so choose labels with few values, such
            /// as the name of a listener. Addresses of peers are too many: publish the sum of all
            /// connections instead (`KcpListener::totals`).
            ///
            /// Does nothing if no recorder is installed.
            pub fn publish(&self, labels: impl IntoLabels) {
                let labels = labels.into_labels();
                self.visit(&mut |_, name, value| set(name, &labels, value));
            }
        }
    };
}

impl_publish!(Stats);
impl_publish!(EndpointStats);

fn set(name: &'static str, labels: &[Label], value: Value) {
    let labels = labels.iter();
    match value {
        Value::Count(count) => metrics::counter!(name, labels).absolute(count),
        // A gauge holds a float; levels are far below the 53 bits of one.
        Value::Level(level) => metrics::gauge!(name, labels).set(level as f64),
        Value::Time(Some(time)) => metrics::gauge!(name, labels).set(time.as_secs_f64()),
        Value::Time(None) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder,
        SharedString, Unit,
    };

    use super::*;
    use crate::stats::MetricKind;

    /// Keeps the last value of each counter and gauge, and 1 for each description.
    #[derive(Clone, Default)]
    struct Ledger(Arc<Mutex<BTreeMap<String, f64>>>);

    impl Ledger {
        fn describe(&self, kind: &str, name: &KeyName, unit: Option<Unit>, text: &str) {
            assert!(!text.is_empty(), "{name:?}");
            let unit = unit.expect("each has a unit");
            let key = format!("{kind} {} {unit:?}", name.as_str());
            Entry(self.clone(), key).note(1.0);
        }
    }

    struct Entry(Ledger, String);

    impl Entry {
        fn note(&self, value: f64) {
            let mut values = self.0.0.lock().expect("not poisoned");
            values.insert(self.1.clone(), value);
        }
    }

    impl CounterFn for Entry {
        fn increment(&self, _: u64) {
            unreachable!("counters are set");
        }

        fn absolute(&self, value: u64) {
            self.note(value as f64);
        }
    }

    impl GaugeFn for Entry {
        fn increment(&self, _: f64) {
            unreachable!("gauges are set");
        }

        fn decrement(&self, _: f64) {
            unreachable!("gauges are set");
        }

        fn set(&self, value: f64) {
            self.note(value);
        }
    }

    impl Recorder for Ledger {
        fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe("counter", &name, unit, &text);
        }

        fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
            self.describe("gauge", &name, unit, &text);
        }

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
            unreachable!("there are no histograms")
        }

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Entry(self.clone(), format!("counter {key}"))))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Entry(self.clone(), format!("gauge {key}"))))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            unreachable!("there are no histograms")
        }
    }

    #[test]
    fn counters_and_gauges_are_published_with_labels() {
        let ledger = Ledger::default();
        metrics::with_local_recorder(&ledger, || {
            let stats = Stats {
                bytes_written: 7,
                in_flight: 3,
                rto: Duration::from_millis(30),
                ..Stats::default()
            };
            stats.publish(&[("client", "one")]);
            let endpoint = EndpointStats {
                connections: 2,
                ..EndpointStats::default()
            };
            endpoint.publish(&[("listener", "here")]);
        });
        let values = ledger.0.lock().expect("not poisoned");
        let value = |name: &str| {
            let found = values.iter().find(|(key, _)| key.contains(name));
            let (key, value) = found.unwrap_or_else(|| panic!("{name} in {values:?}"));
            (key.starts_with("counter"), key.contains("one"), *value)
        };
        assert_eq!(value("kcp_written_bytes_total"), (true, true, 7.0));
        assert_eq!(value("kcp_in_flight_segments"), (false, true, 3.0));
        assert_eq!(value("kcp_rto_seconds"), (false, true, 0.03));
        assert_eq!(value("kcp_endpoint_connections"), (false, false, 2.0));
        assert!(!values.keys().any(|key| key.contains("smoothed_rtt")));
    }

    #[test]
    fn each_metric_is_described_once() {
        let ledger = Ledger::default();
        metrics::with_local_recorder(&ledger, || {
            Stats::describe();
            EndpointStats::describe();
        });
        let described = ledger.0.lock().expect("not poisoned");
        let metrics: Vec<_> = Stats::metrics().chain(EndpointStats::metrics()).collect();
        assert_eq!(described.len(), metrics.len());
        assert!(described.contains_key("counter kcp_read_bytes_total Bytes"));
        assert!(described.contains_key("gauge kcp_smoothed_rtt_seconds Seconds"));
        assert!(described.contains_key("gauge kcp_endpoint_connections Count"));
    }

    /// <https://prometheus.io/docs/practices/naming/>
    #[test]
    fn names_have_the_form_of_prometheus() {
        let metrics: Vec<_> = Stats::metrics().chain(EndpointStats::metrics()).collect();
        for metric in &metrics {
            let name = metric.name;
            let allowed = |it: char| it.is_ascii_lowercase() || it == '_';
            assert!(
                name.starts_with("kcp_") && name.chars().all(allowed),
                "{name}"
            );
            assert_eq!(
                name.ends_with("_total"),
                metric.kind == MetricKind::Counter,
                "{name}"
            );
            assert!(metric.description.ends_with('.'), "{name}");
            // Links of rustdoc are no text for others.
            assert!(!metric.description.contains("]("), "{name}");
        }
        let names: std::collections::BTreeSet<_> = metrics.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), metrics.len());
    }
}
