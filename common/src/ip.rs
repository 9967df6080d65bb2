//! Header views: names for the bytes of IPv4, IPv6, TCP and UDP headers.
//!
//! A view wraps an array of exactly the header's fixed length, owned or
//! borrowed (`[u8; 20]`, `&[u8; 20]`, `&mut [u8; 20]`), so that a field access
//! needs no bounds check and cannot fail: the one check is where the array is
//! taken out of the packet (`first_chunk`). Views judge nothing; whoever makes
//! one knows that the header is there.

use core::borrow::{Borrow, BorrowMut};

/// Protocol number of ICMP (IPv4).
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of GRE.
pub const GRE: u8 = 47;
/// Protocol number of ESP.
pub const ESP: u8 = 50;
/// Protocol number of AH.
pub const AH: u8 = 51;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Bytes of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Bytes of an IPv6 header without extension headers.
pub const IPV6_LEN: usize = 40;
/// Bytes of a TCP header without options.
pub const TCP_LEN: usize = 20;
/// Bytes of a UDP header.
pub const UDP_LEN: usize = 8;

/// The IP version of a packet: the upper half of its first byte; 0 if empty.
#[inline]
#[must_use]
pub const fn version(packet: &[u8]) -> u8 {
    match packet {
        [first, ..] => *first >> 4,
        [] => 0,
    }
}

#[inline(always)]
const fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline(always)]
const fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

macro_rules! put {
    ($bytes:expr, $at:expr, $value:expr) => {{
        let value = $value;
        $bytes[$at..$at + value.len()].copy_from_slice(&value)
    }};
}

/// An IPv4 header (RFC 791 section 3.1).
///
/// ```text
///  0  version, header length      1  TOS (DSCP, ECN)   2..4   total length
///  4..6  identification           6..8  flags, fragment offset
///  8  TTL    9  protocol  10..12  checksum  12..16  source  16..20  destination
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<B>(pub B);

impl<B: Borrow<[u8; IPV4_LEN]>> Ipv4<B> {
    #[inline(always)]
    fn bytes(&self) -> &[u8; IPV4_LEN] {
        self.0.borrow()
    }
    /// Header length in bytes, options included: 0 to 60, right from 20 on.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes()[0] & 0xf) * 4
    }
    /// The TOS byte: DSCP in the upper six bits, ECN in the lower two.
    #[inline]
    pub fn tos(&self) -> u8 {
        self.bytes()[1]
    }
    /// Bytes of the whole packet, header included.
    #[inline]
    pub fn total_len(&self) -> u16 {
        be16(self.bytes(), 2)
    }
    /// Identification.
    #[inline]
    pub fn id(&self) -> u16 {
        be16(self.bytes(), 4)
    }
    /// Flags and fragment offset as they stand there: see [`dont_fragment`](Self::dont_fragment)
    /// and [`is_fragment`](Self::is_fragment).
    #[inline]
    pub fn fragment_word(&self) -> u16 {
        be16(self.bytes(), 6)
    }
    /// DF is set.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment_word() & 0x4000 != 0
    }
    /// More fragments follow, or this is not the first.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment_word() & 0x3fff != 0
    }
    /// Time to live, in hops.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.bytes()[8]
    }
    /// Protocol of the payload.
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.bytes()[9]
    }
    /// The checksum field as it stands there.
    #[inline]
    pub fn checksum(&self) -> [u8; 2] {
        [self.bytes()[10], self.bytes()[11]]
    }
    /// Source address.
    #[inline]
    pub fn source(&self) -> [u8; 4] {
        be32(self.bytes(), 12).to_be_bytes()
    }
    /// Destination address.
    #[inline]
    pub fn destination(&self) -> [u8; 4] {
        be32(self.bytes(), 16).to_be_bytes()
    }
    /// Source and destination address, as the pseudo header wants them.
    #[inline]
    pub fn addresses(&self) -> &[u8] {
        &self.bytes()[12..20]
    }
}

impl<B: BorrowMut<[u8; IPV4_LEN]>> Ipv4<B> {
    /// Sets the TOS byte.
    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        self.0.borrow_mut()[1] = tos;
    }
    /// Sets the total length, in bytes.
    #[inline]
    pub fn set_total_len(&mut self, len: u16) {
        put!(self.0.borrow_mut(), 2, len.to_be_bytes());
    }
    /// Sets the identification.
    #[inline]
    pub fn set_id(&mut self, id: u16) {
        put!(self.0.borrow_mut(), 4, id.to_be_bytes());
    }
    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, field: [u8; 2]) {
        put!(self.0.borrow_mut(), 10, field);
    }
}

/// An IPv6 header (RFC 8200 section 3).
///
/// ```text
///  0..4  version, traffic class, flow label   4..6  payload length
///  6  next header    7  hop limit   8..24  source   24..40  destination
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<B>(pub B);

impl<B: Borrow<[u8; IPV6_LEN]>> Ipv6<B> {
    #[inline(always)]
    fn bytes(&self) -> &[u8; IPV6_LEN] {
        self.0.borrow()
    }
    /// Version, traffic class and flow label.
    #[inline]
    pub fn first_word(&self) -> u32 {
        be32(self.bytes(), 0)
    }
    /// Traffic class: DSCP in the upper six bits, ECN in the lower two.
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.first_word() >> 20) as u8
    }
    /// Bytes that follow this header.
    #[inline]
    pub fn payload_len(&self) -> u16 {
        be16(self.bytes(), 4)
    }
    /// Protocol or kind of extension header that follows.
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.bytes()[6]
    }
    /// Hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.bytes()[7]
    }
    /// Source address.
    #[inline]
    pub fn source(&self) -> [u8; 16] {
        let mut address = [0; 16];
        address.copy_from_slice(&self.bytes()[8..24]);
        address
    }
    /// Destination address.
    #[inline]
    pub fn destination(&self) -> [u8; 16] {
        let mut address = [0; 16];
        address.copy_from_slice(&self.bytes()[24..40]);
        address
    }
    /// Source and destination address, as the pseudo header wants them.
    #[inline]
    pub fn addresses(&self) -> &[u8] {
        &self.bytes()[8..40]
    }
}

impl<B: BorrowMut<[u8; IPV6_LEN]>> Ipv6<B> {
    /// Sets the traffic class.
    #[inline]
    pub fn set_traffic_class(&mut self, class: u8) {
        let word = self.first_word() & !(0xff << 20) | u32::from(class) << 20;
        put!(self.0.borrow_mut(), 0, word.to_be_bytes());
    }
    /// Sets the number of bytes that follow this header.
    #[inline]
    pub fn set_payload_len(&mut self, len: u16) {
        put!(self.0.borrow_mut(), 4, len.to_be_bytes());
    }
}

/// TCP flag FIN.
pub const TCP_FIN: u8 = 0x01;
/// TCP flag SYN.
pub const TCP_SYN: u8 = 0x02;
/// TCP flag RST.
pub const TCP_RST: u8 = 0x04;
/// TCP flag PSH.
pub const TCP_PSH: u8 = 0x08;
/// TCP flag ACK.
pub const TCP_ACK: u8 = 0x10;
/// TCP flag URG.
pub const TCP_URG: u8 = 0x20;
/// TCP flag CWR (RFC 3168).
pub const TCP_CWR: u8 = 0x80;

/// A TCP header without its options (RFC 9293 section 3.1).
///
/// ```text
///  0..2  source port   2..4  destination port   4..8  sequence number
///  8..12  acknowledgment number   12  data offset, reserved   13  flags
///  14..16  window   16..18  checksum   18..20  urgent pointer
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tcp<B>(pub B);

impl<B: Borrow<[u8; TCP_LEN]>> Tcp<B> {
    #[inline(always)]
    fn bytes(&self) -> &[u8; TCP_LEN] {
        self.0.borrow()
    }
    /// Source and destination port.
    #[inline]
    pub fn ports(&self) -> [u8; 4] {
        be32(self.bytes(), 0).to_be_bytes()
    }
    /// Sequence number of the first payload byte.
    #[inline]
    pub fn sequence(&self) -> u32 {
        be32(self.bytes(), 4)
    }
    /// Acknowledgment number.
    #[inline]
    pub fn acknowledgment(&self) -> u32 {
        be32(self.bytes(), 8)
    }
    /// Header length in bytes, options included: 0 to 60, right from 20 on.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.bytes()[12] >> 4) * 4
    }
    /// The flags of byte 13.
    #[inline]
    pub fn flags(&self) -> u8 {
        self.bytes()[13]
    }
    /// Data offset, reserved bits, flags and window in one word.
    #[inline]
    pub fn flag_word(&self) -> u32 {
        be32(self.bytes(), 12)
    }
    /// The checksum field as it stands there.
    #[inline]
    pub fn checksum(&self) -> [u8; 2] {
        [self.bytes()[16], self.bytes()[17]]
    }
}

impl<B: BorrowMut<[u8; TCP_LEN]>> Tcp<B> {
    /// Sets the sequence number.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u32) {
        put!(self.0.borrow_mut(), 4, sequence.to_be_bytes());
    }
    /// Sets the flags of byte 13.
    #[inline]
    pub fn set_flags(&mut self, flags: u8) {
        self.0.borrow_mut()[13] = flags;
    }
    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, field: [u8; 2]) {
        put!(self.0.borrow_mut(), 16, field);
    }
}

/// A UDP header (RFC 768): source port, destination port, length, checksum.
#[derive(Clone, Copy, Debug)]
pub struct Udp<B>(pub B);

impl<B: Borrow<[u8; UDP_LEN]>> Udp<B> {
    #[inline(always)]
    fn bytes(&self) -> &[u8; UDP_LEN] {
        self.0.borrow()
    }
    /// Source and destination port.
    #[inline]
    pub fn ports(&self) -> [u8; 4] {
        be32(self.bytes(), 0).to_be_bytes()
    }
    /// Bytes of header and payload.
    #[inline]
    pub fn len(&self) -> u16 {
        be16(self.bytes(), 4)
    }
    /// Whether there is no payload.
    #[inline]
    pub fn is_empty(&self) -> bool {
        usize::from(self.len()) <= UDP_LEN
    }
    /// The checksum field as it stands there; zero means none (IPv4).
    #[inline]
    pub fn checksum(&self) -> [u8; 2] {
        [self.bytes()[6], self.bytes()[7]]
    }
}

impl<B: BorrowMut<[u8; UDP_LEN]>> Udp<B> {
    /// Sets the bytes of header and payload.
    #[inline]
    pub fn set_len(&mut self, len: u16) {
        put!(self.0.borrow_mut(), 4, len.to_be_bytes());
    }
    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, field: [u8; 2]) {
        put!(self.0.borrow_mut(), 6, field);
    }
}
