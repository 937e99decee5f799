//! Which frames are due, and when.

use std::time::Duration;

use super::{Extension, FIRST_HELLO_WAIT};
use crate::arq::Arq;
use crate::time::Time;
use crate::wire::{Frame, FrameWriter, Hello, SEGMENT_HEADER_LEN, Token};

impl Extension {
    /// When to send the final reset.
    pub(in crate::session) fn final_reset_at(&self) -> Option<Time> {
        self.reset.as_ref()?.repeat.next()
    }

    /// When a frame is due: the epoch if now.
    pub(in crate::session) fn next(&self) -> Option<Time> {
        if self.reset.is_some() {
            return self.final_reset_at();
        }
        let answers = self.fin_ack_due.is_some()
            || self.ping_due
            || self.pong_due.is_some()
            || self.path_response_due.is_some();
        if self.hello_due || (answers && self.peer.is_some()) {
            return Some(Time::ZERO);
        }
        [self.hello.next(), self.fin_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a frame is due now.
    pub(in crate::session) fn is_due(&self, now: Time) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    fn fin_at(&self) -> Option<Time> {
        let fin = self.fin.filter(|fin| !fin.acknowledged)?;
        fin.repeat.next().filter(|_| self.peer.is_some())
    }

    /// Takes the due frames that fit into `limit` bytes, and marks them as sent. The rest stays
    /// due.
    pub(in crate::session) fn fill(
        &mut self,
        now: Time,
        rto: Duration,
        limit: usize,
    ) -> FrameWriter {
        let mut frames = FrameWriter::new(limit);
        if let (Some(reset), Some(peer)) = (&mut self.reset, self.peer) {
            let code = reset.code.get();
            if reset.repeat.is_due(now)
                && frames.push(&Frame::Reset {
                    tag: peer.token,
                    code,
                })
            {
                reset.repeat.on_sent(now, rto);
            }
            return frames;
        }
        self.fill_hello(now, rto, &mut frames);
        if let Some(peer) = self.peer {
            self.fill_answers(peer.token, &mut frames);
            self.fill_fin(now, rto, peer.token, &mut frames);
        }
        frames
    }

    /// As [`Self::fill`], and adds what has arrived beyond a gap if acks are due, as far as there is
    /// room.
    pub(in crate::session) fn fill_with_acks(
        &mut self,
        now: Time,
        arq: &mut Arq,
        limit: usize,
    ) -> FrameWriter {
        let announces = self.announces_received() && arq.wants_received(now);
        // The peer may not have our token yet.
        self.hello_due |= announces && !self.confirmed;
        let mut frames = self.fill(now, arq.rto(), limit);
        if announces
            && let Some(peer) = self.peer
            // One ack has room beside it.
            && let most = frames.room_for_received(SEGMENT_HEADER_LEN)
            && let Some(segments) = arq.take_received(now, most)
        {
            let tag = peer.token;
            frames.push(&Frame::Received { tag, segments });
        }
        frames
    }

    /// The frame that goes with a copy of the segment that opens the session at the peer: a hello that
    /// echoes the peer's token, once the peer has confirmed ours. A peer that has restarted has another
    /// token and opens no session for it. It also repeats the confirmation to the peer.
    pub(in crate::session) fn opening_mark(&self, limit: usize) -> Option<FrameWriter> {
        if !self.initiates || !self.confirmed {
            return None;
        }
        let mut frames = FrameWriter::new(limit);
        frames
            .push(&Frame::Hello(self.own_hello()))
            .then_some(frames)
    }

    fn own_hello(&self) -> Hello {
        Hello {
            confirmed: self.confirmed,
            capabilities: self.offer.capabilities,
            token: self.offer.token,
            echo: self.peer.map(|peer| peer.token),
        }
    }

    fn fill_hello(&mut self, now: Time, rto: Duration, frames: &mut FrameWriter) {
        let repeated = self.hello.is_due(now);
        // A peer that may not have our token needs it with the first frame that depends on it.
        let unheard = self.peer.is_some() && !self.confirmed && self.is_due(now);
        if !repeated && !self.hello_due && !unheard {
            return;
        }
        if !frames.push(&Frame::Hello(self.own_hello())) {
            return;
        }
        self.hello_due = false;
        self.hello_at = Some((self.hello_at.map_or(now, |it| it.0), now));
        if repeated {
            self.hello.on_sent(now, FIRST_HELLO_WAIT.min(rto * 2));
        }
    }

    fn fill_answers(&mut self, tag: Token, frames: &mut FrameWriter) {
        if let Some(end) = self.fin_ack_due
            && frames.push(&Frame::FinAck { tag, end })
        {
            self.fin_ack_due = None;
        }
        if let Some(data) = self.path_response_due
            && frames.push(&Frame::PathResponse { tag, data })
        {
            self.path_response_due = None;
        }
        if let Some(data) = self.pong_due
            && frames.push(&Frame::Pong(data))
        {
            self.pong_due = None;
        }
        if let Some(data) = self.ping.filter(|_| self.ping_due)
            && frames.push(&Frame::Ping(data))
        {
            self.ping_due = false;
        }
    }

    fn fill_fin(&mut self, now: Time, rto: Duration, tag: Token, frames: &mut FrameWriter) {
        if let Some(fin) = &mut self.fin
            && !fin.acknowledged
            && fin.repeat.is_due(now)
            && frames.push(&Frame::Fin { tag, end: fin.end })
        {
            fin.repeat.on_sent(now, rto);
        }
    }
}
