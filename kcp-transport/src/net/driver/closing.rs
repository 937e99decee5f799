//! The end of a listener or client endpoint with all of its sockets.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ResetCode;
use crate::net::endpoint::Closing;
use crate::net::sync::Waiting;

use super::registry::Registry;

/// Resets all sessions with `code`, and lets the drivers end.
pub(in crate::net) fn close(registries: &[Arc<Registry>], code: ResetCode) {
    for registry in registries {
        registry.close(Closing::Reset(code));
    }
}

/// Waits until no session is left and, once the end was requested, every socket is closed.
pub(in crate::net) async fn wait_idle(registries: &[Arc<Registry>]) {
    // The registries of a listener share the count.
    if let Some(first) = registries.first() {
        Waiting::new(&*first.idle).await;
    }
}

/// Refuses further sessions, lets those there are end within `drain`, resets the others, and waits
/// until the sockets are closed.
pub(in crate::net) async fn shut_down(registries: &[Arc<Registry>], drain: Duration) {
    for registry in registries {
        registry.close(Closing::Drain);
    }
    let drained = tokio::time::timeout(drain, wait_idle(registries)).await;
    if drained.is_err() {
        tracing::debug!(?drain, "resets the connections that have not ended in time");
        close(registries, ResetCode::GOING_AWAY);
        wait_idle(registries).await;
    }
}
