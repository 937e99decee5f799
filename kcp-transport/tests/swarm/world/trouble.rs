//! What happens to hosts and paths, and how conversations end.

use super::{What, World};
use crate::class::Class;
use crate::clock::Micros;
use crate::plan::Trouble;

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
            Trouble::Rebind { client } => {
                // What is under way from the old address still arrives.
                self.hosts[1 + client].address += 100;
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
        }
        Ok(())
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
        abandons: bool,
    ) -> Result<(), String> {
        match self.side(conversation, by_client) {
            Some((host, slot)) => self.end_slot(host, slot, abandons),
            None => Ok(()),
        }
    }

    /// Lets go of everything.
    pub(crate) fn abandon_all(&mut self) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            for slot in 0..self.hosts[host].slots.len() {
                self.end_slot(host, slot, true)?;
            }
        }
        Ok(())
    }

    fn end_slot(&mut self, host: usize, slot: usize, abandons: bool) -> Result<(), String> {
        let local = self.hosts[host].clock.local(self.now);
        let it = &mut self.hosts[host].slots[slot];
        if it.gone {
            return Ok(());
        }
        it.app.stop_writing();
        if abandons {
            it.session.abandon(local);
        } else {
            it.session.shutdown(local);
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
