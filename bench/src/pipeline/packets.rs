//! Inner packets that tell which thread's they are, and which of them.
//!
//! ```text
//! [ IPv4 20 ][ UDP 8 ][ number 8 ][ thread 1 ][ zeros … ]
//! ```

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use ringtun::datapath::offload::VNET_LEN;
use ringtun::net::udp::{GSO_BYTES_MAX, GSO_SEGMENTS_MAX};
use ringtun::tunnel::messages::KEEPALIVE_LEN;

const NUMBER: usize = 28;
const THREAD: usize = NUMBER + 8;
/// Datagrams of one batch, as a worker receives them.
pub const DATAGRAMS: usize = 8;

/// The gateway's own address inside.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Peer number `peer`'s address inside.
pub fn inner(peer: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, peer as u8)
}

/// A UDP packet of `size` bytes over IPv4, of this thread.
pub fn packet(size: usize, from: Ipv4Addr, to: Ipv4Addr, thread: usize) -> Vec<u8> {
    let mut packet = vec![0; size];
    packet[..4].copy_from_slice(&[0x45, 0, (size >> 8) as u8, size as u8]);
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet[24..26].copy_from_slice(&((size - 20) as u16).to_be_bytes());
    packet[THREAD] = thread as u8;
    packet
}

/// The same as a TUN device gives it: behind a header that says there is nothing to do.
pub fn read(packet: &[u8]) -> Vec<u8> {
    [&[0; VNET_LEN][..], packet].concat()
}

/// Writes the number.
pub fn set_number(packet: &mut [u8], number: u64) {
    packet[NUMBER..THREAD].copy_from_slice(&number.to_be_bytes());
}

/// Thread and number.
pub fn numbered(packet: &[u8]) -> Result<(usize, u64)> {
    let number = packet.get(NUMBER..).and_then(<[u8]>::first_chunk);
    let number = u64::from_be_bytes(*number.context("a number")?);
    let thread = *packet.get(THREAD).context("a thread")?;
    Ok((thread.into(), number))
}

/// Bytes of a sealed packet. None of the sizes needs padding.
pub const fn sealed(size: usize) -> usize {
    size + KEEPALIVE_LEN
}

/// Packets of one datagram, as many as the kernel coalesces.
pub const fn of_datagram(size: usize) -> usize {
    let fit = GSO_BYTES_MAX / sealed(size);
    if fit < GSO_SEGMENTS_MAX {
        fit
    } else {
        GSO_SEGMENTS_MAX
    }
}

/// Packets of one thread in one pass.
pub const fn of_pass(size: usize) -> usize {
    DATAGRAMS * of_datagram(size)
}

#[cfg(test)]
mod tests {
    use ringtun::datapath::frames::{FRAME_LEN, SEGMENTS_MAX};
    use ringtun::tunnel::keypair::padded_len;

    use super::super::case::SIZES;
    use super::super::mtu;
    use super::*;

    #[test]
    fn a_datagram_fits_a_frame_and_no_size_is_padded() {
        for size in SIZES {
            let count = of_datagram(size);
            assert!((1..=SEGMENTS_MAX).contains(&count), "{size}");
            assert!(count * sealed(size) <= FRAME_LEN, "{size}");
            assert_eq!(padded_len(size, mtu(size)), size);
        }
        assert_eq!(SIZES.map(of_datagram), [64, 64, 45, 7]);
    }

    #[test]
    fn a_packet_tells_thread_and_number() {
        let mut packet = packet(64, GATEWAY, inner(1), 1);
        set_number(&mut packet, 0x0102_0304_0506_0708);
        assert_eq!(numbered(&packet).unwrap(), (1, 0x0102_0304_0506_0708));
        assert!(numbered(&packet[..THREAD]).is_err());
    }
}
