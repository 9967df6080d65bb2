//! Lines in the agent's log: the maps by which a frame is handed over to the
//! programs that see to it, and those programs' work.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::macro_support::Level;
use ringtun_common::cursor::Cursor;
use ringtun_common::notice::{self, LOG_STEP, Limit, NOTICE_STEP, TARGET};
use ringtun_common::packet::{self, Address};
use ringtun_common::verdict::Verdict;

use crate::tables::FrameTables;

#[map]
static NOTICE_STEPS: ProgramArray = ProgramArray::with_max_entries(notice::NOTICE_STEPS, 0);
#[map]
static NOTICE_INTERVAL: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static NOTICE_LIMITS: PerCpuArray<Limit> = PerCpuArray::with_max_entries(Verdict::COUNT as u32, 0);
/// What is handed from one program to the next.
#[map]
static NOTICE: PerCpuArray<Notice> = PerCpuArray::with_max_entries(1, 0);

/// What a line says, but for what the context knows.
#[derive(Clone, Copy)]
struct Notice {
    verdict: u32,
    /// Bytes of the frame.
    len: u32,
    source: Address,
    source_port: u16,
    /// Packets without a line since the last one.
    suppressed: u64,
}

/// The notice of this CPU.
#[inline(always)]
fn notice() -> Option<&'static mut Notice> {
    let notice = NOTICE.get_ptr_mut(0)?;
    // SAFETY: the map holds one, any bytes are a notice, nobody else touches this
    // CPU's while the programs run on it, and each program asks once.
    Some(unsafe { &mut *notice })
}

/// How often there are lines about a verdict on this CPU.
#[inline(always)]
fn limit(verdict: u32) -> Option<&'static mut Limit> {
    let limit = NOTICE_LIMITS.get_ptr_mut(verdict)?;
    // SAFETY: as for the notice.
    Some(unsafe { &mut *limit })
}

/// As of the last tick: that is exact enough, and costs next to nothing.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: no argument, no memory.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Goes on to the programs that see to a line if the verdict is noticed and it was
/// not of late; never to return if they are there. They pass the frame, as such a
/// verdict does.
#[inline(always)]
pub fn hand_over(ctx: &XdpContext, verdict: Verdict) -> Option<()> {
    if !verdict.is_noticed() {
        return None;
    }
    let interval = *NOTICE_INTERVAL.get(0)?;
    if limit(verdict.index())?.may_look(now(), interval) {
        notice()?.verdict = verdict.index();
        continue_with(ctx, NOTICE_STEP);
    }
    None
}

#[inline(always)]
fn continue_with(ctx: &XdpContext, step: u32) {
    // SAFETY: nothing that is on the stack has to be dropped.
    unsafe { NOTICE_STEPS.tail_call(ctx, step) };
}

/// Looks at a frame that was handed over; goes on to [`log`] if it gets a line.
#[inline(always)]
pub fn look(ctx: &XdpContext, frame: &mut impl Cursor) -> Option<()> {
    let notice = notice()?;
    let verdict = *Verdict::ALL.get(notice.verdict as usize)?;
    let limit = limit(notice.verdict)?;
    let (packet, _) = packet::parse_partly(frame);
    if !notice::is_worth_a_line(verdict, &packet, &FrameTables::new(ctx)) {
        limit.pass_over();
        return None;
    }
    notice.suppressed = limit.tell(now());
    notice.len = frame.frame_len() as u32;
    notice.source = packet.network.source;
    notice.source_port = packet.source_port;
    continue_with(ctx, LOG_STEP);
    None
}

/// Writes the line of a frame that was looked at. The agent reads it by its
/// names, which are in `userspace/src/bpf/notices.rs`.
#[inline(always)]
pub fn log(ctx: &XdpContext) -> Option<()> {
    let notice = notice()?;
    let level = match Verdict::ALL.get(notice.verdict as usize)? {
        // A queue or a ring that does not fit what arrives.
        Verdict::NoSocket | Verdict::Oversize => Level::Warn,
        // Whoever reaches this host can send those.
        _ => Level::Info,
    };
    aya_log_ebpf::log!(
        ctx,
        target: TARGET,
        level,
        "verdict={} interface={} queue={} length={} source={:i} port={} suppressed={}",
        notice.verdict,
        ctx.ingress_ifindex() as u32,
        ctx.rx_queue_index(),
        notice.len,
        notice.source,
        notice.source_port,
        notice.suppressed
    );
    Some(())
}
