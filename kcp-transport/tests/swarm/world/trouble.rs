//! What happens to hosts and paths, and how conversations end.

use kcp_transport::error::ResetCode;
use kcp_transport::session::State;

use super::{How, What, World};
use crate::class::Class;
use crate::clock::Micros;
use crate::plan::Trouble;
use crate::watch::frames::GIVE_UP_CODE;

impl World {
    pub(super) fn trouble(&mut self, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::Cut {
                client,
                up,
                down,
                until,
            } => {
                let [up_path, down_path] = &mut self.paths[client];
                if up {
                    up_path.cut();
                }
                if down {
                    down_path.cut();
                }
                if until < Micros::MAX {
                    self.schedule(until, What::Mend { client, up, down });
                }
            }
            Trouble::Narrow {
                client,
                up,
                longest,
            } => self.paths[client][usize::from(!up)].narrow(longest),
            Trouble::Rebind { client } => {
                self.promise_to_follow(client);
                // What is under way from the old address still arrives.
                self.hosts[1 + client].address += 100;
            }
            Trouble::GiveUp {
                client,
                which,
                by_client,
            } => {
                let of_client = |index: &usize| self.conversations[*index].client == client;
                let all: Vec<usize> = (0..self.conversations.len()).filter(of_client).collect();
                let index = all.get(which as usize % all.len().max(1));
                let stands = |host: usize| self.hosts[host].paused_until > self.now;
                let host = if by_client { 1 + client } else { 0 };
                if let Some(&index) = index
                    && !stands(host)
                {
                    self.end(index, by_client, How::GiveUp)?;
                }
            }
            Trouble::CrashServer => {
                self.server_crashed = true;
                self.hosts[0].crash();
                self.attacker.forget(0);
            }
            Trouble::CrashClient {
                client,
                same_address,
            } => {
                let host = &mut self.hosts[1 + client];
                host.crash();
                self.attacker.forget(1 + client);
                if !same_address {
                    host.address += 100;
                }
                let plans = self.plan.clients[client].conversations.clone();
                if self.now >= self.plan.clients[client].start {
                    for mut plan in plans {
                        plan.early_end = None;
                        self.start(client, plan)?;
                    }
                }
            }
            Trouble::Pause {
                host,
                until,
                clock_stands,
            } => {
                let it = &mut self.hosts[host];
                it.paused_until = until;
                if clock_stands {
                    it.clock.stand(until.saturating_sub(self.now));
                }
                self.schedule(until, What::Resume { host });
            }
            Trouble::Scarce { host, until } => {
                self.hosts[host].set_scarce(true);
                self.service_all(host)?;
                if until < Micros::MAX {
                    self.schedule(until, What::Relieve { host });
                }
            }
        }
        Ok(())
    }

    /// Notes which conversations of a client whose address changes must go on: those that may move
    /// and whose packets do not look like a beginning.
    fn promise_to_follow(&mut self, client: usize) {
        let others = Class::ENDS.into_iter().filter(|&it| it != Class::Rebind);
        let others: Vec<Class> = others.collect();
        if self.plan.classes.has_any(&others) {
            return;
        }
        for index in 0..self.conversations.len() {
            if self.conversations[index].client == client {
                self.conversations[index].follows = self.can_follow(index);
            }
        }
    }

    fn can_follow(&self, index: usize) -> bool {
        let slot = |client: bool| {
            let (host, slot) = self.side(index, client)?;
            let slot = &self.hosts[host].slots[slot];
            let ready = !slot.gone
                && slot.session.state() == State::Established
                && slot.session.migration_token().is_some();
            ready.then_some((slot, self.hosts[host].config()))
        };
        let (Some((own, config)), Some((_, peer))) = (slot(true), slot(false)) else {
            return false;
        };
        // The client must send something before the server's idle time-out.
        let patience = peer.user_timeout().min(peer.idle_timeout());
        let speaks = config
            .keepalive()
            .zip(patience)
            .is_some_and(|(keepalive, patience)| keepalive * 2 < patience);
        speaks && own.watch.has_begun() && !self.conversations[index].tainted
    }

    pub(super) fn mend(&mut self, client: usize, up: bool, down: bool) {
        let [up_path, down_path] = &mut self.paths[client];
        if up {
            up_path.mend();
        }
        if down {
            down_path.mend();
        }
    }

    /// Ends a side of a conversation, if it is still there.
    pub(crate) fn end(
        &mut self,
        conversation: usize,
        by_client: bool,
        how: How,
    ) -> Result<(), String> {
        match self.side(conversation, by_client) {
            Some((host, slot)) => self.end_slot(host, slot, how),
            None => Ok(()),
        }
    }

    /// A side has more to send than was planned.
    pub(crate) fn write_more(&mut self, conversation: usize, client: bool) -> Result<(), String> {
        let Some((host, slot)) = self.side(conversation, client) else {
            return Ok(());
        };
        self.hosts[host].slots[slot].app.write_more();
        self.service(host, slot)
    }

    /// Lets go of everything.
    pub(crate) fn abandon_all(&mut self) -> Result<(), String> {
        self.over = true;
        for host in 0..self.hosts.len() {
            for slot in 0..self.hosts[host].slots.len() {
                self.end_slot(host, slot, How::Abandon)?;
            }
        }
        Ok(())
    }

    fn end_slot(&mut self, host: usize, slot: usize, how: How) -> Result<(), String> {
        let local = self.hosts[host].clock.local(self.now);
        let it = &mut self.hosts[host].slots[slot];
        if it.gone {
            return Ok(());
        }
        it.app.stop_writing();
        let ending = &mut it.watch.frames.ending;
        match how {
            How::Shutdown => {
                ending.shut_down = true;
                it.session.shutdown(local);
            }
            How::Abandon => {
                ending.let_go = true;
                it.session.abandon(local);
            }
            How::GiveUp => {
                // Of what is over already there is nothing to give up.
                ending.gave_up |= !matches!(it.session.state(), State::Closed(_));
                it.timeouts.cut_short = true;
                let code = ResetCode::new(GIVE_UP_CODE).map_err(|error| error.to_string())?;
                it.session.reset(local, code);
            }
        }
        self.service(host, slot)
    }

    /// Host and slot of a side.
    pub(crate) fn side(&self, conversation: usize, client: bool) -> Option<(usize, usize)> {
        let it = &self.conversations[conversation];
        if client {
            Some((1 + it.client, it.client_slot))
        } else {
            it.server_slot.map(|slot| (0, slot))
        }
    }

    /// All troubles are over.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.healed = true;
        for [up, down] in &mut self.paths {
            up.heal();
            down.heal();
        }
        let grains = self.plan.classes.has(Class::LateTimers);
        for host in 0..self.hosts.len() {
            for slot in 0..self.hosts[host].slots.len() {
                self.hosts[host].slots[slot].app.hurry(self.now);
            }
            if grains {
                self.hosts[host].plan.timer_grain = 1_000;
            }
            for slot in 0..self.hosts[host].slots.len() {
                self.service(host, slot)?;
            }
        }
        Ok(())
    }
}
