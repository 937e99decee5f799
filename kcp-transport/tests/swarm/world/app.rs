//! What uses a session: writes, reads, and checks every byte it reads.

use std::sync::LazyLock;

use kcp_transport::session::{Session, State};
use kcp_transport::testing::Rng;
use kcp_transport::time::Time;

use crate::clock::Micros;
use crate::plan::Flow;

/// The bytes of which every stream is a part; where it begins follows from its name.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; PATTERN_LEN];
    Rng::new(0xbade).fill(&mut bytes);
    bytes.extend_from_within(..);
    bytes
});

/// A prime, so that no segment size divides it.
const PATTERN_LEN: usize = 65_521;

/// Short enough for any segment.
const SHORT_MESSAGE: usize = 40;

/// `len` bytes of a stream from `position` on; at most 64 kB.
pub(crate) fn pattern(stream: u64, position: u64, len: usize) -> &'static [u8] {
    let start = (stream.wrapping_mul(7_919).wrapping_add(position) % PATTERN_LEN as u64) as usize;
    &PATTERN[start..start + len]
}

/// One side's use of a conversation.
#[derive(Debug)]
pub(crate) struct App {
    /// Names of the streams that are written and read.
    pub(crate) streams: [u64; 2],
    sends: Flow,
    /// How the other side's stream is read.
    reads: Flow,
    messages: bool,
    /// Writes no more than it has read, or a chunk more for the side that begins.
    ping_pong: Option<bool>,
    /// Bytes to write in all; less than planned once writing has ended.
    pub(crate) target: u64,
    pub(crate) written: u64,
    pub(crate) read: u64,
    pub(crate) datagrams_read: u64,
    datagrams_sent: u32,
    /// Lengths of messages that were written.
    pub(crate) lengths: Vec<u32>,
    messages_read: usize,
    next_write: Micros,
    next_read: Micros,
    buffer: Vec<u8>,
}

impl App {
    pub(crate) fn new(
        streams: [u64; 2],
        sends: Flow,
        reads: Flow,
        messages: bool,
        ping_pong: Option<bool>,
    ) -> Self {
        Self {
            streams,
            target: sends.bytes,
            sends,
            reads,
            messages,
            ping_pong,
            written: 0,
            read: 0,
            datagrams_read: 0,
            datagrams_sent: 0,
            lengths: Vec::new(),
            messages_read: 0,
            next_write: 0,
            next_read: 0,
            buffer: Vec::new(),
        }
    }

    /// The other side's stream is left alone for ever.
    pub(crate) fn never_reads(&self) -> bool {
        self.reads.never_read
    }

    /// It would write more if it had read more.
    pub(crate) fn waits_for_answer(&self) -> bool {
        self.written < self.target && self.written >= self.allowed()
    }

    /// From now on everything is read at once and written without waiting.
    pub(crate) fn hurry(&mut self, now: Micros) {
        self.reads.read_gap = 0;
        self.sends.gap = 0;
        self.next_read = now;
        self.next_write = now;
    }

    /// Writes a few pieces more, whatever it reads.
    pub(crate) fn write_more(&mut self) {
        self.ping_pong = None;
        self.target += (4 * self.sends.chunk).min(3_000);
    }

    /// Writes no more.
    pub(crate) fn stop_writing(&mut self) {
        self.target = self.written;
    }

    /// When it wants to do something next.
    pub(crate) fn next(&self, session: &Session) -> Option<Micros> {
        if matches!(session.state(), State::Closed(_) | State::Lingering) {
            return None;
        }
        let wants_write = self.wants_write() && session.is_writable();
        let write = (wants_write && self.sends.gap > 0).then_some(self.next_write);
        let wants_read = !self.reads.never_read && session.is_readable();
        let read = (wants_read && self.reads.read_gap > 0).then_some(self.next_read);
        [write, read].into_iter().flatten().min()
    }

    fn wants_write(&self) -> bool {
        self.written < self.target.min(self.allowed())
    }

    fn allowed(&self) -> u64 {
        match self.ping_pong {
            None => u64::MAX,
            Some(begins) => self.read + if begins { self.sends.chunk } else { 0 },
        }
    }

    /// Reads and writes what it wants to now. `peer` has the lengths of the other's messages.
    pub(crate) fn run(
        &mut self,
        session: &mut Session,
        now: Micros,
        local: Time,
        peer_lengths: Option<&[u32]>,
    ) -> Result<(), String> {
        if matches!(session.state(), State::Lingering) {
            return Ok(());
        }
        self.read(session, now, local, peer_lengths)?;
        self.read_datagrams(session)?;
        // The largest message is known once the peer has answered.
        let may_write = match session.state() {
            State::Established | State::Connecting => {
                !self.messages || session.stats().segments_received > 0
            }
            _ => false,
        };
        if may_write {
            self.write(session, now, local)?;
            self.send_datagrams(session, local);
        }
        Ok(())
    }

    fn read(
        &mut self,
        session: &mut Session,
        now: Micros,
        local: Time,
        peer_lengths: Option<&[u32]>,
    ) -> Result<(), String> {
        while !self.reads.never_read && now >= self.next_read && session.is_readable() {
            if self.messages {
                self.buffer.clear();
                if !session.read_message(local, &mut self.buffer) {
                    return Ok(());
                }
                let expected = peer_lengths.and_then(|it| it.get(self.messages_read).copied());
                if expected.is_some_and(|len| len as usize != self.buffer.len()) {
                    let got = self.buffer.len();
                    return Err(format!(
                        "message of {got} bytes where {expected:?} were written"
                    ));
                }
                self.messages_read += 1;
            } else {
                let len = self.reads.read_chunk.min(PATTERN_LEN as u64) as usize;
                self.buffer.resize(len, 0);
                let read = session.read(local, &mut self.buffer);
                if read == 0 {
                    return Err("readable, but nothing to read".into());
                }
                self.buffer.truncate(read);
            }
            let position = self.read;
            for (index, chunk) in self.buffer.chunks(PATTERN_LEN).enumerate() {
                let at = position + (index * PATTERN_LEN) as u64;
                if chunk != pattern(self.streams[1], at, chunk.len()) {
                    return Err(format!(
                        "bytes differ from what was written at {at} or later"
                    ));
                }
            }
            self.read += self.buffer.len() as u64;
            if self.reads.read_gap > 0 {
                self.next_read = now + self.reads.read_gap;
            }
        }
        Ok(())
    }

    fn write(&mut self, session: &mut Session, now: Micros, local: Time) -> Result<(), String> {
        while self.wants_write() && now >= self.next_write {
            let left = self.target.min(self.allowed()) - self.written;
            let mut len = left.min(self.sends.chunk).min(60_000) as usize;
            let capacity = session.send_capacity();
            let taken = if self.messages && self.lengths.len() % 3 == 2 {
                // So do writes that fit into a segment.
                let data = pattern(self.streams[0], self.written, len.min(SHORT_MESSAGE));
                let taken = session.write(local, data);
                if taken > 0 {
                    self.lengths.push(taken as u32);
                }
                taken
            } else if self.messages {
                // Each is one of its own.
                len = len.min(session.max_message_len());
                let data = pattern(self.streams[0], self.written, len);
                let taken = session
                    .write_message(local, data)
                    .map_err(|error| format!("a message of {len} bytes is refused: {error}"))?;
                if taken {
                    self.lengths.push(len as u32);
                }
                if taken { len } else { 0 }
            } else {
                let data = pattern(self.streams[0], self.written, len);
                session.write(local, data)
            };
            if taken > len || taken > capacity {
                return Err(format!(
                    "{taken} bytes taken of {len} with room for {capacity}"
                ));
            }
            self.written += taken as u64;
            if taken == 0 {
                return Ok(());
            }
            if self.sends.gap > 0 {
                self.next_write = now + self.sends.gap;
            }
        }
        Ok(())
    }

    fn send_datagrams(&mut self, session: &mut Session, local: Time) {
        let Some(most) = session.max_out_of_band_len() else {
            return;
        };
        // Spread over what is written, a few at a time.
        let due = if self.written >= self.target {
            self.sends.out_of_band
        } else {
            (self.written * u64::from(self.sends.out_of_band) / self.target.max(1)) as u32
        };
        // Before that they would use up what may be sent to an address not yet proved.
        while self.datagrams_sent < due && most >= 8 && session.is_validated() {
            let number = self.datagrams_sent;
            let len = 8 + number as usize * 37 % (most - 7);
            let mut data = number.to_le_bytes().to_vec();
            data.extend_from_slice(&(len as u32).to_le_bytes());
            data.extend_from_slice(pattern(!self.streams[0], u64::from(number) * 11, len - 8));
            if session.send_out_of_band(local, &data).is_err() {
                return;
            }
            self.datagrams_sent += 1;
        }
    }

    fn read_datagrams(&mut self, session: &mut Session) -> Result<(), String> {
        while let Some(data) = session.poll_out_of_band() {
            let (number, rest) = data
                .split_first_chunk::<4>()
                .ok_or("datagram is too short")?;
            let number = u32::from_le_bytes(*number);
            let (len, rest) = rest
                .split_first_chunk::<4>()
                .ok_or("datagram is too short")?;
            if u32::from_le_bytes(*len) as usize != data.len() {
                return Err(format!("datagram {number} has another length"));
            }
            // The session of an unplanned conversation expects no particular bytes.
            let planned = self.streams[0] != self.streams[1];
            if planned && rest != pattern(!self.streams[1], u64::from(number) * 11, rest.len()) {
                return Err(format!("datagram {number} differs from what was sent"));
            }
            self.datagrams_read += 1;
        }
        Ok(())
    }
}
