//! What the kernel is asked to do with a packet on its way out.
//!
//! ```text
//! struct xsk_tx_metadata, right before the packet (include/uapi/linux/if_xdp.h)
//!  0  u64  flags          XDP_TXMD_FLAGS_*
//!  8  u16  csum_start     from the packet's first byte
//! 10  u16  csum_offset    from csum_start
//! 12       padding, launch time: zero
//! ```

/// Bytes of `struct xsk_tx_metadata` since Linux 6.14; before, the first 16. A
/// multiple of 8 below 256, as the registration of the UMEM wants it.
pub const TX_METADATA_LEN: usize = 24;

/// A checksum that the kernel or the device finishes: the one's complement sum
/// from `start` to the end of the packet goes to `start + offset`, which holds
/// the sum of the pseudo header before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxChecksum {
    start: u16,
    offset: u16,
}

impl TxChecksum {
    /// The checksum of a UDP datagram whose header begins `start` bytes after
    /// the packet's first byte.
    #[must_use]
    pub const fn udp(start: u16) -> Self {
        Self { start, offset: 6 }
    }

    /// The checksum of a TCP segment whose header begins `start` bytes after the
    /// packet's first byte.
    #[must_use]
    pub const fn tcp(start: u16) -> Self {
        Self { start, offset: 16 }
    }

    /// First byte that is summed.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start as usize
    }

    /// First byte of the checksum itself.
    #[must_use]
    pub const fn field(&self) -> usize {
        self.start as usize + self.offset as usize
    }

    /// Whether the checksum lies in a packet of `len` bytes. The kernel does not
    /// skip a descriptor for which it does not: it stops before it, for ever.
    #[must_use]
    pub(super) const fn is_within(&self, len: usize) -> bool {
        self.field() + 2 <= len
    }

    pub(super) fn encode(self) -> [u8; TX_METADATA_LEN] {
        let mut bytes = [0; TX_METADATA_LEN];
        bytes[..8].copy_from_slice(&u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM).to_ne_bytes());
        bytes[8..10].copy_from_slice(&self.start.to_ne_bytes());
        bytes[10..12].copy_from_slice(&self.offset.to_ne_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; TX_METADATA_LEN]) -> Option<Self> {
        let [f0, f1, f2, f3, f4, f5, f6, f7, s0, s1, o0, o1, ..] = *bytes;
        let flags = u64::from_ne_bytes([f0, f1, f2, f3, f4, f5, f6, f7]);
        (flags == u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM)).then_some(Self {
            start: u16::from_ne_bytes([s0, s1]),
            offset: u16::from_ne_bytes([o0, o1]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        let bytes = TxChecksum::udp(0x0122).encode();
        let mut expected = [0; TX_METADATA_LEN];
        expected[..8].copy_from_slice(&2u64.to_ne_bytes());
        expected[8..10].copy_from_slice(&0x0122u16.to_ne_bytes());
        expected[10..12].copy_from_slice(&6u16.to_ne_bytes());
        assert_eq!(bytes, expected);
        assert_eq!(TxChecksum::decode(&bytes), Some(TxChecksum::udp(0x0122)));
        assert_eq!(TxChecksum::decode(&[0; TX_METADATA_LEN]), None);
    }

    #[test]
    fn a_checksum_ends_in_the_packet_or_is_not_within() {
        assert!(TxChecksum::udp(34).is_within(42));
        assert!(!TxChecksum::udp(34).is_within(41));
        assert!(!TxChecksum::tcp(u16::MAX).is_within(usize::from(u16::MAX)));
    }
}
