//! The XDP program for WAN interfaces, its counters and its tables.

use super::counts::{self, Counts};
use super::pod::Row;
use super::testrun::{self, TestRunOutcome};
use super::{BpfError, Link, Mode, embedded};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use ringtun_common::class::Class;
use ringtun_common::tables::{
    CLASSES_MAP, Counter, ENDPOINTS_MAP, INTERFACES_MAP, Interface, LocalEndpoint, PORTS_MAP,
    SOCKETS_MAP, VERDICTS_MAP, WAN_PROGRAM, port_bit,
};
use ringtun_common::verdict::Verdict;
use std::collections::HashSet;
use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

/// The loaded program. As long as its tables are empty it counts and passes
/// every packet.
pub struct WanProgram {
    ebpf: Ebpf,
    interfaces: HashMap<MapData, u32, Row<Interface>>,
    endpoints: HashMap<MapData, Row<LocalEndpoint>, u32>,
    ports: Array<MapData, u64>,
    /// What is in `endpoints`, from which `ports` follows.
    listening: HashSet<LocalEndpoint>,
    sockets: XskMap<MapData>,
}

impl fmt::Debug for WanProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WanProgram").finish_non_exhaustive()
    }
}

impl WanProgram {
    /// Loads the embedded object into the kernel.
    ///
    /// # Errors
    /// [`BpfError::NotEmbedded`] in a build without it; otherwise what the
    /// kernel says.
    pub fn load() -> Result<Self, BpfError> {
        Self::load_object(embedded().ok_or(BpfError::NotEmbedded)?)
    }

    /// Loads this BPF object into the kernel.
    ///
    /// # Errors
    /// What the kernel says, or what the object lacks.
    pub fn load_object(object: &[u8]) -> Result<Self, BpfError> {
        let mut ebpf = EbpfLoader::new().load(object)?;
        let program: &mut Xdp = ebpf
            .program_mut(WAN_PROGRAM)
            .ok_or(BpfError::Missing(WAN_PROGRAM))?
            .try_into()?;
        program.load()?;
        Ok(Self {
            interfaces: take(&mut ebpf, INTERFACES_MAP)?.try_into()?,
            endpoints: take(&mut ebpf, ENDPOINTS_MAP)?.try_into()?,
            ports: take(&mut ebpf, PORTS_MAP)?.try_into()?,
            listening: HashSet::new(),
            sockets: take(&mut ebpf, SOCKETS_MAP)?.try_into()?,
            ebpf,
        })
    }

    /// Puts the program on an interface of this thread's network namespace.
    ///
    /// # Errors
    /// See [`BpfError::Busy`] and [`BpfError::Attach`].
    pub fn attach(&self, ifindex: u32, mode: Mode) -> Result<Link, BpfError> {
        Link::create(self.xdp()?.fd()?.as_fd(), ifindex, mode)
    }

    /// Tells the program what it needs to know of an interface that carries it.
    ///
    /// # Errors
    /// There are [`INTERFACES_MAX`](ringtun_common::tables::INTERFACES_MAX) others.
    pub fn set_interface(&mut self, ifindex: u32, interface: Interface) -> Result<(), BpfError> {
        Ok(self.interfaces.insert(ifindex, Row(interface), 0)?)
    }

    /// Forgets an interface: nothing that comes in by it is ours any more.
    ///
    /// # Errors
    /// The kernel's; it is none if the interface was not known.
    pub fn remove_interface(&mut self, ifindex: u32) -> Result<(), BpfError> {
        absent_is_fine(self.interfaces.remove(&ifindex))
    }

    /// A device of ours listens there, from now on.
    ///
    /// # Errors
    /// There are [`ENDPOINTS_MAX`](ringtun_common::tables::ENDPOINTS_MAX) others.
    pub fn add_endpoint(&mut self, endpoint: LocalEndpoint) -> Result<(), BpfError> {
        self.endpoints.insert(Row(endpoint), 0, 0)?;
        self.listening.insert(endpoint);
        self.update_port(&endpoint)
    }

    /// Nobody listens there any more.
    ///
    /// # Errors
    /// The kernel's; it is none if nobody did.
    pub fn remove_endpoint(&mut self, endpoint: LocalEndpoint) -> Result<(), BpfError> {
        absent_is_fine(self.endpoints.remove(&Row(endpoint)))?;
        self.listening.remove(&endpoint);
        self.update_port(&endpoint)
    }

    /// Makes the bit of the endpoint's port say whether there is an endpoint with it.
    fn update_port(&mut self, endpoint: &LocalEndpoint) -> Result<(), BpfError> {
        let (element, bit) = port_bit(endpoint.port());
        let mut bits = self.ports.get(&element, 0)? & !bit;
        if self
            .listening
            .iter()
            .any(|other| other.port == endpoint.port)
        {
            bits |= bit;
        }
        Ok(self.ports.set(element, bits, 0)?)
    }

    /// Frames for place `index` go to this AF_XDP socket, until it is closed.
    ///
    /// # Errors
    /// The socket has no receive ring, or `index` is past the end of the map.
    pub fn set_socket(&mut self, index: u32, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        Ok(self.sockets.set(index, socket.as_raw_fd(), 0)?)
    }

    /// Frames for place `index` pass to the kernel.
    ///
    /// # Errors
    /// The kernel's; it is none if the place was empty.
    pub fn remove_socket(&mut self, index: u32) -> Result<(), BpfError> {
        absent_is_fine(self.sockets.unset(index))
    }

    /// Packets and bytes since the program was loaded.
    ///
    /// # Errors
    /// When the kernel does not let a map be read.
    pub fn counts(&self) -> Result<Counts, BpfError> {
        Counts::read(|verdict| self.verdict(verdict), |class| self.class(class))
    }

    /// What left the program with this verdict since it was loaded.
    ///
    /// # Errors
    /// As [`counts`](Self::counts).
    pub fn verdict(&self, verdict: Verdict) -> Result<Counter, BpfError> {
        self.counter(VERDICTS_MAP, verdict.index())
    }

    /// What was of this class since the program was loaded.
    ///
    /// # Errors
    /// As [`counts`](Self::counts).
    pub fn class(&self, class: Class) -> Result<Counter, BpfError> {
        self.counter(CLASSES_MAP, class.index())
    }

    /// Runs the program `repeat` times on a frame of at least 14 bytes without
    /// any interface (`BPF_PROG_TEST_RUN`): the kernel says that it came in by
    /// the loopback device.
    ///
    /// # Errors
    /// The kernel refuses shorter frames and those above its own limit.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestRunOutcome, BpfError> {
        testrun::run(self.xdp()?, frame, repeat)
    }

    fn xdp(&self) -> Result<&Xdp, BpfError> {
        let program = self
            .ebpf
            .program(WAN_PROGRAM)
            .ok_or(BpfError::Missing(WAN_PROGRAM))?;
        Ok(program.try_into()?)
    }

    fn counter(&self, name: &'static str, index: u32) -> Result<Counter, BpfError> {
        let map = self.ebpf.map(name).ok_or(BpfError::Missing(name))?;
        let counters: PerCpuArray<_, Row<Counter>> = PerCpuArray::try_from(map)?;
        let per_cpu = counters.get(&index, 0)?;
        Ok(counts::sum(per_cpu.iter().map(|row| row.0)))
    }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, BpfError> {
    ebpf.take_map(name).ok_or(BpfError::Missing(name))
}

fn absent_is_fine(removed: Result<(), MapError>) -> Result<(), BpfError> {
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
