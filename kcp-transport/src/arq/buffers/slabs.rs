//! Room for many segments, in maps that go back to the system when they are free.

use crate::pages::Pages;

use super::LARGEST;
use crate::wire::SEGMENT_HEADER_LEN;

/// Slots of equal size, a number of them in each map.
#[derive(Debug, Default)]
pub(super) struct Slabs {
    /// A slot names its slab by the place in this list.
    slabs: Vec<Option<Slab>>,
    /// No slab before this one has a free slot.
    first: u16,
    /// Slabs without a slot in use.
    empty: u16,
    /// The smallest number of those since [`Self::free_unneeded`].
    unneeded: u16,
    /// Free slots that were used before, and so take memory.
    spare: u32,
}

#[derive(Debug)]
struct Slab {
    memory: Pages,
    /// One bit for each slot.
    used: u32,
    /// Slots that have been used. The lowest free one is used first, so these are the lowest ones.
    touched: u32,
}

/// A slot in use.
#[derive(Debug)]
pub(super) struct Slot {
    slab: u16,
    index: u8,
    /// Bytes of data, at most [`SLOT_LEN`].
    pub(super) len: u16,
}

impl Slabs {
    /// An empty slot. `None` if there are too many.
    pub(super) fn take(&mut self) -> Option<Slot> {
        let from = usize::from(self.first);
        let is_free = |slab: &Option<Slab>| slab.as_ref().is_some_and(|it| it.used != FULL);
        let place = self.slabs[from..].iter().position(is_free);
        let place = match place {
            Some(place) => from + place,
            None => self.add()?,
        };
        self.first = u16::try_from(place).ok()?;
        self.take_at(place)
    }

    /// An empty slot that was used before.
    pub(super) fn take_spare(&mut self) -> Option<Slot> {
        if self.spare == 0 {
            return None;
        }
        let is_spare = |slab: &Option<Slab>| {
            let slab = slab.as_ref();
            slab.is_some_and(|it| it.touched & !it.used != 0)
        };
        let place = self.slabs.iter().position(is_spare)?;
        self.take_at(place)
    }

    fn take_at(&mut self, place: usize) -> Option<Slot> {
        let slab = self.slabs.get_mut(place)?.as_mut()?;
        let index = (!slab.used).trailing_zeros();
        let bit = 1 << index;
        if slab.used == 0 {
            self.empty -= 1;
            self.unneeded = self.unneeded.min(self.empty);
        }
        if slab.touched & bit != 0 {
            self.spare -= 1;
        }
        slab.used |= bit;
        slab.touched |= bit;
        Some(Slot {
            slab: u16::try_from(place).ok()?,
            index: u8::try_from(index).ok()?,
            len: 0,
        })
    }

    /// Adds a slab; returns its place.
    #[cold]
    fn add(&mut self) -> Option<usize> {
        let place = self.slabs.iter().position(Option::is_none);
        let place = place.unwrap_or(self.slabs.len());
        if place >= MAX_SLABS {
            return None;
        }
        if place == self.slabs.len() {
            self.slabs.push(None);
        }
        self.slabs[place] = Some(Slab {
            memory: Pages::zeroed(SLAB_LEN),
            used: 0,
            touched: 0,
        });
        self.empty += 1;
        Some(place)
    }

    /// Frees a slot.
    pub(super) fn give(&mut self, slot: &Slot) {
        let place = usize::from(slot.slab);
        let Some(Some(slab)) = self.slabs.get_mut(place) else {
            return;
        };
        slab.used &= !(1 << slot.index);
        self.spare += 1;
        if slab.used == 0 {
            self.empty += 1;
        }
        self.first = self.first.min(slot.slab);
    }

    /// The data in a slot.
    #[inline]
    pub(super) fn bytes(&self, slot: &Slot) -> &[u8] {
        let start = usize::from(slot.index) * SLOT_LEN;
        match &self.slabs[usize::from(slot.slab)] {
            Some(slab) => &slab.memory[start..start + usize::from(slot.len)],
            None => &[],
        }
    }

    /// Adds data to a slot, which has room for it.
    #[inline]
    pub(super) fn append(&mut self, slot: &mut Slot, data: &[u8]) {
        let Some(slab) = &mut self.slabs[usize::from(slot.slab)] else {
            return;
        };
        let len = usize::from(slot.len) + data.len();
        let start = usize::from(slot.index) * SLOT_LEN;
        let room = &mut slab.memory[start..start + SLOT_LEN];
        room[usize::from(slot.len)..len].copy_from_slice(data);
        // At most the length of a slot.
        slot.len = len as u16;
    }

    /// Slabs without a slot in use.
    pub(super) fn empty(&self) -> usize {
        self.empty.into()
    }

    /// Frees the slabs that were empty since the last call, except for so many.
    pub(super) fn free_unneeded(&mut self, most: usize) {
        let unneeded = usize::from(self.unneeded).saturating_sub(most);
        self.keep(self.empty() - unneeded);
        self.unneeded = self.empty;
    }

    /// Frees empty slabs until so many are left.
    #[inline]
    pub(super) fn keep(&mut self, most: usize) {
        if self.empty() > most {
            self.free_empty(most);
        }
    }

    #[cold]
    fn free_empty(&mut self, most: usize) {
        for place in self.slabs.iter_mut().rev() {
            if usize::from(self.empty) <= most {
                break;
            }
            if let Some(slab) = place.take_if(|slab| slab.used == 0) {
                self.empty -= 1;
                self.spare -= slab.touched.count_ones();
            }
        }
        while self.slabs.pop_if(|slab| slab.is_none()).is_some() {}
        self.unneeded = self.unneeded.min(self.empty);
        self.first = 0;
    }

    /// Whether there are no slabs.
    pub(super) fn is_empty(&self) -> bool {
        self.slabs.is_empty()
    }

    /// Bytes of the slots that have been used.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn mapped(&self) -> usize {
        let slabs = self.slabs.iter().flatten();
        let touched = slabs.map(|slab| slab.touched.count_ones());
        touched.sum::<u32>() as usize * SLOT_LEN
    }

    /// Bytes that are held and not in use.
    pub(super) fn held(&self) -> usize {
        let list = self.slabs.capacity() * size_of::<Option<Slab>>();
        self.spare as usize * SLOT_LEN + list + size_of::<Self>()
    }
}

/// Bytes of a slot: the data of the largest datagram that is not a jumbo frame.
pub(super) const SLOT_LEN: usize = LARGEST - SEGMENT_HEADER_LEN;

/// Bytes of a slab. A smaller one would take more system calls, a larger one would more often be held
/// by the last segment in it.
const SLAB_LEN: usize = 32 << 10;

/// Slots of a slab.
pub(super) const SLOTS: usize = SLAB_LEN / SLOT_LEN;

/// All slots of a slab.
const FULL: u32 = (1 << SLOTS) - 1;

/// As many as 16 bits can name.
const MAX_SLABS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slabs: &mut Slabs, count: usize) -> Vec<Slot> {
        let slots = (0..count).map(|_| slabs.take().expect("there is room"));
        slots.collect()
    }

    #[test]
    fn slots_keep_their_data_apart() {
        let mut slabs = Slabs::default();
        let mut slots = take(&mut slabs, 3 * SLOTS);
        for round in [1, 2] {
            for (number, slot) in slots.iter_mut().enumerate() {
                slabs.append(slot, &[number as u8; SLOT_LEN / 2]);
                assert_eq!(usize::from(slot.len), round * SLOT_LEN / 2);
            }
        }
        for (number, slot) in slots.iter().enumerate() {
            assert_eq!(slabs.bytes(slot), [number as u8; SLOT_LEN]);
        }
    }

    #[test]
    fn only_slabs_without_a_slot_in_use_are_freed() {
        let mut slabs = Slabs::default();
        let mut slots = take(&mut slabs, 3 * SLOTS);
        let last = slots.split_off(3 * SLOTS - 1);
        let first = slots.remove(0);
        slots.iter().for_each(|slot| slabs.give(slot));
        assert_eq!((slabs.empty(), slabs.spare as usize), (1, 3 * SLOTS - 2));
        slabs.keep(0);
        assert_eq!((slabs.empty(), slabs.spare as usize), (0, 2 * SLOTS - 2));
        // The slots that are free are used before another slab.
        let spare = take(&mut slabs, 2 * SLOTS - 2);
        assert_eq!((slabs.spare, slabs.slabs.iter().flatten().count()), (0, 2));
        for slot in spare.iter().chain(&last).chain([&first]) {
            slabs.give(slot);
        }
        slabs.keep(0);
        assert!(slabs.is_empty());
    }

    #[test]
    fn a_spare_slot_is_one_that_was_used() {
        let mut slabs = Slabs::default();
        assert!(slabs.take_spare().is_none());
        let slots = take(&mut slabs, SLOTS + 1);
        assert!(slabs.take_spare().is_none());
        slabs.give(&slots[3]);
        let spare = slabs.take_spare().map(|slot| slot.index);
        assert_eq!(spare, Some(slots[3].index));
        assert_eq!(slabs.spare, 0);
    }
}
