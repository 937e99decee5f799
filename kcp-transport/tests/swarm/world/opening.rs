//! Sessions begin.

use kcp_transport::config::Mode;
use kcp_transport::session::{FirstNumbers, Role};

use super::{Conversation, What, World};
use crate::app::App;
use crate::class::Class;
use crate::clock::SECOND;
use crate::host::Address;
use crate::ledger::{Identity, Ledger};
use crate::parity::Groups;
use crate::plan::{ConversationPlan, Flow, HostPlan, Plan};
use crate::watch::Watch;

impl World {
    /// Opens a conversation from a client.
    pub(super) fn start(&mut self, client: usize, plan: ConversationPlan) -> Result<(), String> {
        let index = self.conversations.len();
        let id = self.rng.next_u32();
        let luck = [self.rng.next_u32(), self.rng.next_u32()];
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
        let identity = identity(id, streams[0], luck[0], &plan, true);
        let mut watch = Watch::new(identity, host.config(), host.layout);
        watch.groups = groups(&self.plan, &self.plan.server);
        let local = host.clock.local(self.now);
        let parts = (app, watch, Some(index));
        let slot = host.open(local, (0, id, role), luck[0], first, parts);
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
            luck,
        });
        self.service(1 + client, slot)
    }

    /// Opens the server's side of whatever a packet of this id asks for.
    pub(super) fn accept(&mut self, from: Address, id: u32) -> Result<usize, String> {
        let index = self
            .conversations
            .iter()
            .position(|it| it.id == id && self.hosts[1 + it.client].address == from);
        self.hosts[0].counts.accepted += 1;
        let local = self.hosts[0].clock.local(self.now);
        let Some(index) = index.filter(|_| !self.over) else {
            return Ok(self.accept_stranger(from, id));
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
        let identity = identity(id, streams[0], it.luck[1], plan, false);
        let messages = plan.messages;
        let host = &mut self.hosts[0];
        let mut watch = Watch::new(identity, host.config(), host.layout);
        watch.groups = groups(&self.plan, &self.plan.clients[it.client].host);
        let parts = (app, watch, Some(index));
        let slot = host.open(local, (from, id, Role::Accept), it.luck[1], first, parts);
        if messages {
            let mode = Mode::Message;
            host.slots[slot].session.set_mode(mode);
        }
        it.server_slot = Some(slot);
        Ok(slot)
    }

    /// A session that nobody planned: it reads nothing and says nothing.
    pub(super) fn accept_stranger(&mut self, from: Address, id: u32) -> usize {
        let nothing = Flow {
            bytes: 0,
            chunk: 1,
            gap: 0,
            read_chunk: 1,
            read_gap: 0,
            never_read: true,
            out_of_band: 0,
        };
        let luck = self.rng.next_u32();
        let local = self.hosts[0].clock.local(self.now);
        let host = &mut self.hosts[0];
        let app = App::new([0, 0], nothing.clone(), nothing, false, None);
        let identity = Identity {
            conversation: id,
            stream: 0,
            first_sequence: 0,
            luck,
            messages: false,
            initiates: false,
        };
        let watch = Watch::new(identity, host.config(), host.layout);
        let name = (from, id, Role::Accept);
        host.open(
            local,
            name,
            luck,
            FirstNumbers::default(),
            (app, watch, None),
        )
    }
}

/// The peer's groups. Where several conversations share an address, nobody knows whose parity is.
fn groups(plan: &Plan, peer: &HostPlan) -> Option<Groups> {
    let others = [
        Class::SharedSocket,
        Class::CrashClient,
        // Makes the server talk to the client's address in other conversations.
        Class::ForgeForeign,
    ];
    let alone = !plan.classes.has_any(&others);
    peer.config.fec().filter(|_| alone).map(Groups::new)
}

fn identity(id: u32, stream: u64, luck: u32, plan: &ConversationPlan, initiates: bool) -> Identity {
    Identity {
        conversation: id,
        stream,
        first_sequence: plan.first_sequence,
        luck,
        messages: plan.messages,
        initiates,
    }
}
