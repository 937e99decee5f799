//! A whole run: troubles, healing, and what must then be true.

use std::time::Duration;

use kcp_transport::config::{AckPolicy, Config};
use kcp_transport::error::ConnectionError;
use kcp_transport::session::State;

use super::class::{Class, Classes};
use super::clock::{Micros, SECOND};
use super::figures::Figures;
use super::host::Slot;
use super::plan::Plan;
use super::world::{How, World};

/// What is left of a run that found nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) figures: Figures,
}

/// Runs a plan to its end; an error is a violation.
pub(crate) fn run(plan: Plan) -> Result<Outcome, String> {
    let mut world = World::new(plan);
    advance(&mut world, |world| world.plan.healed_at, |_| false)?;
    world.heal()?;
    let talk_until = world.now + patience(&world);
    let settled_at = advance(&mut world, |_| talk_until, is_settled)?;
    if let Some(what) = unsettled(&world) {
        return Err(format!(
            "after {:.3} s without trouble: {what}",
            seconds(world.now - world.plan.healed_at)
        ));
    }
    check_errors(&world)?;
    if world.plan.classes.are_calm() {
        check_calm(&world, settled_at)?;
    }
    check_clean_ends(&world)?;
    let before = talking(&world);
    // Long enough for any time-out, now and then.
    let quiet = if world.plan.seed.is_multiple_of(8) {
        300
    } else {
        // The last hello, and memory that is given back a second later.
        4
    };
    let quiet_until = world.now + quiet * SECOND;
    advance(&mut world, |_| quiet_until, |_| false)?;
    check_quiet(&world)?;
    let apart = [
        Class::Vanish,
        Class::Rebind,
        Class::CrashServer,
        Class::CrashClient,
    ];
    if talking(&world) != before && !world.plan.classes.has_any(&apart) {
        return Err("an idle conversation ended by itself".into());
    }
    half_close(&mut world)?;
    end_all(&mut world)?;
    check_resets(&world)?;
    check_counts(&world)?;
    let mut trace = world.trace;
    trace.mix(world.now);
    let mut figures = Figures::default();
    figures.add_world(&world, settled_at);
    Ok(Outcome {
        trace: trace.0,
        figures,
    })
}

/// Steps until `limit` or until `done`; returns when that was.
fn advance(
    world: &mut World,
    limit: impl Fn(&World) -> Micros,
    done: impl Fn(&World) -> bool,
) -> Result<Micros, String> {
    let limit = limit(world);
    let mut asked = None;
    loop {
        if asked != Some(world.now) && done(world) {
            return Ok(world.now);
        }
        asked = Some(world.now);
        if !world.step(limit).map_err(|error| at(world, &error))? {
            return Ok(world.now);
        }
    }
}

fn at(world: &World, error: &str) -> String {
    format!("at {:.6} s, {error}", seconds(world.now))
}

fn seconds(time: Micros) -> f64 {
    time as f64 / SECOND as f64
}

/// How long everything may take once all troubles are over.
fn patience(world: &World) -> Micros {
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
        // Whoever waits for a peer that is gone learns it from a time-out.
        let configs = world.hosts.iter().map(|host| host.config());
        let timeouts = configs.map(|config| {
            let user = config.user_timeout().unwrap_or_default();
            let idle = config.idle_timeout().unwrap_or_default();
            user.max(idle).max(config.connect_timeout()) + config.linger()
        });
        time += 2 * micros(timeouts.max().unwrap_or_default());
    }
    time
}

/// How long it takes at most to deliver what a side still has to say.
fn delivery_time(world: &World, index: usize, client: bool) -> Micros {
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
    // More than planned, if it had more to say.
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

fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

fn is_settled(world: &World) -> bool {
    unsettled(world).is_none()
}

/// A conversation that is not over and where something is still missing.
fn unsettled(world: &World) -> Option<String> {
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
        // The server was never asked, or not by anyone who is still there.
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
            own.pulse,
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

/// Errors come only where there is a reason.
fn check_errors(world: &World) -> Result<(), String> {
    let classes = world.plan.classes;
    check_sense(world)?;
    check_resets(world)?;
    check_followed(world)?;
    let cut = classes.has_any(&Class::ENDS);
    for host in &world.hosts {
        for slot in &host.slots {
            let Some(error) = slot.session.error() else {
                continue;
            };
            let excused = match error {
                ConnectionError::ConnectTimeout
                | ConnectionError::PeerUnresponsive
                | ConnectionError::IdleTimeout
                | ConnectionError::LingerTimeout => cut || slot.conversation.is_none(),
                ConnectionError::PeerRestarted => may_regress(classes),
                // Whether the other side said so is checked for all.
                ConnectionError::Reset(_) => cut || slot.conversation.is_none(),
                _ => false,
            };
            if !excused {
                return Err(format!(
                    "{error:?} without a reason in {:?}",
                    slot.conversation
                ));
            }
        }
    }
    Ok(())
}

/// Where all are honest, every packet makes sense.
fn check_sense(world: &World) -> Result<(), String> {
    let liars = [
        Class::Garbage,
        Class::ForgeForeign,
        Class::ForgeOwn,
        Class::SharedSocket,
        Class::Replay,
        Class::Rebind,
        Class::CrashServer,
        Class::CrashClient,
    ];
    if world.plan.classes.has_any(&liars) {
        return Ok(());
    }
    for slot in world.hosts.iter().flat_map(|host| &host.slots) {
        let stats = slot.session.stats();
        if stats.invalid_received + stats.fec_errors > 0 {
            return Err(format!("honest packets make no sense: {stats:?}"));
        }
    }
    Ok(())
}

/// Who lets go of a conversation has said all before it is over.
fn check_clean_ends(world: &World) -> Result<(), String> {
    let cuts: Vec<Class> = Class::ENDS
        .into_iter()
        .filter(|&class| class != Class::EarlyEnd)
        .collect();
    if world.plan.classes.has_any(&cuts) {
        return Ok(());
    }
    for index in 0..world.conversations.len() {
        for client in [true, false] {
            let slot = |client: bool| {
                let (host, slot) = world.side(index, client)?;
                Some(&world.hosts[host].slots[slot])
            };
            let (Some(own), Some(peer)) = (slot(client), slot(!client)) else {
                continue;
            };
            let clean = own.session.state() == State::Closed(None) && own.session.is_drained();
            let listens = !peer.app.never_reads()
                && !matches!(peer.session.state(), State::Closed(None) | State::Lingering);
            if clean && listens && own.app.written != peer.app.read {
                let (written, read) = (own.app.written, peer.app.read);
                return Err(format!(
                    "{index}: {written} written, {read} read, and no error"
                ));
            }
        }
    }
    Ok(())
}

/// Conversations in which both sides are there and may go on.
fn talking(world: &World) -> usize {
    let up = |index: usize, client: bool| {
        world.side(index, client).is_some_and(|(host, slot)| {
            let it = &world.hosts[host].slots[slot];
            !it.gone && it.session.state() == State::Established
        })
    };
    (0..world.conversations.len())
        .filter(|&index| up(index, true) && up(index, false))
        .count()
}

/// Whether a peer may have lost its state, or packets of its past may come for so long that it
/// looks like that. One that fell silent for long is forgotten, and met anew.
fn may_regress(classes: Classes) -> bool {
    classes.has_any(&Class::ENDS)
}

/// Where nothing goes wrong, nothing is sent twice and nothing takes longer than it must.
fn check_calm(world: &World, settled_at: Micros) -> Result<(), String> {
    for host in &world.hosts {
        for slot in &host.slots {
            let stats = slot.session.stats();
            let shared = world.plan.classes.has(Class::SharedSocket);
            let clean = stats.retransmitted == 0
                && (stats.invalid_received == 0 || shared)
                && (stats.fec_errors == 0 || shared);
            if !clean && is_strict(world) {
                return Err(format!(
                    "sent again or refused on a perfect path: {stats:?}"
                ));
            }
        }
    }
    let longest = (0..world.conversations.len())
        .flat_map(|index| [true, false].map(|client| delivery_time(world, index, client)))
        .max();
    if longest.is_some_and(|longest| settled_at > longest) {
        return Err(format!(
            "took {:.3} s on a perfect path",
            seconds(settled_at)
        ));
    }
    Ok(())
}

/// Whether options leave no room for a time-out: no rate makes packets wait, acknowledgements come
/// within what the other side allows for, and the first flight fits into any window.
fn is_strict(world: &World) -> bool {
    let (server, clients) = (world.hosts[0].config(), &world.hosts[1..]);
    let fits = |own: &Config, peer: &Config| {
        let prompt = peer.ack_policy() == AckPolicy::Immediate
            || peer.flush_interval() <= own.flush_interval();
        let narrow = own.send_window() > peer.receive_window() && peer.receive_window() < 32;
        let roomy = peer.receive_buffer().is_none();
        own.send_rate().is_none() && prompt && roomy && !narrow
    };
    // Datagrams out of band may use up what a server may send to an address not yet proved.
    let talks = &world.conversations;
    let quiet = talks.iter().all(|it| it.plan.down.out_of_band == 0);
    let mut clients = clients.iter();
    quiet && clients.all(|client| fits(client.config(), server) && fits(server, client.config()))
}

/// Once all is said, a session without keepalive and idle time-out needs no timer.
fn check_quiet(world: &World) -> Result<(), String> {
    for host in &world.hosts {
        let config = host.config();
        for slot in host.slots.iter().filter(|slot| !slot.gone) {
            let local = host.clock.local(world.now);
            slot.pulse.check_overdue(&slot.session, config, local)?;
            let idle = config.keepalive().is_none()
                && config.idle_timeout().is_none()
                && slot.session.is_drained()
                && !slot.session.is_readable();
            if idle && let Some(at) = slot.session.poll_timeout() {
                return Err(format!("an idle session has a timer: {at:?} at {local:?}"));
            }
        }
    }
    Ok(())
}

/// Who was reset was so by the other side, which had a reason: all that it says is looked at.
fn check_resets(world: &World) -> Result<(), String> {
    for (host, it) in world.hosts.iter().enumerate() {
        for slot in &it.slots {
            let (Some(ConnectionError::Reset(code)), Some(index)) =
                (slot.session.error(), slot.conversation)
            else {
                continue;
            };
            let conversation = &world.conversations[index];
            let said = conversation.ledgers[usize::from(host != 0)].frames.reset;
            if !conversation.tainted && said != Some(code.get()) {
                return Err(format!(
                    "{index}: reset with {code:?}, but {said:?} was said"
                ));
            }
        }
    }
    Ok(())
}

/// Who may move and was known before goes on at the new address, and nothing is lost.
fn check_followed(world: &World) -> Result<(), String> {
    for (index, conversation) in world.conversations.iter().enumerate() {
        if !conversation.follows {
            continue;
        }
        let sides = [true, false].map(|client| {
            let (host, slot) = world.side(index, client)?;
            Some(&world.hosts[host].slots[slot])
        });
        let [Some(client), Some(server)] = sides else {
            return Err(format!("{index}: a side is missing after a move"));
        };
        let fine = |slot: &Slot| !slot.gone && slot.session.error().is_none();
        if conversation.tainted || !fine(client) || !fine(server) {
            let states = [client, server].map(|slot| slot.session.state());
            return Err(format!("{index} did not survive a move: {states:?}"));
        }
    }
    Ok(())
}

/// One side says that it is done: the other hears it, and goes on talking.
fn half_close(world: &mut World) -> Result<(), String> {
    let mut halves = Vec::new();
    for index in 0..world.conversations.len() {
        let plan = &world.conversations[index].plan;
        let (by_client, shuts_down) = (plan.client_ends, plan.shuts_down);
        if !shuts_down {
            continue;
        }
        if is_whole(world, index) {
            halves.push(index);
        }
        world.end(index, by_client, How::Shutdown)?;
        if halves.last() == Some(&index) {
            world.say_more(index, !by_client)?;
        }
    }
    let limit = world.now + patience(world);
    let open = |world: &World| halves.iter().find_map(|&index| half_open(world, index));
    advance(world, |_| limit, |world| open(world).is_none())?;
    open(world).map_or(Ok(()), Err)
}

/// Whether both sides are there, listen, and will not be kept from it.
fn is_whole(world: &World, index: usize) -> bool {
    let apart = [
        Class::Vanish,
        Class::Rebind,
        Class::CrashServer,
        Class::CrashClient,
    ];
    let up = |client: bool| {
        world.side(index, client).is_some_and(|(host, slot)| {
            let it = &world.hosts[host].slots[slot];
            !it.gone && it.session.state() == State::Established && !it.app.never_reads()
        })
    };
    !world.plan.classes.has_any(&apart) && up(true) && up(false)
}

/// What is missing in a conversation of which one side has shut down.
fn half_open(world: &World, index: usize) -> Option<String> {
    let by_client = world.conversations[index].plan.client_ends;
    let slot = |client: bool| {
        let (host, slot) = world.side(index, client)?;
        Some(&world.hosts[host].slots[slot])
    };
    let (ended, other) = (slot(by_client)?, slot(!by_client)?);
    let (state, error) = (ended.session.state(), other.session.error());
    if state != State::Drained || error.is_some() {
        return Some(format!(
            "{index}: {state:?} after a shutdown, other side: {error:?}"
        ));
    }
    let (target, written, read) = (other.app.target, other.app.written, ended.app.read);
    if written < target || read < written {
        return Some(format!(
            "{index}: half closed, {written} of {target} written and {read} read"
        ));
    }
    let tells = ended.session.has_extensions() && other.session.has_extensions();
    if other.session.is_finished() != tells {
        return Some(format!(
            "{index}: half closed, extensions {tells}, finished {}",
            !tells
        ));
    }
    None
}

/// Each conversation ends as it was planned, and nothing is left.
fn end_all(world: &mut World) -> Result<(), String> {
    for index in 0..world.conversations.len() {
        let plan = &world.conversations[index].plan;
        let (by_client, shuts_down) = (plan.client_ends, plan.shuts_down);
        if shuts_down {
            world.end(index, !by_client, How::Shutdown)?;
        } else {
            world.end(index, by_client, How::Abandon)?;
        }
    }
    let linger = world.hosts.iter().map(|host| host.config().linger()).max();
    let limit = world.now + micros(linger.unwrap_or_default()) + 3 * SECOND;
    advance(
        world,
        |_| limit,
        |world| {
            let mut slots = world.hosts.iter().flat_map(|host| &host.slots);
            slots.all(|slot| slot.session.state() != State::Draining)
        },
    )?;
    let draining = |slot: &Slot| !slot.gone && slot.session.state() == State::Draining;
    if world
        .hosts
        .iter()
        .flat_map(|host| &host.slots)
        .any(draining)
    {
        return Err("a session drains for ever".into());
    }
    world.abandon_all()?;
    let limit = world.now + micros(linger.unwrap_or_default()) + 20 * SECOND;
    let is_over = |slot: &Slot| slot.gone || slot.conversation.is_none();
    advance(
        world,
        |_| limit,
        |world| world.hosts.iter().flat_map(|host| &host.slots).all(is_over),
    )?;
    let left = world
        .hosts
        .iter()
        .flat_map(|host| &host.slots)
        .find(|it| !is_over(it));
    match left {
        Some(slot) => Err(format!("a session is left, {:?}", slot.session.state())),
        None => Ok(()),
    }
}

fn check_counts(world: &World) -> Result<(), String> {
    for (index, host) in world.hosts.iter().enumerate() {
        if !host.counts.add_up() {
            return Err(format!("host {index} counts {:?}", host.counts));
        }
        for slot in &host.slots {
            slot.tally.check(&slot.session)?;
            if let Some(groups) = &slot.watch.groups {
                groups.check()?;
            }
        }
    }
    Ok(())
}
