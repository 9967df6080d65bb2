//! Congestion marks between the inner and the outer packet, RFC 6040.

use ringtun_common::checksum::{Sum, update};
use ringtun_common::ip::version;

/// The two ECN bits of the TOS byte or traffic class (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// The transport cannot react to marks.
    #[default]
    NotEct = 0,
    /// Capable, as L4S uses it.
    Ect1 = 1,
    /// Capable.
    Ect0 = 2,
    /// Congestion was experienced.
    Ce = 3,
}

impl Ecn {
    /// Of a TOS byte or traffic class.
    #[must_use]
    pub const fn from_tos(tos: u8) -> Self {
        match tos & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// Of an IP packet; `NotEct` if it is none. The outer header of a sealed
    /// packet carries the same (normal mode, RFC 6040 section 4.1).
    #[must_use]
    pub const fn of_packet(packet: &[u8]) -> Self {
        Self::from_tos(tos(packet))
    }

    /// What the inner packet is to carry when the outer one arrived with
    /// `outer` (RFC 6040 section 4.2, figure 4); None: to be dropped, because
    /// congestion was marked and the transport could not be told otherwise.
    #[must_use]
    pub const fn decapsulated(self, outer: Self) -> Option<Self> {
        match (self, outer) {
            (Self::NotEct, Self::Ce) => None,
            (Self::NotEct, _) => Some(Self::NotEct),
            (_, Self::Ce) => Some(Self::Ce),
            (Self::Ect0, Self::Ect1) => Some(Self::Ect1),
            (inner, _) => Some(inner),
        }
    }
}

const fn tos(packet: &[u8]) -> u8 {
    match (version(packet), packet) {
        (4, [_, tos, ..]) => *tos,
        (6, [a, b, ..]) => *a << 4 | *b >> 4,
        _ => 0,
    }
}

/// Writes `ecn` into an IP packet whose header is complete, and corrects the
/// checksum of an IPv4 header.
pub(super) fn set_ecn(packet: &mut [u8], ecn: Ecn) {
    match version(packet) {
        4 => {
            let old = [packet[0], packet[1]];
            packet[1] = packet[1] & !3 | ecn as u8;
            let new = [packet[0], packet[1]];
            let field = update(
                [packet[10], packet[11]],
                Sum::of_field(old),
                Sum::of_field(new),
            );
            packet[10..12].copy_from_slice(&field);
        }
        // The traffic class lies across the first two bytes.
        _ => packet[1] = packet[1] & !0x30 | (ecn as u8) << 4,
    }
}

#[cfg(test)]
mod tests {
    use super::Ecn::{Ce, Ect0, Ect1, NotEct};
    use super::*;

    /// RFC 6040 figure 4, row by row.
    #[test]
    fn ecn_decapsulation_table() {
        let outer = [NotEct, Ect0, Ect1, Ce];
        for (inner, expected) in [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ] {
            assert_eq!(outer.map(|o| inner.decapsulated(o)), expected, "{inner:?}");
        }
    }

    #[test]
    fn ecn_is_read_and_written_in_both_families() {
        let mut v4 = [0u8; 20];
        v4[0] = 0x45;
        v4[1] = 0xb8;
        v4[8] = 64;
        let sum = Sum::of(&v4).finish();
        v4[10..12].copy_from_slice(&sum);
        let mut v6 = [0u8; 40];
        v6[0] = 0x6b;
        v6[1] = 0x8f;
        for ecn in [Ce, NotEct, Ect1, Ect0, Ce, Ect1] {
            set_ecn(&mut v4, ecn);
            assert_eq!(Ecn::of_packet(&v4), ecn);
            assert_eq!(v4[1] & !3, 0xb8, "DSCP stays");
            assert!(Sum::of(&v4).is_valid());
            set_ecn(&mut v6, ecn);
            assert_eq!(Ecn::of_packet(&v6), ecn);
            assert_eq!((v6[0], v6[1] & !0x30), (0x6b, 0x8f), "all else stays");
        }
        assert_eq!(Ecn::of_packet(&[]), NotEct);
        assert_eq!(Ecn::of_packet(&[0x45]), NotEct);
    }
}
