//! The BPF object in the kernel, with the one of its programs that is used:
//! what the handles of all programs have in common.

use super::counts::{self, Counts};
use super::pod::Row;
use super::testrun::{self, TestRunOutcome};
use super::{BpfError, Link, Mode, embedded, steer};
use aya::maps::{Map, MapError, PerCpuArray};
use aya::programs::{ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use ringtun_common::class::Class;
use ringtun_common::steer::{CPUS_MAP, STEERED_MAP};
use ringtun_common::tables::{CLASSES_MAP, Counter, VERDICTS_MAP};
use ringtun_common::verdict::Verdict;
use std::fmt;
use std::os::fd::AsFd as _;

/// A copy of the object and its maps, and a loaded program.
pub(super) struct Object {
    ebpf: Ebpf,
    program: &'static str,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.program).finish()
    }
}

impl Object {
    /// Loads the embedded object and `program` of it.
    pub(super) fn load(program: &'static str) -> Result<Self, BpfError> {
        Self::load_from(embedded().ok_or(BpfError::NotEmbedded)?, program)
    }

    /// As [`load`](Self::load), from these bytes.
    pub(super) fn load_from(object: &[u8], program: &'static str) -> Result<Self, BpfError> {
        let cpus = steer::possible_cpus()?;
        let ebpf = EbpfLoader::new()
            .map_max_entries(CPUS_MAP, cpus)
            .map_max_entries(STEERED_MAP, cpus)
            .load(object)?;
        let mut this = Self { ebpf, program };
        this.load_program(program)?;
        Ok(this)
    }

    /// Loads another program of the object, to be called by the first.
    pub(super) fn load_program(&mut self, name: &'static str) -> Result<&ProgramFd, BpfError> {
        let program = self.ebpf.program_mut(name).ok_or(BpfError::Missing(name))?;
        let program: &mut Xdp = program.try_into()?;
        program.load()?;
        let verified = program
            .info()
            .ok()
            .and_then(|info| info.verified_instruction_count());
        tracing::debug!(
            event = "xdp_program_accepted",
            name,
            verified,
            "the kernel took an XDP program"
        );
        Ok(program.fd()?)
    }

    /// Takes the map `name` out, as the type that it is.
    pub(super) fn take<M: TryFrom<Map, Error = MapError>>(
        &mut self,
        name: &'static str,
    ) -> Result<M, BpfError> {
        let map = self.ebpf.take_map(name).ok_or(BpfError::Missing(name))?;
        Ok(map.try_into()?)
    }

    /// Takes the ring buffer out that the programs log into; `to` gets their lines.
    pub(super) fn logger<T: log::Log>(&mut self, to: T) -> Result<EbpfLogger<T>, BpfError> {
        Ok(EbpfLogger::init_with_logger(&mut self.ebpf, to)?)
    }

    /// Puts the program on an interface of this thread's network namespace.
    pub(super) fn attach(&self, ifindex: u32, mode: Mode) -> Result<Link, BpfError> {
        Link::create(self.xdp()?.fd()?.as_fd(), ifindex, mode)
    }

    /// Runs the program `repeat` times on a frame without any interface.
    pub(super) fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestRunOutcome, BpfError> {
        testrun::run(self.xdp()?, frame, repeat)
    }

    /// What was counted since the object was loaded.
    pub(super) fn counts(&self) -> Result<Counts, BpfError> {
        Counts::read(|verdict| self.verdict(verdict), |class| self.class(class))
    }

    /// What left the program with this verdict.
    pub(super) fn verdict(&self, verdict: Verdict) -> Result<Counter, BpfError> {
        self.counter(VERDICTS_MAP, verdict.index())
    }

    /// What was of this class.
    pub(super) fn class(&self, class: Class) -> Result<Counter, BpfError> {
        self.counter(CLASSES_MAP, class.index())
    }

    /// A counter, summed over the CPUs.
    pub(super) fn counter(&self, name: &'static str, index: u32) -> Result<Counter, BpfError> {
        let map = self.ebpf.map(name).ok_or(BpfError::Missing(name))?;
        let counters: PerCpuArray<_, Row<Counter>> = PerCpuArray::try_from(map)?;
        let per_cpu = counters.get(&index, 0)?;
        Ok(counts::sum(per_cpu.iter().map(|row| row.0)))
    }

    fn xdp(&self) -> Result<&Xdp, BpfError> {
        let program = self.ebpf.program(self.program);
        Ok(program.ok_or(BpfError::Missing(self.program))?.try_into()?)
    }
}

/// Removing what is not there is no error.
pub(super) fn absent_is_fine(removed: Result<(), MapError>) -> Result<(), BpfError> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => Ok(other?),
    }
}
