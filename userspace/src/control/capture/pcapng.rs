//! A writer of pcapng files: packets of a tunnel's two sides, with direction and
//! nanoseconds.
//!
//! ```text
//! section header ─ interface 0: outer ─ interface 1: inner ─ packet ─ packet …
//! ─ statistics: what was missed so far
//!
//! every block:  type (4) ─ length (4) ─ body, padded to 4 ─ length (4)
//! ```
//!
//! Little-endian throughout; the section header says so. Format:
//! draft-ietf-opsawg-pcapng.
//!
//! Both interfaces are Ethernet, and what has no Ethernet header, as all of the
//! inner side and what a socket sends, gets one that is made up:
//! libpcap (tried: 1.10, so tcpdump) refuses files whose interfaces differ in
//! link type, and those with two interfaces of raw IP as well, because it
//! compares the file's number with its own (101 with 12).
//!
//! The inner side is plaintext: who makes the file gives it mode 0600.

use std::io::{self, Write};

pub use crate::datapath::taps::{Direction, Side};
use crate::tunnel::time::WallTime;

/// Bytes of a packet that are kept at most, whatever is asked for: what libpcap
/// takes (`MAXIMUM_SNAPLEN`).
pub const SNAP_MAX: u32 = 262_144;
/// Bytes of an Ethernet header without VLANs.
pub(super) const ETHERNET: usize = 14;
/// Bytes of a name that are kept.
const NAME_MAX: usize = 64;

pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
/// A packet; its body begins with the number of its interface.
pub(super) const ENHANCED_PACKET: u32 = 6;
/// What an interface counted; its body begins with the number of the interface.
pub(super) const STATISTICS: u32 = 5;
const OPTION_END: u16 = 0;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;
/// Time stamps count 10^-9 s.
const NANOSECONDS: [u8; 1] = [9];

/// `LINKTYPE_ETHERNET`, and the two reserved bytes behind it.
const LINKTYPE_ETHERNET: u32 = 1;

/// What is captured.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// Where the encrypted packets go: a NIC, or a list of them.
    pub outer: &'a str,
    /// The tunnel device.
    pub inner: &'a str,
    /// Bytes of a frame that are kept, its Ethernet header included; the rest is
    /// only counted. At least 14, at most [`SNAP_MAX`].
    pub snap: u32,
}

/// What a packet starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// An Ethernet header: what AF_XDP sends and receives.
    Ethernet,
    /// An IP header.
    Ip,
}

/// A packet that was seen.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Where.
    pub side: Side,
    /// Which way it went.
    pub direction: Direction,
    /// What `bytes` starts with.
    pub start: Start,
    /// When.
    pub time: WallTime,
    /// Its bytes, or as many of the first as there are.
    pub bytes: &'a [u8],
    /// How many it had, if there are fewer in `bytes`.
    pub len: usize,
}

/// Writes packets to `W`, one `write_all` each.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    snap: u32,
    block: Block,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, sides: &Sides<'_>) -> io::Result<Self> {
        let mut this = Self {
            out,
            snap: sides.snap.clamp(ETHERNET as u32, SNAP_MAX),
            block: Block::default(),
        };
        let application = concat!("ringtun ", env!("CARGO_PKG_VERSION"));
        this.block.begin(SECTION_HEADER);
        this.block.word(BYTE_ORDER);
        // Version 1.0, of unknown length.
        this.block.put(&[1, 0, 0, 0]);
        this.block.put(&u64::MAX.to_le_bytes());
        this.block.option(SHB_USERAPPL, application.as_bytes());
        this.end_block()?;
        let interfaces = [
            (sides.outer, "outer: encrypted"),
            (sides.inner, "inner: plaintext"),
        ];
        for (name, description) in interfaces {
            let name = &name[..name.floor_char_boundary(NAME_MAX)];
            this.block.begin(INTERFACE_DESCRIPTION);
            this.block.word(LINKTYPE_ETHERNET);
            this.block.word(this.snap);
            this.block.option(IF_NAME, name.as_bytes());
            this.block.option(IF_DESCRIPTION, description.as_bytes());
            this.block.option(IF_TSRESOL, &NANOSECONDS);
            this.end_block()?;
        }
        Ok(this)
    }

    /// Appends a packet.
    ///
    /// # Errors
    /// Those of `out`; the file may end with half a packet then.
    pub fn write(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let made_up = made_up_header(packet);
        let header: &[u8] = match packet.start {
            Start::Ethernet => &[],
            Start::Ip => &made_up,
        };
        let kept = packet.bytes.len().min(self.snap as usize - header.len());
        let len = packet.len.max(packet.bytes.len());
        let len = u32::try_from(len.saturating_add(header.len())).unwrap_or(u32::MAX);
        let time = nanoseconds(packet.time);
        let block = &mut self.block;
        block.begin(ENHANCED_PACKET);
        block.word(interface(packet.side));
        block.word((time >> 32) as u32);
        block.word(time as u32);
        block.word((header.len() + kept) as u32);
        block.word(len);
        block.put_both(header, &packet.bytes[..kept]);
        // The two lowest bits: inbound, outbound.
        let flags: u32 = match packet.direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        block.option(EPB_FLAGS, &flags.to_le_bytes());
        self.end_block()
    }

    /// Appends what a side has counted so far: packets that passed, and how many of
    /// them are not in the file because there was no room. The last word counts.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn statistics(
        &mut self,
        side: Side,
        now: WallTime,
        passed: u64,
        missed: u64,
    ) -> io::Result<()> {
        let time = nanoseconds(now);
        let block = &mut self.block;
        block.begin(STATISTICS);
        block.word(interface(side));
        block.word((time >> 32) as u32);
        block.word(time as u32);
        block.option(ISB_IFRECV, &passed.to_le_bytes());
        block.option(ISB_IFDROP, &missed.to_le_bytes());
        self.end_block()
    }

    /// What it is written to.
    pub const fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the file; what it was written to.
    ///
    /// # Errors
    /// Those of flushing `out`.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.out.write_all(self.block.end())
    }
}

const fn interface(side: Side) -> u32 {
    match side {
        Side::Outer => 0,
        Side::Inner => 1,
    }
}

/// Since 1970.
fn nanoseconds(WallTime { secs, nanos }: WallTime) -> u64 {
    secs.saturating_mul(1_000_000_000)
        .saturating_add(nanos.into())
}

/// The Ethernet header of a packet that has none: no addresses, and the type.
fn made_up_header(packet: &Packet<'_>) -> [u8; ETHERNET] {
    let mut header = [0; ETHERNET];
    let ethertype: u16 = match packet.bytes.first().map(|byte| byte >> 4) {
        Some(4) => 0x0800,
        Some(6) => 0x86dd,
        // Local Experimental Ethertype 1 of IEEE 802: what is no IP.
        _ => 0x88b5,
    };
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    header
}

/// A block that is being put together; its memory is used again.
#[derive(Debug, Default)]
struct Block(Vec<u8>);

impl Block {
    fn begin(&mut self, kind: u32) {
        self.0.clear();
        self.word(kind);
        // The length, once it is known.
        self.word(0);
    }

    fn word(&mut self, word: u32) {
        self.put(&word.to_le_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.put_both(bytes, &[]);
    }

    /// Appends bytes, and pads the block to words.
    fn put_both(&mut self, first: &[u8], then: &[u8]) {
        self.0.extend_from_slice(first);
        self.0.extend_from_slice(then);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Appends an option: number (2), length (2), value.
    fn option(&mut self, number: u16, value: &[u8]) {
        self.word(u32::from(number) | (value.len() as u32) << 16);
        self.put(value);
    }

    /// The whole block. All of ours have options.
    fn end(&mut self) -> &[u8] {
        self.option(OPTION_END, &[]);
        let len = self.0.len() as u32 + 4;
        self.word(len);
        self.0[4..8].copy_from_slice(&len.to_le_bytes());
        &self.0
    }
}

#[cfg(test)]
#[path = "pcapng_tests.rs"]
mod tests;
