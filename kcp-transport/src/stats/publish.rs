//! Statistics for the `metrics` facade.

use metrics::{IntoLabels, Label};

use super::measure::Value;
use super::{EndpointStats, Stats};

/// Implements publishing for a struct of statistics.
macro_rules! impl_publish {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// Sets a counter or gauge of the installed recorder for each field, named
            #[doc = concat!("`", $prefix, "<field>`.")]
            ///
            /// Integers that only grow are counters, set to their absolute value; all others are
            /// gauges, times in seconds. A time that is not known yet is left out. Call it at the
            /// pace of your collection, with labels that tell this source from others: counters
            /// of two sources under the same labels overwrite each other.
            ///
            /// Does nothing but look if no recorder is installed.
            #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
            pub fn publish(&self, labels: impl IntoLabels) {
                let labels = labels.into_labels();
                self.visit(&mut |_, name, value| set(name, &labels, value));
            }
        }
    };
}

impl_publish!(Stats, "kcp_");
impl_publish!(EndpointStats, "kcp_endpoint_");

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

    /// Keeps the last value of each counter and gauge.
    #[derive(Clone, Default)]
    struct Ledger(Arc<Mutex<BTreeMap<String, f64>>>);

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
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

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
            stats.publish(&[("peer", "one")]);
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
        assert_eq!(value("kcp_bytes_written"), (true, true, 7.0));
        assert_eq!(value("kcp_in_flight"), (false, true, 3.0));
        assert_eq!(value("kcp_rto"), (false, true, 0.03));
        assert_eq!(value("kcp_endpoint_connections"), (false, false, 2.0));
        assert!(!values.keys().any(|key| key.contains("smoothed_rtt")));
    }
}
