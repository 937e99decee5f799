//! A transport with its cipher, shared by the driver of its sessions and by their streams.

mod budget;
mod egress;
mod hosts;
mod key;
mod local_errors;
mod mailbox;
mod replay;

pub(super) use budget::{Budget, Charge};
pub(super) use egress::Sent;
pub(super) use hosts::Host;
pub(super) use key::SessionKey;
pub(super) use mailbox::Closing;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use crate::config::{Config, ListenerConfig};
use crate::crypto::Security;
use crate::packet::{Opener, PacketLayout, Sealer};
use crate::stats::EndpointStats;
use crate::wire::{
    SEGMENT_HEADER_LEN, SHARD_HEADER_LEN, SHARD_SIZE_LEN, SegmentHeader, ShardHeader, ShardKind,
};

use super::io::{Clock, Path, RebindableSocket, Socket, SocketMaker, Transport, entropy};
use super::sync::lock;
use egress::Egress;
use hosts::Hosts;
use local_errors::LocalErrors;
use mailbox::Mailbox;
use replay::SharedReplayFilter;

/// A transport with its cipher, its outgoing queue, and the mailbox of its driver.
///
/// It refers to no sessions: each session refers to its endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The transport, if it is a socket of this crate that can be replaced, and how sockets are made.
    /// Does not keep the socket open.
    rebindable: Option<(Weak<RebindableSocket>, SocketMaker)>,
    pub(super) clock: Clock,
    pub(super) config: Config,
    /// Of a listener; else the default.
    pub(super) listener: ListenerConfig,
    pub(super) layout: PacketLayout,
    pub(super) opener: Opener,
    /// Detects replayed packets.
    pub(super) replay_filter: Arc<SharedReplayFilter>,
    pub(super) sealer: Sealer,
    pub(super) mailbox: Mailbox,
    pub(super) egress: Egress,
    pub(super) local_errors: LocalErrors,
    /// The memory that the sessions of a listener may hold together.
    pub(super) budget: Option<Arc<Budget>>,
    /// The hosts of its peers; shared by the sockets of a listener.
    hosts: Arc<Hosts>,
    purpose: Purpose,
    stats: Mutex<EndpointStats>,
}

/// The use of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One session, opened with the endpoint.
    One,
    /// Sessions that this side opens.
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

    /// An endpoint on a socket that can be replaced.
    pub(super) fn on_socket(
        (socket, maker): (Socket, SocketMaker),
        security: &Security,
        config: &Config,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let rebindable = Arc::new(RebindableSocket::new(socket));
        let transport = Arc::clone(&rebindable) as Arc<dyn Transport>;
        let mut endpoint = Self::new(transport, security, config, purpose)?;
        endpoint.rebindable = Some((Arc::downgrade(&rebindable), maker));
        Ok(endpoint)
    }

    /// The endpoints of a listener, one for each transport.
    pub(super) fn listening(
        transports: Vec<Arc<dyn Transport>>,
        security: &Security,
        config: &Config,
        listener: &ListenerConfig,
    ) -> io::Result<Vec<Arc<Self>>> {
        let shards = u16::try_from(transports.len()).unwrap_or(u16::MAX);
        let listener = listener.to_builder().shards(shards).build()?;
        let sealer = Sealer::new(security, entropy()?);
        let capacity = replay_capacity(Purpose::Accept);
        let replay_filter = Arc::new(SharedReplayFilter::new(&sealer, capacity, transports.len()));
        let layout = config.layout(security.overhead())?;
        let budget = Arc::new(Budget::new(listener.memory_budget()));
        let hosts = Arc::new(Hosts::default());
        let endpoints = transports.into_iter().map(|transport| {
            let shared = (sealer.clone(), Arc::clone(&replay_filter));
            let mut endpoint = Self::with(transport, shared, (config, layout), Purpose::Accept);
            endpoint.listener = listener.clone();
            endpoint.budget = Some(Arc::clone(&budget));
            endpoint.hosts = Arc::clone(&hosts);
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
            local_errors: LocalErrors::default(),
            rebindable: None,
            clock: Clock::start(),
            config: config.clone(),
            listener: ListenerConfig::default(),
            layout,
            opener: sealer.opener(),
            replay_filter,
            sealer,
            mailbox: Mailbox::new(purpose != Purpose::One),
            budget: None,
            hosts: Arc::default(),
            purpose,
            stats: Mutex::default(),
        }
    }

    pub(super) fn transport(&self) -> Arc<dyn Transport> {
        self.egress.transport()
    }

    /// Closes the socket: the driver has ended.
    pub(super) fn close(&self) {
        self.egress.close();
    }

    /// Whether the endpoint has a single session.
    pub(super) fn is_single(&self) -> bool {
        self.purpose == Purpose::One
    }

    /// What is known of the host of a peer. A single session has none to learn from.
    pub(super) fn host(&self, peer: SocketAddr) -> Option<Arc<Host>> {
        (!self.is_single()).then(|| self.hosts.get(self.clock.now(), peer))
    }

    /// Whether peers may open sessions.
    pub(super) fn accepts(&self) -> bool {
        self.purpose == Purpose::Accept
    }

    /// Replaces the socket by the one that `open` creates. Each session then sends a probe from the
    /// new socket.
    ///
    /// # Errors
    ///
    /// The transport is not a socket of this crate, the driver has ended, or the error of `open`.
    pub(super) fn rebind(
        &self,
        open: impl FnOnce(&SocketMaker) -> io::Result<Socket>,
    ) -> io::Result<()> {
        let Some((rebindable, maker)) = &self.rebindable else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "cannot move to another socket: the current one was supplied by the caller",
            ));
        };
        if let Some(kind) = self.mailbox.ended() {
            return Err(kind.into());
        }
        let rebindable = rebindable.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        rebindable.replace(open(maker)?);
        self.mailbox.note_rebound();
        Ok(())
    }

    /// Whether a packet without a session is answered in a FEC packet: where the sessions of its sender
    /// would be.
    pub(super) fn answers_with_fec(&self, payload: &[u8]) -> bool {
        let is_mirrored = self.listener.mirror_fec() || self.config.fec().is_some();
        let is_data = |(header, _): (ShardHeader, _)| header.kind == ShardKind::Data;
        is_mirrored && ShardHeader::detect(payload).is_some_and(is_data)
    }

    /// Sends one segment without a session, in a FEC packet if its peer needs one. The segment is lost if
    /// the socket is blocked or if its payload exceeds the mtu: the peer repeats its request.
    pub(super) fn reply(&self, path: Path, fec: bool, header: &SegmentHeader, payload: &[u8]) {
        let Some(mut batch) = self.egress.take_batch() else {
            return;
        };
        batch.push_with(|packet| {
            let front = if fec { FEC_FRONT } else { 0 };
            let end = front + SEGMENT_HEADER_LEN + payload.len();
            let Some(place) = packet.get_mut(front..end) else {
                return 0;
            };
            header.encode(place);
            place[SEGMENT_HEADER_LEN..].copy_from_slice(payload);
            if fec {
                ShardHeader::WITHOUT_SESSION.encode(packet);
                ShardHeader::encode_size(&mut packet[SHARD_HEADER_LEN..end]);
            }
            end
        });
        // Once its key is used up, an endpoint seals nothing more; no session is there to fail.
        if self.sealer.seal(&mut batch).is_ok()
            && let Some(kind) = self.egress.send(path, &batch, 0).closed
        {
            self.mailbox.close(kind);
        }
        self.egress.recycle(batch);
    }

    /// Sends datagrams that the socket has not accepted before; ready once none are left.
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

const FEC_FRONT: usize = SHARD_HEADER_LEN + SHARD_SIZE_LEN;

/// Random nonces, or runs of 64 counted ones, in a generation of the replay filter. The values are
/// just below the capacity of a table of 2^17 or 2^14 slots; the same holds for each part of a
/// shared filter.
const fn replay_capacity(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Accept => 114_000,
        Purpose::Connect | Purpose::One => 14_000,
    }
}
