//! Statistics of a channel.

use std::time::Duration;

use crate::calls::{Calls, CodeCounts};

/// The calls of a channel and its clones, as a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Calls that have begun and not ended, streams included. Metric `kcp_channel_open_calls`.
    pub open: u64,
    /// Open calls that have not been sent: there is no connection yet, or the server's limit of
    /// concurrent streams is reached. A number that stays above 0 calls for a second channel, or for a
    /// higher limit on the server. Metric `kcp_channel_waiting_calls`.
    pub waiting: u64,
    /// Calls that have begun, ended ones included. Metric `kcp_channel_calls_started_total`.
    pub started: u64,
    /// Calls that have ended with an error of the transport, from before the response to the end of
    /// its stream. Errors that the server sent do not count. Metric `kcp_channel_calls_failed_total`.
    pub failed: u64,
    /// Calls that have ended, by the code that the caller got: of the server, or of an error of the
    /// transport. Metric `kcp_channel_calls_ended_total`.
    pub codes: CodeCounts,
    /// The sum of the times from the beginning of a call to its end, of the calls that have ended,
    /// streams included. Divided by [`CodeCounts::total`], it is their mean. Metric
    /// `kcp_channel_call_duration_sum_seconds`.
    pub duration: Duration,
}

impl ChannelStats {
    pub(super) fn of(calls: &Calls) -> Self {
        Self {
            open: calls.open(),
            waiting: calls.waiting(),
            started: calls.started(),
            failed: calls.failed(),
            codes: calls.codes(),
            duration: calls.duration(),
        }
    }
}

#[cfg(feature = "metrics")]
mod publish {
    use kcp_tower::kcp_transport::stats::{Metric, MetricKind};
    use metrics::IntoLabels;

    use super::ChannelStats;
    use crate::calls::publish::{Row, publish_codes};

    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    impl ChannelStats {
        /// The metrics that [`publish`](Self::publish) sets.
        pub fn metrics() -> impl Iterator<Item = Metric> {
            ROWS.iter().map(|it| it.metric).chain([ENDED])
        }

        /// Passes the descriptions and units of these metrics to the installed recorder. Call it once,
        /// after the recorder is installed. Exporters show them as help texts.
        pub fn describe() {
            Self::metrics().for_each(|it| it.describe());
        }

        /// Sets the metrics in the installed recorder. Call it at the pace of your collection, with
        /// labels that tell this channel from others.
        pub fn publish(&self, labels: impl IntoLabels) {
            let labels = labels.into_labels();
            for row in &ROWS {
                row.publish(self, &labels);
            }
            publish_codes(&ENDED, &self.codes, &labels);
        }
    }

    const ROWS: [Row<ChannelStats>; 5] = [
        Row::count(
            "kcp_channel_calls_started_total",
            "Calls that have begun.",
            |it| it.started as f64,
        ),
        Row::count(
            "kcp_channel_calls_failed_total",
            "Calls that have ended with an error of the transport.",
            |it| it.failed as f64,
        ),
        Row::level(
            "kcp_channel_open_calls",
            "Calls that have begun and not ended, streams included.",
            |it| it.open as f64,
        ),
        Row::level(
            "kcp_channel_waiting_calls",
            "Open calls that have not been sent: there is no connection yet, or the server's limit of concurrent streams is reached.",
            |it| it.waiting as f64,
        ),
        // A gauge, since counters of `metrics` hold integers.
        Row::level(
            "kcp_channel_call_duration_sum_seconds",
            "The sum of the times from the beginning to the end of the calls that have ended. It only grows; divided by their number, it is the mean.",
            |it| it.duration.as_secs_f64(),
        ),
    ];

    /// One for each code.
    const ENDED: Metric = Metric::new(
        MetricKind::Counter,
        "kcp_channel_calls_ended_total",
        "Calls that have ended, by the number of the status.",
    )
    .with_labels(&["code"]);
}
