//! Receiver indices: which session or handshake an arriving message is for.

use std::fmt;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwapOption;
use rand_core::Rng;

/// Bits of an index that say which slot; the others are random and checked.
const SLOT_BITS: u32 = 18;
const SLOTS: usize = 1 << SLOT_BITS;
const CHUNK: usize = 1024;

/// Table of receiver indices, shared by all threads; a clone is a handle to
/// the same table.
///
/// ```text
/// index  [ random tag: 14 bits | random slot: 18 bits ]
/// ```
///
/// All 32 bits are drawn from the caller's random source, so an index tells
/// nothing about how many there are or which comes next. Slots are allocated
/// by the thousand when first used. Looking up takes no lock.
pub struct IndexTable<E>(Arc<Table<E>>);

struct Table<E> {
    /// One bit per slot that is reserved.
    taken: Box<[AtomicU64]>,
    chunks: Box<[Chunk<E>]>,
}

/// Allocated when one of its slots is first used.
type Chunk<E> = OnceLock<Box<[Slot<E>]>>;
type Slot<E> = ArcSwapOption<(u32, E)>;

/// A receiver index that nobody else gets while this lives. Dropping it takes
/// the index, and what it stood for, out of the table.
pub struct Reservation<E> {
    /// Weak: entries hold their own reservations.
    table: Weak<Table<E>>,
    index: u32,
}

impl<E> Clone for IndexTable<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Default for IndexTable<E> {
    fn default() -> Self {
        Self(Arc::new(Table {
            taken: (0..SLOTS / 64).map(|_| AtomicU64::new(0)).collect(),
            chunks: (0..SLOTS / CHUNK).map(|_| OnceLock::new()).collect(),
        }))
    }
}

impl<E: Clone> IndexTable<E> {
    /// Takes an unused, unpredictable index. None when all 262,144 are taken.
    #[must_use]
    pub fn reserve(&self, rng: &mut (impl Rng + ?Sized)) -> Option<Reservation<E>> {
        // Up to a load of one half, ten misses in a row are rarer than 1 in
        // 1000; then look at every slot from the last one drawn on.
        let mut index = 0;
        for _ in 0..10 {
            index = rng.next_u32();
            if self.0.take(slot_of(index)) {
                return Some(self.reservation(index));
            }
        }
        let tag = index & !(SLOTS as u32 - 1);
        (0..SLOTS)
            .map(|i| (slot_of(index) + i) % SLOTS)
            .find(|&slot| self.0.take(slot))
            .map(|slot| self.reservation(tag | slot as u32))
    }

    fn reservation(&self, index: u32) -> Reservation<E> {
        Reservation {
            table: Arc::downgrade(&self.0),
            index,
        }
    }

    /// From now on the index stands for `entry`.
    pub fn set(&self, reservation: &Reservation<E>, entry: E) {
        let index = reservation.index;
        self.0
            .slot_or_new(slot_of(index))
            .store(Some(Arc::new((index, entry))));
    }

    /// What `index` stands for.
    #[must_use]
    pub fn lookup(&self, index: u32) -> Option<E> {
        let guard = self.0.slot(slot_of(index))?.load();
        match guard.as_deref() {
            Some((full, entry)) if *full == index => Some(entry.clone()),
            _ => None,
        }
    }

    /// Number of indices taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        let count = |w: &AtomicU64| w.load(Relaxed).count_ones() as usize;
        self.0.taken.iter().map(count).sum()
    }
}

impl<E> Table<E> {
    /// Whether `slot` was free and is now the caller's.
    fn take(&self, slot: usize) -> bool {
        let bit = 1 << (slot % 64);
        self.taken[slot / 64].fetch_or(bit, AcqRel) & bit == 0
    }

    fn slot(&self, slot: usize) -> Option<&Slot<E>> {
        self.chunks[slot / CHUNK].get().map(|c| &c[slot % CHUNK])
    }

    fn slot_or_new(&self, slot: usize) -> &Slot<E> {
        let chunk = self.chunks[slot / CHUNK]
            .get_or_init(|| (0..CHUNK).map(|_| ArcSwapOption::empty()).collect());
        &chunk[slot % CHUNK]
    }
}

const fn slot_of(index: u32) -> usize {
    index as usize % SLOTS
}

impl<E> Reservation<E> {
    /// The index.
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }
}

impl<E> Drop for Reservation<E> {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else {
            return;
        };
        let slot = slot_of(self.index);
        // What stood there may hold this very table: let go of it last.
        let entry = table.slot(slot).and_then(|s| s.swap(None));
        table.taken[slot / 64].fetch_and(!(1 << (slot % 64)), AcqRel);
        drop(entry);
    }
}

impl<E> fmt::Debug for Reservation<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({:#010x})", self.index)
    }
}

impl<E> fmt::Debug for IndexTable<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allocated = self.0.chunks.iter().filter(|c| c.get().is_some()).count();
        f.debug_struct("IndexTable")
            .field("chunks", &allocated)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::testing::TestRng;
    use std::collections::HashSet;

    #[test]
    fn an_index_is_found_until_its_reservation_is_dropped() {
        let table = IndexTable::default();
        let r = table.reserve(&mut TestRng::new(1)).unwrap();
        assert_eq!(table.lookup(r.index()), None, "reserved only");
        table.set(&r, "session");
        assert_eq!(table.lookup(r.index()), Some("session"));
        let other_tag = r.index() ^ (1 << 31);
        assert_eq!(table.lookup(other_tag), None, "same slot, other tag");
        let index = r.index();
        drop(r);
        assert_eq!(table.lookup(index), None);
        assert_eq!(table.taken(), 0);
    }

    #[test]
    fn every_slot_can_be_taken_once() {
        let table = IndexTable::<()>::default();
        let mut rng = TestRng::new(2);
        let all: Vec<_> = (0..SLOTS)
            .map(|_| table.reserve(&mut rng).unwrap())
            .collect();
        let distinct: HashSet<_> = all.iter().map(|r| slot_of(r.index())).collect();
        assert_eq!(distinct.len(), SLOTS);
        assert!(table.reserve(&mut rng).is_none());
        drop(all);
        assert_eq!(table.taken(), 0);
    }

    #[test]
    fn an_entry_may_hold_its_own_reservation_and_the_table_is_still_freed() {
        struct Holder(#[expect(dead_code, reason = "held, not read")] Reservation<Arc<Holder>>);
        let table = IndexTable::default();
        let reservation = table.reserve(&mut TestRng::new(4)).unwrap();
        let index = reservation.index();
        let unset = table.reserve(&mut TestRng::new(5)).unwrap();
        let holder = Arc::new(Holder(unset));
        let weak = Arc::downgrade(&holder);
        table.set(&reservation, holder);
        assert!(table.lookup(index).is_some());
        drop(table);
        assert!(weak.upgrade().is_none());
        drop(reservation);
    }

    #[test]
    fn threads_never_get_the_same_index() {
        let table = IndexTable::<()>::default();
        let all: Vec<_> = std::thread::scope(|s| {
            let workers: Vec<_> = (0..4)
                .map(|w| {
                    let table = &table;
                    s.spawn(move || {
                        // The same seed: they want the same indices.
                        let mut rng = TestRng::new(w / 2);
                        (0..20_000)
                            .map(|_| table.reserve(&mut rng).unwrap())
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|w| w.join().unwrap())
                .collect()
        });
        let distinct: HashSet<_> = all.iter().map(|r| slot_of(r.index())).collect();
        assert_eq!(distinct.len(), 80_000);
    }
}
