//! Looking at received bytes without taking them, for `AsyncBufRead`.

use std::io;
use std::task::{Context, Poll, ready};

use crate::net::connection::Connection;
use crate::net::sync::budgeted;

/// A copy of the next bytes of a stream.
///
/// The bytes stay in the session until they are consumed, so that any other way to read, the halves
/// of the stream and a change to messages are not affected by it.
#[derive(Debug, Default)]
pub(in crate::net) struct ReadView {
    bytes: Vec<u8>,
    /// The position in the stream of the first of `bytes`.
    start: u64,
    /// The position from which bytes were shown last.
    shown: u64,
}

impl ReadView {
    /// The bytes from the reader's position on, which are copied unless they were before.
    pub(in crate::net) fn poll_fill(
        &mut self,
        connection: &Connection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        let position = connection.position();
        if self.known(position).is_empty() {
            self.start = ready!(self.poll_copy(connection, cx))?;
            self.shown = self.start;
        } else {
            self.shown = position;
        }
        Poll::Ready(Ok(self.known(self.shown)))
    }

    /// Takes `len` of the bytes that were shown out of the stream.
    pub(in crate::net) fn consume(&mut self, connection: &Connection, len: usize) {
        self.shown += len as u64;
        connection.skip_to(self.shown);
        if self.known(self.shown).is_empty() {
            self.bytes.clear();
        }
    }

    /// Copies the next bytes and returns where they begin.
    fn poll_copy(
        &mut self,
        connection: &Connection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<u64>> {
        self.bytes.clear();
        let bytes = &mut self.bytes;
        let copied = budgeted(cx, |cx| {
            connection.poll_peek(cx, MAX_LEN, &mut |slice| bytes.extend_from_slice(slice))
        });
        if copied.is_pending() {
            // An idle stream owns no buffer.
            self.bytes = Vec::new();
        }
        copied
    }

    /// The copied bytes from `position` on.
    fn known(&self, position: u64) -> &[u8] {
        let offset = position.checked_sub(self.start);
        let offset = offset.and_then(|it| usize::try_from(it).ok());
        offset
            .and_then(|it| self.bytes.get(it..))
            .unwrap_or_default()
    }
}

/// Most bytes that are copied at once: as many as a `BufReader` holds.
const MAX_LEN: usize = 8 * 1024;
