//! The frame as the parser sees it: the only pointer arithmetic of the programs.

use core::arch::asm;

use aya_ebpf::{EbpfContext as _, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use ringtun_common::cursor::{Cursor, Truncated};

/// How far into a frame headers are read. Two VLAN tags, an IPv6 header and
/// eight of the longest extension headers are 16,446 bytes; the verifier wants
/// a bound below 64 KiB on what is added to a packet pointer.
const REACH: usize = 0x7fff;

/// A cursor over the linear part of a frame.
pub struct FrameCursor {
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
        let frame_len = unsafe { bpf_xdp_get_buff_len(ctx.as_ptr().cast()) } as usize;
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
            offset: 0,
            frame_len,
        }
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
        if self.offset > REACH {
            return Err(Truncated);
        }
        let at = self.start + self.offset;
        let mut behind = at + N;
        if N == 1 {
            // The compiler makes `at >= end` of it, from which the verifier
            // learns nothing about a pointer without a constant offset.
            // SAFETY: no instruction; the value stays what it is.
            unsafe { asm!("/* {0} */", inout(reg) behind, options(nomem, nostack)) };
        }
        if behind > self.end {
            return Err(Truncated);
        }
        // SAFETY: `at` lies in the frame and N bytes from it end in the frame,
        // as was just checked (and as the verifier checks once more); a byte
        // array needs no alignment.
        let bytes = unsafe { *(at as *const [u8; N]) };
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
