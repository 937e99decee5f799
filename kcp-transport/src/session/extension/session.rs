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
    /// Gives the session up at once, with all that is not delivered.
    ///
    /// A peer that knows extensions is told, with `code`, and its reads and writes fail at once;
    /// others find out by their time-outs.
    pub fn reset(&mut self, now: Time, code: ResetCode) {
        if !self.lifetime.is_closed() {
            self.lifetime.give_up();
            self.queue_reset(now, code);
        }
    }

    /// Whether the peer has said that it will send no more, and all of it was read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.arq.is_finished()
    }

    /// Whether the peer is one of this crate, and both sides use extensions.
    #[must_use]
    pub fn has_extensions(&self) -> bool {
        let extension = self.extension.as_ref();
        extension.is_some_and(|it| it.is_negotiated())
    }

    /// The token that the peer must show to move the session to another address; `None` if it may
    /// not move.
    #[must_use]
    pub fn migration_token(&self) -> Option<Token> {
        self.extension.as_ref()?.migration_token()
    }

    /// Whether the session has ended and has nothing more to tell its peer.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let extension = self.extension.as_ref();
        self.lifetime.is_closed() && extension.is_none_or(|it| it.final_reset_at().is_none())
    }

    /// Takes in segments that came straight from the network.
    pub(in crate::session) fn handle_segments(&mut self, now: Time, segments: &[u8]) {
        let input = (now, segments, Provenance::Direct);
        let result = handle_payload(&mut self.arq, &mut self.extension, self.offer, input);
        let Ok(outcome) = result else {
            self.counters.invalid_received += 1;
            self.apply_frames();
            return;
        };
        self.discarded |= outcome.discarded;
        self.check_validation(segments, outcome);
        self.apply_frames();
        // A question about our address is no answer to ours whether the peer is there.
        if outcome.answered || self.lifetime.state() != State::Connecting {
            self.lifetime.on_received(now);
        }
    }

    /// Tells a peer that can be told if it sent what nobody will read, once ours has arrived.
    ///
    /// Others go on to be acknowledged, so that their sending comes to an end.
    pub(in crate::session) fn refuse_unread(&mut self, now: Time, inputs: &LivenessInputs) {
        let lingering = self.lifetime.state() == State::Lingering;
        if self.discarded && lingering && self.has_extensions() && inputs.settled {
            self.reset(now, ResetCode::UNREAD);
        }
    }

    /// Does what the peer's frames ask for.
    pub(in crate::session) fn apply_frames(&mut self) {
        let Some(extension) = &mut self.extension else {
            return;
        };
        if self.validation.is_none() && !extension.has_requests() {
            return;
        }
        let requests = extension.take_requests();
        let heard = extension.is_negotiated();
        if let Some(end) = requests.end {
            // Where nobody reads, all there is must be here before it is known whether that was
            // nothing. If not, a reset will say so.
            let agrees = self.arq.set_end_of_received(end);
            let unread = self.discarded || (self.abandoned && !self.arq.is_finished());
            match agrees {
                true if unread => {}
                true => extension.acknowledge_end(end),
                false => extension.refuse(),
            }
        }
        if heard {
            // Who echoes a secret of ours receives what we send.
            self.validation = None;
        }
        if let Some(code) = requests.reset {
            self.lifetime.close(ConnectionError::Reset(code));
            // Nothing need be said to a peer that has given up.
            self.extension = None;
        }
    }

    /// Asks the peer for a sign of life now, as after a change of our own address: it shows a peer
    /// that follows where we are.
    pub fn probe(&mut self, now: Time) {
        if !self.lifetime.is_closed() {
            self.request_answer();
            self.note_activity(now);
        }
    }

    /// Asks the peer for a sign of life.
    ///
    /// By a window probe in any case: a peer that has forgotten the session answers that.
    pub(in crate::session) fn request_answer(&mut self) {
        self.arq.request_probe();
        let connecting = self.lifetime.state() == State::Connecting;
        match &mut self.extension {
            Some(extension) if extension.is_negotiated() => extension.ping(),
            Some(extension) if connecting => extension.send_hello(),
            _ => {}
        }
    }

    /// Tells the peer where our stream ends, once that is known.
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

    /// Tells the peer why the session ended, if it did.
    pub(in crate::session) fn queue_close_reason(&mut self, now: Time, inputs: &LivenessInputs) {
        let code = match self.lifetime.state() {
            State::Closed(None) if inputs.settled => return,
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

    /// Says hello to a peer that something was sent to.
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

    /// When an ended session tells its peer so again.
    pub(in crate::session) fn final_reset_at(&self) -> Option<Time> {
        self.extension.as_ref()?.final_reset_at()
    }

    /// Adds the datagram that tells the peer that the session is given up, if that is due.
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
            // Nobody who is there said so in all that time.
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

/// Hands segments to the ARQ, and what is not KCP's to the extension. That of an accepting side is
/// made here, by the first hello.
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
        if let Some(extension) = extension {
            extension.on_payload(payload);
        }
    });
    if let Some(extension) = extension
        && let Some(sent) = extension.take_answered()
    {
        arq.on_handshake(now - sent);
    }
    result
}
