//! Remembers the nonces of authenticated packets and refuses repetitions.

mod window;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use crate::crypto::AEAD_NONCE_LEN;
use window::Window;

/// Distinguishes new packets from replayed ones.
///
/// It processes only nonces of packets that passed the cipher's check, so an attacker without the
/// key cannot change its state. One filter serves all senders of an endpoint:
///
/// - Nonces of this crate's senders are a prefix and a counter. Each prefix has a window of the
///   counters seen; counters before the window count as seen. As long as the prefix is remembered,
///   no packet passes twice, however old it is. The window covers at least the last 4096 packets of
///   the sender, so a packet that is overtaken by fewer is never refused. With many senders that
///   share the memory it is smaller, down to four runs of 64 counters.
/// - Nonces of other senders, such as kcp-go, are random, and are remembered one by one.
///
/// Memory is bounded by numbers, not by age. There are two generations of each kind; when the newer
/// one is full, the older one is dropped, with the entries that were unused for longest. A
/// generation holds `capacity` random nonces, or `capacity / 4` counting senders with up to
/// `capacity` runs of 64 counters in all; a capacity of less than 64 counts as 64. The filter takes
/// about 200 bytes for each unit of `capacity` at most, and allocates only as packets arrive.
///
/// Forgotten nonces pass again, and so do packets from before the filter was created. Sessions are
/// then the protection: data that was received before is not delivered again, and a conversation
/// that ended recently is not reopened.
///
/// ```
/// use kcp_transport::packet::ReplayFilter;
///
/// let mut filter = ReplayFilter::new([1; 16], 1000); // in production: 16 random bytes
/// assert!(filter.accept(b"prefix01\0\0\0\0"));
/// assert!(filter.accept(b"prefix01\0\0\0\x01"));
/// assert!(!filter.accept(b"prefix01\0\0\0\0"));
/// ```
pub struct ReplayFilter {
    /// Initialised with the secret. Without it, a holder of the key could choose prefixes that all
    /// collide in the tables.
    hasher: DefaultHasher,
    /// The last prefix and its mark: packets arrive in runs, and hashing is most of the work.
    last: ([u8; 8], Mark),
    senders: Generations<Window>,
    /// Runs of counters in the windows of the newer generation.
    runs: usize,
    /// The counters of prefixes that were seen once, as bytes, so that they are packed.
    singles: Generations<[u8; 4]>,
    capacity: usize,
}

impl ReplayFilter {
    /// A filter that has seen nothing, with room for `capacity` nonces or runs of counters.
    ///
    /// `secret` makes the slots of nonces in the tables unpredictable.
    #[must_use]
    pub fn new(secret: [u8; 16], capacity: usize) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(&secret);
        Self {
            last: ([0; 8], mark(&hasher, [0; 8])),
            hasher,
            senders: Generations::default(),
            runs: 0,
            singles: Generations::default(),
            capacity: capacity.max(LEAST_CAPACITY),
        }
    }

    /// Whether the nonce is new. Remembers it.
    ///
    /// Call it once per packet and only for authentic packets.
    #[must_use]
    pub fn accept(&mut self, nonce: &[u8; AEAD_NONCE_LEN]) -> bool {
        let [p0, p1, p2, p3, p4, p5, p6, p7, counter @ ..] = *nonce;
        let prefix = [p0, p1, p2, p3, p4, p5, p6, p7];
        if prefix != self.last.0 {
            self.last = (prefix, mark(&self.hasher, prefix));
        }
        let mark = self.last.1;
        if let Some(fresh) = self.accept_counted(mark, u32::from_be_bytes(counter)) {
            return fresh;
        }
        match self.singles.get(mark) {
            Some(single) if single == counter => false,
            Some(single) => {
                // The same prefix with another counter: a counting sender.
                self.add_sender(mark, [single, counter].map(u32::from_be_bytes));
                true
            }
            None => {
                if self.singles.current.len() >= self.capacity {
                    self.singles.rotate();
                }
                self.singles.current.insert(mark, counter);
                true
            }
        }
    }

    /// As [`accept`](Self::accept), or `None` if the prefix is not one of a known counting sender.
    fn accept_counted(&mut self, mark: Mark, counter: u32) -> Option<bool> {
        let senders = self.senders.current.len();
        let window = self.senders.find(mark)?;
        let before = window.runs();
        let fresh = window.insert(counter, self.capacity / senders.max(1));
        let after = window.runs();
        // A window that moved from the older generation was not counted yet.
        let came_over = self.senders.current.len() > senders;
        let counted = if came_over { 0 } else { before };
        if after != counted {
            self.runs = self.runs + after - counted;
            self.bound_senders();
        }
        Some(fresh)
    }

    fn add_sender(&mut self, mark: Mark, counters: [u32; 2]) {
        let mut window = Window::default();
        for counter in counters {
            window.insert(counter, LEAST_CAPACITY);
        }
        self.runs += window.runs();
        self.senders.current.insert(mark, window);
        self.bound_senders();
    }

    fn bound_senders(&mut self) {
        if self.runs > self.capacity || self.senders.current.len() > self.capacity / 4 {
            self.senders.rotate();
            self.runs = 0;
        }
    }
}

fn mark(hasher: &DefaultHasher, prefix: [u8; 8]) -> Mark {
    let mut hasher = hasher.clone();
    hasher.write_u64(u64::from_ne_bytes(prefix));
    Mark(hasher.finish().to_ne_bytes())
}

impl fmt::Debug for ReplayFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayFilter")
            .field("senders", &self.senders.len())
            .field("singles", &self.singles.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Represents a prefix in the tables: its hash under the secret, as bytes, so that it is packed.
///
/// Another sender's prefix has the same mark with a probability of 2^-64, and then its packet is
/// refused only if the counter was also seen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark([u8; 8]);

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_ne_bytes(self.0));
    }
}

/// Returns a mark unchanged, since it is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, mark: u64) {
        self.0 = mark;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a mark is hashed as a whole");
    }
}

type Table<V> = HashMap<Mark, V, BuildHasherDefault<AsIs>>;

/// A table of recently used entries, and one of older entries.
struct Generations<V> {
    current: Table<V>,
    previous: Table<V>,
}

impl<V> Default for Generations<V> {
    fn default() -> Self {
        Self {
            current: Table::default(),
            previous: Table::default(),
        }
    }
}

impl<V> Generations<V> {
    /// Finds an entry in both and moves it to the newer one.
    fn find(&mut self, mark: Mark) -> Option<&mut V> {
        match self.current.entry(mark) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => Some(entry.insert(self.previous.remove(&mark)?)),
        }
    }

    /// Finds an entry in both and moves nothing.
    fn get(&self, mark: Mark) -> Option<V>
    where
        V: Copy,
    {
        let found = self.current.get(&mark);
        found.or_else(|| self.previous.get(&mark)).copied()
    }

    /// Drops the older generation and starts a new one in its memory.
    fn rotate(&mut self) {
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
    }

    fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

/// The smallest capacity, so that a few senders always fit.
const LEAST_CAPACITY: usize = 64;

#[cfg(test)]
mod tests;
