//! Socket addresses and control messages as bytes.
//!
//! ```text
//! struct cmsghdr    usize length (header included) · i32 level · i32 type · data,
//!                   each message padded to a multiple of a usize
//! struct sockaddr_in    u16 family · u16 port (BE) · 4 address · 8 zero
//! struct sockaddr_in6   u16 family · u16 port (BE) · u32 flow (BE) · 16 address · u32 scope
//! struct in_pktinfo     i32 interface · 4 local address · 4 header's address
//! struct in6_pktinfo    16 address · u32 interface
//! ```

use super::Source;
use crate::net::sys::{Control, Name};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of `struct cmsghdr`; 16 on 64-bit, and a multiple of the padding on both.
const HEADER: usize = size_of::<usize>() + 8;

const fn padded(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// Encodes `addr`, for a socket of that family.
pub(super) fn encode_name(addr: SocketAddr) -> Name {
    let mut name = Name::default();
    match addr {
        SocketAddr::V4(v4) => {
            name.bytes[0..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            name.bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
            name.bytes[4..8].copy_from_slice(&v4.ip().octets());
            name.len = 16;
        }
        SocketAddr::V6(v6) => {
            name.bytes[0..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            name.bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
            name.bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
            name.bytes[8..24].copy_from_slice(&v6.ip().octets());
            name.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            name.len = 28;
        }
    }
    name
}

/// Decodes an address that the kernel wrote.
pub(super) fn decode_name(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match libc::c_int::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(ip), port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
            // The flow label of what came in says nothing about what goes out.
            Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
        }
        _ => None,
    }
}

fn push(control: &mut Control, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
    let at = control.len;
    let len = HEADER + data.len();
    // `CONTROL_LEN` holds the three that are ever sent: 40 + 24 + 24 bytes.
    let message = &mut control.bytes[at..at + padded(len)];
    let word = size_of::<usize>();
    message[..word].copy_from_slice(&len.to_ne_bytes());
    message[word..word + 4].copy_from_slice(&level.to_ne_bytes());
    message[word + 4..word + 8].copy_from_slice(&kind.to_ne_bytes());
    message[HEADER..len].copy_from_slice(data);
    message[len..].fill(0);
    control.len = at + padded(len);
}

/// Encodes what a datagram is sent with: source address, TOS or traffic class,
/// segment size (0 for none).
pub(super) fn encode_control(
    control: &mut Control,
    v6: bool,
    source: Option<Source>,
    tos: u8,
    segment: u16,
) {
    control.len = 0;
    match source.map(|source| (source.addr, source.ifindex)) {
        Some((IpAddr::V4(addr), ifindex)) if !v6 => {
            let mut info = [0; 12];
            info[0..4].copy_from_slice(&ifindex.to_ne_bytes());
            info[4..8].copy_from_slice(&addr.octets());
            push(control, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some((IpAddr::V6(addr), ifindex)) if v6 => {
            let mut info = [0; 20];
            info[0..16].copy_from_slice(&addr.octets());
            info[16..20].copy_from_slice(&ifindex.to_ne_bytes());
            push(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        // A source of the other family is left over from an endpoint that
        // changed its family: not used.
        _ => {}
    }
    let class = libc::c_int::from(tos).to_ne_bytes();
    if v6 {
        push(control, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class);
    } else {
        push(control, libc::IPPROTO_IP, libc::IP_TOS, &class);
    }
    if segment != 0 {
        push(
            control,
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            &segment.to_ne_bytes(),
        );
    }
}

/// What came with a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    pub local: Option<Source>,
    pub tos: u8,
    /// Bytes per packet, if several packets were joined; 0 otherwise.
    pub segment: usize,
}

/// Decodes control messages that the kernel wrote; unknown ones are passed over.
pub(super) fn decode_control(mut bytes: &[u8]) -> Ancillary {
    let mut found = Ancillary::default();
    let word = size_of::<usize>();
    while let Some(header) = bytes.get(..HEADER) {
        let number = |at: usize| -> Option<libc::c_int> {
            header
                .get(at..)?
                .first_chunk()
                .map(|bytes| libc::c_int::from_ne_bytes(*bytes))
        };
        let Some(len) = header.first_chunk().map(|b| usize::from_ne_bytes(*b)) else {
            break;
        };
        let Some(data) = bytes.get(HEADER..len) else {
            break;
        };
        decode_one(&mut found, number(word), number(word + 4), data);
        bytes = bytes.get(padded(len)..).unwrap_or_default();
    }
    found
}

fn decode_one(
    found: &mut Ancillary,
    level: Option<libc::c_int>,
    kind: Option<libc::c_int>,
    data: &[u8],
) {
    let (Some(level), Some(kind)) = (level, kind) else {
        return;
    };
    let int = || {
        data.first_chunk()
            .map(|bytes| libc::c_int::from_ne_bytes(*bytes))
    };
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            if let (Some(&index), Some(&addr)) = (
                data.first_chunk::<4>(),
                data.get(4..).and_then(|rest| rest.first_chunk::<4>()),
            ) {
                found.local = Some(Source {
                    addr: Ipv4Addr::from(addr).into(),
                    ifindex: u32::from_ne_bytes(index),
                });
            }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let (Some(&addr), Some(&index)) = (
                data.first_chunk::<16>(),
                data.get(16..).and_then(|rest| rest.first_chunk::<4>()),
            ) {
                found.local = Some(Source {
                    addr: Ipv6Addr::from(addr).into(),
                    ifindex: u32::from_ne_bytes(index),
                });
            }
        }
        // One byte over IPv4, an int over IPv6.
        (libc::IPPROTO_IP, libc::IP_TOS) => found.tos = data.first().copied().unwrap_or(0),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => found.tos = int().unwrap_or(0) as u8,
        (libc::SOL_UDP, libc::UDP_GRO) => {
            found.segment = int()
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(0);
        }
        _ => {}
    }
}
