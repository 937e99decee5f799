//! When a run must have come to rest, and what is still missing if it has not.

use std::time::Duration;

use kcp_transport::session::State;

use crate::class::Class;
use crate::clock::{Micros, SECOND};
use crate::run::micros;
use crate::world::World;
use crate::world::host::Slot;

/// How long everything may take once all troubles are over.
pub(crate) fn patience(world: &World) -> Micros {
    let pause = world.hosts.iter().map(|host| host.paused_until).max();
    let pause = pause.unwrap_or(0).saturating_sub(world.now);
    let mut longest = 0;
    for index in 0..world.conversations.len() {
        for client in [true, false] {
            let time = delivery_time(world, index, client);
            longest = longest.max(time);
        }
    }
    let mut time = pause + longest + 3 * SECOND;
    if world.plan.classes.has_any(&Class::ENDS) {
        // A session whose peer is gone ends by a time-out.
        let configs = world.hosts.iter().map(|host| host.config());
        let timeouts = configs.map(|config| {
            let user = config.user_timeout().unwrap_or_default();
            let idle = config.idle_timeout().unwrap_or_default();
            user.max(idle).max(config.connect_timeout()) + config.linger()
        });
        time += 2 * micros(timeouts.max().unwrap_or_default());
        // A peer that seems to have lost its state is probed eight times.
        let sessions = world.hosts.iter().flat_map(|host| &host.slots);
        let rtos = sessions.map(|slot| slot.session.stats().rto);
        time += 20 * micros(rtos.max().unwrap_or_default());
    }
    time
}

/// How long it takes at most to deliver what a side still has to send.
pub(crate) fn delivery_time(world: &World, index: usize, client: bool) -> Micros {
    let conversation = &world.conversations[index];
    let own = if client { 1 + conversation.client } else { 0 };
    let other = if client { 0 } else { 1 + conversation.client };
    let (own_host, other_host) = (&world.hosts[own], &world.hosts[other]);
    let (config, peer) = (own_host.config(), other_host.config());
    let flow = if client {
        &conversation.plan.up
    } else {
        &conversation.plan.down
    };
    let slot = world.side(index, client);
    let slot = slot.map(|(host, slot)| &world.hosts[host].slots[slot]);
    let slowest = slot.map_or(Duration::from_millis(200), |it| it.session.stats().rto);
    // More than planned, if it had more to send.
    let planned = slot.map_or(0, |it| it.app.target).max(flow.bytes);
    let mss = own_host.layout.mss().min(flow.chunk.max(1) as usize) as u64;
    let segments = planned / mss.max(1) + 1;
    let window = u64::from(config.send_window().min(peer.receive_window()));
    let buffer = config
        .send_buffer()
        .map_or(window, |it| (it as u64 / mss.max(1)).max(1));
    let window = window.min(buffer).max(1);
    let ticks = micros(config.flush_interval() + peer.flush_interval());
    let grains = 2 * (own_host.plan.timer_grain + other_host.plan.timer_grain).max(2_000);
    let [up, down] = &world.paths[conversation.client];
    let round = up.delay() + down.delay() + ticks + grains;
    // The congestion window opens by one a round.
    let slow_start = ((2 * segments) as f64).sqrt() as u64 * 2;
    let mut rounds = segments / window + slow_start + 8;
    if conversation.plan.ping_pong {
        rounds += 2 * planned / flow.chunk.max(1) + 2;
    }
    let rate = config
        .send_rate()
        .map_or(u64::MAX, |rate| rate.get())
        .min(40_000);
    let bytes = segments * (mss + 100) * if config.fec().is_some() { 3 } else { 1 };
    let transfer = 3 * bytes * SECOND / rate;
    // Time-outs that were backed off during an outage last at most as long as half of it.
    let backed_off = (world.plan.healed_at / 2).min(60 * SECOND) + 4 * micros(slowest);
    backed_off + rounds * round * 2 + transfer
}

pub(crate) fn is_settled(world: &World) -> bool {
    unsettled(world).is_none()
}

/// A conversation that is not over and where something is still missing.
pub(crate) fn unsettled(world: &World) -> Option<String> {
    if world.conversations.len() < world.plan.clients.len() {
        return Some("not all have begun".into());
    }
    if world.hosts.iter().any(|host| host.paused_until > world.now) {
        return Some("a host stands still".into());
    }
    (0..world.conversations.len()).find_map(|index| {
        [true, false].into_iter().find_map(|client| {
            let missing = missing(world, index, client)?;
            let side = if client { "client" } else { "server" };
            Some(format!("{side} of conversation {index}: {missing}"))
        })
    })
}

/// What a side of a conversation still waits for, if anything.
fn missing(world: &World, index: usize, client: bool) -> Option<String> {
    let slot = |client: bool| {
        world
            .side(index, client)
            .map(|(host, slot)| &world.hosts[host].slots[slot])
    };
    let (Some(own), peer) = (slot(client), slot(!client)) else {
        let peer = slot(!client)?;
        // The client never reached the server, or is gone.
        let waits = !peer.gone && peer.app.target > 0;
        return waits.then(|| "was never opened".into());
    };
    if own.gone || matches!(own.session.state(), State::Closed(_)) {
        return None;
    }
    let state = own.session.state();
    if state == State::Connecting {
        return Some("still connecting".into());
    }
    let reading = !own.app.never_reads() && state != State::Lingering;
    let peer_written = peer.map_or(0, |peer| peer.app.written);
    let has_all = !reading || own.app.read == peer_written;
    let peer_reads = peer.is_some_and(|peer| {
        !peer.app.never_reads() || matches!(peer.session.state(), State::Lingering)
    });
    let all_written = own.app.written == own.app.target || own_waits(own, peer);
    let said_all = all_written && own.session.is_drained();
    let peer_is_there = peer.is_some_and(|peer| !peer.gone);
    if !peer_is_there && world.hosts[0].config().idle_timeout().is_some() {
        return Some(format!(
            "has not noticed that its peer is gone, {state:?} {:?} {:?}",
            own.timeouts,
            own.session.stats()
        ));
    }
    if !has_all {
        return Some(format!("read {} of {peer_written}", own.app.read));
    }
    if !said_all && peer_reads && peer_is_there {
        let (written, target) = (own.app.written, own.app.target);
        let stats = own.session.stats();
        return Some(format!(
            "wrote {written} of {target}, {} queued, {} in flight, {state:?}",
            stats.queued, stats.in_flight
        ));
    }
    if !matches!(state, State::Established | State::Drained) && peer_reads {
        return Some(format!("still {state:?}"));
    }
    None
}

/// In a conversation of question and answer, one that stopped ends the other's talk.
fn own_waits(own: &Slot, peer: Option<&Slot>) -> bool {
    let silent =
        |peer: &Slot| peer.app.written == peer.app.target || peer.gone || peer.app.never_reads();
    own.app.waits_for_answer() && (own.app.never_reads() || peer.is_none_or(silent))
}
