//! A transport with its cipher, as the driver of its sessions and their streams share it.

mod budget;
mod egress;
mod key;
mod mailbox;
mod replay;

pub(super) use budget::{Budget, Charge};
pub(super) use key::SessionKey;

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::config::Config;
use crate::crypto::Security;
use crate::packet::{Opener, PacketLayout, Sealer};
use crate::stats::EndpointStats;
use crate::wire::{SEGMENT_HEADER_LEN, SegmentHeader};

use super::io::{Clock, Path, RebindableSocket, Socket, Transport, entropy};
use super::sync::lock;
use egress::Egress;
use mailbox::Mailbox;
use replay::SharedReplayFilter;

/// A transport with its cipher, the way out, and the mailbox of its driver.
///
/// It knows no sessions: those have it.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The transport, if it is a socket of ours that another may take the place of.
    rebindable: Option<Arc<RebindableSocket>>,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) layout: PacketLayout,
    pub(super) opener: Opener,
    /// What replayed packets are told by.
    pub(super) replay_filter: Arc<SharedReplayFilter>,
    pub(super) sealer: Sealer,
    pub(super) mailbox: Mailbox,
    pub(super) egress: Egress,
    /// What the sessions of a listener may hold.
    pub(super) budget: Option<Arc<Budget>>,
    purpose: Purpose,
    stats: Mutex<EndpointStats>,
}

/// What an endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One session, given from the beginning.
    One,
    /// Sessions that are asked for.
    Connect,
    /// Sessions that peers open.
    Accept,
}

impl Endpoint {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        security: &Security,
        config: &Config,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let sealer = Sealer::new(security, entropy()?);
        let layout = config.layout(security.overhead())?;
        let replay_filter = Arc::new(SharedReplayFilter::new(
            &sealer,
            replay_capacity(purpose),
            1,
        ));
        let shared = (sealer, replay_filter);
        Ok(Self::with(transport, shared, (config, layout), purpose))
    }

    /// An endpoint on a socket that another may take the place of.
    pub(super) fn on_socket(
        socket: Socket,
        security: &Security,
        config: &Config,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let rebindable = Arc::new(RebindableSocket::new(socket));
        let transport = Arc::clone(&rebindable) as Arc<dyn Transport>;
        let mut endpoint = Self::new(transport, security, config, purpose)?;
        endpoint.rebindable = Some(rebindable);
        Ok(endpoint)
    }

    /// The endpoints of a listener, one for each transport.
    pub(super) fn listening(
        transports: Vec<Arc<dyn Transport>>,
        security: &Security,
        config: &Config,
    ) -> io::Result<Vec<Arc<Self>>> {
        let sealer = Sealer::new(security, entropy()?);
        let capacity = replay_capacity(Purpose::Accept);
        let replay_filter = Arc::new(SharedReplayFilter::new(&sealer, capacity, transports.len()));
        let layout = config.layout(security.overhead())?;
        let budget = Arc::new(Budget::new(config.memory_budget()));
        let endpoints = transports.into_iter().map(|transport| {
            let shared = (sealer.clone(), Arc::clone(&replay_filter));
            let mut endpoint = Self::with(transport, shared, (config, layout), Purpose::Accept);
            endpoint.budget = Some(Arc::clone(&budget));
            Arc::new(endpoint)
        });
        Ok(endpoints.collect())
    }

    fn with(
        transport: Arc<dyn Transport>,
        (sealer, replay_filter): (Sealer, Arc<SharedReplayFilter>),
        (config, layout): (&Config, PacketLayout),
        purpose: Purpose,
    ) -> Self {
        Self {
            egress: Egress::new(transport, layout),
            rebindable: None,
            clock: Clock::start(),
            config: config.clone(),
            layout,
            opener: sealer.opener(),
            replay_filter,
            sealer,
            mailbox: Mailbox::new(purpose != Purpose::One),
            budget: None,
            purpose,
            stats: Mutex::default(),
        }
    }

    pub(super) fn transport(&self) -> &dyn Transport {
        self.egress.transport()
    }

    /// Whether it is there for a single session.
    pub(super) fn is_single(&self) -> bool {
        self.purpose == Purpose::One
    }

    /// Whether peers may open sessions.
    pub(super) fn accepts(&self) -> bool {
        self.purpose == Purpose::Accept
    }

    /// Goes on with the socket that `open` makes, and lets all sessions say something from there.
    ///
    /// # Errors
    ///
    /// The transport is not a socket of ours, there is no driver any more, and what `open` says.
    pub(super) fn rebind(&self, open: impl FnOnce() -> io::Result<Socket>) -> io::Result<()> {
        let Some(rebindable) = &self.rebindable else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "only connections on a socket that they made themselves can move to another",
            ));
        };
        if let Some(kind) = self.mailbox.ended() {
            return Err(kind.into());
        }
        rebindable.replace(open()?);
        self.mailbox.note_rebound();
        Ok(())
    }

    /// Sends one segment without a session. Lost if the socket takes nothing now, or the mtu has
    /// no room for its payload: whoever waits for it asks again.
    pub(super) fn reply(&self, path: Path, header: &SegmentHeader, payload: &[u8]) {
        let Some(mut batch) = self.egress.take_batch() else {
            return;
        };
        batch.push_with(|packet| {
            let len = SEGMENT_HEADER_LEN + payload.len();
            let Some(place) = packet.get_mut(SEGMENT_HEADER_LEN..len) else {
                return 0;
            };
            place.copy_from_slice(payload);
            header.encode(packet);
            len
        });
        // A key that is used up seals nothing more; there is nobody to tell.
        if self.sealer.seal(&mut batch).is_ok()
            && let Some(kind) = self.egress.send(path, &batch, 0).closed
        {
            self.mailbox.close(kind);
        }
        self.egress.recycle(batch);
    }

    /// Sends what the socket did not take before; ready once nothing is left.
    pub(super) fn poll_unblock(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.egress
            .poll_unblock(cx, |kind| self.mailbox.close(kind))
    }

    pub(super) fn stats(&self) -> EndpointStats {
        let mut stats = *lock(&self.stats);
        stats.send_errors = self.egress.errors();
        stats.memory = self.budget.as_ref().map_or(0, |budget| budget.held());
        stats.sealed_under_key = usize::try_from(self.sealer.sealed()).unwrap_or(usize::MAX);
        stats
    }

    pub(super) fn update_stats(&self, update: impl FnOnce(&mut EndpointStats)) {
        update(&mut lock(&self.stats));
    }
}

/// Random nonces, or runs of 64 counted ones, in a generation of the replay filter. Just below what
/// a table of 2^17 or 2^14 places takes; so is what each of the parts gets of it.
const fn replay_capacity(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Accept => 114_000,
        Purpose::Connect | Purpose::One => 14_000,
    }
}
