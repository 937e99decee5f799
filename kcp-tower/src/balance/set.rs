//! The current endpoints of a balancer.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::error::{BalanceError, SetError};
use super::failure::Standing;
use super::member::{Core, Member};
use super::protocol::{Key, Origin, Protocol};
use super::select::{Candidate, Select};
use super::sync::lock;

/// The members, and those that were removed and still have requests in flight.
pub(super) struct Set<P: Protocol> {
    known: watch::Sender<Known<P>>,
    removed: Mutex<Vec<Weak<Core<P>>>>,
}

struct Known<P: Protocol> {
    members: Arc<[Arc<Member<P>>]>,
    /// Whether discovery has reported anything yet, a change or an error.
    answered: bool,
    /// The last error of discovery, until it works again.
    problem: Option<String>,
}

impl<P: Protocol> Set<P> {
    pub(super) fn new() -> Self {
        let known = Known {
            members: Arc::new([]),
            answered: false,
            problem: None,
        };
        Self {
            known: watch::Sender::new(known),
            removed: Mutex::default(),
        }
    }

    /// Replaces the members. Requests in flight to others go on.
    pub(super) fn replace(&self, members: Vec<Arc<Member<P>>>) {
        let before = self.members();
        let mut removed = lock(&self.removed);
        removed.retain(|it| it.strong_count() > 0);
        for old in before.iter() {
            if !members.iter().any(|it| Arc::ptr_eq(&it.core, &old.core)) {
                removed.push(Arc::downgrade(&old.core));
            }
        }
        drop(removed);
        self.known.send_modify(|known| {
            known.members = members.into();
            known.answered = true;
            known.problem = None;
        });
    }

    /// Keeps the members, and records the error for requests that find no endpoint.
    pub(super) fn failed(&self, problem: String) {
        self.known.send_modify(|known| {
            known.answered = true;
            known.problem = Some(problem);
        });
    }

    /// Discovery works, and the members are right.
    pub(super) fn works(&self) {
        self.known.send_modify(|known| {
            known.answered = true;
            known.problem = None;
        });
    }

    /// The last error of discovery, until it works again.
    pub(super) fn problem(&self) -> Option<String> {
        self.known.borrow().problem.clone()
    }

    /// Discovery has ended; the members stay.
    pub(super) fn ended(&self) {
        self.known.send_modify(|known| known.answered = true);
    }

    /// Waits for the first report of discovery.
    pub(super) async fn answered(&self) {
        let mut known = self.known.subscribe();
        // The sender is in `self`, so this cannot fail.
        let _ = known.wait_for(|known| known.answered).await;
    }

    pub(super) fn members(&self) -> Arc<[Arc<Member<P>>]> {
        Arc::clone(&self.known.borrow().members)
    }

    /// Removed endpoints with requests in flight.
    pub(super) fn draining(&self) -> Vec<Arc<Core<P>>> {
        let removed = lock(&self.removed);
        let alive = removed.iter().filter_map(Weak::upgrade);
        alive.filter(|it| it.track.in_flight() > 0).collect()
    }

    /// Selects one of the endpoints whose indices `able` returns.
    pub(super) fn select(
        &self,
        select: &dyn Select,
        key: Option<Key>,
        able: impl Fn(&[Arc<Member<P>>]) -> Vec<usize>,
    ) -> Result<Arc<Member<P>>, BalanceError> {
        if key.is_none() && select.needs_key() {
            return Err(BalanceError::NoKey);
        }
        let members = self.members();
        let able = able(&members);
        let candidates: Vec<Candidate<'_>> =
            able.iter().map(|&at| members[at].candidate()).collect();
        let chosen = match candidates.is_empty() {
            true => None,
            false => select.select(&candidates, key),
        };
        match chosen.and_then(|at| able.get(at)) {
            Some(&at) => Ok(Arc::clone(&members[at])),
            None => Err(self.none(&members)),
        }
    }

    /// Why no endpoint was selected.
    pub(super) fn none(&self, members: &[Arc<Member<P>>]) -> BalanceError {
        if members.is_empty() {
            let problem = self.problem();
            return BalanceError::Empty { problem };
        }
        let mut reasons: Vec<String> = Vec::new();
        for member in members {
            let reason = why_not(member).unwrap_or_else(|| match member.core.track.standing() {
                Standing::Ejected(_) => "is ejected after failures".to_owned(),
                _ => "was not selected".to_owned(),
            });
            let address = &member.core.address;
            reasons.push(format!("{address} {reason}"));
        }
        let more = reasons.len().saturating_sub(MAX_REASONS);
        reasons.truncate(MAX_REASONS);
        if more > 0 {
            reasons.push(format!("{more} more"));
        }
        BalanceError::NoneAvailable {
            endpoints: members.len(),
            reasons: reasons.join(", "),
        }
    }
}

/// Why an endpoint cannot take requests, apart from ejection.
pub(super) fn why_not<P: Protocol>(member: &Member<P>) -> Option<String> {
    if !member.endpoint.is_active() {
        return Some("is inactive".to_owned());
    }
    if !member.endpoint.takes_requests() {
        return Some("has weight 0".to_owned());
    }
    let origin = &member.core.origin;
    if let Some(problem) = origin.unreachable() {
        return Some(format!("is unreachable ({problem})"));
    }
    let problem = origin.unhealthy()?;
    Some(format!("is unhealthy ({problem})"))
}

/// The members of a fixed list; any invalid entry is an error.
pub(super) fn members_of_list<P: Protocol>(
    protocol: &P,
    list: Vec<super::Endpoint>,
) -> Result<Vec<Arc<Member<P>>>, SetError> {
    if list.is_empty() {
        return Err(SetError::Empty);
    }
    let mut members: Vec<Arc<Member<P>>> = Vec::with_capacity(list.len());
    for (id, endpoint) in (0..).zip(list) {
        let member = Member::new(protocol, id, endpoint)?;
        let address = &member.core.address;
        if members.iter().any(|it| it.core.address == *address) {
            return Err(SetError::Duplicate(address.clone()));
        }
        members.push(Arc::new(member));
    }
    Ok(members)
}

/// Endpoints that an error message names.
const MAX_REASONS: usize = 4;
