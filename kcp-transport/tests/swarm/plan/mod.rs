//! What a seed decides: hosts, paths, conversations, and the troubles to come.

mod draw;
mod options;

use std::sync::Arc;

use kcp_transport::config::Config;
use kcp_transport::crypto::{AeadKey, LegacyCipher, Security};
use kcp_transport::testing::{Rng, ScriptedControllers};

use crate::class::{Class, Classes};
use crate::clock::{Micros, SECOND};
use crate::world::path::PathPlan;

/// All that a run depends on, besides the code under test.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "printed")]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The kinds of trouble that were drawn, less those that were switched off.
    pub(crate) classes: Classes,
    /// How often the workload was halved.
    pub(crate) halvings: u32,
    pub(crate) cipher: Cipher,
    pub(crate) first_sequence: u32,
    pub(crate) server: HostPlan,
    pub(crate) clients: Vec<ClientPlan>,
    /// When all troubles end.
    pub(crate) healed_at: Micros,
    pub(crate) events: Vec<(Micros, Trouble)>,
    /// Mean time between attacks.
    pub(crate) attack_every: Micros,
}

/// Which cipher protects packets: one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    Plaintext,
    /// A checksum, and nothing encrypted.
    Checksum,
    Cfb,
    Aead,
}

#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    pub(crate) config: Config,
    /// Controllers that are in the configuration.
    pub(crate) controllers: Option<Arc<ScriptedControllers>>,
    pub(crate) clock_base: u64,
    pub(crate) drift: i64,
    /// Timers fire on multiples of this.
    pub(crate) timer_grain: Micros,
    pub(crate) send_errors: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) host: HostPlan,
    pub(crate) start: Micros,
    pub(crate) up: PathPlan,
    pub(crate) down: PathPlan,
    pub(crate) conversations: Vec<ConversationPlan>,
}

#[derive(Clone, Debug)]
pub(crate) struct ConversationPlan {
    pub(crate) up: Flow,
    pub(crate) down: Flow,
    /// Each side waits for the other's answer.
    pub(crate) ping_pong: bool,
    pub(crate) messages: bool,
    pub(crate) first_sequence: u32,
    pub(crate) fec_groups_left: Option<u32>,
    /// Connects without asking for a sign of life.
    pub(crate) lazy: bool,
    pub(crate) early_end: Option<EarlyEnd>,
    /// How it ends once everything is written: by the client or the server, with a shutdown or without.
    pub(crate) client_ends: bool,
    pub(crate) shuts_down: bool,
}

/// A side ends the conversation while it goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EarlyEnd {
    pub(crate) at: Micros,
    pub(crate) by_client: bool,
    pub(crate) abandons: bool,
}

/// What one side sends and how the other reads it.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) bytes: u64,
    /// Bytes of a write, and time between two.
    pub(crate) chunk: u64,
    pub(crate) gap: Micros,
    /// Bytes of a read, and time between two.
    pub(crate) read_chunk: u64,
    pub(crate) read_gap: Micros,
    pub(crate) never_read: bool,
    /// Datagrams out of band.
    pub(crate) out_of_band: u32,
}

/// Something that happens to a host or path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Cut {
        client: usize,
        up: bool,
        down: bool,
        until: Micros,
    },
    Rebind {
        client: usize,
    },
    /// A side of some conversation of the client gives up.
    GiveUp {
        client: usize,
        which: u64,
        by_client: bool,
    },
    CrashServer,
    CrashClient {
        client: usize,
        same_address: bool,
    },
    /// Host 0 is the server, host 1 the first client.
    Pause {
        host: usize,
        until: Micros,
        clock_stands: bool,
    },
    /// Longer datagrams are lost until all is healed, or it happens again.
    Narrow {
        client: usize,
        up: bool,
        longest: usize,
    },
    /// The host is short of memory.
    Scarce {
        host: usize,
        until: Micros,
    },
}

impl Plan {
    pub(crate) fn draw(seed: u64, allowed: Classes, halvings: u32) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed_5eed);
        let cipher = match rng.below(8) {
            0 | 1 => Cipher::Aead,
            2 => Cipher::Cfb,
            3 => Cipher::Checksum,
            _ => Cipher::Plaintext,
        };
        let classes = draw_classes(&mut rng, cipher).and(allowed);
        // From here on each part has a seed of its own, so that switching off one class leaves the
        // others as they were.
        let part_rng = |part: u64| Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part);
        let calm = classes.are_calm();
        let healed_at = if calm {
            0
        } else {
            SECOND + part_rng(1).below(12 * SECOND)
        };
        let client_count = if classes.has(Class::Crowd) {
            2 + part_rng(2).below(5) as usize
        } else {
            1
        };
        let server = HostPlan::draw(&mut part_rng(3), classes, calm);
        let clients = (0..client_count)
            .map(|index| {
                let rng = &mut part_rng(100 + index as u64);
                let share = client_count as u64;
                ClientPlan::draw(rng, classes, &server, (healed_at, share, halvings))
            })
            .collect();
        let mut plan = Self {
            seed,
            classes,
            halvings,
            cipher,
            first_sequence: 0,
            server,
            clients,
            healed_at,
            events: Vec::new(),
            attack_every: 5_000 << part_rng(5).below(7),
        };
        if classes.has(Class::NumberWrap) {
            let first = 0_u32.wrapping_sub(1 + part_rng(6).below(60) as u32);
            plan.number_from(first);
        }
        if classes.has(Class::Narrow) {
            plan.narrow_paths(&part_rng);
        }
        plan.draw_events(&part_rng);
        plan
    }

    /// Limits the length of datagrams for good, to what they have at first or more.
    ///
    /// Messages to a small window need segments that would never pass.
    fn narrow_paths(&mut self, part_rng: &impl Fn(u64) -> Rng) {
        for (index, client) in self.clients.iter_mut().enumerate() {
            if client.conversations.iter().any(|it| it.messages) {
                continue;
            }
            let rng = &mut part_rng(200 + index as u64);
            for path in [&mut client.up, &mut client.down] {
                path.longest = Some(1_200 + rng.below(300) as usize);
            }
        }
    }

    /// Lets all sequence numbers begin at `first`.
    fn number_from(&mut self, first: u32) {
        self.first_sequence = first;
        let clients = self.clients.iter_mut();
        for conversation in clients.flat_map(|client| &mut client.conversations) {
            conversation.first_sequence = first;
        }
    }

    pub(crate) fn security(&self) -> Security {
        match self.cipher {
            Cipher::Plaintext => Security::Plaintext,
            Cipher::Checksum => Security::Legacy(LegacyCipher::none()),
            Cipher::Cfb => Security::Legacy(LegacyCipher::aes_128(&[7; 16]).expect("16 bytes")),
            Cipher::Aead => Security::Aead(AeadKey::aes_128_gcm(&[7; 16]).expect("16 bytes")),
        }
    }

    fn draw_events(&mut self, part_rng: &impl Fn(u64) -> Rng) {
        let end = self.healed_at;
        for class in self.classes.iter() {
            let rng = &mut part_rng(1000 + class as u64);
            let client_count = self.clients.len() as u64;
            let client = rng.below(client_count) as usize;
            let at = rng.below(end);
            let mut add = |trouble| self.events.push((at, trouble));
            match class {
                Class::BlackHole | Class::OneWay => {
                    let both = class == Class::BlackHole;
                    let up = both || rng.chance(0.5);
                    let until = at + rng.below(end - at);
                    add(Trouble::Cut {
                        client,
                        up,
                        down: both || !up,
                        until,
                    });
                }
                Class::Vanish => add(Trouble::Cut {
                    client,
                    up: true,
                    down: true,
                    until: Micros::MAX,
                }),
                Class::Rebind => add(Trouble::Rebind { client }),
                Class::GiveUp => add(Trouble::GiveUp {
                    client,
                    which: rng.below(1 << 20),
                    by_client: rng.chance(0.5),
                }),
                Class::CrashServer => add(Trouble::CrashServer),
                Class::CrashClient => add(Trouble::CrashClient {
                    client,
                    same_address: rng.chance(0.5),
                }),
                Class::Pause => {
                    let host = rng.below(client_count + 1) as usize;
                    let long = [end - at, 3_600 * SECOND, 26 * 86_400 * SECOND];
                    let kind = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2][rng.below(10) as usize];
                    // Others would keep their conversations alive all the while.
                    let kind = if client_count > 1 { 0 } else { kind };
                    let until = at + rng.below(long[kind]);
                    let clock_stands = rng.chance(0.3);
                    add(Trouble::Pause {
                        host,
                        until,
                        clock_stands,
                    });
                }
                Class::Narrow => {
                    // In both directions, and in one more.
                    let both = [true, false, rng.chance(0.5)];
                    let narrow = both.map(|up| Trouble::Narrow {
                        client,
                        up,
                        longest: 300 + rng.below(1_200) as usize,
                    });
                    self.events.push((at, narrow[0]));
                    self.events.push((at, narrow[1]));
                    self.events.push((at + rng.below(end - at), narrow[2]));
                }
                Class::Scarce => {
                    let host = rng.below(client_count + 1) as usize;
                    let passing = at + rng.below(end - at);
                    let until = if rng.chance(0.5) {
                        passing
                    } else {
                        Micros::MAX
                    };
                    add(Trouble::Scarce { host, until });
                }
                _ => {}
            }
        }
        self.events.sort_by_key(|(at, _)| *at);
    }
}

/// Each class is on or off; calm seeds have none.
fn draw_classes(rng: &mut Rng, cipher: Cipher) -> Classes {
    // Without any trouble the strictest rules hold.
    let calm = rng.chance(0.15);
    let share = [0.06, 0.15, 0.35][rng.below(3) as usize];
    // Those that end conversations are rarer, or few others would get anywhere.
    let hard = if rng.chance(0.4) { 0.2 } else { 0.0 };
    let plain = cipher == Cipher::Plaintext;
    let mut classes = Classes::NONE;
    for class in Class::ALL {
        let probability = if Class::CUTS.contains(&class) || class == Class::Unread {
            hard
        } else {
            share
        };
        let possible = match class {
            Class::Flip | Class::Truncate | Class::Extend | Class::Reflect => !plain,
            Class::ForgeForeign | Class::ForgeOwn => plain,
            // Time-outs are short with these, and may pass while the path is narrow.
            Class::Narrow => !classes.has_any(&Class::ENDS),
            _ => true,
        };
        let allowed = possible && (!calm || Class::HARMLESS.contains(&class));
        if rng.chance(probability) && allowed {
            classes = classes.with(class);
        }
    }
    classes
}
