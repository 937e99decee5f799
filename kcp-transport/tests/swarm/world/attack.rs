//! Packets of an attacker, which takes part in no conversation.

use std::collections::VecDeque;

use kcp_transport::testing::Rng;
use kcp_transport::wire::{
    Command, ConversationId, Frame, FrameWriter, Hello, MAX_EXTENSION_LEN, Received,
    SEGMENT_HEADER_LEN, SegmentHeader, ShardHeader, ShardKind, Timestamp, Token,
};

use crate::class::{Class, Classes};
use crate::plan::Plan;
use crate::world::Conversation;
use crate::world::host::{Address, Host};

pub(crate) struct Attacker {
    classes: Classes,
    rng: Rng,
    /// Packets that passed by: where to, where from, and the host that sent them.
    heard: VecDeque<(usize, Address, usize, Vec<u8>)>,
}

/// A datagram to put in front of a host, with the address it claims to come from.
pub(crate) type Strike = (usize, Address, Vec<u8>);

impl Attacker {
    pub(crate) fn new(plan: &Plan, seed: u64) -> Self {
        Self {
            classes: plan.classes,
            rng: Rng::new(seed),
            heard: VecDeque::new(),
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.classes.has_any(&KINDS)
    }

    pub(crate) fn overhear(&mut self, to: usize, from: Address, sender: usize, datagram: &[u8]) {
        if self.classes.has_any(&[Class::Replay, Class::Reflect]) && self.rng.chance(0.1) {
            if self.heard.len() == 40 {
                self.heard.pop_front();
            }
            self.heard.push_back((to, from, sender, datagram.to_vec()));
        }
    }

    /// A host has lost its state, and so cannot recognise what it sent or received before. Its recorded
    /// packets are dropped here, since replaying them would pass.
    pub(crate) fn forget(&mut self, host: usize) {
        self.heard
            .retain(|(to, _, sender, _)| *to != host && *sender != host);
    }

    pub(crate) fn strike(&mut self, hosts: &[Host], conversations: &[Conversation]) -> Vec<Strike> {
        let kinds: Vec<Class> = KINDS
            .into_iter()
            .filter(|&kind| self.classes.has(kind))
            .collect();
        let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
        let host = self.rng.below(hosts.len() as u64) as usize;
        let client = 1 + self.rng.below(hosts.len() as u64 - 1) as usize;
        // The client's address to the server, and the server's to a client.
        let from = if host > 0 {
            0
        } else if self.rng.chance(0.8) {
            hosts[client].address
        } else {
            7_000 + self.rng.below(100) as Address
        };
        match kind {
            Class::Garbage => {
                let mut bytes = vec![0; self.rng.below(300) as usize];
                self.rng.fill(&mut bytes);
                vec![(host, from, bytes)]
            }
            Class::ForgeForeign => {
                let id = self.rng.next_u32();
                vec![(host, from, self.forge(id, false))]
            }
            Class::ForgeOwn => {
                let Some(it) = self.pick(conversations) else {
                    return Vec::new();
                };
                let (id, client) = (it.id, it.client);
                let to_server = self.rng.chance(0.5);
                let (host, from) = if to_server {
                    (0, hosts[1 + client].address)
                } else {
                    (1 + client, 0)
                };
                match self.rng.below(4) {
                    0 => return vec![(host, from, self.forge_ack(it, to_server))],
                    1 => {
                        let elsewhere = to_server && self.rng.chance(0.3);
                        let from = if elsewhere { 7_777 } else { from };
                        return vec![(host, from, self.forge_frames(it, to_server))];
                    }
                    _ => {}
                }
                vec![(host, from, self.forge(id, true))]
            }
            Class::Replay => self.replay(),
            _ => self.reflect(),
        }
    }

    fn pick<'a>(&mut self, conversations: &'a [Conversation]) -> Option<&'a Conversation> {
        let index = self.rng.below(conversations.len() as u64) as usize;
        conversations.get(index)
    }

    fn replay(&mut self) -> Vec<Strike> {
        let index = self.rng.below(self.heard.len() as u64) as usize;
        let heard = self.heard.get(index);
        heard
            .map(|(to, from, _, datagram)| (*to, *from, datagram.clone()))
            .into_iter()
            .collect()
    }

    fn reflect(&mut self) -> Vec<Strike> {
        let index = self.rng.below(self.heard.len() as u64) as usize;
        let Some((to, from, sender, datagram)) = self.heard.get(index) else {
            return Vec::new();
        };
        // Its source is the host that it was sent to.
        let claimed = if *to == 0 { 0 } else { *from + *to as Address };
        vec![(*sender, claimed, datagram.clone())]
    }

    /// Acknowledges a segment in flight with an impossible timestamp: an attacker off the path cannot know
    /// the right one.
    fn forge_ack(&mut self, of: &Conversation, to_server: bool) -> Vec<u8> {
        let (sent, told) = of.ledgers[usize::from(to_server)].span();
        let first = of.plan.first_sequence;
        let ahead = self.rng.below(u64::from(sent - told.min(sent)) + 1) as u32;
        let header = SegmentHeader {
            conversation: ConversationId::new(of.id),
            command: Command::Ack,
            fragments_left: 0,
            // A wider one than there is would be believed.
            window: self.rng.below(2) as u16,
            timestamp: Timestamp::from_wire(self.rng.next_u32()),
            sequence: first.wrapping_add(told + ahead),
            unacknowledged: first.wrapping_add(told),
            payload_len: 0,
        };
        let header = if self.rng.chance(0.3) {
            // Or data beyond any window, which must not be acknowledged.
            let sequence = header.sequence.wrapping_add(10_000);
            SegmentHeader {
                command: Command::Push,
                sequence,
                ..header
            }
        } else {
            header
        };
        let mut packet = vec![0; SEGMENT_HEADER_LEN];
        header.encode(&mut packet);
        packet
    }

    /// A window update with frames of any kind. An attacker off the path knows no token.
    fn forge_frames(&mut self, of: &Conversation, to_server: bool) -> Vec<u8> {
        let (_, told) = of.ledgers[usize::from(to_server)].span();
        let rng = &mut self.rng;
        let mut frames = FrameWriter::new(MAX_EXTENSION_LEN);
        for _ in 0..1 + rng.below(3) {
            let (tag, data) = (Token::new(rng.next_u64().max(1)), rng.next_u64());
            let small = rng.below(50) as u32;
            let end = of.plan.first_sequence.wrapping_add(told + small);
            frames.push(&match rng.below(9) {
                0 => {
                    let mut hello = Hello::new(tag);
                    hello.confirmed = rng.chance(0.5);
                    hello.capabilities = small;
                    hello.echo = rng.chance(0.5).then_some(Token::new(data.max(1)));
                    Frame::Hello(hello)
                }
                1 => Frame::Fin { tag, end },
                2 => Frame::FinAck { tag, end },
                3 => Frame::Reset { tag, code: small },
                4 => Frame::Ping(data),
                5 => Frame::Pong(data),
                6 => Frame::PathChallenge(data),
                7 => {
                    // Of what is in flight, which cannot be acknowledged without the token.
                    let mut segments = Received::new(of.plan.first_sequence.wrapping_add(told));
                    segments.add(small as usize);
                    Frame::Received { tag, segments }
                }
                _ => Frame::PathResponse { tag, data },
            });
        }
        let header = SegmentHeader {
            conversation: ConversationId::new(of.id),
            command: Command::WindowUpdate,
            fragments_left: 0,
            // A wider one than there is would be believed.
            window: rng.below(2) as u16,
            timestamp: Timestamp::default(),
            sequence: 0,
            unacknowledged: of.plan.first_sequence.wrapping_add(told),
            payload_len: frames.payload().len() as u32,
        };
        let mut packet = vec![0; SEGMENT_HEADER_LEN];
        header.encode(&mut packet);
        packet.extend_from_slice(frames.payload());
        if self.rng.chance(0.3) {
            // Data for another conversation, where this one has a gap.
            let (_, next) = of.ledgers[usize::from(!to_server)].span();
            let foreign = SegmentHeader {
                conversation: ConversationId::new(!of.id),
                command: Command::Push,
                sequence: of.plan.first_sequence.wrapping_add(next),
                payload_len: 4,
                ..header
            };
            let start = packet.len();
            packet.resize(start + SEGMENT_HEADER_LEN + 4, 0);
            foreign.encode(&mut packet[start..]);
        }
        packet
    }

    /// A packet that looks right. Of the conversation itself it must be impossible: acknowledging
    /// what cannot have been sent, or cut short, or of an unknown kind.
    fn forge(&mut self, id: u32, impossible: bool) -> Vec<u8> {
        let rng = &mut self.rng;
        let commands = [
            Command::Push,
            Command::Ack,
            Command::WindowProbe,
            Command::WindowUpdate,
        ];
        let command = commands[rng.below(4) as usize];
        let mut len = rng.below(60) as usize;
        if command != Command::Push && rng.chance(0.8) {
            len = 0;
        }
        let small = rng.chance(0.5);
        let mut draw = |most: u64| {
            if small {
                rng.below(most) as u32
            } else {
                rng.next_u32()
            }
        };
        let sequence = draw(100);
        let mut header = SegmentHeader {
            conversation: ConversationId::new(id),
            command,
            fragments_left: draw(3) as u8,
            window: draw(2000) as u16,
            timestamp: Timestamp::from_wire(draw(100_000)),
            sequence,
            unacknowledged: draw(2),
            payload_len: len as u32,
        };
        let mut rest = vec![0; len];
        self.rng.fill(&mut rest);
        if impossible {
            // Far beyond what was sent, wherever the numbers began.
            header.unacknowledged = 0x1000_0000 + self.rng.below(0x6000_0000) as u32;
        }
        let mut packet = vec![0; SEGMENT_HEADER_LEN];
        header.encode(&mut packet);
        packet.extend_from_slice(&rest);
        if impossible && self.rng.chance(0.3) {
            match self.rng.below(2) {
                0 => packet[4] = 85 + self.rng.below(100) as u8,
                _ => packet[20..24].copy_from_slice(&(2000 + len as u32).to_le_bytes()),
            }
        }
        if self.rng.chance(0.3) {
            return self.shard(&packet);
        }
        packet
    }

    /// Puts a FEC header in front, with a number far from all others.
    fn shard(&mut self, packet: &[u8]) -> Vec<u8> {
        let kinds = [ShardKind::Data, ShardKind::Parity, ShardKind::OutOfBand];
        let kind = kinds[self.rng.below(3) as usize];
        let mut bytes = vec![0; 8];
        if kind == ShardKind::OutOfBand {
            // Its conversation is what the segment begins with; of the right one it would be read.
            let mut foreign = packet.to_vec();
            foreign[..4].copy_from_slice(&self.rng.next_u32().to_le_bytes());
            bytes.extend_from_slice(&foreign);
        } else {
            bytes.extend_from_slice(packet);
        }
        let sequence = 0x1000_0000 + self.rng.below(0xd000_0000) as u32;
        ShardHeader { sequence, kind }.encode(&mut bytes);
        ShardHeader::encode_size(&mut bytes[6..]);
        bytes
    }
}

const KINDS: [Class; 5] = [
    Class::Garbage,
    Class::ForgeForeign,
    Class::ForgeOwn,
    Class::Replay,
    Class::Reflect,
];
