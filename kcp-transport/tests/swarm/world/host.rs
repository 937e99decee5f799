//! A host: a clock, a cipher, and the sessions on one socket.

use std::collections::{BTreeMap, HashSet, VecDeque};

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::error::OpenError;
use kcp_transport::packet::{Opener, PacketLayout, ReplayFilter, Sealer, TransmitBatch};
use kcp_transport::session::{Destination, FirstNumbers, Role, Session, State, Unsolicited};
use kcp_transport::testing::Rng;
use kcp_transport::time::Time;
use kcp_transport::wire::{
    Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, ShardHeader, Timestamp,
};

use crate::clock::{Clock, Micros};
use crate::plan::HostPlan;
use crate::watch::Watch;
use crate::watch::counter_oracle::CounterOracle;
use crate::watch::timeout_oracle::TimeoutOracle;
use crate::world::app::App;

/// Stands for an IP address and port.
pub(crate) type Address = u32;

pub(crate) struct Host {
    pub(crate) plan: HostPlan,
    pub(crate) clock: Clock,
    pub(crate) layout: PacketLayout,
    pub(crate) address: Address,
    pub(crate) slots: Vec<Slot>,
    pub(crate) counts: Counts,
    pub(crate) rng: Rng,
    pub(crate) batch: TransmitBatch,
    pub(crate) sealer: Sealer,
    opener: Opener,
    filter: ReplayFilter,
    security: Security,
    /// Beginnings of datagrams that were sealed here, and of those that were let in.
    sealed: HashSet<u64>,
    admitted: HashSet<u64>,
    pub(crate) table: BTreeMap<(Address, u32), usize>,
    /// The session that receives the parity of an address.
    pub(crate) latest: BTreeMap<Address, usize>,
    /// Until when an ended session is remembered, and how much it had received.
    retired: BTreeMap<(Address, u32), (Time, Option<u32>)>,
    /// Until when nothing is done here.
    pub(crate) paused_until: Micros,
    /// What arrived meanwhile.
    pub(crate) inbox: VecDeque<(Address, Vec<u8>)>,
    /// What its challenges are made of.
    pub(crate) secret: u64,
    /// There is little memory.
    scarce: bool,
}

/// A session and all that belongs to it.
pub(crate) struct Slot {
    pub(crate) session: Session,
    pub(crate) peer: Address,
    pub(crate) id: u32,
    /// Which of the planned conversations this is part of; `None` for one that is not planned.
    pub(crate) conversation: Option<usize>,
    pub(crate) app: App,
    pub(crate) watch: Watch,
    pub(crate) counters: CounterOracle,
    /// When it wants to be looked at next.
    pub(crate) due: Option<Micros>,
    /// Its host has crashed, or the session has ended and was removed.
    pub(crate) gone: bool,
    pub(crate) timeouts: TimeoutOracle,
}

/// What became of the datagrams that arrived.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) arrived: u64,
    pub(crate) too_short: u64,
    pub(crate) unauthentic: u64,
    pub(crate) reflected: u64,
    pub(crate) replayed: u64,
    pub(crate) malformed: u64,
    pub(crate) stray: u64,
    pub(crate) late: u64,
    pub(crate) ended: u64,
    pub(crate) delivered: u64,
    pub(crate) challenged: u64,
    pub(crate) moved: u64,
    pub(crate) accepted: u64,
    pub(crate) send_errors: u64,
}

impl Counts {
    /// Every datagram ends in exactly one place.
    pub(crate) fn add_up(&self) -> bool {
        self.arrived
            == self.too_short
                + self.unauthentic
                + self.reflected
                + self.replayed
                + self.malformed
                + self.stray
                + self.late
                + self.ended
                + self.challenged
                + self.moved
                + self.delivered
    }
}

/// Where a datagram belongs.
pub(crate) enum Routed {
    Slot(usize),
    /// It may open a session of this id.
    Opens(u32),
    /// It receives something without a session.
    Answers(SegmentHeader),
    /// It may be that of a session elsewhere: it is challenged with this number.
    Challenges(SegmentHeader, u64),
    /// It proved that a session is here now.
    Moved(usize),
    Nowhere,
}

impl Host {
    pub(crate) fn new(plan: &HostPlan, security: &Security, address: Address, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let layout = plan
            .config
            .layout(security.overhead())
            .expect("mtu has room for data");
        let mut nonces = [0; 32];
        rng.fill(&mut nonces);
        let sealer = Sealer::new(security, nonces);
        Self {
            clock: Clock::new(plan.clock_base, plan.drift),
            layout,
            address,
            slots: Vec::new(),
            counts: Counts::default(),
            batch: TransmitBatch::new(layout, 1 + rng.below(32) as usize),
            opener: sealer.opener(),
            filter: sealer.replay_filter(REPLAY_CAPACITY),
            sealer,
            sealed: HashSet::new(),
            admitted: HashSet::new(),
            security: security.clone(),
            table: BTreeMap::new(),
            latest: BTreeMap::new(),
            retired: BTreeMap::new(),
            paused_until: 0,
            inbox: VecDeque::new(),
            plan: plan.clone(),
            secret: rng.next_u64(),
            scarce: false,
            rng,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.plan.config
    }

    /// Loses all state, as by a restart.
    /// Passes on to all sessions whether memory is short.
    pub(crate) fn set_scarce(&mut self, scarce: bool) {
        self.scarce = scarce;
        for slot in &mut self.slots {
            slot.session.set_memory_pressure(scarce);
        }
    }

    pub(crate) fn crash(&mut self) {
        for slot in &mut self.slots {
            slot.gone = true;
            slot.due = None;
        }
        self.table.clear();
        self.latest.clear();
        self.retired.clear();
        self.inbox.clear();
        let mut nonces = [0; 32];
        self.rng.fill(&mut nonces);
        self.sealer = Sealer::new(&self.security, nonces);
        self.opener = self.sealer.opener();
        self.filter = self.sealer.replay_filter(REPLAY_CAPACITY);
        self.sealed.clear();
        self.admitted.clear();
    }

    pub(crate) fn open(
        &mut self,
        local: Time,
        (peer, id, role): (Address, u32, Role),
        seed: u32,
        first: FirstNumbers,
        (app, mut watch, conversation): (App, Watch, Option<usize>),
    ) -> usize {
        let id_on_wire = ConversationId::new(id);
        let config = &self.plan.config;
        let seed = (u128::from(self.rng.next_u64()) << 64) | u128::from(seed);
        let mut session =
            Session::with_first_numbers(config, self.layout, id_on_wire, role, seed, first, local);
        if self.scarce {
            session.set_memory_pressure(true);
        }
        watch.above_window = self.plan.controllers.as_ref().map(|it| it.latest());
        let slot = self.slots.len();
        self.slots.push(Slot {
            session,
            peer,
            id,
            conversation,
            app,
            watch,
            counters: CounterOracle::default(),
            due: None,
            gone: false,
            timeouts: TimeoutOracle::new(local),
        });
        self.table.insert((peer, id), slot);
        slot
    }

    /// A datagram is sealed and on its way.
    pub(crate) fn on_sealed(&mut self, datagram: &[u8]) {
        if !matches!(self.security, Security::Plaintext) {
            self.sealed.insert(beginning(datagram));
        }
    }

    /// Decrypts a datagram; none if it is refused. One of our own, or one that an AEAD has let in
    /// before, must be.
    fn unseal<'a>(&mut self, datagram: &'a mut [u8]) -> Result<Option<&'a [u8]>, String> {
        self.counts.arrived += 1;
        let name = beginning(datagram);
        let count = match self.opener.open_once(datagram, &mut self.filter) {
            Ok(payload) => {
                if self.sealed.contains(&name) {
                    return Err("an own packet that came back was let in".into());
                }
                if matches!(self.security, Security::Aead(_)) && !self.admitted.insert(name) {
                    return Err("a packet was let in twice".into());
                }
                return Ok(Some(payload));
            }
            Err(OpenError::TooShort) => &mut self.counts.too_short,
            Err(OpenError::Reflected) => &mut self.counts.reflected,
            Err(OpenError::Replayed) => &mut self.counts.replayed,
            Err(_) => &mut self.counts.unauthentic,
        };
        *count += 1;
        Ok(None)
    }

    /// Opens a datagram and finds out where its payload belongs.
    pub(crate) fn route<'a>(
        &mut self,
        local: Time,
        from: Address,
        datagram: &'a mut [u8],
        first_sequence: u32,
    ) -> Result<(Routed, &'a [u8]), String> {
        let Some(payload) = self.unseal(datagram)? else {
            return Ok((Routed::Nowhere, &[]));
        };
        let routed = match Destination::of(payload) {
            Destination::Malformed => {
                self.counts.malformed += 1;
                Routed::Nowhere
            }
            Destination::Parity => match self.latest.get(&from) {
                Some(&slot) => Routed::Slot(slot),
                None => {
                    self.counts.stray += 1;
                    Routed::Nowhere
                }
            },
            Destination::Conversation(id) => {
                let name = (from, id.get());
                match self.table.get(&name) {
                    Some(&slot) => {
                        self.latest.insert(from, slot);
                        Routed::Slot(slot)
                    }
                    None => self.admit(local, name, payload, first_sequence),
                }
            }
        };
        Ok((routed, payload))
    }

    fn admit(
        &mut self,
        local: Time,
        name: (Address, u32),
        payload: &[u8],
        first_sequence: u32,
    ) -> Routed {
        let kind = Unsolicited::of(&renumbered(payload, first_sequence));
        if let Some(routed) = self.follow(local, name, (payload, kind), first_sequence) {
            return routed;
        }
        if let Some(&(until, una)) = self.retired.get(&name)
            && until > local
        {
            self.counts.late += 1;
            return match kind {
                Unsolicited::Data {
                    sequence,
                    fresh: false,
                } => {
                    let una = una.filter(|&una| sequence < una).unwrap_or(0);
                    self.answer(name.1, first_sequence.wrapping_add(una))
                }
                Unsolicited::Probe => self.answer(name.1, first_sequence),
                _ => Routed::Nowhere,
            };
        }
        // Only the server, which has address 0, accepts anything.
        let opens = kind == Unsolicited::Opening && self.address == 0;
        if opens && self.slots.len() < MAX_SLOTS {
            return Routed::Opens(name.1);
        }
        self.counts.stray += 1;
        match kind {
            Unsolicited::Data { .. } | Unsolicited::Probe => self.answer(name.1, first_sequence),
            _ => Routed::Nowhere,
        }
    }

    /// Resets a peer whose conversation has ended here, as endpoints do.
    fn answer(&self, id: u32, una: u32) -> Routed {
        Routed::Answers(self.window_update(id, una))
    }

    pub(crate) fn window_update(&self, id: u32, una: u32) -> SegmentHeader {
        SegmentHeader {
            conversation: ConversationId::new(id),
            command: Command::WindowUpdate,
            fragments_left: 0,
            window: self.plan.config.receive_window(),
            timestamp: Timestamp::default(),
            sequence: 0,
            unacknowledged: una,
            payload_len: 0,
        }
    }

    /// A datagram that holds this segment alone, sealed.
    pub(crate) fn seal_alone(&mut self, header: &SegmentHeader, data: &[u8]) -> Option<Vec<u8>> {
        let header = SegmentHeader {
            payload_len: u32::try_from(data.len()).ok()?,
            ..*header
        };
        self.batch.push_with(|packet| {
            header.encode(packet);
            let end = SEGMENT_HEADER_LEN + data.len();
            packet[SEGMENT_HEADER_LEN..end].copy_from_slice(data);
            end
        });
        let sealed = self.sealer.seal(&mut self.batch).is_ok();
        let datagram = self.batch.datagrams().next().map(<[u8]>::to_vec);
        self.batch.clear();
        datagram.filter(|_| sealed)
    }

    /// Forgets a session that has ended, but not that it was there.
    pub(crate) fn retire(&mut self, slot: usize, local: Time) {
        let it = &mut self.slots[slot];
        it.gone = true;
        it.due = None;
        let name = (it.peer, it.id);
        if self.table.get(&name) == Some(&slot) {
            self.table.remove(&name);
            let una = (it.session.state() == State::Closed(None)).then(|| it.watch.sent_una());
            self.retired.insert(name, (local + TOMBSTONE_TIME, una));
        }
        if self.latest.get(&name.0) == Some(&slot) {
            self.latest.remove(&name.0);
        }
    }
}

/// The payload as a peer would send it whose numbers began at zero.
fn renumbered(payload: &[u8], first: u32) -> Vec<u8> {
    let mut copy = payload.to_vec();
    let at = if ShardHeader::detect(payload).is_some() {
        8
    } else {
        0
    };
    for offset in [12, 16] {
        if let Some(bytes) = copy.get_mut(at + offset..at + offset + 4) {
            let number = u32::from_le_bytes(bytes.try_into().expect("4 bytes"));
            let number = number.wrapping_sub(first);
            bytes.copy_from_slice(&number.to_le_bytes());
        }
    }
    copy
}

/// Enough of a datagram to identify it: the nonce.
fn beginning(datagram: &[u8]) -> u64 {
    let mut words = [[0; 8]; 2];
    for (word, bytes) in words.iter_mut().zip(datagram.chunks(8)) {
        word[..bytes.len()].copy_from_slice(bytes);
    }
    let [front, back] = words.map(u64::from_le_bytes);
    // Of an AEAD's nonce the counter comes last.
    front ^ (back << 32).rotate_left(17)
}

/// Nonces that the replay filter remembers.
const REPLAY_CAPACITY: usize = 10_000;

/// As listeners remember ended sessions.
const TOMBSTONE_TIME: std::time::Duration = std::time::Duration::from_secs(120);

/// Strangers are not what is tested here.
const MAX_SLOTS: usize = 60;
