//! Messages: boundaries of writes that the peer's reads see.

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
    /// # Errors
    ///
    /// [`MessageError`] if the message is empty, which no kcp-go reader survives, or longer than
    /// [`Session::max_message_len`].
    pub fn write_message(&mut self, now: Time, message: &[u8]) -> Result<bool, MessageError> {
        if self.write_closed || self.lifetime.is_closed() {
            return Ok(false);
        }
        let taken = self.arq.write_message(message)?;
        self.touch(now);
        Ok(taken)
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
        self.touch(now);
        complete
    }

    /// Most bytes of a message: 255 segments, but no more than the largest window the peer has
    /// told, which is taken to be 32 until it tells, nor than the send buffer.
    #[must_use]
    pub fn max_message_len(&self) -> usize {
        self.arq.max_message_len()
    }
}
