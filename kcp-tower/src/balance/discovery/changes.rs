//! From what a source contains to what has changed.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tower::discover::Change;

use crate::BoxError;
use crate::balance::error::with_sources;
use crate::balance::{Endpoint, SetError};

pub(super) type Found = Result<Change<String, Endpoint>, BoxError>;

/// Reports the changes of a source.
pub(super) struct Changes {
    sender: mpsc::Sender<Found>,
    known: BTreeMap<String, Endpoint>,
    /// The error that was reported last; `None` while the source works.
    problem: Option<String>,
    /// Whether anything has been reported.
    reported: bool,
}

impl Changes {
    pub(super) fn new(sender: mpsc::Sender<Found>) -> Self {
        Self {
            sender,
            known: BTreeMap::new(),
            problem: None,
            reported: false,
        }
    }

    /// Reports the difference to a list without keys; their URIs are the keys.
    pub(super) async fn replace(&mut self, endpoints: Vec<Endpoint>) {
        let mut keyed = BTreeMap::new();
        for endpoint in endpoints {
            let uri = endpoint.uri().to_string();
            if keyed.insert(uri, endpoint.clone()).is_some() {
                let twice = endpoint.uri().to_string();
                return self.failed(SetError::Duplicate(twice).into()).await;
            }
        }
        self.replace_keyed(keyed).await;
    }

    pub(super) async fn replace_keyed(&mut self, now: BTreeMap<String, Endpoint>) {
        let removed: Vec<_> = self
            .known
            .keys()
            .filter(|it| !now.contains_key(*it))
            .collect();
        let removed: Vec<_> = removed.into_iter().cloned().collect();
        for (key, endpoint) in now {
            self.insert(key, endpoint).await;
        }
        for key in removed {
            self.remove(key).await;
        }
        self.works().await;
    }

    pub(super) async fn insert(&mut self, key: String, endpoint: Endpoint) {
        if self.known.get(&key) == Some(&endpoint) {
            return;
        }
        self.known.insert(key.clone(), endpoint.clone());
        self.report(Ok(Change::Insert(key, endpoint))).await;
    }

    pub(super) async fn remove(&mut self, key: String) {
        if self.known.remove(&key).is_some() {
            self.report(Ok(Change::Remove(key))).await;
        }
    }

    /// Reports that the source works, if nothing else does: it is empty, or has not changed while it
    /// could not be read. No endpoint has an empty key, so the change is none.
    pub(super) async fn works(&mut self) {
        if !self.reported || self.problem.is_some() {
            self.report(Ok(Change::Remove(String::new()))).await;
        }
    }

    /// Reports an error, unless it is the one that was reported last.
    pub(super) async fn failed(&mut self, error: BoxError) {
        let text = with_sources(&*error);
        if self.problem.as_ref() != Some(&text) {
            self.report(Err(error)).await;
            self.problem = Some(text);
        }
    }

    async fn report(&mut self, found: Found) {
        self.reported = true;
        if found.is_ok() {
            self.problem = None;
        }
        // The receiver lives as long as the future that this is in.
        let _ = self.sender.send(found).await;
    }
}
