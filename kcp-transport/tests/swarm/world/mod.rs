//! Hosts, paths and what happens between them, one event after the other.

pub(crate) mod app;
pub(crate) mod attack;
pub(crate) mod host;
mod opening;
pub(crate) mod path;
mod roam;
mod service;
mod trouble;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use kcp_transport::session::State;
use kcp_transport::testing::Rng;
use kcp_transport::wire::{Frame, FrameWriter, MAX_EXTENSION_LEN};

use crate::clock::Micros;
use crate::plan::{ConversationPlan, Plan};
use crate::watch::ledger::Ledger;
use crate::world::attack::Attacker;
use crate::world::host::{Address, Host, Routed};
use crate::world::path::Path;

/// How a side ends a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Shutdown,
    Abandon,
    GiveUp,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Micros,
    /// The server, then the clients.
    pub(crate) hosts: Vec<Host>,
    /// Of each client: up and down.
    pub(crate) paths: Vec<[Path; 2]>,
    pub(crate) conversations: Vec<Conversation>,
    pub(crate) attacker: Attacker,
    pub(crate) trace: Trace,
    pub(crate) healed: bool,
    pub(crate) server_crashed: bool,
    /// All users have dropped their sessions: one that is opened now has no user.
    pub(crate) over: bool,
    rng: Rng,
    events: BinaryHeap<Reverse<Event>>,
    order: u64,
    spins: u32,
}

/// A planned conversation and the sessions that carried it.
pub(crate) struct Conversation {
    pub(crate) id: u32,
    pub(crate) client: usize,
    pub(crate) plan: ConversationPlan,
    pub(crate) client_slot: usize,
    /// The last that the server opened for it.
    pub(crate) server_slot: Option<usize>,
    /// What the client sent, what the server sent.
    pub(crate) ledgers: [Ledger; 2],
    /// A side lost its state: the ledgers mean nothing any more.
    pub(crate) tainted: bool,
    /// The client's address changed, and the server must notice.
    pub(crate) follows: bool,
    seed: [u32; 2],
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Micros,
    order: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrival {
        host: usize,
        from: Address,
        datagram: Vec<u8>,
    },
    Start {
        client: usize,
    },
    Trouble(usize),
    Mend {
        client: usize,
        up: bool,
        down: bool,
    },
    Resume {
        host: usize,
    },
    /// There is memory again.
    Relieve {
        host: usize,
    },
    EarlyEnd {
        conversation: usize,
    },
    Attack,
}

/// A running summary of everything sent, to compare runs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace(pub(crate) u64);

impl Trace {
    pub(crate) fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
    }

    fn note(&mut self, now: Micros, bytes: &[u8]) {
        self.mix(now);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed ^ 0x0077_6f72_6c64);
        let security = plan.security();
        let mut hosts = vec![Host::new(&plan.server, &security, 0, rng.next_u64())];
        let mut paths = Vec::new();
        for (index, client) in plan.clients.iter().enumerate() {
            let address = 1 + index as Address;
            hosts.push(Host::new(&client.host, &security, address, rng.next_u64()));
            let (up, down) = (client.up.clone(), client.down.clone());
            paths.push([
                Path::new(up, rng.next_u64()),
                Path::new(down, rng.next_u64()),
            ]);
        }
        let mut world = Self {
            now: 0,
            hosts,
            paths,
            conversations: Vec::new(),
            attacker: Attacker::new(&plan, rng.next_u64()),
            trace: Trace(0xcbf2_9ce4_8422_2325),
            healed: false,
            server_crashed: false,
            over: false,
            rng,
            events: BinaryHeap::new(),
            order: 0,
            spins: 0,
            plan,
        };
        world.schedule_plan();
        world
    }

    fn schedule_plan(&mut self) {
        for client in 0..self.plan.clients.len() {
            self.schedule(self.plan.clients[client].start, What::Start { client });
        }
        for index in 0..self.plan.events.len() {
            self.schedule(self.plan.events[index].0, What::Trouble(index));
        }
        if self.attacker.is_active() {
            self.schedule(self.plan.attack_every, What::Attack);
        }
    }

    fn schedule(&mut self, at: Micros, what: What) {
        self.order += 1;
        let order = self.order;
        self.events.push(Reverse(Event { at, order, what }));
    }

    /// Puts a datagram in front of a host.
    pub(crate) fn inject(&mut self, at: Micros, host: usize, from: Address, datagram: Vec<u8>) {
        self.schedule(
            at,
            What::Arrival {
                host,
                from,
                datagram,
            },
        );
    }

    /// Lets the next thing happen; false when nothing happens before `limit`, which it is then.
    pub(crate) fn step(&mut self, limit: Micros) -> Result<bool, String> {
        let event = self.events.peek().map(|Reverse(event)| event.at);
        let mut due: Option<(Micros, usize, usize)> = None;
        for (host, it) in self.hosts.iter().enumerate() {
            for (slot, it2) in it.slots.iter().enumerate() {
                if let Some(at) = it2.due {
                    let at = at.max(it.paused_until);
                    if due.is_none_or(|(earliest, ..)| at < earliest) {
                        due = Some((at, host, slot));
                    }
                }
            }
        }
        let next = [event, due.map(|(at, ..)| at)].into_iter().flatten().min();
        let Some(next) = next.filter(|&at| at <= limit) else {
            self.now = self.now.max(limit);
            return Ok(false);
        };
        self.spins = if next > self.now { 0 } else { self.spins + 1 };
        if self.spins > MAX_SPINS {
            return Err("time stands still".into());
        }
        self.now = self.now.max(next);
        match due {
            Some((at, host, slot)) if event.is_none_or(|event| at < event) => {
                self.service(host, slot)?;
            }
            _ => {
                if let Some(Reverse(event)) = self.events.pop() {
                    self.handle(event.what)?;
                }
            }
        }
        Ok(true)
    }

    fn handle(&mut self, what: What) -> Result<(), String> {
        match what {
            What::Arrival {
                host,
                from,
                datagram,
            } => self.arrive(host, from, datagram),
            What::Start { client } => {
                for index in 0..self.plan.clients[client].conversations.len() {
                    let plan = self.plan.clients[client].conversations[index].clone();
                    self.start(client, plan)?;
                }
                Ok(())
            }
            What::Trouble(index) => {
                let (_, trouble) = self.plan.events[index];
                self.trouble(trouble)
            }
            What::Mend { client, up, down } => {
                self.mend(client, up, down);
                Ok(())
            }
            What::Relieve { host } => {
                self.hosts[host].set_scarce(false);
                self.service_all(host)
            }
            What::Resume { host } => {
                if self.hosts[host].paused_until > self.now {
                    return Ok(());
                }
                let local = self.hosts[host].clock.local(self.now);
                for slot in &mut self.hosts[host].slots {
                    slot.timeouts.resume(local);
                    slot.watch.on_resumed();
                }
                let inbox = std::mem::take(&mut self.hosts[host].inbox);
                self.deliver(host, inbox)?;
                self.service_all(host)
            }
            What::EarlyEnd { conversation } => {
                let plan = self.conversations[conversation].plan.early_end;
                let Some(end) = plan else { return Ok(()) };
                // A paused host ends nothing.
                let (host, _) = self.side(conversation, end.by_client).unwrap_or((0, 0));
                let paused_until = self.hosts[host].paused_until;
                if paused_until > self.now {
                    self.schedule(paused_until, What::EarlyEnd { conversation });
                    return Ok(());
                }
                let how = if end.abandons {
                    How::Abandon
                } else {
                    How::Shutdown
                };
                self.end(conversation, end.by_client, how)
            }
            What::Attack => {
                if self.healed {
                    return Ok(());
                }
                for (host, from, datagram) in self.attacker.strike(&self.hosts, &self.conversations)
                {
                    self.inject(self.now + 1, host, from, datagram);
                }
                let wait = 1 + self.rng.below(2 * self.plan.attack_every);
                self.schedule(self.now + wait, What::Attack);
                Ok(())
            }
        }
    }

    fn arrive(&mut self, host: usize, from: Address, datagram: Vec<u8>) -> Result<(), String> {
        if self.hosts[host].paused_until > self.now {
            let inbox = &mut self.hosts[host].inbox;
            // A socket's buffer holds so much and no more.
            if inbox.len() < 200 {
                inbox.push_back((from, datagram));
            }
            return Ok(());
        }
        let mut batch = VecDeque::from([(from, datagram)]);
        // What arrives at the same time is read at the same time.
        while let Some(Reverse(event)) = self.events.peek()
            && event.at <= self.now
            && matches!(event.what, What::Arrival { host: other, .. } if other == host)
        {
            if let Some(Reverse(Event {
                what: What::Arrival { from, datagram, .. },
                ..
            })) = self.events.pop()
            {
                batch.push_back((from, datagram));
            }
        }
        self.deliver(host, batch)
    }

    fn deliver(
        &mut self,
        host: usize,
        datagrams: VecDeque<(Address, Vec<u8>)>,
    ) -> Result<(), String> {
        let mut touched = Vec::new();
        for (from, mut datagram) in datagrams {
            let local = self.hosts[host].clock.local(self.now);
            let first = self.plan.first_sequence;
            let overhead = self.hosts[host].layout.overhead();
            let overhead = overhead.front + overhead.back;
            let (routed, payload) = self.hosts[host].route(local, from, &mut datagram, first)?;
            let slot = match routed {
                Routed::Nowhere => continue,
                Routed::Slot(slot) => slot,
                Routed::Opens(id) => self.accept(from, id)?,
                Routed::Answers(header) => {
                    if let Some(datagram) = self.hosts[host].seal_alone(&header, &[]) {
                        self.send(host, from, &datagram);
                    }
                    continue;
                }
                Routed::Challenges(header, data) => {
                    let mut frames = FrameWriter::new(MAX_EXTENSION_LEN);
                    frames.push(&Frame::PathChallenge(data));
                    let payload = frames.payload();
                    if let Some(datagram) = self.hosts[host].seal_alone(&header, payload) {
                        self.send(host, from, &datagram);
                    }
                    continue;
                }
                Routed::Moved(slot) => {
                    if let Some(index) = self.hosts[host].slots[slot].conversation {
                        // It may have opened another meanwhile, as a new address begins.
                        self.conversations[index].server_slot = Some(slot);
                    }
                    touched.push(slot);
                    continue;
                }
            };
            let it = &mut self.hosts[host].slots[slot];
            if it.gone || matches!(it.session.state(), State::Closed(_)) {
                self.hosts[host].counts.ended += 1;
                continue;
            }
            if let Some(index) = it.conversation {
                let own = &self.conversations[index].ledgers[usize::from(host == 0)];
                it.watch.on_received(local, payload, own);
            }
            it.counters
                .on_received(payload, it.session.is_validated(), overhead);
            it.session.handle_datagram(local, payload);
            it.timeouts.on_datagram(&it.session, payload, local);
            if let Some(index) = it.conversation
                && !self.conversations[index].tainted
            {
                let own = &self.conversations[index].ledgers[usize::from(host == 0)];
                it.watch.check_received(&it.session, own)?;
                it.watch.on_read(local, payload, &it.session);
            }
            self.hosts[host].counts.delivered += 1;
            if touched.last() != Some(&slot) {
                touched.push(slot);
            }
        }
        for slot in touched {
            self.service(host, slot)?;
        }
        Ok(())
    }
}

/// Things that may happen at one moment.
const MAX_SPINS: u32 = 200_000;
