//! Messages: each write is delivered to the reader as a whole.

use super::Arq;
use super::loss::INITIAL_REMOTE_WINDOW;
use super::options::Mode;
use crate::error::DecodeError;

/// Why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The message is empty. kcp-go's reader never gets past an empty message.
    #[error("message is empty; at least 1 byte is needed")]
    Empty,
    /// The message needs more fragments than the peer's receive window or the header allows, or is
    /// longer than the send buffer.
    #[error("message has {len} bytes; at most {most} are allowed")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// The longest message allowed, in bytes, as far as the peer's window is known.
        most: usize,
    },
}

impl From<MessageError> for std::io::Error {
    fn from(error: MessageError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

impl Arq {
    /// Whether message boundaries are kept.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.config.mode
    }

    /// Changes whether message boundaries are kept, from the next write and read on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.config.mode = mode;
        self.receive.set_mode(mode, &mut self.buffers);
    }

    /// The longest message that can be sent, in bytes.
    ///
    /// A peer delivers a message once it holds all fragments, so a message can have no more
    /// fragments than the peer's receive window has segments: the largest window advertised so far,
    /// 32 before the first. The header limits them to 255.
    #[must_use]
    pub fn max_message_len(&self) -> usize {
        self.len_of(self.max_fragments())
    }

    /// Number of fragments that a message may have.
    pub(super) fn max_fragments(&self) -> usize {
        let window = self.remote_capacity.unwrap_or(INITIAL_REMOTE_WINDOW);
        usize::from(window).clamp(1, MAX_FRAGMENTS)
    }

    /// Whether the peer may accept a message of `len` bytes although it has not advertised such a
    /// window.
    ///
    /// kcp-go v5 kcp.go, NewKCP: sessions begin with a receive window of 32, which the program
    /// changes later. Any other window was configured.
    pub(crate) fn may_hold_more(&self, len: usize) -> bool {
        let unsaid = [None, Some(INITIAL_REMOTE_WINDOW)];
        unsaid.contains(&self.remote_capacity) && len <= self.len_of(MAX_FRAGMENTS)
    }

    fn len_of(&self, fragments: usize) -> usize {
        (fragments * self.config.mss()).min(self.config.send_buffer)
    }

    /// Queues a whole message or nothing. Returns `Ok(false)` when the send buffer is full.
    ///
    /// The buffer also counts as full once as many segments wait as fit into the send window, since
    /// small messages take more memory than they have bytes.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the message cannot be sent even after waiting.
    pub fn write_message(&mut self, data: &[u8]) -> Result<bool, MessageError> {
        if data.is_empty() {
            return Err(MessageError::Empty);
        }
        let most = self.max_message_len();
        if data.len() > most {
            let len = data.len();
            return Err(MessageError::TooLong { len, most });
        }
        if self.has_full_queue() || data.len() > self.send.capacity() {
            return Ok(false);
        }
        let fragments = self.max_fragments();
        self.send.write_message(data, fragments, &mut self.buffers);
        self.counters.bytes_written += data.len() as u64;
        Ok(true)
    }

    /// Whether messages are refused because as many segments wait as fit into the send window.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.config.mode == Mode::Message && self.has_full_queue()
    }

    fn has_full_queue(&self) -> bool {
        self.send.queued() >= usize::from(self.config.send_window)
    }

    /// Appends one whole message to `out`. Returns false if none is complete.
    ///
    /// Always returns false once [`Self::broken`] returns an error.
    pub fn read_message(&mut self, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let complete = self.receive.read_message(out, &mut self.buffers);
        self.counters.bytes_read += (out.len() - before) as u64;
        self.announce_if_reopened();
        complete
    }

    /// Why no message can be read any more. Set by [`Self::read_message`] when fragments cannot be
    /// reassembled.
    #[must_use]
    pub fn broken(&self) -> Option<DecodeError> {
        self.receive.broken()
    }
}

/// Maximum number of fragments of a message. kcp-go v5 kcp.go, Send: refuses more.
const MAX_FRAGMENTS: usize = 255;
