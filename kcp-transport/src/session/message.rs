//! Messages: boundaries of writes that the peer's reads see.

use std::time::Duration;

use super::Session;
use crate::arq::MessageError;
use crate::config::Mode;
use crate::error::ConnectionError;
use crate::time::Time;

impl Session {
    /// Changes whether boundaries are kept, from the next write and read on.
    ///
    /// The peer need not know: the mode is in the headers of what is sent.
    pub fn set_mode(&mut self, mode: Mode) {
        self.arq.set_mode(mode);
    }

    /// Queues a whole message, or nothing: `Ok(false)` when the send buffer is full, after
    /// [`Session::shutdown`] and after the end.
    ///
    /// Wait for [`Session::is_writable`] then.
    ///
    /// `Ok(false)` also for the first message that is longer than what the peer is known to hold, as
    /// long as it may only not have said yet: kcp-go tells a window of 32 until its program has
    /// accepted the session. The peer is asked again for a little more than a second then.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the message is empty, which no kcp-go reader survives, or longer than
    /// [`Session::max_message_len`].
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

    /// Appends the next whole message to `out`; false if there is none, or none any more: a peer
    /// whose fragments cannot be put together ends the session with
    /// [`ConnectionError::Protocol`].
    ///
    /// A peer in C may send empty messages: then true, and nothing appended.
    pub fn read_message(&mut self, now: Time, out: &mut Vec<u8>) -> bool {
        let complete = self.arq.read_message(out);
        if let Some(error) = self.arq.broken() {
            self.lifetime.close(ConnectionError::Protocol(error));
        }
        self.note_activity(now);
        complete
    }

    /// Most bytes of a message: 255 segments, but no more than the largest window the peer has
    /// told, which is taken to be 32 until it tells, nor than the send buffer.
    #[must_use]
    pub fn max_message_len(&self) -> usize {
        self.arq.max_message_len()
    }

    /// Whether a message waits for the peer to tell a larger window.
    pub(super) fn awaits_window(&self) -> bool {
        self.inquiry.waits && self.arq.may_hold_more(0)
    }

    /// Asks for the window again, if that is due.
    pub(super) fn request_window(&mut self, now: Time) {
        if self.awaits_window() && self.inquiry.is_due(now) {
            self.arq.request_probe();
        }
    }

    /// When to ask for the window again.
    pub(super) fn window_request_at(&self) -> Option<Time> {
        self.inquiry.next.filter(|_| self.awaits_window())
    }
}

/// Asking for a larger window, once in a session, for the sake of a message that needs it.
#[derive(Debug, Default)]
pub(super) struct WindowInquiry {
    /// The last message was not taken because of its length.
    waits: bool,
    /// Questions so far.
    asked: u32,
    /// When to ask next, or to give up.
    next: Option<Time>,
}

impl WindowInquiry {
    /// Whether the peer has not been asked often enough.
    fn is_open(&self) -> bool {
        self.asked <= QUESTIONS
    }

    fn wait(&mut self, now: Time, waits: bool) {
        self.waits = waits;
        if waits && self.next.is_none() {
            self.next = Some(now);
        }
    }

    /// Whether to ask now. Each wait is twice the one before; the last one ends the inquiry.
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

/// Half of the wait after the first question.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// Questions before the peer is believed: 1.27 s from the first one to the end.
const QUESTIONS: u32 = 7;
