//! Statistics for the `metrics` facade.

use metrics::{Label, SharedString, Unit};

use super::{BalanceStats, EndpointStats};

impl BalanceStats {
    /// Describes the counters and gauges that [`publish`](Self::publish) sets to the installed
    /// recorder, with their units. Once is enough.
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn describe() {
        for (name, description) in COUNTERS {
            metrics::describe_counter!(name, Unit::Count, description);
        }
        let answered = "Answers by the code of the protocol";
        metrics::describe_counter!(ANSWERED, Unit::Count, answered);
        for (name, unit, description) in GAUGES {
            metrics::describe_gauge!(name, unit, description);
        }
    }

    /// Sets a counter or gauge of the installed recorder for each number, named
    /// `kcp_balance_<name>`; those of endpoints have the label `endpoint`. Call it at the pace of your
    /// collection, with labels that tell this balancer from others.
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn publish(&self, labels: &[(&'static str, String)]) {
        let label = |(name, value): &(&'static str, String)| Label::new(*name, value.clone());
        let labels: Vec<_> = labels.iter().map(label).collect();
        let values = [self.requests, self.retries, self.hedges, self.refused];
        for ((name, _), value) in COUNTERS.iter().zip(values) {
            metrics::counter!(*name, labels.iter()).absolute(value);
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
        let counts = [
            self.tries,
            self.succeeded,
            self.rejected,
            self.unsent,
            self.failed,
            self.overloaded,
            self.late,
            self.ejections,
        ];
        for ((name, _), value) in COUNTERS[OF_BALANCER..].iter().zip(counts) {
            metrics::counter!(*name, labels.iter()).absolute(value);
        }
        for (code, count) in &self.codes {
            let mut labels = labels.to_vec();
            labels.push(Label::new("code", code.to_string()));
            metrics::counter!(ANSWERED, labels.iter()).absolute(*count);
        }
        let gauges = [
            Some(self.in_flight as f64),
            Some(self.connections as f64),
            Some(self.latency.as_secs_f64()),
            Some(f64::from(u8::from(self.ejected))),
            Some(f64::from(u8::from(self.unreachable.is_some()))),
            Some(f64::from(u8::from(self.unhealthy.is_some()))),
            self.link.map(|link| link.rtt.as_secs_f64()),
            self.link.map(|link| link.loss),
        ];
        for ((name, ..), value) in GAUGES.iter().zip(gauges) {
            if let Some(value) = value {
                metrics::gauge!(*name, labels.iter()).set(value);
            }
        }
    }
}

/// With the label `code` besides.
const ANSWERED: &str = "kcp_balance_answered";

/// Counters of the balancer; the others belong to endpoints.
const OF_BALANCER: usize = 4;

const COUNTERS: [(&str, &str); 12] = [
    ("kcp_balance_requests", "Requests"),
    ("kcp_balance_retries", "Tries because a try failed"),
    ("kcp_balance_hedges", "Tries because an answer was late"),
    ("kcp_balance_refused", "Requests that found no endpoint"),
    (
        "kcp_balance_tries",
        "Requests sent, retries and hedges included",
    ),
    ("kcp_balance_succeeded", "Tries that succeeded"),
    (
        "kcp_balance_rejected",
        "Tries answered with an error of the request",
    ),
    (
        "kcp_balance_unsent",
        "Tries that failed before they were processed",
    ),
    (
        "kcp_balance_failed",
        "Tries that failed, perhaps after they were processed",
    ),
    (
        "kcp_balance_overloaded",
        "Tries that an overloaded endpoint refused",
    ),
    ("kcp_balance_late", "Tries without an answer in time"),
    ("kcp_balance_ejections", "Ejections after failures"),
];

const GAUGES: [(&str, Unit, &str); 8] = [
    (
        "kcp_balance_in_flight",
        Unit::Count,
        "Requests without a complete response",
    ),
    ("kcp_balance_connections", Unit::Count, "Connections"),
    (
        "kcp_balance_latency",
        Unit::Seconds,
        "Sum of the times to successful answers",
    ),
    (
        "kcp_balance_ejected",
        Unit::Count,
        "1 while the endpoint is ejected",
    ),
    (
        "kcp_balance_unreachable",
        Unit::Count,
        "1 while no connection can be made",
    ),
    (
        "kcp_balance_unhealthy",
        Unit::Count,
        "1 while the health check reports that the endpoint does not serve",
    ),
    (
        "kcp_balance_link_rtt",
        Unit::Seconds,
        "Smoothed round-trip time of the path",
    ),
    (
        "kcp_balance_link_loss",
        Unit::Count,
        "Share of the data segments that were lost, 0.0 to 1.0",
    ),
];
