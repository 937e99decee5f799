//! Memory that goes back to the system when it is freed.
//!
//! An allocator keeps much of what is freed: glibc returns memory only from the end of a heap, and the
//! small objects of open connections are spread over it. So what many connections hold for a moment
//! would stay with the process for as long as it runs. Large buffers are therefore maps of their own
//! where the system has them, and taken from the allocator elsewhere.

use std::ops::{Deref, DerefMut};

#[cfg(all(unix, feature = "tokio"))]
use memmap2::MmapMut;

/// A number of bytes that begin as zero. Those of a map take no memory until they are written.
#[derive(Debug)]
pub(crate) struct Pages(Place);

#[derive(Debug)]
enum Place {
    Heap(Vec<u8>),
    #[cfg(all(unix, feature = "tokio"))]
    Map(MmapMut),
}

impl Pages {
    /// No bytes.
    pub(crate) const fn new() -> Self {
        Self(Place::Heap(Vec::new()))
    }

    /// So many bytes: from the allocator if they are few, or if the system has no map.
    pub(crate) fn zeroed(len: usize) -> Self {
        #[cfg(all(unix, feature = "tokio"))]
        if len >= LEAST_MAPPED
            && let Ok(map) = MmapMut::map_anon(len)
        {
            return Self(Place::Map(map));
        }
        Self(Place::Heap(vec![0; len]))
    }

    /// Changes the number of bytes to a larger one, and keeps the first `used` of them.
    pub(crate) fn grow(&mut self, len: usize, used: usize) {
        let mut grown = Self::zeroed(len);
        grown[..used].copy_from_slice(&self[..used]);
        *self = grown;
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Heap(bytes) => bytes,
            #[cfg(all(unix, feature = "tokio"))]
            Place::Map(bytes) => bytes,
        }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Place::Heap(bytes) => bytes,
            #[cfg(all(unix, feature = "tokio"))]
            Place::Map(bytes) => bytes,
        }
    }
}

/// Smaller buffers are not worth a map, which takes two system calls and whole pages.
#[cfg(all(unix, feature = "tokio"))]
const LEAST_MAPPED: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_as_zero_and_growth_keeps_those_in_use() {
        for (small, large) in [(0, 10), (10, 1 << 16), (1 << 16, 1 << 20)] {
            let mut pages = Pages::zeroed(small);
            assert!(pages.iter().all(|&byte| byte == 0));
            pages.fill(7);
            let used = small / 2;
            pages.grow(large, used);
            assert_eq!(pages.len(), large);
            let expected = |index| if index < used { 7 } else { 0 };
            assert!(
                pages
                    .iter()
                    .enumerate()
                    .all(|(index, &byte)| byte == expected(index))
            );
        }
    }
}
