//! From what a source contains to what has changed.

use std::collections::BTreeMap;
use std::fmt;

use tokio::sync::mpsc;
use tower::discover::Change;

use crate::BoxError;
use crate::balance::error::with_sources;
use crate::balance::{Endpoint, SetError};

pub(super) type Found = Result<Change<String, Endpoint>, BoxError>;

/// Reports the changes of a source, each once. See [`Discovery::watch`](super::Discovery::watch).
pub struct Changes {
    sender: mpsc::UnboundedSender<Found>,
    known: BTreeMap<String, Endpoint>,
    /// The error that was reported last; `None` while the source works.
    problem: Option<String>,
    /// Whether anything has been reported.
    reported: bool,
}

impl Changes {
    pub(super) fn new(sender: mpsc::UnboundedSender<Found>) -> Self {
        Self {
            sender,
            known: BTreeMap::new(),
            problem: None,
            reported: false,
        }
    }

    /// All endpoints of the source, by keys that are not empty. Reports what differs from before, and
    /// that the source works.
    pub fn replace(&mut self, endpoints: BTreeMap<String, Endpoint>) {
        let known = self.known.keys();
        let removed: Vec<_> = known
            .filter(|it| !endpoints.contains_key(*it))
            .cloned()
            .collect();
        for (key, endpoint) in endpoints {
            self.insert(key, endpoint);
        }
        for key in removed {
            self.remove(&key);
        }
        // If nothing else shows that the source works. No endpoint has this key.
        if !self.reported || self.problem.is_some() {
            self.report(Ok(Change::Remove(String::new())));
        }
    }

    /// As [`Changes::replace`], with the URIs as keys.
    pub(super) fn replace_all(&mut self, endpoints: Vec<Endpoint>) {
        let mut keyed = BTreeMap::new();
        for endpoint in endpoints {
            let uri = endpoint.uri().to_string();
            if keyed.insert(uri.clone(), endpoint).is_some() {
                return self.failed(SetError::Duplicate(uri));
            }
        }
        self.replace(keyed);
    }

    /// An endpoint that is new or has changed.
    pub fn insert(&mut self, key: String, endpoint: Endpoint) {
        if self.known.get(&key) != Some(&endpoint) {
            self.known.insert(key.clone(), endpoint.clone());
            self.report(Ok(Change::Insert(key, endpoint)));
        }
    }

    /// An endpoint that is gone.
    pub fn remove(&mut self, key: &str) {
        if self.known.remove(key).is_some() {
            self.report(Ok(Change::Remove(key.to_owned())));
        }
    }

    /// The endpoint of a key as it was reported last.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Endpoint> {
        self.known.get(key)
    }

    /// An error, after which the endpoints stay as they are. It is reported unless it has the same text
    /// as the one before it.
    pub fn failed(&mut self, error: impl Into<BoxError>) {
        let error = error.into();
        let text = with_sources(&*error);
        if self.problem.as_ref() != Some(&text) {
            self.report(Err(error));
            self.problem = Some(text);
        }
    }

    fn report(&mut self, found: Found) {
        self.reported = true;
        if found.is_ok() {
            self.problem = None;
        }
        // The receiver lives as long as the future that this is in.
        let _ = self.sender.send(found);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("known", &self.known)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}
