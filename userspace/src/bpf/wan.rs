//! The XDP program for WAN interfaces, its counters and its tables.

use super::cards::{CardProgram, Cards};
use super::object::Object;
use super::seats::Seats;
use super::testrun::TestRunOutcome;
use super::{BpfError, Counts, Link, Mode, Notices, notices, steer};
use aya::maps::{Array, MapData};
use ringtun_common::class::Class;
use ringtun_common::steer::Group;
use ringtun_common::tables::{
    Counter, ENDPOINT_SEATS_MAP, ENDPOINTS_MAP, LocalEndpoint, PORTS_MAP, WAN_PROGRAM, port_bit,
};
use ringtun_common::verdict::Verdict;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// The loaded program. As long as its tables are empty it counts and passes
/// every packet.
pub struct WanProgram {
    object: Object,
    cards: Cards,
    endpoints: Seats<LocalEndpoint, u32>,
    ports: Array<MapData, u64>,
    /// What is in `endpoints`, from which `ports` follows.
    listening: HashSet<LocalEndpoint>,
    steering: steer::Maps,
    writer: Option<notices::Writer>,
    notices: Option<Notices>,
}

impl fmt::Debug for WanProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WanProgram").finish_non_exhaustive()
    }
}

impl CardProgram for WanProgram {
    fn attach(&self, ifindex: u32, mode: Mode) -> Result<Link, BpfError> {
        self.object.attach(ifindex, mode)
    }

    fn cards(&mut self) -> &mut Cards {
        &mut self.cards
    }
}

impl WanProgram {
    /// Loads the embedded object into the kernel.
    ///
    /// # Errors
    /// [`BpfError::NotEmbedded`] in a build without it; otherwise what the
    /// kernel says.
    pub fn load() -> Result<Self, BpfError> {
        Self::new(Object::load(WAN_PROGRAM)?)
    }

    /// Loads this BPF object into the kernel.
    ///
    /// # Errors
    /// What the kernel says, or what the object lacks.
    pub fn load_object(object: &[u8]) -> Result<Self, BpfError> {
        Self::new(Object::load_from(object, WAN_PROGRAM)?)
    }

    fn new(mut object: Object) -> Result<Self, BpfError> {
        let (writer, notices) = match Self::noticing(&mut object) {
            Ok((writer, notices)) => (Some(writer), Some(notices)),
            // It does its work all the same.
            Err(BpfError::Missing(_) | BpfError::Log(aya_log::Error::MapNotFound)) => {
                tracing::debug!(
                    event = "xdp_log_missing",
                    "this BPF object has no programs that log"
                );
                (None, None)
            }
            Err(error) => {
                tracing::warn!(event = "xdp_log_refused", %error, "the XDP programs do not log");
                (None, None)
            }
        };
        Ok(Self {
            cards: Cards::new(&mut object)?,
            endpoints: Seats::new(&mut object, ENDPOINTS_MAP, ENDPOINT_SEATS_MAP)?,
            ports: object.take(PORTS_MAP)?,
            listening: HashSet::new(),
            steering: steer::Maps::new(&mut object)?,
            writer,
            notices,
            object,
        })
    }

    fn noticing(object: &mut Object) -> Result<(notices::Writer, Notices), BpfError> {
        Ok((notices::Writer::new(object)?, Notices::new(object)?))
    }

    /// What the program has logged and will log; `None` if an object has no such
    /// thing, or it was taken before.
    #[must_use]
    pub fn take_notices(&mut self) -> Option<Notices> {
        self.notices.take()
    }

    /// On each CPU there is a line about the same verdict every `interval` at most,
    /// from now on; [`NOTICE_INTERVAL`](ringtun_common::notice::NOTICE_INTERVAL)
    /// unless this is called.
    ///
    /// # Errors
    /// The kernel's; it is none if the program does not log.
    pub fn set_notice_interval(&mut self, interval: Duration) -> Result<(), BpfError> {
        match &mut self.writer {
            Some(writer) => writer.set_interval(interval),
            None => Ok(()),
        }
    }

    /// A device of ours listens there, from now on.
    ///
    /// # Errors
    /// There are [`ENDPOINTS_MAX`](ringtun_common::tables::ENDPOINTS_MAX) others.
    pub fn add_endpoint(&mut self, endpoint: LocalEndpoint) -> Result<(), BpfError> {
        self.endpoints.insert(endpoint, 0)?;
        self.listening.insert(endpoint);
        self.update_port(&endpoint)
    }

    /// Nobody listens there any more.
    ///
    /// # Errors
    /// The kernel's; it is none if nobody did.
    pub fn remove_endpoint(&mut self, endpoint: LocalEndpoint) -> Result<(), BpfError> {
        self.endpoints.remove(endpoint)?;
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

    /// Tunnels of `group` that are not ours are spread over `cpus` from now on, by
    /// a queue of `queue_size` packets each ([`steer::QUEUE_SIZE`]). A CPU that is
    /// named twice gets twice as much; one that another group uses too takes the
    /// size of the last call.
    ///
    /// # Errors
    /// No CPU or too many ([`BpfError::Targets`]), or one that the machine has not
    /// ([`BpfError::Cpu`]); then what was before goes on.
    pub fn steer(&mut self, group: Group, cpus: &[u32], queue_size: u32) -> Result<(), BpfError> {
        self.steering.set(group, cpus, queue_size)
    }

    /// Tunnels of `group` stay on the CPU where they arrive.
    ///
    /// # Errors
    /// The kernel's; it is none if they did.
    pub fn unsteer(&mut self, group: Group) -> Result<(), BpfError> {
        self.steering.clear(group)
    }

    /// What was steered to this CPU since the program was loaded.
    ///
    /// # Errors
    /// As [`counts`](Self::counts), or the machine has no such CPU.
    pub fn steered_to(&self, cpu: u32) -> Result<Counter, BpfError> {
        steer::count(&self.object, cpu)
    }

    /// What was steered to each CPU since the program was loaded, by its number.
    ///
    /// # Errors
    /// As [`counts`](Self::counts).
    pub fn steered(&self) -> Result<Vec<Counter>, BpfError> {
        steer::counts(&self.object)
    }

    /// Packets and bytes since the program was loaded.
    ///
    /// # Errors
    /// When the kernel does not let a map be read.
    pub fn counts(&self) -> Result<Counts, BpfError> {
        self.object.counts()
    }

    /// What left the program with this verdict since it was loaded.
    ///
    /// # Errors
    /// As [`counts`](Self::counts).
    pub fn verdict(&self, verdict: Verdict) -> Result<Counter, BpfError> {
        self.object.verdict(verdict)
    }

    /// What was of this class since the program was loaded.
    ///
    /// # Errors
    /// As [`counts`](Self::counts).
    pub fn class(&self, class: Class) -> Result<Counter, BpfError> {
        self.object.class(class)
    }

    /// Runs the program `repeat` times on a frame of at least 14 bytes without
    /// any interface (`BPF_PROG_TEST_RUN`): the kernel says that it came in by
    /// the loopback device.
    ///
    /// # Errors
    /// The kernel refuses shorter frames and those above its own limit.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestRunOutcome, BpfError> {
        self.object.test_run(frame, repeat)
    }
}
