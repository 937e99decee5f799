//! A model of the wire protocol that watches every packet of a session.
//!
//! It sees what a session receives and sends, and nothing of its inner state.

mod arrivals;
pub(crate) mod counter_oracle;
pub(crate) mod fec_oracle;
pub(crate) mod frames;
pub(crate) mod ledger;
mod resends;
mod rtt_oracle;
mod sent;
mod shards;
pub(crate) mod timeout_oracle;

use std::collections::BTreeSet;

use kcp_transport::config::{Config, Congestion};
use kcp_transport::packet::PacketLayout;
use kcp_transport::session::Session;
use kcp_transport::stats::Stats;
use kcp_transport::testing::AboveWindow;
use kcp_transport::time::Time;
use kcp_transport::wire::{Command, Received, SegmentHeader, Segments, ShardHeader, ShardKind};

use crate::watch::arrivals::Arrivals;
use crate::watch::fec_oracle::FecOracle;
use crate::watch::frames::FrameWatch;
use crate::watch::ledger::{Identity, Ledger};
use crate::watch::resends::{Resends, WindowProbes};
use crate::watch::rtt_oracle::RttOracle;
use crate::watch::shards::FecWatch;

/// What a session has received and sent.
#[derive(Debug)]
pub(crate) struct Watch {
    identity: Identity,
    layout: PacketLayout,
    send_window: u64,
    receive_window: u16,
    congestion: Congestion,
    fec: Option<FecWatch>,
    /// Of the peer, if it sends parity for this session alone.
    pub(crate) groups: Option<FecOracle>,
    received_una: u64,
    /// Segments acknowledged beyond those that are without a gap.
    acked: BTreeSet<u64>,
    /// Segments acknowledged without a gap, by whatever means.
    delivered: u64,
    /// Since when every `una` of the peer has been lower than one before.
    fell_back_at: Option<Time>,
    widest: Option<u16>,
    /// In the newest packet.
    window: u16,
    advances: u64,
    resends: u64,
    reasons: Resends,
    rtt: RttOracle,
    window_probes: WindowProbes,
    sent_una: u64,
    sent_window: u16,
    arrivals: Arrivals,
    pub(crate) frames: FrameWatch,
    /// Transmissions above the window of a controller of its own.
    pub(crate) above_window: Option<AboveWindow>,
}

impl Watch {
    pub(crate) fn new(identity: Identity, config: &Config, layout: PacketLayout) -> Self {
        Self {
            layout,
            send_window: config.send_window().into(),
            receive_window: config.receive_window(),
            congestion: config.congestion(),
            fec: config.fec().map(FecWatch::new),
            groups: None,
            received_una: 0,
            acked: BTreeSet::new(),
            delivered: 0,
            fell_back_at: None,
            widest: None,
            window: 32,
            advances: 0,
            resends: 0,
            reasons: Resends::new(config, layout.mss()),
            rtt: RttOracle::new(config),
            window_probes: WindowProbes::default(),
            sent_una: 0,
            arrivals: Arrivals::default(),
            sent_window: config.receive_window(),
            frames: FrameWatch::new(config, identity.initiates),
            above_window: None,
            identity,
        }
    }

    /// How many segments the session has acknowledged in order.
    pub(crate) fn sent_una(&self) -> u32 {
        // Far fewer than 2^32 are ever sent here.
        self.sent_una as u32
    }

    /// Since when the peer seems to have lost its state.
    pub(crate) fn fell_back_at(&self) -> Option<Time> {
        self.fell_back_at
    }

    /// Whether packets from now on differ from the first ones of a conversation.
    pub(crate) fn has_begun(&self) -> bool {
        self.received_una > 0 || self.sent_una > 0
    }

    /// A payload is about to be given to the session; `sent` is what the session has sent.
    pub(crate) fn on_received(&mut self, now: Time, payload: &[u8], sent: &Ledger) {
        self.rtt.begin();
        let segments = match ShardHeader::detect(payload) {
            None => payload,
            Some((header, shard)) => {
                // What is rebuilt from parity is not seen here.
                self.reasons.receives_parity |= header.kind == ShardKind::Parity;
                if header.kind != ShardKind::Data {
                    return;
                }
                ShardHeader::body(shard).unwrap_or(&[])
            }
        };
        let conversation = self.identity.conversation;
        let headers = || {
            let headers = Segments::new(segments).map_while(Result::ok);
            headers.take_while(|(header, _)| header.conversation.get() == conversation)
        };
        for (header, data) in Segments::new(segments).map_while(Result::ok) {
            if header.command == Command::WindowUpdate && !data.is_empty() {
                self.frames.on_received(data);
            }
        }
        let count = sent.segments.len() as u64;
        // Half of all numbers are beyond what was sent, half long past.
        let is_beyond = |una: u64| una > count && una < 1 << 31;
        if headers().any(|(header, _)| is_beyond(self.place(header.unacknowledged))) {
            return;
        }
        for (header, _) in headers().filter(|it| it.0.command == Command::Push) {
            self.arrivals.on_received(self.place(header.sequence));
        }
        let mut heard = (self.received_una, self.window, self.widest);
        for (header, data) in headers() {
            let una = self.place(header.unacknowledged);
            if una > count {
                continue;
            }
            if una >= heard.0 {
                heard.0 = una;
                heard.1 = header.window;
                self.fell_back_at = None;
            } else {
                self.fell_back_at.get_or_insert(now);
            }
            heard.2 = heard.2.max(Some(header.window));
            if header.command == Command::Ack && !self.on_ack(now, &header, sent) {
                break;
            }
            if header.command == Command::WindowUpdate {
                self.frames.on_authentic(data);
                if let Some(told) = self.frames.told(data) {
                    self.on_told(now, &told, sent);
                }
            }
        }
        for place in self.delivered..heard.0 {
            if !self.acked.contains(&place) {
                let index = usize::try_from(place).unwrap_or(usize::MAX);
                self.reasons.on_covered(now, &sent.segments[index].sending);
            }
        }
        self.delivered = self.delivered.max(heard.0);
        self.acked.retain(|&acked| acked >= self.delivered);
        while self.acked.remove(&self.delivered) {
            self.delivered += 1;
        }
        self.advances += u64::from(heard.0 > self.received_una);
        (self.received_una, self.window, self.widest) = heard;
        let room = u64::from(self.window.max(1));
        self.reasons.on_room(now, self.received_una + room);
    }

    /// The peer tells what it has received beyond a gap.
    fn on_told(&mut self, now: Time, told: &Received, sent: &Ledger) {
        self.reasons.is_told = true;
        for offset in told.offsets() {
            let place = self.place(told.base()) + offset as u64;
            if place >= self.delivered && self.acked.insert(place) {
                let index = usize::try_from(place).unwrap_or(usize::MAX);
                self.reasons.on_covered(now, &sent.segments[index].sending);
            }
        }
    }

    /// One acknowledgement was received. Returns whether what follows it counts: not after one of a
    /// segment in flight that repeats a time at which that cannot have been sent.
    fn on_ack(&mut self, now: Time, header: &SegmentHeader, sent: &Ledger) -> bool {
        let place = self.place(header.sequence);
        let Some(record) = sent
            .segments
            .get(usize::try_from(place).unwrap_or(usize::MAX))
        else {
            return true;
        };
        let sending = &record.sending;
        let echo = header.timestamp.to_wire();
        let first = self.stamp(sending.first());
        let (age, span) = (
            echo.wrapping_sub(first),
            self.stamp(sending.last()).wrapping_sub(first),
        );
        let recent = sending.recent().iter();
        let matched: Vec<_> = recent.filter(|it| self.stamp(it.1) == echo).collect();
        if age == 0 {
            self.rtt.on_trip(now - sending.first());
        }
        for (_, at) in &matched {
            self.rtt.on_trip(now - *at);
        }
        let outstanding = place >= self.delivered && !self.acked.contains(&place);
        if outstanding && age > span {
            // By what parity has brought it may not be outstanding any more.
            return self.receives_parity();
        }
        if outstanding {
            self.acked.insert(place);
            // Of several in a millisecond, the oldest.
            if let Some((number, at)) = matched.first() {
                self.reasons.on_acknowledged(now, sending, *number, *at);
            }
        }
        true
    }

    fn receives_parity(&self) -> bool {
        self.reasons.receives_parity
    }

    fn stamp(&self, time: Time) -> u32 {
        // Narrowing is the point.
        (time.as_millis() as u32).wrapping_add(self.identity.seed)
    }

    /// Checked when the session has nothing more to send: once the reader has taken everything, a peer
    /// that saw a window of zero must have been sent another.
    pub(crate) fn check_reopened(&self, session: &Session) -> Result<(), String> {
        if self.sent_window == 0 && session.is_validated() && session.stats().unread == 0 {
            return Err("the window is open again, and the peer was not sent it".into());
        }
        Ok(())
    }

    /// Checked after the session has handled a datagram: its view of the peer's window, of what is in
    /// flight and of the round-trip time must follow from it.
    pub(crate) fn check_received(
        &mut self,
        session: &Session,
        sent: &Ledger,
    ) -> Result<(), String> {
        let stats = session.stats();
        self.rtt.check(&stats)?;
        self.reasons.on_time_out(stats.rto);
        self.frames.check_reset(session)?;
        if self.receives_parity() {
            // A packet rebuilt from parity may have carried more.
            return Ok(());
        }
        let (window, known) = (self.window, stats.remote_window);
        if known != window {
            return Err(format!("window {known} where {window} was told last"));
        }
        let acked = self.delivered + self.acked.len() as u64;
        let in_flight = sent.segments.len() as u64 - acked;
        if stats.in_flight as u64 != in_flight {
            let known = stats.in_flight;
            return Err(format!("{known} segments in flight, not {in_flight}"));
        }
        Ok(())
    }

    /// The session has laid out a batch of datagrams, which were all shown here.
    pub(crate) fn check_resends(&mut self, stats: &Stats) -> Result<(), String> {
        self.check_above_window(stats)?;
        self.reasons.check(stats)
    }

    /// Only probes and copies leave above the window of a controller.
    fn check_above_window(&self, stats: &Stats) -> Result<(), String> {
        let above = self.above_window.as_ref().map_or(0, AboveWindow::count);
        let regardless = stats.timeout_retransmitted + stats.redundant_sent;
        if above > regardless {
            return Err(format!(
                "{above} segments above the window of the controller"
            ));
        }
        Ok(())
    }

    /// Checked when the session has nothing more to send: every ping must be answered. A packet rebuilt
    /// from parity may have carried another ping in its place.
    pub(crate) fn check_pings(&self) -> Result<(), String> {
        if self.receives_parity() {
            return Ok(());
        }
        self.frames.check_pings()
    }

    /// Its host goes on after a pause.
    pub(crate) fn on_resumed(&mut self) {
        self.window_probes.on_resumed();
    }

    /// Checked when the session has nothing more to send.
    pub(crate) fn check_window_probes(
        &mut self,
        now: Time,
        session: &Session,
    ) -> Result<(), String> {
        self.window_probes.check(now, session)?;
        self.frames.check_answered(session)
    }

    /// The session has handled this payload: what parity can rebuild must have been rebuilt.
    pub(crate) fn on_read(&mut self, now: Time, payload: &[u8], session: &Session) {
        if let Some(groups) = &mut self.groups
            && let Some((header, _)) = ShardHeader::detect(payload)
        {
            groups.on_received(now, header, &session.stats());
        }
    }

    /// A sequence number as a distance from the first; 32 bits are plenty here.
    fn place(&self, sequence: u32) -> u64 {
        sequence.wrapping_sub(self.identity.first_sequence).into()
    }
}
