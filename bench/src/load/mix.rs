//! Sizes of packets, and in which order they come.

/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;
/// Packets of one train at most: UDP has room for as many of the largest.
pub const TRAIN_MAX: u8 = 45;

/// Payloads of IP packets, UDP header included, one after the other and again from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix(&'static [usize]);

impl Mix {
    /// 64 bytes: an IPv4 packet of 84.
    pub const SMALL: Mix = Mix(&[64]);
    /// 512 bytes: an IPv4 packet of 532.
    pub const MIDDLE: Mix = Mix(&[512]);
    /// 1400 bytes: an IPv4 packet of 1420, the MTU inside.
    pub const LARGE: Mix = Mix(&[1400]);
    /// Seven of 64, four of 576, one of 1400.
    pub const IMIX: Mix = Mix(&[64, 576, 64, 64, 576, 64, 576, 64, 64, 576, 64, 1400]);

    /// Bytes that a datagram carries, of train `number`.
    pub fn data(self, number: usize) -> usize {
        self.0[number % self.0.len()] - UDP_HEADER
    }

    /// The largest of them.
    pub fn data_max(self) -> usize {
        self.0.iter().max().map_or(0, |size| size - UDP_HEADER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_of_the_internet_is_seven_to_four_to_one() {
        let mut counts = [0; 3];
        for number in 0..24 {
            match Mix::IMIX.data(number) {
                56 => counts[0] += 1,
                568 => counts[1] += 1,
                1392 => counts[2] += 1,
                other => panic!("{other} bytes"),
            }
        }
        assert_eq!(counts, [14, 8, 2]);
    }

    #[test]
    fn the_longest_train_fits_a_datagram() {
        for mix in [Mix::SMALL, Mix::MIDDLE, Mix::LARGE, Mix::IMIX] {
            assert!(mix.data_max() * usize::from(TRAIN_MAX) <= 65_507);
        }
    }
}
