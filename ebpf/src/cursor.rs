//! The frame as the parser sees it: the only pointer arithmetic of the programs.

use core::arch::asm;
use core::ffi::{c_long, c_void};

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_loop, bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::XdpContext;
use ringtun_common::checksum::Sum;
use ringtun_common::cursor::{Cursor, Editor, Steps, Truncated};
use ringtun_common::mss::PAYLOAD_MAX;

/// How far into a frame headers are read. Two VLAN tags, an IPv6 header and
/// eight of the longest extension headers are 16,446 bytes; the verifier wants
/// a bound below 64 KiB on what is added to a packet pointer.
const REACH: usize = 0x7fff;

/// Bytes that are summed up at once: the most that `bpf_csum_diff` takes on
/// every kernel.
const BLOCK: usize = 512;

/// Where a part of a frame is copied to, to be summed up.
#[map]
static BLOCKS: PerCpuArray<[u8; BLOCK]> = PerCpuArray::with_max_entries(1, 0);

/// A cursor over the linear part of a frame.
pub struct FrameCursor {
    ctx: *mut xdp_md,
    start: usize,
    end: usize,
    offset: usize,
    frame_len: usize,
}

impl FrameCursor {
    /// A cursor at the first byte of the frame.
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        // SAFETY: the context is the one the kernel called the program with.
        let frame_len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as usize;
        Self {
            ctx: ctx.ctx,
            start: ctx.data(),
            end: ctx.data_end(),
            offset: 0,
            frame_len,
        }
    }

    /// The N bytes of the frame from `offset` on.
    #[inline(always)]
    fn within<const N: usize>(&self, offset: usize) -> Result<*mut [u8; N], Truncated> {
        if offset > REACH {
            return Err(Truncated);
        }
        let at = self.start + offset;
        let mut behind = at + N;
        if N == 1 {
            // The compiler makes `at >= end` of it, from which the verifier
            // learns nothing about a pointer without a constant offset.
            behind = opaque(behind);
        }
        if behind > self.end {
            return Err(Truncated);
        }
        Ok(at as *mut [u8; N])
    }
}

/// Bytes of a frame that are summed up, one [`BLOCK`] after the other.
struct Blocks {
    ctx: *mut xdp_md,
    /// First byte of the next block.
    at: usize,
    /// Bytes from there on.
    rest: usize,
    /// Of what is before them.
    sum: u32,
    /// Whether all of it was within reach. Not a sum that may be none: where there
    /// is none, the verifier misses the other half of it.
    reached: bool,
}

impl Blocks {
    /// The sum with that of the `len` bytes from `at` on, [`BLOCK`] at most.
    #[inline(always)]
    fn with(&self, len: usize) -> Result<u32, Truncated> {
        let block = BLOCKS.get_ptr_mut(0).ok_or(Truncated)?;
        // SAFETY: the map holds a whole block, which is this CPU's alone while the
        // program runs on it.
        let block = unsafe { &mut *block };
        // The kernel sums up words of four bytes: what is behind the end in the
        // last one counts as zero.
        let words = bounded(len.div_ceil(4) * 4, BLOCK)?;
        let last = (words as usize - 4) & (BLOCK - 4);
        block[last..last + 4].fill(0);
        load(self.ctx, self.at, block, len)?;
        // SAFETY: the block has room for so many bytes.
        let sum = unsafe {
            let block = block.as_mut_ptr().cast();
            bpf_csum_diff(core::ptr::null_mut(), 0, block, words, self.sum)
        };
        u32::try_from(sum).map_err(|_| Truncated)
    }
}

impl Steps for Blocks {
    #[inline(always)]
    fn step(&mut self) -> bool {
        if self.rest == 0 {
            return false;
        }
        let len = if self.rest < BLOCK { self.rest } else { BLOCK };
        match self.with(len) {
            Ok(sum) => self.sum = sum,
            Err(Truncated) => self.reached = false,
        }
        self.at += len;
        self.rest -= len;
        self.reached
    }
}

/// Copies the `len` bytes from byte `at` of the frame on.
#[inline(always)]
fn load<const N: usize>(
    ctx: *mut xdp_md,
    at: usize,
    to: &mut [u8; N],
    len: usize,
) -> Result<(), Truncated> {
    let len = bounded(len, N)?;
    // SAFETY: `to` has room for `len` bytes; the kernel checks the rest.
    done(unsafe { bpf_xdp_load_bytes(ctx, at as u32, to.as_mut_ptr().cast(), len) })
}

/// `len`, from 1 to `max`, as helpers of the kernel take it and as its verifier
/// believes it.
#[inline(always)]
fn bounded(len: usize, max: usize) -> Result<u32, Truncated> {
    let len = opaque(len);
    // The verifier of Linux 6.1 does not learn from a comparison with zero that
    // something is more, which the compiler would make of one with a plain 1.
    if len < opaque(1) || len > max {
        return Err(Truncated);
    }
    Ok(len as u32)
}

/// What a helper says of bytes that are not all there.
#[inline(always)]
fn done(result: i64) -> Result<(), Truncated> {
    if result < 0 { Err(Truncated) } else { Ok(()) }
}

/// `value`, of which the compiler knows nothing any more.
#[inline(always)]
fn opaque(mut value: usize) -> usize {
    // An instruction, and not none, as the kernel refuses two lines of source on
    // one instruction.
    // SAFETY: the value stays what it is.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack)) };
    value
}

impl Editor for FrameCursor {
    #[inline(always)]
    fn seek(&mut self, at: usize) -> Result<(), Truncated> {
        self.offset = 0;
        self.skip(at)
    }

    #[inline(always)]
    fn load<const N: usize>(
        &self,
        at: usize,
        to: &mut [u8; N],
        len: usize,
    ) -> Result<(), Truncated> {
        load(self.ctx, at, to, len)
    }

    #[inline(always)]
    fn store<const N: usize>(
        &mut self,
        at: usize,
        from: &[u8; N],
        len: usize,
    ) -> Result<(), Truncated> {
        let (len, from) = (bounded(len, N)?, from.as_ptr().cast_mut());
        // SAFETY: `from` holds `len` bytes, which are read only; the kernel checks
        // the rest, and the frame is this program's alone while it runs.
        done(unsafe { bpf_xdp_store_bytes(self.ctx, at as u32, from.cast(), len) })
    }

    #[inline(always)]
    fn sum(&self, at: usize, len: usize) -> Result<Sum, Truncated> {
        let mut blocks = Blocks {
            ctx: self.ctx,
            at,
            rest: len,
            sum: 0,
            reached: true,
        };
        self.repeat(&mut blocks, PAYLOAD_MAX.div_ceil(BLOCK) as u32);
        if blocks.reached && blocks.rest == 0 {
            Ok(Sum::of_kernel(blocks.sum))
        } else {
            Err(Truncated)
        }
    }

    /// By a helper (`bpf_loop`, since Linux 5.17): the verifier walks a step, and not
    /// all of them.
    #[inline(always)]
    fn repeat<S: Steps>(&self, steps: &mut S, max: u32) {
        unsafe extern "C" fn step<S: Steps>(_: u32, steps: *mut *mut S) -> c_long {
            // SAFETY: below, this is a pointer to the only reference.
            let more = unsafe { &mut **steps }.step();
            // The verifier knows of a byte from memory only that it is one.
            (opaque(usize::from(!more)) & 1) as c_long
        }
        // What is handed over must be on the stack.
        let mut steps: *mut S = steps;
        let (step, at) = (step::<S> as *mut c_void, &raw mut steps);
        // SAFETY: a function as the helper calls it, and what that takes.
        unsafe { bpf_loop(max, step, at.cast(), 0) };
    }
}

impl Cursor for FrameCursor {
    #[inline(always)]
    fn frame_len(&self) -> usize {
        self.frame_len
    }

    #[inline(always)]
    fn offset(&self) -> usize {
        self.offset
    }

    #[inline(always)]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let at = self.within(self.offset)?;
        // SAFETY: N bytes from `at` on are in the frame, as was just checked (and
        // as the verifier checks once more); a byte array needs no alignment.
        let bytes = unsafe { *at };
        self.offset += N;
        Ok(bytes)
    }

    #[inline(always)]
    fn skip(&mut self, n: usize) -> Result<(), Truncated> {
        let offset = self.offset + n;
        if offset > REACH {
            return Err(Truncated);
        }
        self.offset = offset;
        Ok(())
    }
}
