//! ringtun's XDP programs.
//!
//! An entry point reads a frame with the parser of `ringtun-common`, judges it
//! with that crate's verdict function and turns the verdict into an action:
//! nothing else.
//!
//! * [`cursor`]: the frame as the parser sees it; the only pointer arithmetic.
//! * [`tables`]: the maps of the WAN side, which the agent fills.
//! * [`lan`]: those of the LAN side.
//! * [`forward`]: past the kernel's stack, where its routes agree.
//! * [`steer`]: those of tunnels that are spread over CPUs.
//! * [`counters`]: packets and bytes by verdict and by class.
//! * [`notice`]: lines in the agent's log about what must be rare.
//! * [`ring`]: a program of its own that takes every frame.
#![feature(asm_experimental_arch)]
#![no_std]
#![no_main]

mod counters;
mod cursor;
mod forward;
mod lan;
mod notice;
mod ring;
mod steer;
mod tables;

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_REDIRECT};
use aya_ebpf::{macros::xdp, programs::XdpContext};
use cursor::FrameCursor;
use lan::LanFrame;
use ringtun_common::cursor::Cursor as _;
use ringtun_common::packet;
use ringtun_common::verdict::{self, Action, Verdict};
use tables::FrameTables;

/// Frames that arrive on a WAN interface.
///
/// `frags`: without it the kernel refuses the program on a device with an MTU
/// above about 3,500.
#[xdp(frags)]
pub fn ringtun_wan(ctx: XdpContext) -> u32 {
    let mut cursor = FrameCursor::new(&ctx);
    let len = cursor.frame_len();
    let parsed = packet::parse(&mut cursor);
    let (class, verdict) = verdict::judge(&parsed, len, &mut FrameTables::new(&ctx));
    counters::count(class, verdict, len);
    let _ = notice::hand_over(&ctx, verdict);
    action(verdict)
}

/// Frames that arrive on a LAN interface.
#[xdp(frags)]
pub fn ringtun_lan(ctx: XdpContext) -> u32 {
    let mut cursor = FrameCursor::new(&ctx);
    let len = cursor.frame_len();
    let parsed = packet::parse(&mut cursor);
    let (class, verdict) = ringtun_common::lan::judge(&parsed, len, &mut LanFrame::new(&ctx));
    counters::count(class, verdict, len);
    action(verdict)
}

/// Those of them that are GRE into a tunnel: `ringtun_lan` hands them over.
#[xdp(frags)]
pub fn ringtun_lan_gre(ctx: XdpContext) -> u32 {
    let mut cursor = FrameCursor::new(&ctx);
    let len = cursor.frame_len();
    let (class, verdict) = lan::gre(&ctx, &mut cursor);
    counters::count(class, verdict, len);
    action(verdict)
}

/// Those that may be a SYN into a tunnel: either of the two hands them over.
#[xdp(frags)]
pub fn ringtun_lan_clamp(ctx: XdpContext) -> u32 {
    let mut cursor = FrameCursor::new(&ctx);
    let len = cursor.frame_len();
    let (class, verdict) = lan::clamp(&mut cursor);
    counters::count(class, verdict, len);
    action(verdict)
}

/// Those that may go past the kernel's stack: `ringtun_lan` hands them over.
#[xdp(frags)]
pub fn ringtun_lan_forward(ctx: XdpContext) -> u32 {
    let len = FrameCursor::new(&ctx).frame_len();
    let (class, verdict) = forward::judge(&ctx);
    counters::count(class, verdict, len);
    action(verdict)
}

/// Frames that an operator may have to know of: `ringtun_wan`, which has judged and
/// counted them, hands them over.
#[xdp(frags)]
pub fn ringtun_notice(ctx: XdpContext) -> u32 {
    // Nothing comes back of those that get a line.
    let _ = notice::look(&ctx, &mut FrameCursor::new(&ctx));
    XDP_PASS
}

/// Those of them that get a line.
#[xdp(frags)]
pub fn ringtun_log(ctx: XdpContext) -> u32 {
    let _ = notice::log(&ctx);
    XDP_PASS
}

#[inline(always)]
fn action(verdict: Verdict) -> u32 {
    match verdict.action() {
        Action::Pass => XDP_PASS,
        // To the socket or CPU that was found while judging.
        Action::Redirect => XDP_REDIRECT,
    }
}

/// Passes everything unseen: what any program costs, for benches.
#[xdp(frags)]
pub fn ringtun_pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// The licence under which the kernel admits the program to GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
