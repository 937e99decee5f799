//! Which errors there may be, and what must be true without any.

use kcp_transport::error::ConnectionError;
use kcp_transport::session::State;

use crate::class::{Class, Classes};
use crate::world::World;
use crate::world::host::Slot;

/// Errors come only where there is a reason.
pub(crate) fn check_errors(world: &World) -> Result<(), String> {
    let classes = world.plan.classes;
    check_validity(world)?;
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
                | ConnectionError::PathTooNarrow(_)
                | ConnectionError::IdleTimeout
                | ConnectionError::LingerTimeout
                // That the other side sent the reset is checked for all.
                | ConnectionError::Reset(_) => cut || slot.conversation.is_none(),
                ConnectionError::PeerRestarted => may_regress(classes),
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

/// Without an attacker, no packet is invalid.
fn check_validity(world: &World) -> Result<(), String> {
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
            return Err(format!("packets of honest peers are invalid: {stats:?}"));
        }
    }
    Ok(())
}

/// A session that ends cleanly has delivered everything.
pub(crate) fn check_clean_ends(world: &World) -> Result<(), String> {
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

/// Whether a peer may have lost its state, or old packets of it may arrive for so long that it looks
/// like that. A session that was silent for long is forgotten by its peer, which opens a new one.
fn may_regress(classes: Classes) -> bool {
    classes.has_any(&Class::ENDS)
}

/// A reset comes from the other side, with the code that it sent.
pub(crate) fn check_resets(world: &World) -> Result<(), String> {
    for (host, it) in world.hosts.iter().enumerate() {
        for slot in &it.slots {
            let (Some(ConnectionError::Reset(code)), Some(index)) =
                (slot.session.error(), slot.conversation)
            else {
                continue;
            };
            let conversation = &world.conversations[index];
            let sent = conversation.ledgers[usize::from(host != 0)].frames.reset;
            if !conversation.tainted && sent != Some(code.get()) {
                return Err(format!(
                    "{index}: reset with {code:?}, but {sent:?} was sent"
                ));
            }
        }
    }
    Ok(())
}

/// A client that may move and was known before goes on at its new address, and nothing is lost.
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
