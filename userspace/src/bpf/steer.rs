//! The maps of steering: which tunnels go to which CPUs, and the CPUs.

use super::BpfError;
use super::object::Object;
use super::pod::Row;
use aya::maps::{Array, CpuMap, MapData};
use ringtun_common::steer::{CPUS_MAP, Group, STEERED_MAP, STEERING_MAP, Steering, TARGETS_MAX};
use ringtun_common::tables::Counter;
use std::collections::BTreeMap;

/// Packets that wait for a CPU; what comes while so many wait is dropped by the
/// kernel. As much as a full NIC ring and some more, 16 KiB of pointers.
pub const QUEUE_SIZE: u32 = 2048;

/// The maps of a program that steers.
pub(super) struct Maps {
    steering: Array<MapData, Row<Steering>>,
    cpus: CpuMap<MapData>,
    /// What is in `cpus`, with the size of its queue.
    queues: BTreeMap<u32, u32>,
    /// What is in `steering`.
    groups: BTreeMap<u32, Vec<u32>>,
}

impl Maps {
    pub(super) fn new(object: &mut Object) -> Result<Self, BpfError> {
        Ok(Self {
            steering: object.take(STEERING_MAP)?,
            cpus: object.take(CPUS_MAP)?,
            queues: BTreeMap::new(),
            groups: BTreeMap::new(),
        })
    }

    pub(super) fn set(
        &mut self,
        group: Group,
        cpus: &[u32],
        queue_size: u32,
    ) -> Result<(), BpfError> {
        let steering = Steering::over(cpus).filter(|_| !cpus.is_empty());
        let steering = steering.ok_or(BpfError::Targets(cpus.len()))?;
        // First the CPUs, then what leads to them.
        for cpu in cpus {
            if let Err(error) = self.open(*cpu, queue_size) {
                self.close_unused()?;
                return Err(error);
            }
        }
        self.steering.set(group.index(), Row(steering), 0)?;
        self.groups.insert(group.index(), cpus.to_vec());
        self.close_unused()
    }

    pub(super) fn clear(&mut self, group: Group) -> Result<(), BpfError> {
        self.steering.set(group.index(), Row(Steering::OFF), 0)?;
        self.groups.remove(&group.index());
        self.close_unused()
    }

    /// A queue for the CPU, unless it has one of that size: another in its place
    /// would let packets overtake those in the old one.
    fn open(&mut self, cpu: u32, queue_size: u32) -> Result<(), BpfError> {
        if self.queues.get(&cpu) == Some(&queue_size) {
            return Ok(());
        }
        self.set_queue(cpu, queue_size)?;
        self.queues.insert(cpu, queue_size);
        Ok(())
    }

    /// To the kernel a queue without room is none.
    fn set_queue(&mut self, cpu: u32, size: u32) -> Result<(), BpfError> {
        let set = self.cpus.set(cpu, size, None, 0);
        set.map_err(|source| BpfError::Cpu { cpu, source })
    }

    /// Ends the kernel's threads that nothing leads to any more; what waits there
    /// is still delivered.
    fn close_unused(&mut self) -> Result<(), BpfError> {
        let used = |cpu: &u32| self.groups.values().any(|cpus| cpus.contains(cpu));
        let unused: Vec<u32> = self
            .queues
            .keys()
            .copied()
            .filter(|cpu| !used(cpu))
            .collect();
        for cpu in unused {
            self.set_queue(cpu, 0)?;
            self.queues.remove(&cpu);
        }
        Ok(())
    }
}

/// The CPUs of a list as the kernel writes it, `0-3,8`: at most [`TARGETS_MAX`].
/// `None` for anything else.
#[must_use]
pub fn parse_list(text: &str) -> Option<Vec<u32>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    let mut cpus = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last - first >= TARGETS_MAX as u32 {
            return None;
        }
        cpus.extend(first..=last);
        if cpus.len() > TARGETS_MAX {
            return None;
        }
    }
    Some(cpus)
}

/// What was steered to each CPU since the object was loaded.
pub(super) fn counts(object: &Object) -> Result<Vec<Counter>, BpfError> {
    let mut counts = Vec::new();
    for cpu in 0..possible_cpus()? {
        counts.push(count(object, cpu)?);
    }
    Ok(counts)
}

/// What was steered to this CPU.
pub(super) fn count(object: &Object, cpu: u32) -> Result<Counter, BpfError> {
    object.counter(STEERED_MAP, cpu)
}

/// How many CPUs the machine may have: their numbers are below.
pub(super) fn possible_cpus() -> Result<u32, BpfError> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| BpfError::Cpus(error))?;
    Ok(u32::try_from(cpus).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them_and_nothing_else_is() {
        assert_eq!(parse_list("0"), Some(vec![0]));
        assert_eq!(parse_list("0-1\n"), Some(vec![0, 1]));
        assert_eq!(parse_list("0-2,8,10-11"), Some(vec![0, 1, 2, 8, 10, 11]));
        assert_eq!(parse_list("0-63").map(|cpus| cpus.len()), Some(TARGETS_MAX));
        for wrong in [
            "",
            ",",
            "0,",
            "-1",
            "1-",
            "2-1",
            "a",
            "0x1",
            "+1",
            "1 2",
            "1--2",
            "0-64",
            "0-63,9",
            "0-4294967295",
            "4294967296",
        ] {
            assert_eq!(parse_list(wrong), None, "{wrong:?}");
        }
    }
}
