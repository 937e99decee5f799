//! Statistics for the `metrics` facade.

use kcp_transport::stats::{Metric, MetricKind};
use metrics::{Label, SharedString};

use super::{BalanceStats, EndpointStats};

#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
impl BalanceStats {
    /// The metrics that [`publish`](Self::publish) sets.
    pub fn metrics() -> impl Iterator<Item = Metric> {
        let balancer = BALANCER.iter().map(|it| it.metric);
        let endpoint = ENDPOINT.iter().map(|it| it.metric);
        balancer.chain(endpoint).chain([ANSWERED])
    }

    /// Passes the descriptions and units of these metrics to the installed recorder. Call it once,
    /// after the recorder is installed. Exporters show them as help texts.
    pub fn describe() {
        Self::metrics().for_each(|it| it.describe());
    }

    /// Sets the metrics in the installed recorder. Those of endpoints have the label `endpoint`, an
    /// address from discovery, so they are as many as servers were discovered. Call it at the pace of
    /// your collection, with labels that tell this balancer from others.
    pub fn publish(&self, labels: &[(&'static str, String)]) {
        let label = |(name, value): &(&'static str, String)| Label::new(*name, value.clone());
        let labels: Vec<_> = labels.iter().map(label).collect();
        for row in &BALANCER {
            row.publish(self, &labels);
        }
        for endpoint in &self.endpoints {
            let address = SharedString::from(endpoint.address.clone());
            let mut labels = labels.clone();
            labels.push(Label::new("endpoint", address));
            endpoint.publish(&labels);
        }
    }
}

impl EndpointStats {
    fn publish(&self, labels: &[Label]) {
        for row in &ENDPOINT {
            row.publish(self, labels);
        }
        for (code, count) in &self.codes {
            let mut labels = labels.to_vec();
            labels.push(Label::new("code", code.to_string()));
            metrics::counter!(ANSWERED.name, labels.iter()).absolute(*count);
        }
    }
}

/// A metric and how its value is read.
struct Row<T> {
    metric: Metric,
    read: Read<T>,
}

enum Read<T> {
    Count(fn(&T) -> u64),
    /// `None` if it is not known.
    Level(fn(&T) -> Option<f64>),
}

impl<T> Row<T> {
    const fn count(name: &'static str, description: &'static str, read: fn(&T) -> u64) -> Self {
        Self {
            metric: Metric::new(MetricKind::Counter, name, description),
            read: Read::Count(read),
        }
    }

    const fn level(
        name: &'static str,
        description: &'static str,
        read: fn(&T) -> Option<f64>,
    ) -> Self {
        Self {
            metric: Metric::new(MetricKind::Gauge, name, description),
            read: Read::Level(read),
        }
    }

    const fn of_endpoint(self) -> Self {
        let metric = self.metric.with_labels(&["endpoint"]);
        Self { metric, ..self }
    }

    fn publish(&self, stats: &T, labels: &[Label]) {
        let name = self.metric.name;
        match self.read {
            Read::Count(read) => metrics::counter!(name, labels.iter()).absolute(read(stats)),
            Read::Level(read) => {
                if let Some(level) = read(stats) {
                    metrics::gauge!(name, labels.iter()).set(level);
                }
            }
        }
    }
}

fn flag(is_set: bool) -> Option<f64> {
    Some(f64::from(u8::from(is_set)))
}

const BALANCER: [Row<BalanceStats>; 4] = [
    Row::count("kcp_balance_requests_total", "Requests.", |it| it.requests),
    Row::count(
        "kcp_balance_retries_total",
        "Tries after the first one because a try failed.",
        |it| it.retries,
    ),
    Row::count(
        "kcp_balance_hedges_total",
        "Tries beside another one because an answer was late.",
        |it| it.hedges,
    ),
    Row::count(
        "kcp_balance_refused_total",
        "Requests that failed because no endpoint was usable.",
        |it| it.refused,
    ),
];

const ENDPOINT: [Row<EndpointStats>; 16] = [
    Row::count(
        "kcp_balance_tries_total",
        "Requests sent, retries and hedges included.",
        |it: &EndpointStats| it.tries,
    )
    .of_endpoint(),
    Row::count(
        "kcp_balance_succeeded_total",
        "Tries that succeeded.",
        |it: &EndpointStats| it.succeeded,
    )
    .of_endpoint(),
    Row::count(
        "kcp_balance_rejected_total",
        "Tries answered with an error of the request.",
        |it: &EndpointStats| it.rejected,
    )
    .of_endpoint(),
    Row::count(
        "kcp_balance_unsent_total",
        "Tries that failed before they were processed.",
        |it: &EndpointStats| it.unsent,
    )
    .of_endpoint(),
    Row::count(
        "kcp_balance_failed_total",
        "Tries that failed, perhaps after they were processed.",
        |it: &EndpointStats| it.failed,
    )
    .of_endpoint(),
    Row::count(
        "kcp_balance_overloaded_total",
        "Tries that an overloaded endpoint refused.",
        |it: &EndpointStats| it.overloaded,
    )
    .of_endpoint(),
    Row::count(
        "kcp_balance_late_total",
        "Tries without an answer in time.",
        |it: &EndpointStats| it.late,
    )
    .of_endpoint(),
    Row::count(
        "kcp_balance_ejections_total",
        "How often the endpoint was ejected after failures.",
        |it: &EndpointStats| it.ejections,
    )
    .of_endpoint(),
    Row::level(
        "kcp_balance_in_flight_requests",
        "Requests without a complete response.",
        |it: &EndpointStats| Some(it.in_flight as f64),
    )
    .of_endpoint(),
    Row::level(
        "kcp_balance_connections",
        "Connections, including those that are made with the next request.",
        |it: &EndpointStats| Some(it.connections as f64),
    )
    .of_endpoint(),
    // A gauge, since counters of `metrics` hold integers.
    Row::level(
        "kcp_balance_latency_sum_seconds",
        "The sum of the times to the answers that succeeded. It only grows; divided by their number, it is the mean latency.",
        |it: &EndpointStats| Some(it.latency.as_secs_f64()),
    )
    .of_endpoint(),
    Row::level(
        "kcp_balance_ejected",
        "1 while the endpoint is ejected, else 0.",
        |it: &EndpointStats| flag(it.ejected),
    )
    .of_endpoint(),
    Row::level(
        "kcp_balance_unreachable",
        "1 while no connection can be made, else 0.",
        |it: &EndpointStats| flag(it.unreachable.is_some()),
    )
    .of_endpoint(),
    Row::level(
        "kcp_balance_unhealthy",
        "1 while the health check reports that the endpoint does not serve, else 0.",
        |it: &EndpointStats| flag(it.unhealthy.is_some()),
    )
    .of_endpoint(),
    Row::level(
        "kcp_balance_link_rtt_seconds",
        "Smoothed round-trip time of the path, once measured.",
        |it: &EndpointStats| Some(it.link?.rtt.as_secs_f64()),
    )
    .of_endpoint(),
    Row::level(
        "kcp_balance_link_loss_ratio",
        "Share of the data segments that were lost, 0.0 to 1.0, once measured.",
        |it: &EndpointStats| Some(it.link?.loss),
    )
    .of_endpoint(),
];

/// One for each code.
const ANSWERED: Metric = Metric::new(
    MetricKind::Counter,
    "kcp_balance_answered_total",
    "Answers by code, if it is known when the response begins: errors of gRPC, by the number of the status.",
)
.with_labels(&["endpoint", "code"]);
