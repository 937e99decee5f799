//! What a seed decides: hosts, paths, conversations, and the troubles to come.

use kcp_transport::config::Config;
use kcp_transport::crypto::{AeadKey, LegacyCipher, Security};
use kcp_transport::testing::Rng;

use super::class::{Class, Classes};
use super::clock::{Micros, SECOND};
use super::options;
use super::path::{Burst, PathPlan};

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
    /// How it ends once all is said: by the client, or by the server, and by shutting down or not.
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
        // From here on each part has luck of its own, so that switching off one class leaves the
        // others as they were.
        let luck = |part: u64| Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part);
        let calm = classes.are_calm();
        let healed_at = if calm {
            0
        } else {
            SECOND + luck(1).below(12 * SECOND)
        };
        let client_count = if classes.has(Class::Crowd) {
            2 + luck(2).below(5) as usize
        } else {
            1
        };
        let server = HostPlan::draw(&mut luck(3), classes, calm);
        let clients = (0..client_count)
            .map(|index| {
                let rng = &mut luck(100 + index as u64);
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
            attack_every: 5_000 << luck(5).below(7),
        };
        if classes.has(Class::NumberWrap) {
            let first = 0_u32.wrapping_sub(1 + luck(6).below(60) as u32);
            plan.number_from(first);
        }
        plan.draw_events(&luck);
        plan
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

    fn draw_events(&mut self, luck: &impl Fn(u64) -> Rng) {
        let end = self.healed_at;
        for class in self.classes.iter() {
            let rng = &mut luck(1000 + class as u64);
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
            _ => true,
        };
        let allowed = possible && (!calm || Class::HARMLESS.contains(&class));
        if rng.chance(probability) && allowed {
            classes = classes.with(class);
        }
    }
    classes
}

impl HostPlan {
    fn draw(rng: &mut Rng, classes: Classes, calm: bool) -> Self {
        let config = options::draw(rng, classes, calm);
        let wrap = 1_u64 << (31 + rng.below(2));
        let before = rng.below(8_000);
        let drift = rng.below(1001) as i64 - 500;
        let grain = [1_000, 10_000, 15_600][rng.below(3) as usize];
        let send_errors = rng.below(30) as f64 / 100.0;
        Self {
            config,
            clock_base: if classes.has(Class::ClockWrap) {
                (wrap - before) * 1000
            } else {
                rng.below(1 << 40)
            },
            drift: if classes.has(Class::Drift) { drift } else { 0 },
            timer_grain: if classes.has(Class::LateTimers) {
                grain
            } else {
                1
            },
            send_errors: if classes.has(Class::SendErrors) {
                send_errors
            } else {
                0.0
            },
        }
    }
}

impl ClientPlan {
    fn draw(
        rng: &mut Rng,
        classes: Classes,
        server: &HostPlan,
        (healed_at, share, halvings): (Micros, u64, u32),
    ) -> Self {
        let calm = classes.are_calm();
        let host = HostPlan::draw(rng, classes, calm);
        // Slower than this the first time-outs would pass before an answer can be there.
        let delay = 50 + rng.below(if calm { 30_000 } else { 80_000 });
        let up = draw_path(rng, classes, delay);
        let down = draw_path(rng, classes, delay);
        let sockets = rng.below(3) + 1;
        let count = if classes.has(Class::SharedSocket) {
            1 + sockets
        } else {
            1
        };
        let mss = host.config.mtu().min(server.config.mtu()) as u64 - 80;
        let budget = (mss, share * count);
        let conversations = (0..count)
            .map(|_| ConversationPlan::draw(rng, classes, healed_at, budget, halvings))
            .collect();
        Self {
            host,
            start: rng.below(healed_at / 4 + 1),
            up,
            down,
            conversations,
        }
    }
}

impl ConversationPlan {
    fn draw(
        rng: &mut Rng,
        classes: Classes,
        healed_at: Micros,
        (mss, share): (u64, u64),
        halvings: u32,
    ) -> Self {
        let messages = rng.chance(0.15);
        let ping_pong = rng.chance(0.2);
        let mut up = Flow::draw(rng, classes, (mss, share), halvings);
        let mut down = Flow::draw(rng, classes, (mss, share), halvings);
        if messages || ping_pong {
            // Each piece takes a segment or a round trip: a million are no other than some hundred.
            for flow in [&mut up, &mut down] {
                flow.chunk = flow.chunk.max(flow.bytes / 500);
            }
        }
        if ping_pong {
            down.bytes = up.bytes;
            down.chunk = up.chunk;
        }
        let groups = 1 + rng.below(12) as u32;
        let early = EarlyEnd {
            at: rng.below(healed_at + 1),
            by_client: rng.chance(0.5),
            abandons: rng.chance(0.5),
        };
        let wraps = classes.has(Class::NumberWrap);
        let up_bytes = up.bytes;
        Self {
            up,
            down,
            ping_pong,
            messages,
            first_sequence: 0,
            fec_groups_left: wraps.then_some(groups),
            lazy: rng.chance(0.3) && !messages && up_bytes > 0,
            early_end: classes.has(Class::EarlyEnd).then_some(early),
            client_ends: rng.chance(0.5),
            shuts_down: rng.chance(0.7),
        }
    }
}

impl Flow {
    fn draw(rng: &mut Rng, classes: Classes, (mss, share): (u64, u64), halvings: u32) -> Self {
        let most = [0, 1, 1, 12, 60, 60, 250, 700][rng.below(8) as usize] * mss / share;
        let bytes = (rng.below(most + 1) + u64::from(most > 0)) >> halvings;
        let (chunk, gap) = match rng.below(4) {
            // In bulk, in pieces at once, and in pieces now and then.
            0 | 1 => (32_768, 0),
            2 => (1 + rng.below(2 * mss), 0),
            _ => (1 + rng.below(2 * mss) + bytes / 60, rng.below(150_000)),
        };
        let slow = classes.has(Class::SlowReader) && rng.chance(0.7);
        let never_read = classes.has(Class::Unread) && rng.chance(0.7);
        let read_chunk = 1 + rng.below(8 * mss) + bytes / 40;
        let read_gap = rng.below(200_000);
        Self {
            bytes,
            chunk,
            gap,
            read_chunk: if slow { read_chunk } else { 65_536 },
            read_gap: if slow { read_gap } else { 0 },
            never_read,
            out_of_band: if rng.chance(0.3) {
                rng.below(20) as u32
            } else {
                0
            },
        }
    }
}

fn draw_path(rng: &mut Rng, classes: Classes, delay: Micros) -> PathPlan {
    let mut percent = |class: Class, most: u64| {
        let drawn = rng.below(most + 1) as f64 / 100.0;
        if classes.has(class) { drawn } else { 0.0 }
    };
    let loss = percent(Class::Loss, 25);
    let reorder = percent(Class::Reorder, 25);
    let duplicate = percent(Class::Duplicate, 30);
    let flip = percent(Class::Flip, 8);
    let truncate = percent(Class::Truncate, 8);
    let extend = percent(Class::Extend, 8);
    let begin = 0.002 + percent(Class::Burst, 4);
    let jitter = rng.below(20_000);
    let burst = Burst {
        begin,
        end: 0.1 + rng.below(40) as f64 / 100.0,
        loss: 0.5 + rng.below(50) as f64 / 100.0,
    };
    let rate = 40_000 + rng.below(2_000_000);
    let queue = 15_000 + rng.below(200_000);
    PathPlan {
        delay,
        jitter: if classes.has(Class::Jitter) {
            jitter
        } else {
            0
        },
        loss,
        burst: classes.has(Class::Burst).then_some(burst),
        reorder,
        duplicate,
        flip,
        truncate,
        extend,
        rate: classes.has(Class::Rate).then_some((rate, queue)),
    }
}
