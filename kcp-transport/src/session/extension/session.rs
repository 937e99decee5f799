//! How the session uses its extensions.

use super::{Extension, Offer};
use crate::arq::{Arq, Outcome, Provenance};
use crate::error::{ConnectionError, DecodeError, ResetCode};
use crate::packet::TransmitBatch;
use crate::session::amplification::Allowance;
use crate::session::lifetime::LivenessInputs;
use crate::session::{Session, State};
use crate::time::Time;
use crate::wire::Token;

impl Session {
    /// Gives up the session at once. Undelivered data is lost.
    ///
    /// A peer that supports extensions receives `code`, and its reads and writes fail at once.
    /// Others detect the end by their time-outs.
    pub fn reset(&mut self, now: Time, code: ResetCode) {
        if !self.lifetime.is_closed() {
            self.lifetime.give_up();
            self.queue_reset(now, code);
        }
    }

    /// Ends the session at once, as the endpoint closes. Reads and writes fail with
    /// [`ConnectionError::EndpointClosed`]; a peer that supports extensions receives `code`.
    pub fn close(&mut self, now: Time, code: ResetCode) {
        if !self.lifetime.is_closed() {
            self.lifetime.close(ConnectionError::EndpointClosed);
            self.queue_reset(now, code);
        }
    }

    /// The endpoint closes once its sessions have ended: after the user has released it, the session
    /// waits for repetitions of the peer no longer than three times the RTO.
    ///
    /// A peer that supports extensions and has not ended its stream by then receives
    /// [`ResetCode::GOING_AWAY`].
    pub fn hasten(&mut self, now: Time) {
        self.lifetime.hasten();
        self.update_lifetime(now);
    }

    /// Whether the peer's stream has ended and all of it was read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.arq.is_finished()
    }

    /// Whether both sides use extensions: the peer is one of this crate and has confirmed it.
    #[must_use]
    pub fn has_extensions(&self) -> bool {
        let extension = self.extension.as_ref();
        extension.is_some_and(|it| it.is_negotiated())
    }

    /// The token that the peer must present to move the session to another address; `None` if it
    /// may not move.
    #[must_use]
    pub fn migration_token(&self) -> Option<Token> {
        self.extension.as_ref()?.migration_token()
    }

    /// Whether the session has ended and will send nothing more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let extension = self.extension.as_ref();
        self.lifetime.is_closed() && extension.is_none_or(|it| it.final_reset_at().is_none())
    }

    /// Processes segments that were received from the network.
    pub(in crate::session) fn handle_segments(&mut self, now: Time, segments: &[u8]) {
        let input = (now, segments, Provenance::Direct);
        let result = handle_payload(&mut self.arq, &mut self.extension, self.offer, input);
        let Ok(outcome) = result else {
            self.counters.invalid_received += 1;
            self.apply_frames();
            return;
        };
        self.discarded |= outcome.discarded;
        if outcome.delivered {
            self.lifetime.on_delivered(now);
        }
        self.check_validation(segments, outcome);
        self.check_path_probe(now, segments);
        if self.apply_frames() {
            return;
        }
        // A challenge to our address does not answer a connecting probe.
        if outcome.answered || self.lifetime.state() != State::Connecting {
            self.lifetime.on_received(now);
        }
    }

    /// Resets the session of a peer that supports extensions if it sent data that will never be
    /// read, once our own data has arrived.
    ///
    /// Data of other peers is still acknowledged, so that they can finish sending.
    pub(in crate::session) fn refuse_unread(&mut self, now: Time, inputs: &LivenessInputs) {
        let lingering = self.lifetime.state() == State::Lingering;
        if self.discarded && lingering && self.has_extensions() && inputs.settled {
            self.reset(now, ResetCode::UNREAD);
        }
    }

    /// Applies the requests of received frames. Returns whether the peer has refused the session.
    pub(in crate::session) fn apply_frames(&mut self) -> bool {
        let Some(extension) = &mut self.extension else {
            return false;
        };
        if self.validation.is_none() && !extension.has_requests() {
            return false;
        }
        let requests = extension.take_requests();
        let heard = extension.is_negotiated();
        if let Some(end) = requests.end {
            // Without a reader, the end is acknowledged only once everything up to it has arrived
            // and nothing of it was discarded. Otherwise a reset follows.
            let agrees = self.arq.set_end_of_received(end);
            let unread = self.discarded || (self.abandoned && !self.arq.is_finished());
            match agrees {
                true if unread => {}
                true => extension.acknowledge_end(end),
                false => extension.refuse(),
            }
        }
        if heard {
            // A peer that has echoed our token receives what we send.
            self.validation = None;
        }
        let Some(code) = requests.reset else {
            return false;
        };
        self.lifetime.on_reset(code);
        if self.lifetime.is_closed() {
            // A peer that has reset the session needs no answer.
            self.extension = None;
        }
        true
    }

    /// Probes the peer now. After a change of our own address this shows the new address to a peer
    /// that supports migration.
    pub fn probe(&mut self, now: Time) {
        if !self.lifetime.is_closed() {
            self.request_answer();
            self.note_activity(now);
        }
    }

    /// Requests an answer from the peer.
    ///
    /// Always sends a window probe, which even a peer that has lost the session answers.
    pub(in crate::session) fn request_answer(&mut self) {
        self.arq.request_probe();
        let connecting = self.lifetime.state() == State::Connecting;
        match &mut self.extension {
            Some(extension) if extension.is_negotiated() => extension.ping(),
            Some(extension) if connecting => extension.send_hello(),
            _ => {}
        }
    }

    /// Queues the end of our stream once everything has been sent.
    pub(in crate::session) fn finish_if_sent(&mut self, now: Time) {
        if !self.write_closed {
            return;
        }
        if let Some(extension) = &mut self.extension
            && !extension.has_finished()
            && let Some(end) = self.arq.end_of_sent()
        {
            extension.finish(now, end.to_wire());
        }
    }

    /// Queues the reason for the peer if the session has ended.
    pub(in crate::session) fn queue_close_reason(&mut self, now: Time, inputs: &LivenessInputs) {
        let code = match self.lifetime.state() {
            State::Closed(None) if inputs.settled && !self.lifetime.leaves_peer(inputs) => return,
            State::Closed(None) if inputs.settled => ResetCode::GOING_AWAY,
            State::Closed(None) => ResetCode::CANCELLED,
            State::Closed(Some(error)) => match error {
                ConnectionError::Protocol(_) => ResetCode::PROTOCOL,
                ConnectionError::EndpointClosed => ResetCode::GOING_AWAY,
                _ => ResetCode::TIMED_OUT,
            },
            _ => return,
        };
        self.queue_reset(now, code);
    }

    /// Starts the hellos to a peer that has been sent data.
    pub(in crate::session) fn start_hellos(&mut self, now: Time) {
        if self.lifetime.state() != State::Connecting
            && let Some(extension) = &mut self.extension
        {
            extension.start_hellos(now);
        }
    }

    fn queue_reset(&mut self, now: Time, code: ResetCode) {
        if let Some(extension) = &mut self.extension {
            extension.reset(now, code);
        }
    }

    /// When a frame is due: the epoch if now.
    pub(in crate::session) fn frame_at(&self) -> Option<Time> {
        self.extension.as_ref()?.next()
    }

    /// When an ended session sends its final reset next.
    pub(in crate::session) fn final_reset_at(&self) -> Option<Time> {
        self.extension.as_ref()?.final_reset_at()
    }

    /// Adds the datagram with the final reset if that is due.
    pub(in crate::session) fn push_final_reset(
        &mut self,
        now: Time,
        batch: &mut TransmitBatch,
    ) -> usize {
        if self.final_reset_at().is_none_or(|at| at > now) {
            return 0;
        }
        let allowance = self.allowance(batch, batch.total_len());
        if matches!(allowance, Allowance::Challenge | Allowance::Nothing) {
            // The address was never validated in all that time.
            self.extension = None;
        }
        let Some(extension) = &mut self.extension else {
            return 0;
        };
        let (header, limit) = (self.layout.shard_header(), self.layout.mss());
        let (arq, encoder) = (&mut self.arq, &mut self.encoder);
        batch.push_with(|packet| {
            let frames = extension.fill(now, arq.rto(), limit);
            let used = arq.transmit_extension(frames.payload(), &mut packet[header..]);
            if let Some(encoder) = encoder {
                encoder.encode(now, &mut packet[..header + used]);
            }
            header + used
        })
    }
}

/// Passes segments to the ARQ, and the payload of window updates to the extension, which an
/// accepting side creates here on the first hello.
pub(in crate::session) fn handle_payload(
    arq: &mut Arq,
    extension: &mut Option<Box<Extension>>,
    offer: Option<Offer>,
    (now, segments, from): (Time, &[u8], Provenance),
) -> Result<Outcome, DecodeError> {
    let result = arq.handle_payload_with(now, segments, from, &mut |payload| {
        if let Some(offer) = offer.filter(|_| extension.is_none() && Extension::has_hello(payload))
        {
            *extension = Some(Box::new(Extension::new(offer, false)));
        }
        let extension = extension.as_mut()?;
        extension.on_payload(payload);
        extension.take_received()
    });
    if let Some(extension) = extension
        && let Some((first, last)) = extension.take_answered()
    {
        arq.on_handshake(now - first, now - last);
        arq.on_answer(now - last);
        if extension.announces_received() {
            arq.set_told();
        }
    }
    result
}
