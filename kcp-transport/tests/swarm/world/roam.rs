//! How a host follows sessions whose peers have moved, as listeners do.

use kcp_transport::session::{Unsolicited, path_response};
use kcp_transport::time::Time;
use kcp_transport::wire::Token;

use crate::world::host::{Address, Host, Routed};

impl Host {
    /// What becomes of a payload that has no session at its address, if it may be that of one
    /// elsewhere. Only the server, which has address 0, follows its clients.
    pub(crate) fn follow(
        &mut self,
        local: Time,
        name: (Address, u32),
        (payload, kind): (&[u8], Unsolicited),
        first_sequence: u32,
    ) -> Option<Routed> {
        if self.address != 0 || kind == Unsolicited::Opening || !self.may_move(name.1) {
            return None;
        }
        let epoch = local.as_millis() / EPOCH_MILLIS;
        let response = path_response(payload).filter(|&(_, data)| {
            let expected = |epoch| self.challenge(name, epoch) == data;
            expected(epoch) || expected(epoch.wrapping_sub(1))
        });
        let found = response.and_then(|(tag, _)| self.find_by_token(name.1, tag));
        if let Some(slot) = found {
            self.counts.moved += 1;
            self.relocate(slot, name);
            return Some(Routed::Moved(slot));
        }
        self.counts.challenged += 1;
        let header = self.window_update(name.1, first_sequence);
        Some(Routed::Challenges(header, self.challenge(name, epoch)))
    }

    fn may_move(&self, id: u32) -> bool {
        let mut slots = self.slots.iter().filter(|it| !it.gone && it.id == id);
        slots.any(|it| it.session.migration_token().is_some())
    }

    fn find_by_token(&self, id: u32, tag: Token) -> Option<usize> {
        self.slots
            .iter()
            .position(|it| !it.gone && it.id == id && it.session.migration_token() == Some(tag))
    }

    fn relocate(&mut self, slot: usize, name: (Address, u32)) {
        let from = self.slots[slot].peer;
        self.table.remove(&(from, name.1));
        self.table.insert(name, slot);
        if self.latest.get(&from) == Some(&slot) {
            self.latest.remove(&from);
        }
        self.slots[slot].peer = name.0;
    }

    /// An unguessable number that stays the same for a while.
    fn challenge(&self, name: (Address, u32), epoch: u64) -> u64 {
        let words = [u64::from(name.0), u64::from(name.1), epoch];
        words.into_iter().fold(self.secret, |hash, word| {
            (hash ^ word)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        })
    }
}

/// How long a challenge is the same; it is good for as long again.
const EPOCH_MILLIS: u64 = 16_000;
