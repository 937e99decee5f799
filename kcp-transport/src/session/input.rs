//! Handling received payloads: segments, FEC packets and out-of-band datagrams.

use super::extension::handle_payload;
use super::{Session, lifetime, trace};
use crate::arq::{Provenance, is_traced};
use crate::error::ConnectionError;
use crate::fec::{FecEncoder, Rebuilt};
use crate::time::Time;
use crate::wire::{ShardHeader, ShardKind};

impl Session {
    /// Processes one decrypted payload that was received for this conversation.
    ///
    /// Invalid payloads are counted and change nothing else.
    pub fn handle_datagram(&mut self, now: Time, payload: &[u8]) {
        self.handle_datagrams(now, std::iter::once(payload));
    }

    /// As [`Session::handle_datagram`], for payloads received together: the life cycle is updated
    /// once for all of them.
    pub fn handle_datagrams<'a>(&mut self, now: Time, payloads: impl Iterator<Item = &'a [u8]>) {
        if self.lifetime.is_closed() {
            return;
        }
        for payload in payloads {
            self.take_in(now, payload);
            if self.lifetime.is_closed() {
                break;
            }
        }
        self.note_activity(now);
    }

    fn take_in(&mut self, now: Time, payload: &[u8]) {
        let overhead = self.layout.overhead();
        let len = overhead.front + payload.len() + overhead.back;
        self.counters.datagrams_received += 1;
        self.counters.bytes_received += len as u64;
        self.on_arrival();
        match ShardHeader::detect(payload) {
            None => {
                self.mirror = self.mirror.filter(|_| self.encoder.is_some());
                self.handle_segments(now, payload);
            }
            Some((header, shard)) => {
                self.begin_mirroring();
                self.handle_shard(now, header, shard);
            }
        }
        if is_traced() {
            trace::datagram(self.arq.conversation(), len, "datagram in");
        }
        self.check_restart();
    }

    /// Answers with FEC from now on if the first packet of the peer has it.
    ///
    /// Some peers with FEC drop all packets without: kcp-go v5.4, and C++ ports of it. Parity is sent once
    /// the ratio of the peer is known, since theirs must be the same.
    fn begin_mirroring(&mut self) {
        if self.encoder.is_none()
            && let Some(layout) = self.mirror
        {
            self.layout = layout;
            self.encoder = Some(Box::new(FecEncoder::apart()));
            self.apply_path_mtu();
        }
    }

    fn handle_shard(&mut self, now: Time, header: ShardHeader, shard: &[u8]) {
        match header.kind {
            ShardKind::Parity => {}
            ShardKind::Data | ShardKind::OutOfBand => {
                let Ok(body) = ShardHeader::body(shard) else {
                    self.counters.invalid_received += 1;
                    return;
                };
                if header.kind == ShardKind::OutOfBand {
                    self.handle_out_of_band(now, body);
                    return;
                }
                self.handle_segments(now, body);
            }
        }
        let decoder = self.decoder.get_or_insert_default();
        let (arq, extension, offer) = (&mut self.arq, &mut self.extension, self.offer);
        let (mut invalid, mut delivered) = (0, false);
        decoder.decode(now, header, shard, &mut |rebuilt: Rebuilt<'_>| {
            // Parity contains no conversation id: it may belong to another conversation of the same
            // address.
            if !rebuilt.packets().all(|packet| arq.is_whole(packet)) {
                return false;
            }
            let from = match rebuilt.is_contested() {
                false => Provenance::Recovered,
                true => Provenance::Contested,
            };
            for packet in rebuilt.packets() {
                let result = handle_payload(arq, extension, offer, (now, packet, from));
                invalid += u64::from(result.is_err());
                delivered |= result.is_ok_and(|outcome| outcome.delivered);
            }
            true
        });
        if self.mirror.is_some()
            && let Some(ratio) = decoder.trusted_ratio()
            && let Some(encoder) = &mut self.encoder
        {
            encoder.set_ratio(ratio);
        }
        self.counters.invalid_received += invalid;
        if delivered {
            self.lifetime.on_delivered(now);
        }
        self.apply_frames();
    }

    fn check_restart(&mut self) {
        if self.arq.una_regressed_since().is_none() {
            return;
        }
        let patience = lifetime::restart_patience(self.arq.rto());
        if self.arq.una_regressed_for() >= patience {
            self.lifetime.close(ConnectionError::PeerRestarted);
        }
    }
}
