//! Why a request reached no endpoint.

use crate::BoxError;

/// Why a request was sent to no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BalanceError {
    /// The set is empty.
    #[error("the set of endpoints is empty{}", because(.problem.as_deref()))]
    Empty {
        /// The last error of discovery, if it failed.
        problem: Option<String>,
    },
    /// The set has endpoints, but none of them takes requests.
    #[error("none of {endpoints} endpoints takes requests: {reasons}")]
    NoneAvailable {
        /// How many endpoints the set has.
        endpoints: usize,
        /// How many of them do not take requests for which reason, with the last errors.
        reasons: String,
    },
    /// The selection needs a key, and the request has none.
    #[error("the selection of an endpoint needs a key, and the request has none")]
    NoKey,
    /// There was no answer in time.
    #[error("no answer before the deadline, in {tries} tries")]
    Deadline {
        /// How often the request was sent.
        tries: u32,
    },
    /// The request cannot be sent again. The error of its last try is returned in place of this one.
    #[error("the request cannot be sent again")]
    NotRepeatable,
}

/// Why an endpoint or a set of endpoints cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// A list without endpoints: no request could ever be sent.
    #[error("the list of endpoints is empty")]
    Empty,
    /// A list that has an address twice. Use a weight to send an endpoint more requests.
    #[error("the list has the endpoint {0} twice; give it a weight instead")]
    Duplicate(String),
    /// An endpoint that cannot be connected to, whatever the state of the network.
    #[error("the endpoint {endpoint} cannot be used")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        error: BoxError,
    },
}

fn because(problem: Option<&str>) -> String {
    problem.map_or_else(String::new, |problem| {
        format!("; discovery failed: {problem}")
    })
}
