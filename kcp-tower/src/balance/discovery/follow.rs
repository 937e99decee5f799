//! Applies the changes that discovery reports to a set.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tower::discover::{Change, Discover};
use tracing::{debug, warn};

use crate::BoxError;
use crate::balance::error::with_sources;
use crate::balance::member::Member;
use crate::balance::protocol::Protocol;
use crate::balance::set::Set;
use crate::balance::{Endpoint, SetError};

/// Applies changes to a set until discovery ends.
pub(in crate::balance) async fn follow<P, D>(protocol: Arc<P>, set: Arc<Set<P>>, discover: D)
where
    P: Protocol,
    D: Discover<Service = Endpoint>,
    D::Key: Hash,
    D::Error: Into<BoxError>,
{
    let mut discover = std::pin::pin!(discover);
    let mut keyed = Keyed::new(protocol);
    while let Some(first) = poll_fn(|cx| discover.as_mut().poll_discover(cx)).await {
        let mut result = keyed.apply_any(first);
        let mut ended = false;
        // Changes that are ready are applied together. Otherwise the first requests would all go to
        // the first endpoint.
        for _ in 0..CHANGES_AT_ONCE {
            if result.is_err() {
                break;
            }
            match ready_now(discover.as_mut()) {
                Poll::Ready(Some(next)) => result = keyed.apply_any(next),
                Poll::Ready(None) => {
                    ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if keyed.changed {
            keyed.changed = false;
            set.replace(keyed.members());
        } else if result.is_ok() {
            set.works();
        }
        if let Err(error) = result {
            let error = with_sources(&*error);
            warn!(error, "discovery failed; keeping the known endpoints");
            set.failed(error);
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
        if ended {
            break;
        }
    }
    debug!("discovery ended; keeping the known endpoints");
    set.ended();
}

type Item<D> = Result<Change<<D as Discover>::Key, Endpoint>, <D as Discover>::Error>;

/// Polls discovery once.
fn ready_now<D: Discover<Service = Endpoint>>(discover: Pin<&mut D>) -> Poll<Option<Item<D>>> {
    discover.poll_discover(&mut Context::from_waker(Waker::noop()))
}

/// Members by the keys of discovery.
struct Keyed<K, P: Protocol> {
    protocol: Arc<P>,
    members: HashMap<K, Arc<Member<P>>>,
    next_id: u64,
    changed: bool,
}

impl<K: Hash + Eq, P: Protocol> Keyed<K, P> {
    fn new(protocol: Arc<P>) -> Self {
        Self {
            protocol,
            members: HashMap::new(),
            next_id: 0,
            changed: false,
        }
    }

    fn apply_any<E: Into<BoxError>>(
        &mut self,
        change: Result<Change<K, Endpoint>, E>,
    ) -> Result<(), BoxError> {
        match change.map_err(Into::into)? {
            Change::Insert(key, endpoint) => Ok(self.insert(key, endpoint)?),
            Change::Remove(key) => {
                self.changed |= self.members.remove(&key).is_some();
                Ok(())
            }
        }
    }

    /// Inserts an endpoint, or replaces the description of a known key. The connections stay unless the
    /// URI has changed.
    fn insert(&mut self, key: K, endpoint: Endpoint) -> Result<(), SetError> {
        let mut entry = self.members.entry(key);
        if let Entry::Occupied(known) = &mut entry
            && known.get().endpoint.uri() == endpoint.uri()
        {
            self.changed |= known.get().endpoint != endpoint;
            let described = known.get().described(endpoint);
            known.insert(Arc::new(described));
            return Ok(());
        }
        let id = self.next_id;
        self.next_id += 1;
        let member = Member::new(&*self.protocol, id, endpoint)?;
        entry.insert_entry(Arc::new(member));
        self.changed = true;
        Ok(())
    }

    fn members(&self) -> Vec<Arc<Member<P>>> {
        let mut members: Vec<_> = self.members.values().cloned().collect();
        members.sort_by_key(|it| it.core.track.id);
        members
    }
}

impl<K, P: Protocol> fmt::Debug for Keyed<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

/// Changes that are applied before requests see any of them.
const CHANGES_AT_ONCE: usize = 1024;

/// The pause before discovery is polled again after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);
