//! Statistics of a balancer and its endpoints.

#[cfg(feature = "metrics")]
mod publish;

use std::collections::BTreeMap;
use std::time::Duration;

use super::counts::get;
use super::member::Core;
use super::{Balance, Endpoint, Link, Origin, Protocol, Standing};

/// The counters of a [`Balance`] and its clones.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BalanceStats {
    /// Requests. Fan-out calls are not counted.
    pub requests: u64,
    /// Tries after the first one because a try failed.
    pub retries: u64,
    /// Tries beside another one because an answer was late.
    pub hedges: u64,
    /// Requests that failed because no endpoint was usable.
    pub refused: u64,
    /// The last error of discovery, until discovery works again. The endpoints stay meanwhile.
    pub problem: Option<String>,
    /// The endpoints of the set, and the removed ones that have requests in flight.
    pub endpoints: Vec<EndpointStats>,
}

/// The counters of one endpoint, from when it joined the set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Host and port.
    pub address: String,
    /// Its description; `None` if discovery has removed it.
    pub endpoint: Option<Endpoint>,
    /// Requests without a complete response.
    pub in_flight: usize,
    /// Connections, including those that are made with the next request.
    pub connections: usize,
    /// Requests sent, retries and hedges included.
    pub tries: u64,
    /// Of these, with [`Verdict::Success`](super::Verdict::Success).
    pub succeeded: u64,
    /// Of these, with [`Verdict::Rejected`](super::Verdict::Rejected).
    pub rejected: u64,
    /// Of these, with [`Verdict::Unsent`](super::Verdict::Unsent).
    pub unsent: u64,
    /// Of these, with [`Verdict::Failed`](super::Verdict::Failed).
    pub failed: u64,
    /// Of these, with [`Verdict::Overloaded`](super::Verdict::Overloaded).
    pub overloaded: u64,
    /// Of these, with [`Verdict::Late`](super::Verdict::Late).
    pub late: u64,
    /// How often each code was answered, if it was known when the response began: errors of gRPC, by
    /// the number of the status.
    pub codes: BTreeMap<u8, u64>,
    /// The sum of the times to the answers that succeeded. Divided by their number, it is the mean
    /// latency.
    pub latency: Duration,
    /// How often the endpoint was ejected.
    pub ejections: u64,
    /// Whether it is ejected now.
    pub ejected: bool,
    /// Why no connection can be made now.
    pub unreachable: Option<String>,
    /// What the health check reports, while the endpoint gets no requests because of it.
    pub unhealthy: Option<String>,
    /// Round-trip time and loss, once a connection has measured them.
    pub link: Option<Link>,
}

impl<P: Protocol> Balance<P> {
    /// The counters of this balancer and its clones.
    #[must_use]
    pub fn stats(&self) -> BalanceStats {
        let shared = &self.shared;
        let members = shared.set.members();
        let here = members
            .iter()
            .map(|it| of_endpoint(&it.core, Some(it.endpoint.clone())));
        let draining = shared.set.draining();
        let removed = draining.iter().map(|it| of_endpoint(it, None));
        let counts = &shared.counts;
        BalanceStats {
            requests: get(&counts.requests),
            retries: get(&counts.retries),
            hedges: get(&counts.hedges),
            refused: get(&counts.refused),
            problem: shared.set.problem(),
            endpoints: here.chain(removed).collect(),
        }
    }
}

fn of_endpoint<P: Protocol>(core: &Core<P>, endpoint: Option<Endpoint>) -> EndpointStats {
    let counts = &core.track.counts;
    EndpointStats {
        address: core.address.clone(),
        endpoint,
        in_flight: core.track.in_flight(),
        connections: core.connections(),
        tries: get(&counts.tries),
        succeeded: get(&counts.succeeded),
        rejected: get(&counts.rejected),
        unsent: get(&counts.unsent),
        failed: get(&counts.failed),
        overloaded: get(&counts.overloaded),
        late: get(&counts.late),
        codes: counts.codes(),
        latency: Duration::from_micros(get(&counts.latency_micros)),
        ejections: core.track.ejections(),
        ejected: matches!(core.track.standing(), Standing::Ejected(_)),
        unreachable: core.origin.unreachable(),
        unhealthy: core.origin.unhealthy(),
        link: core.origin.link(),
    }
}
