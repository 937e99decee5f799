//! Messages: each write is delivered by one read of the peer.

use std::time::Duration;

use super::Session;
use crate::arq::MessageError;
use crate::config::Mode;
use crate::error::ConnectionError;
use crate::time::Time;

impl Session {
    /// Changes whether message boundaries are kept, from the next write and read on.
    ///
    /// The peer need not be told: segment headers carry the fragment counts.
    pub fn set_mode(&mut self, mode: Mode) {
        self.arq.set_mode(mode);
    }

    /// Queues a whole message or nothing. Returns `Ok(false)` when the send buffer is full, after
    /// [`Session::shutdown`] and after the end.
    ///
    /// Retry when [`Session::is_writable`] returns true.
    ///
    /// `Ok(false)` is also returned for the first message that exceeds the peer's window while the
    /// peer may not have advertised its true window yet: kcp-go advertises 32 until its program has
    /// accepted the session. The window is then requested for a little more than a second.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the message is empty, which blocks a kcp-go reader forever, or longer
    /// than [`Session::max_message_len`].
    pub fn write_message(&mut self, now: Time, message: &[u8]) -> Result<bool, MessageError> {
        if self.write_closed || self.lifetime.is_closed() {
            return Ok(false);
        }
        let taken = self.arq.write_message(message);
        let in_doubt = match taken {
            Err(MessageError::TooLong { len, .. }) => {
                self.arq.may_hold_more(len) && self.inquiry.is_open()
            }
            _ => false,
        };
        self.inquiry.wait(now, in_doubt);
        self.request_window(now);
        self.note_activity(now);
        if in_doubt { Ok(false) } else { taken }
    }

    /// Appends the next whole message to `out`. Returns false if there is none. Fragments that
    /// cannot be reassembled end the session with [`ConnectionError::Protocol`].
    ///
    /// A peer in C may send empty messages: then it returns true and appends nothing.
    pub fn read_message(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        let complete = self.arq.read_message(out);
        if let Some(error) = self.arq.broken() {
            self.lifetime.close(ConnectionError::Protocol(error));
        }
        self.note_activity(now);
        complete
    }

    /// The longest message, in bytes: 255 segments, but no more than the largest window that the
    /// peer has advertised (32 before the first) and no more than the send buffer.
    #[must_use]
    pub fn max_message_len(&self) -> usize {
        self.arq.max_message_len()
    }

    /// Whether a message waits for the peer to advertise a larger window.
    pub(super) fn awaits_window(&self) -> bool {
        self.inquiry.waits && self.arq.may_hold_more(0)
    }

    /// Requests the peer's window again if that is due.
    pub(super) fn request_window(&mut self, now: Time) {
        if self.awaits_window() && self.inquiry.is_due(now) {
            self.arq.request_probe();
        }
    }

    /// When to request the window again.
    pub(super) fn window_request_at(&self) -> Option<Time> {
        self.inquiry.next.filter(|_| self.awaits_window())
    }
}

/// Requests for a larger window, made once in a session for a message that needs it.
#[derive(Debug, Default)]
pub(super) struct WindowInquiry {
    /// The last message was refused because of its length.
    waits: bool,
    /// Requests so far.
    asked: u32,
    /// When to send the next request, or to give up.
    next: Option<Time>,
}

impl WindowInquiry {
    /// Whether more requests may be sent.
    fn is_open(&self) -> bool {
        self.asked <= QUESTIONS
    }

    fn wait(&mut self, now: Time, waits: bool) {
        self.waits = waits;
        if waits && self.next.is_none() {
            self.next = Some(now);
        }
    }

    /// Whether to send a request now. Each wait is twice the one before; the last one ends the
    /// inquiry.
    fn is_due(&mut self, now: Time) -> bool {
        if self.next.is_none_or(|at| at > now) {
            return false;
        }
        self.asked += 1;
        self.waits = self.is_open();
        self.next = self.waits.then(|| now + FIRST_WAIT * (1 << self.asked));
        self.waits
    }
}

/// Half of the wait after the first request.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// Requests before the advertised window is accepted: 1.27 s from the first one to the end.
const QUESTIONS: u32 = 7;
