//! A server that is registered.

use std::fmt;
use std::time::Duration;

use kcp_tower::BoxError;
use kcp_tower::balance::Endpoint;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::PAUSE;
use super::rpc::{LeaseRequest, PutRequest, RangeRequest, Requests, Rpc, answer};

/// A server in etcd, until this is dropped. Then a task deletes the key in the background; use
/// [`deregister`](Self::deregister) to wait for that.
#[must_use = "the server is deregistered when this is dropped"]
pub struct Registration {
    described: watch::Sender<Endpoint>,
    status: watch::Receiver<RegistrationStatus>,
    task: JoinHandle<()>,
}

/// Whether a server is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationStatus {
    /// Not yet.
    Pending,
    /// Its key is there, with a lease.
    Registered,
    /// etcd has failed, and is tried again each second. A key that is there stays until its lease has
    /// expired.
    Failed(String),
}

impl Registration {
    pub(super) fn start(rpc: Rpc, key: String, endpoint: Endpoint, lease: Duration) -> Self {
        let (described, description) = watch::channel(endpoint);
        let (report, status) = watch::channel(RegistrationStatus::Pending);
        let seconds = lease.as_secs() + u64::from(lease.subsec_nanos() > 0);
        let server = Server {
            rpc,
            key,
            seconds: i64::try_from(seconds.max(1)).unwrap_or(i64::MAX),
            description,
        };
        Self {
            described,
            status,
            task: tokio::spawn(server.stay_registered(report)),
        }
    }

    /// Changes the weight, zone, priority or state. The URI belongs to the key and should stay.
    ///
    /// ```no_run
    /// # fn run(registration: &kcp_tonic::etcd::Registration) {
    /// // Before a restart: no new calls, and those in flight go on.
    /// registration.update(|endpoint| endpoint.active(false));
    /// # }
    /// ```
    pub fn update(&self, change: impl FnOnce(Endpoint) -> Endpoint) {
        self.described
            .send_modify(|endpoint| *endpoint = change(endpoint.clone()));
    }

    /// Whether the server is registered. The receiver can wait for a status.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RegistrationStatus> {
        self.status.clone()
    }

    /// Whether the server is registered, once the first try has ended. A failed try is repeated each
    /// second, also after this has returned.
    ///
    /// # Errors
    ///
    /// What etcd, or the connection to it, has reported.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn registered(&self) -> Result<(), BoxError> {
        let mut status = self.status();
        let known = status.wait_for(|it| *it != RegistrationStatus::Pending);
        match &*known.await? {
            RegistrationStatus::Failed(problem) => Err(problem.clone().into()),
            _ => Ok(()),
        }
    }

    /// Deletes the key. While etcd does not answer, this takes up to 20 s. The task goes on when its
    /// handle is dropped.
    pub fn deregister(self) -> JoinHandle<()> {
        self.task
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("endpoint", &*self.described.borrow())
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

struct Server {
    rpc: Rpc,
    key: String,
    seconds: i64,
    /// Closed when the server is to be deregistered.
    description: watch::Receiver<Endpoint>,
}

impl Server {
    async fn stay_registered(mut self, status: watch::Sender<RegistrationStatus>) {
        loop {
            let Err(error) = self.register(&status).await else {
                return;
            };
            warn!(key = self.key, %error, "registration in etcd failed");
            status.send_replace(RegistrationStatus::Failed(error.to_string()));
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = closed(&mut self.description) => {
                    let key = self.key.into_bytes();
                    let range_end = Vec::new();
                    // The lease expires anyway.
                    let _ = self.rpc.delete(RangeRequest { key, range_end }).await;
                    return;
                }
            }
        }
    }

    /// Registers the server, and renews the lease until an error or until the server is deregistered.
    async fn register(
        &mut self,
        status: &watch::Sender<RegistrationStatus>,
    ) -> Result<(), BoxError> {
        let lease = self.rpc.grant(self.seconds).await?;
        let third = Duration::from_secs(lease.ttl.max(1).unsigned_abs()) / 3;
        let id = lease.id;
        self.put(id).await?;
        debug!(key = self.key, lease = id, "registered in etcd");
        status.send_replace(RegistrationStatus::Registered);
        let (renew, requests) = Requests::beginning_with(LeaseRequest { id });
        let mut renewed = self.rpc.keep_alive(requests).await?;
        loop {
            if answer(renewed.message())
                .await?
                .is_none_or(|it| it.ttl <= 0)
            {
                return Err("etcd: the lease has expired".into());
            }
            let pause = tokio::time::sleep(third);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    changed = self.description.changed() => match changed {
                        Ok(()) => self.put(id).await?,
                        Err(_) => return self.rpc.revoke(id).await,
                    }
                }
            }
            // It fails when the stream has ended, which `message` reports.
            let _ = renew.try_send(LeaseRequest { id });
        }
    }

    async fn put(&mut self, lease: i64) -> Result<(), BoxError> {
        let value = self.description.borrow_and_update().to_string();
        let (key, value) = (self.key.clone().into_bytes(), value.into_bytes());
        self.rpc.put(PutRequest { key, value, lease }).await
    }
}

/// Waits until the sender is dropped.
async fn closed(description: &mut watch::Receiver<Endpoint>) {
    while description.changed().await.is_ok() {}
}
