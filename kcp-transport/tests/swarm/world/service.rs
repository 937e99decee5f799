//! Sessions and their users do what they want to do.

use std::cmp::Reverse;

use kcp_transport::config::Config;
use kcp_transport::session::State;
use kcp_transport::time::Time;

use super::{Event, What, World};
use crate::watch::ledger::Sender;
use crate::world::host::{Address, Host, Slot};

impl World {
    /// Puts a datagram on its way.
    pub(super) fn send(&mut self, host: usize, peer: Address, datagram: &[u8]) {
        self.trace.note(self.now, datagram);
        let it = &mut self.hosts[host];
        if !self.healed && it.plan.send_errors > 0.0 && it.rng.chance(it.plan.send_errors) {
            it.counts.send_errors += 1;
            return;
        }
        it.on_sealed(datagram);
        let from = it.address;
        let (client, target) = if host == 0 {
            let owner = self.hosts.iter().position(|it| it.address == peer);
            // The peer has left that address.
            let Some(owner) = owner.filter(|&owner| owner > 0) else {
                return;
            };
            (owner - 1, owner)
        } else {
            (host - 1, 0)
        };
        self.attacker.overhear(target, from, host, datagram);
        let path = &mut self.paths[client][usize::from(host == 0)];
        let (events, order) = (&mut self.events, &mut self.order);
        path.send(self.now, datagram, |at, datagram| {
            *order += 1;
            let what = What::Arrival {
                host: target,
                from,
                datagram,
            };
            events.push(Reverse(Event {
                at,
                order: *order,
                what,
            }));
        });
    }

    /// Lets a session and its user do all they want to do now.
    pub(crate) fn service(&mut self, host: usize, slot: usize) -> Result<(), String> {
        if self.hosts[host].slots[slot].gone || self.hosts[host].paused_until > self.now {
            return Ok(());
        }
        let who = |error: String, world: &Self| {
            let it = &world.hosts[host].slots[slot];
            format!(
                "host {host}, session {slot} of {:?}, {:?}: {error}",
                it.conversation,
                it.session.state()
            )
        };
        self.service_slot(host, slot)
            .map_err(|error| who(error, self))
    }

    /// As [`Self::service`], for all sessions of a host.
    pub(super) fn service_all(&mut self, host: usize) -> Result<(), String> {
        (0..self.hosts[host].slots.len()).try_for_each(|slot| self.service(host, slot))
    }

    pub(super) fn service_slot(&mut self, host: usize, slot: usize) -> Result<(), String> {
        let local = self.hosts[host].clock.local(self.now);
        let it = &mut self.hosts[host].slots[slot];
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= local);
        if is_due(it.session.poll_timeout()) {
            it.session.handle_timeout(local);
        }
        for round in 0.. {
            if round > MAX_ROUNDS {
                return Err("never comes to rest".into());
            }
            if matches!(
                self.hosts[host].slots[slot].session.state(),
                State::Closed(_)
            ) {
                // What had arrived can still be read.
                self.hosts[host].slots[slot].app.hurry(self.now);
            }
            self.run_app(host, slot)?;
            self.check_finished(host, slot)?;
            let sent = self.transmit(host, slot)?;
            let it = &mut self.hosts[host].slots[slot];
            if !sent {
                if !is_due(it.session.poll_timeout()) {
                    break;
                }
                // Time alone may make several things due at once, but not without end.
                it.session.handle_timeout(local);
            }
        }
        let conversation = self.hosts[host].slots[slot].conversation;
        let was_reset = conversation.is_some_and(|index| {
            let it = &self.conversations[index];
            it.tainted || it.ledgers[usize::from(host != 0)].frames.reset.is_some()
        });
        let Host { slots, plan, .. } = &mut self.hosts[host];
        let (it, config) = (&mut slots[slot], &plan.config);
        it.timeouts.cut_short |= was_reset;
        let fell_back = it.watch.fell_back_at();
        it.timeouts.note(&it.session, config, fell_back, local)?;
        it.timeouts.check_overdue(&it.session, config, local)?;
        check_levels(it, config)?;
        let talks = matches!(it.session.state(), State::Established | State::Draining);
        let known = |index: usize| !self.conversations[index].tainted;
        if talks && it.conversation.is_some_and(known) {
            it.watch.check_window_probes(local, &it.session)?;
            if config.send_rate().is_none() && it.session.is_validated() {
                it.watch.check_pings()?;
            }
        }
        if let State::Closed(error) = it.session.state()
            && it.session.is_over()
        {
            self.trace.mix(u64::from(error.is_some()));
            return self.close(host, slot);
        }
        let it = &self.hosts[host].slots[slot];
        let timer = it.session.poll_timeout().map(|at| {
            let at = self.hosts[host].clock.global(at);
            let grain = self.hosts[host].plan.timer_grain;
            at.div_ceil(grain).saturating_mul(grain)
        });
        if timer.is_none() && matches!(it.session.state(), State::Closed(_)) {
            return Err("an ended session that is not over waits for nothing".into());
        }
        let app = it.app.next(&it.session);
        let due = [timer, app].into_iter().flatten().min();
        self.hosts[host].slots[slot].due = due.map(|at| at.max(self.now + 1));
        Ok(())
    }

    /// A stream ends where its writer ended it, and after all of its bytes. An acknowledged end means that
    /// all of them were read.
    fn check_finished(&self, host: usize, slot: usize) -> Result<(), String> {
        let it = &self.hosts[host].slots[slot];
        let acknowledged_end = it.watch.frames.acknowledged_end;
        let ends = it.session.is_finished() || acknowledged_end;
        let Some(index) = it.conversation.filter(|_| ends) else {
            return Ok(());
        };
        let Some((peer_host, peer)) = self.side(index, host == 0) else {
            return Err("nobody has ended what it takes for finished".into());
        };
        let conversation = &self.conversations[index];
        if conversation.tainted || self.side(index, host != 0) != Some((host, slot)) {
            return Ok(());
        }
        let peer = &self.hosts[peer_host].slots[peer];
        let ending = peer.watch.frames.ending;
        if !ending.shut_down && !ending.let_go {
            return Err("finished, but the other side has not ended".into());
        }
        let (read, written) = (it.app.read, peer.app.written);
        if read != written && (acknowledged_end || !it.watch.frames.ending.let_go) {
            return Err(format!("finished after {read} of {written} bytes"));
        }
        Ok(())
    }

    pub(super) fn run_app(&mut self, host: usize, slot: usize) -> Result<(), String> {
        let local = self.hosts[host].clock.local(self.now);
        let conversation = self.hosts[host].slots[slot].conversation;
        let peer = conversation
            .filter(|&index| self.conversations[index].plan.messages)
            .and_then(|index| self.side(index, host == 0));
        let lengths = peer.map(|(host, slot)| {
            let app = &mut self.hosts[host].slots[slot].app;
            std::mem::take(&mut app.lengths)
        });
        let it = &mut self.hosts[host].slots[slot];
        let result = it
            .app
            .run(&mut it.session, self.now, local, lengths.as_deref());
        if let (Some((host, slot)), Some(lengths)) = (peer, lengths) {
            self.hosts[host].slots[slot].app.lengths = lengths;
        }
        result
    }

    /// Sends what is due; returns whether anything was.
    pub(super) fn transmit(&mut self, host: usize, slot: usize) -> Result<bool, String> {
        let local = self.hosts[host].clock.local(self.now);
        let mut any = false;
        loop {
            let it = &mut self.hosts[host];
            let entry = &mut it.slots[slot];
            let state = entry.session.state();
            let has_extensions = entry.session.has_extensions();
            if !entry.session.poll_transmit(local, &mut it.batch) {
                return Ok(any);
            }
            any = true;
            if let Some(index) = entry.conversation
                && !self.conversations[index].tainted
            {
                let [client, server] = &mut self.conversations[index].ledgers;
                let (own, other) = if host == 0 {
                    (server, client)
                } else {
                    (client, server)
                };
                let overhead = it.layout.overhead();
                let sender = Sender {
                    state,
                    has_extensions,
                    stats: entry.session.stats(),
                };
                for datagram in it.batch.datagrams() {
                    let payload = &datagram[overhead.front..datagram.len() - overhead.back];
                    entry.watch.on_sent(local, payload, &sender, own, other)?;
                }
                entry.watch.check_resends(&sender.stats)?;
            }
            entry.counters.on_sent(&entry.session, &it.batch)?;
            it.sealer
                .seal(&mut it.batch)
                .map_err(|error| error.to_string())?;
            let peer = entry.peer;
            let datagrams: Vec<Vec<u8>> = it.batch.datagrams().map(<[u8]>::to_vec).collect();
            it.batch.clear();
            for datagram in datagrams {
                self.send(host, peer, &datagram);
            }
        }
    }

    pub(super) fn close(&mut self, host: usize, slot: usize) -> Result<(), String> {
        let local = self.hosts[host].clock.local(self.now);
        let it = &self.hosts[host].slots[slot];
        if it.session.poll_timeout().is_some() {
            return Err("a closed session has a timer".into());
        }
        it.counters.check(&it.session)?;
        self.hosts[host].retire(slot, local);
        Ok(())
    }
}

/// What is held must be within what was configured.
fn check_levels(slot: &Slot, config: &Config) -> Result<(), String> {
    let stats = slot.session.stats();
    let state = slot.session.state();
    if state == State::Drained && stats.in_flight + stats.queued > 0 {
        return Err(format!(
            "drained, with {} segments in flight",
            stats.in_flight
        ));
    }
    // A send rate may delay the update.
    let prompt = config.send_rate().is_none();
    if prompt && matches!(state, State::Established | State::Draining | State::Drained) {
        slot.watch.check_reopened(&slot.session)?;
    }
    if stats.in_flight > usize::from(config.send_window()) {
        return Err(format!("{} segments in flight", stats.in_flight));
    }
    if stats.unread > usize::from(config.receive_window()) {
        return Err(format!("{} segments unread", stats.unread));
    }
    // Now and then: it takes longer than all the rest.
    if stats.datagrams_received % 16 == 3 {
        let window = usize::from(config.receive_window());
        let receive = config.receive_buffer().unwrap_or(1600 * window.max(128));
        let send = config
            .send_buffer()
            .unwrap_or(1500 * usize::from(config.send_window()).max(255));
        let held = slot.session.memory();
        if held > receive + 3 * send + 2 * 700 * 1024 {
            return Err(format!("{held} bytes are held"));
        }
    }
    if stats.bytes_written != slot.app.written || stats.bytes_read != slot.app.read {
        return Err(format!(
            "{} bytes written and {} read, but {} and {} are counted",
            slot.app.written, slot.app.read, stats.bytes_written, stats.bytes_read
        ));
    }
    Ok(())
}

/// Times a session may go on without time passing.
const MAX_ROUNDS: u32 = 10_000;
