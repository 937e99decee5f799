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
    /// The set has endpoints, but none of them can take a request now.
    #[error("no usable endpoint: {reasons}")]
    NoneAvailable {
        /// How many endpoints the set has.
        endpoints: usize,
        /// The reason of each, with its last error. Beyond four endpoints only the number of the others.
        reasons: String,
    },
    /// The selection needs a key, and the request has none.
    #[error("the request has no key, which the configured selection needs")]
    NoKey,
    /// The deadline of the request passed without an answer.
    #[error("deadline exceeded after {tries} tries")]
    Deadline {
        /// How often the request was sent.
        tries: u32,
    },
    /// The last try took longer than its limit, [`Failure::try_timeout`](super::Failure::try_timeout).
    #[error("no answer within the limit of a try")]
    TryTimeout,
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
    /// The list has the same address twice. A weight sends more requests to an endpoint.
    #[error("duplicate endpoint {0} in the list; a weight sends it more requests")]
    Duplicate(String),
    /// No connection can be made to this endpoint in any state of the network: its URI is wrong, or TLS
    /// is missing.
    #[error("invalid endpoint {endpoint}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        error: BoxError,
    },
}

/// An error with its sources, for messages.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

fn because(problem: Option<&str>) -> String {
    problem.map_or_else(String::new, |problem| {
        format!("; discovery failed: {problem}")
    })
}
