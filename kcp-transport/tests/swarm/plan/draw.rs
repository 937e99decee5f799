//! How hosts, paths and conversations are drawn.

use std::sync::Arc;

use kcp_transport::testing::Rng;

use super::{ClientPlan, ConversationPlan, EarlyEnd, Flow, HostPlan};
use crate::class::{Class, Classes};
use crate::clock::Micros;
use crate::plan::options;
use crate::world::path::{Burst, PathPlan};

impl HostPlan {
    pub(super) fn draw(rng: &mut Rng, classes: Classes, calm: bool) -> Self {
        let mut config = options::draw(rng, classes, calm);
        let controllers = options::draw_controllers(rng.clone()).map(Arc::new);
        if let Some(controllers) = &controllers {
            let builder = config.to_builder().controller(controllers.clone());
            config = builder.build().expect("valid with any controller");
        }
        let wrap = 1_u64 << (31 + rng.below(2));
        let before = rng.below(8_000);
        let drift = rng.below(1001) as i64 - 500;
        let grain = [1_000, 10_000, 15_600][rng.below(3) as usize];
        let send_errors = rng.below(30) as f64 / 100.0;
        Self {
            config,
            controllers,
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
    pub(super) fn draw(
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
    pub(super) fn draw(
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
    pub(super) fn draw(
        rng: &mut Rng,
        classes: Classes,
        (mss, share): (u64, u64),
        halvings: u32,
    ) -> Self {
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
        longest: None,
    }
}
