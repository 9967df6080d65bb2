//! The XDP program for LAN interfaces, its counters and its tables.

use super::cards::{CardProgram, Cards};
use super::object::{Object, absent_is_fine};
use super::pod::Row;
use super::testrun::TestRunOutcome;
use super::{BpfError, Counts, Link, Mode};
use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, MapData, ProgramArray};
use ringtun_common::class::Class;
use ringtun_common::lan::{
    CLAMP_PROGRAM, CLAMP_STEP, FORWARD_PROGRAM, FORWARD_STEP, GRE_PROGRAM, GRE_STEP, Inside,
    LAN_PROGRAM, LAN_STEPS_MAP, PREFIXES_V4_MAP, PREFIXES_V6_MAP,
};
use ringtun_common::tables::Counter;
use ringtun_common::verdict::Verdict;
use std::fmt;
use std::net::IpAddr;

/// The loaded program. As long as no network is inside a tunnel it counts and
/// passes every packet; as long as it knows no interface it forwards none.
pub struct LanProgram {
    object: Object,
    cards: Cards,
    v4: LpmTrie<MapData, [u8; 4], Row<Inside>>,
    v6: LpmTrie<MapData, [u8; 16], Row<Inside>>,
    /// Held: the kernel empties it with its last descriptor, and then SYNs into
    /// tunnels are counted as out of reach.
    _steps: ProgramArray<MapData>,
    not_clamping: Option<BpfError>,
}

impl fmt::Debug for LanProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanProgram").finish_non_exhaustive()
    }
}

impl CardProgram for LanProgram {
    fn attach(&self, ifindex: u32, mode: Mode) -> Result<Link, BpfError> {
        self.object.attach(ifindex, mode)
    }

    fn cards(&mut self) -> &mut Cards {
        &mut self.cards
    }
}

impl LanProgram {
    /// Loads the embedded object into the kernel.
    ///
    /// # Errors
    /// [`BpfError::NotEmbedded`] in a build without it; otherwise what the
    /// kernel says.
    pub fn load() -> Result<Self, BpfError> {
        Self::new(Object::load(LAN_PROGRAM)?)
    }

    /// Loads this BPF object into the kernel.
    ///
    /// # Errors
    /// What the kernel says, or what the object lacks.
    pub fn load_object(object: &[u8]) -> Result<Self, BpfError> {
        Self::new(Object::load_from(object, LAN_PROGRAM)?)
    }

    fn new(mut object: Object) -> Result<Self, BpfError> {
        let mut steps: ProgramArray<MapData> = object.take(LAN_STEPS_MAP)?;
        steps.set(FORWARD_STEP, object.load_program(FORWARD_PROGRAM)?, 0)?;
        // The verifier of an old kernel may find these too much. SYNs then pass, and are
        // clamped in the tunnel.
        let mut clamping = [(CLAMP_STEP, CLAMP_PROGRAM), (GRE_STEP, GRE_PROGRAM)].into_iter();
        let not_clamping = clamping.find_map(|(step, name)| {
            let loaded = object.load_program(name);
            let set = loaded.and_then(|program| Ok(steps.set(step, program, 0)?));
            set.err()
        });
        Ok(Self {
            cards: Cards::new(&mut object)?,
            v4: object.take(PREFIXES_V4_MAP)?,
            v6: object.take(PREFIXES_V6_MAP)?,
            _steps: steps,
            not_clamping,
            object,
        })
    }

    /// This network is inside a tunnel from now on; the bits of `address` behind the first
    /// `prefix_len` do not matter. The longest prefix counts.
    ///
    /// # Errors
    /// The prefix is longer than the address, or there are
    /// [`PREFIXES_MAX`](ringtun_common::lan::PREFIXES_MAX) others of the family.
    pub fn insert(
        &mut self,
        address: IpAddr,
        prefix_len: u8,
        inside: impl Into<Inside>,
    ) -> Result<(), BpfError> {
        let (bits, inside) = (u32::from(prefix_len), Row(inside.into()));
        match address {
            IpAddr::V4(v4) => self.v4.insert(&Key::new(bits, v4.octets()), inside, 0)?,
            IpAddr::V6(v6) => self.v6.insert(&Key::new(bits, v6.octets()), inside, 0)?,
        }
        Ok(())
    }

    /// This network is not inside a tunnel any more, unless a shorter prefix
    /// says so.
    ///
    /// # Errors
    /// The kernel's; it is none if the network was not known.
    pub fn remove(&mut self, address: IpAddr, prefix_len: u8) -> Result<(), BpfError> {
        let bits = u32::from(prefix_len);
        absent_is_fine(match address {
            IpAddr::V4(v4) => self.v4.remove(&Key::new(bits, v4.octets())),
            IpAddr::V6(v6) => self.v6.remove(&Key::new(bits, v6.octets())),
        })
    }

    /// Why the kernel did not take the part that clamps; SYNs pass as they are then.
    #[must_use]
    pub const fn not_clamping(&self) -> Option<&BpfError> {
        self.not_clamping.as_ref()
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
    /// any interface (`BPF_PROG_TEST_RUN`). The frame is not restored between
    /// the runs.
    ///
    /// # Errors
    /// The kernel refuses shorter frames and those above its own limit.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestRunOutcome, BpfError> {
        self.object.test_run(frame, repeat)
    }
}
