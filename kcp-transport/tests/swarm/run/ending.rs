//! Conversations end as they were planned.

use kcp_transport::session::State;

use crate::class::Class;
use crate::clock::SECOND;
use crate::run::settling::patience;
use crate::run::{advance, micros};
use crate::world::host::Slot;
use crate::world::{How, World};

/// One side shuts down: the other reads the end of the stream, and goes on writing.
pub(crate) fn half_close(world: &mut World) -> Result<(), String> {
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
            world.write_more(index, !by_client)?;
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
pub(crate) fn end_all(world: &mut World) -> Result<(), String> {
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
