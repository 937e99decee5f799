//! Sessions begin.

use kcp_transport::config::Mode;
use kcp_transport::session::{FirstNumbers, Role};

use super::{Conversation, What, World};
use crate::class::Class;
use crate::clock::SECOND;
use crate::plan::{ConversationPlan, Flow, HostPlan, Plan};
use crate::watch::Watch;
use crate::watch::fec_oracle::FecOracle;
use crate::watch::ledger::{Identity, Ledger};
use crate::world::app::App;
use crate::world::host::Address;

impl World {
    /// Opens a conversation from a client.
    pub(super) fn start(&mut self, client: usize, plan: ConversationPlan) -> Result<(), String> {
        let index = self.conversations.len();
        let id = self.rng.next_u32();
        let seed = [self.rng.next_u32(), self.rng.next_u32()];
        let first = FirstNumbers {
            sequence: plan.first_sequence,
            fec_groups_left: plan.fec_groups_left,
        };
        let streams = [2 * index as u64, 2 * index as u64 + 1];
        let (up, down) = (plan.up.clone(), plan.down.clone());
        let ping_pong = plan.ping_pong.then_some(true);
        let app = App::new(streams, up, down, plan.messages, ping_pong);
        let role = if plan.lazy {
            Role::ConnectLazy
        } else {
            Role::Connect
        };
        let host = &mut self.hosts[1 + client];
        let identity = identity(id, streams[0], seed[0], &plan, true);
        let mut watch = Watch::new(identity, host.config(), host.layout);
        watch.groups = groups(&self.plan, &self.plan.server);
        let local = host.clock.local(self.now);
        let parts = (app, watch, Some(index));
        let slot = host.open(local, (0, id, role), seed[0], first, parts);
        if plan.messages {
            let mode = Mode::Message;
            host.slots[slot].session.set_mode(mode);
        }
        if let Some(end) = plan.early_end {
            self.schedule(
                self.now.max(end.at),
                What::EarlyEnd {
                    conversation: index,
                },
            );
        }
        self.conversations.push(Conversation {
            id,
            client,
            plan,
            client_slot: slot,
            server_slot: None,
            ledgers: Default::default(),
            tainted: false,
            follows: false,
            seed,
        });
        self.service(1 + client, slot)
    }

    /// Opens the server's side of the conversation with this id.
    pub(super) fn accept(&mut self, from: Address, id: u32) -> Result<usize, String> {
        let index = self
            .conversations
            .iter()
            .position(|it| it.id == id && self.hosts[1 + it.client].address == from);
        self.hosts[0].counts.accepted += 1;
        let local = self.hosts[0].clock.local(self.now);
        let Some(index) = index.filter(|_| !self.over) else {
            return Ok(self.accept_unplanned(from, id));
        };
        if let Some(before) = self.conversations[index].server_slot {
            let it = &mut self.conversations[index];
            it.tainted = true;
            it.ledgers[1] = Ledger::default();
            let same_address = self.hosts[0].slots[before].peer == from;
            let long_ago = self.now > 120 * SECOND;
            if same_address && !self.server_crashed && !long_ago {
                return Err("a conversation that ended is opened again".into());
            }
        }
        let it = &mut self.conversations[index];
        let plan = &it.plan;
        let streams = [2 * index as u64 + 1, 2 * index as u64];
        let (up, down) = (plan.up.clone(), plan.down.clone());
        let ping_pong = plan.ping_pong.then_some(false);
        let mut app = App::new(streams, down, up, plan.messages, ping_pong);
        if self.healed {
            app.hurry(self.now);
        }
        let first = FirstNumbers {
            sequence: plan.first_sequence,
            fec_groups_left: plan.fec_groups_left,
        };
        let identity = identity(id, streams[0], it.seed[1], plan, false);
        let messages = plan.messages;
        let host = &mut self.hosts[0];
        let mut watch = Watch::new(identity, host.config(), host.layout);
        watch.groups = groups(&self.plan, &self.plan.clients[it.client].host);
        let parts = (app, watch, Some(index));
        let slot = host.open(local, (from, id, Role::Accept), it.seed[1], first, parts);
        if messages {
            let mode = Mode::Message;
            host.slots[slot].session.set_mode(mode);
        }
        it.server_slot = Some(slot);
        Ok(slot)
    }

    /// A session that is not in the plan: it reads nothing and writes nothing.
    pub(super) fn accept_unplanned(&mut self, from: Address, id: u32) -> usize {
        let nothing = Flow {
            bytes: 0,
            chunk: 1,
            gap: 0,
            read_chunk: 1,
            read_gap: 0,
            never_read: true,
            out_of_band: 0,
        };
        let seed = self.rng.next_u32();
        let local = self.hosts[0].clock.local(self.now);
        let host = &mut self.hosts[0];
        let app = App::new([0, 0], nothing.clone(), nothing, false, None);
        let identity = Identity {
            conversation: id,
            stream: 0,
            first_sequence: 0,
            seed,
            messages: false,
            initiates: false,
        };
        let watch = Watch::new(identity, host.config(), host.layout);
        let name = (from, id, Role::Accept);
        host.open(
            local,
            name,
            seed,
            FirstNumbers::default(),
            (app, watch, None),
        )
    }
}

/// The peer's FEC groups. Where conversations share an address, parity belongs to none of them.
fn groups(plan: &Plan, peer: &HostPlan) -> Option<FecOracle> {
    let others = [
        Class::SharedSocket,
        Class::CrashClient,
        // Makes the server talk to the client's address in other conversations.
        Class::ForgeForeign,
    ];
    let alone = !plan.classes.has_any(&others);
    peer.config.fec().filter(|_| alone).map(FecOracle::new)
}

fn identity(id: u32, stream: u64, seed: u32, plan: &ConversationPlan, initiates: bool) -> Identity {
    Identity {
        conversation: id,
        stream,
        first_sequence: plan.first_sequence,
        seed,
        messages: plan.messages,
        initiates,
    }
}
