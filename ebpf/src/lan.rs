//! The maps of the LAN side, which the agent keeps like AllowedIPs, and the way
//! from the program that looks at every frame to those that see to a SYN.

use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use ringtun_common::class::Class;
use ringtun_common::cursor::Editor;
use ringtun_common::forward;
use ringtun_common::lan::{
    self, CLAMP_STEP, Candidate, FORWARD_STEP, GRE_STEP, Inside, LanTables, PREFIXES_MAX,
};
use ringtun_common::mss::{Limits, Options};
use ringtun_common::packet::{Network, Packet};
use ringtun_common::tables::Interface;
use ringtun_common::verdict::Verdict;

use crate::tables;

#[map]
static PREFIXES_V4: LpmTrie<[u8; 4], Inside> = LpmTrie::with_max_entries(PREFIXES_MAX, 0);
#[map]
static PREFIXES_V6: LpmTrie<[u8; 16], Inside> = LpmTrie::with_max_entries(PREFIXES_MAX, 0);
#[map]
static LAN_STEPS: ProgramArray = ProgramArray::with_max_entries(lan::LAN_STEPS, 0);
/// The frame that is handed from one program to the next. The verifier knows
/// nothing of what comes by a map: it walks the next program once, and not once
/// for each of the dozens of ways by which the parser reaches a segment.
#[map]
static CANDIDATE: PerCpuArray<Candidate> = PerCpuArray::with_max_entries(1, 0);
/// The options of a SYN: with them on the stack, the verifier would follow each
/// byte of theirs.
#[map]
static OPTIONS: PerCpuArray<Options> = PerCpuArray::with_max_entries(1, 0);
/// A frame that may be forwarded.
#[map]
static FORWARD: PerCpuArray<forward::Candidate> = PerCpuArray::with_max_entries(1, 0);

/// The maps, for the frame of one context.
pub struct LanFrame<'a> {
    ctx: &'a XdpContext,
}

impl<'a> LanFrame<'a> {
    /// For the frame of `ctx`.
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }
}

impl LanTables for LanFrame<'_> {
    #[inline(always)]
    fn inside(&self, network: &Network) -> Option<Inside> {
        let to = network.destination;
        if network.v4 {
            let key = Key::new(u32::BITS, [to[12], to[13], to[14], to[15]]);
            PREFIXES_V4.get(key).copied()
        } else {
            PREFIXES_V6.get(Key::new(u128::BITS, to)).copied()
        }
    }

    #[inline(always)]
    fn interface(&self) -> Option<Interface> {
        tables::interface(self.ctx)
    }

    /// Returns only if the next program is not there.
    #[inline(always)]
    fn clamp(&mut self, packet: &Packet, limits: Limits) -> Verdict {
        if let Some(candidate) = CANDIDATE.get_ptr_mut(0) {
            // SAFETY: the map holds room for one, and this CPU's is touched by
            // nobody else while the programs run on it.
            unsafe { candidate.write(Candidate::new(packet, limits)) };
            continue_with(self.ctx, if packet.syn { CLAMP_STEP } else { GRE_STEP });
        }
        Verdict::ClampOutOfReach
    }

    /// As above.
    #[inline(always)]
    fn forward(&mut self, candidate: forward::Candidate) -> Verdict {
        if let Some(place) = FORWARD.get_ptr_mut(0) {
            // SAFETY: as above.
            unsafe { place.write(candidate) };
            continue_with(self.ctx, FORWARD_STEP);
        }
        Verdict::ForwardElsewhere
    }
}

/// Goes to another program, never to return if it is there.
#[inline(always)]
fn continue_with(ctx: &XdpContext, step: u32) {
    // SAFETY: nothing that is on the stack has to be dropped.
    unsafe { LAN_STEPS.tail_call(ctx, step) };
}

/// The frame that was handed over.
#[inline(always)]
fn candidate() -> Option<&'static mut Candidate> {
    let candidate = CANDIDATE.get_ptr_mut(0)?;
    // SAFETY: the program before has written it for this frame, this CPU runs
    // nothing between the two, and each program asks once.
    Some(unsafe { &mut *candidate })
}

const NONE: (Class, Verdict) = (Class::Unreadable, Verdict::ClampOutOfReach);

/// Judges GRE that was handed over; goes on to [`clamp`] for a packet inside.
#[inline(always)]
pub fn gre(ctx: &XdpContext, frame: &mut impl Editor) -> (Class, Verdict) {
    let Some(candidate) = candidate() else {
        return NONE;
    };
    if let Err(verdict) = candidate.enter_gre(frame) {
        return (candidate.class(), verdict);
    }
    continue_with(ctx, CLAMP_STEP);
    NONE
}

/// Judges the packet that was handed over.
#[inline(always)]
pub fn clamp(frame: &mut impl Editor) -> (Class, Verdict) {
    let (Some(candidate), Some(room)) = (candidate(), OPTIONS.get_ptr_mut(0)) else {
        return NONE;
    };
    // SAFETY: zeros are no options, and this CPU's are touched by nobody else while
    // the program runs on it.
    let room = unsafe { &mut *room };
    (candidate.class(), candidate.clamp(frame, room))
}

/// The frame that may be forwarded, as it was handed over.
#[inline(always)]
pub fn to_forward() -> Option<&'static forward::Candidate> {
    let candidate = FORWARD.get_ptr(0)?;
    // SAFETY: the program before has written it for this frame, and this CPU runs
    // nothing between the two.
    Some(unsafe { &*candidate })
}
