//! A hash map of the kernel with a small table in front, see [`ringtun_common::seats`].

use super::BpfError;
use super::object::{Object, absent_is_fine};
use super::pod::Row;
use aya::Pod;
use aya::maps::{Array, HashMap, MapData};
use ringtun_common::seats::{Key, Seat};
use std::collections::BTreeMap;

/// The two maps.
pub(super) struct Seats<K, V>
where
    Row<K>: Pod,
    Row<V>: Pod,
    Row<Seat<K, V>>: Pod,
{
    map: HashMap<MapData, Row<K>, Row<V>>,
    seats: Array<MapData, Row<Seat<K, V>>>,
    /// Who wants each seat that somebody wants.
    wanted: BTreeMap<u32, Vec<(K, V)>>,
}

impl<K: Key + Default, V: Copy + Default> Seats<K, V>
where
    Row<K>: Pod,
    Row<V>: Pod,
    Row<Seat<K, V>>: Pod,
{
    /// Takes the maps of these names out of the object.
    pub(super) fn new(
        object: &mut Object,
        map: &'static str,
        seats: &'static str,
    ) -> Result<Self, BpfError> {
        Ok(Self {
            map: object.take(map)?,
            seats: object.take(seats)?,
            wanted: BTreeMap::new(),
        })
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// The map is full.
    pub(super) fn insert(&mut self, key: K, value: V) -> Result<(), BpfError> {
        self.map.insert(Row(key), Row(value), 0)?;
        let those = self.wanted.entry(key.seat()).or_default();
        match those.iter_mut().find(|(other, _)| *other == key) {
            Some(old) => old.1 = value,
            None => those.push((key, value)),
        }
        self.update(key.seat())
    }

    /// Forgets a key, if it is there.
    pub(super) fn remove(&mut self, key: K) -> Result<(), BpfError> {
        if let Some(those) = self.wanted.get_mut(&key.seat()) {
            those.retain(|(other, _)| *other != key);
            if those.is_empty() {
                self.wanted.remove(&key.seat());
            }
        }
        // The seat first: a crowd's members are looked for in the map.
        self.update(key.seat())?;
        absent_is_fine(self.map.remove(&Row(key)))
    }

    /// Makes the seat say who wants it.
    fn update(&mut self, at: u32) -> Result<(), BpfError> {
        let those = self.wanted.get(&at).into_iter().flatten();
        let seat = Seat::of(those.copied());
        Ok(self.seats.set(at, Row(seat), 0)?)
    }
}
