//! A whole run: troubles, healing, and what must then be true.

mod ending;
mod errors;
pub(crate) mod figures;
mod settling;
pub(crate) mod shrink;

use std::time::Duration;

use kcp_transport::config::{AckPolicy, Config};
use kcp_transport::session::State;
use kcp_transport::time::Time;

use crate::class::Class;
use crate::clock::{Micros, SECOND};
use crate::plan::Plan;
use crate::run::ending::{end_all, half_close};
use crate::run::errors::{check_clean_ends, check_errors, check_resets};
use crate::run::figures::Figures;
use crate::run::settling::{delivery_time, is_settled, patience, unsettled};
use crate::world::World;

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
    // Long enough for any time-out now and then, and for the search of the size of datagrams, which
    // goes on for seconds where large ones are lost.
    let long = world.plan.seed.is_multiple_of(8) || world.plan.classes.has(Class::Narrow);
    let quiet = if long {
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
    if talking(&world) < before && !world.plan.classes.has_any(&apart) {
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
pub(crate) fn advance(
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

pub(crate) fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

/// Conversations in which both sides are there and may go on.
fn talking(world: &World) -> usize {
    let up = |index: usize, client: bool| {
        world.side(index, client).is_some_and(|(host, slot)| {
            let it = &world.hosts[host].slots[slot];
            // Little may be sent to an address that is not validated, however long it takes.
            !it.gone && it.session.state() == State::Established && it.session.is_validated()
        })
    };
    (0..world.conversations.len())
        .filter(|&index| up(index, true) && up(index, false))
        .count()
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
/// at once, and the first flight fits into any window.
fn is_strict(world: &World) -> bool {
    let (server, clients) = (world.hosts[0].config(), &world.hosts[1..]);
    let fits = |own: &Config, peer: &Config| {
        // An ack that waits may come later than those before it let expect.
        let prompt = peer.ack_policy() == AckPolicy::Immediate;
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

/// Once everything is delivered, a session without keepalive and idle time-out needs no timer, but
/// that of giving memory back a second after the last datagram.
fn check_quiet(world: &World) -> Result<(), String> {
    for host in &world.hosts {
        let config = host.config();
        for slot in host.slots.iter().filter(|slot| !slot.gone) {
            let local = host.clock.local(world.now);
            slot.timeouts.check_overdue(&slot.session, config, local)?;
            let idle = config.keepalive().is_none()
                && config.idle_timeout().is_none()
                && slot.session.is_drained()
                && !slot.session.is_readable();
            let timer = slot.session.poll_timeout().filter(|_| idle);
            let gives_back = |at: Time| {
                slot.timeouts.silence(local) <= SHRINK_AFTER
                    && at > local
                    && at - local <= SHRINK_AFTER
            };
            if let Some(at) = timer.filter(|at| !gives_back(*at)) {
                return Err(format!("an idle session has a timer: {at:?} at {local:?}"));
            }
        }
    }
    Ok(())
}

fn check_counts(world: &World) -> Result<(), String> {
    for (index, host) in world.hosts.iter().enumerate() {
        if !host.counts.add_up() {
            return Err(format!("host {index} counts {:?}", host.counts));
        }
        for slot in &host.slots {
            slot.counters.check(&slot.session)?;
            if let Some(groups) = &slot.watch.groups {
                groups.check()?;
            }
        }
    }
    Ok(())
}

/// When a session without activity gives back the memory that it does not use.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
