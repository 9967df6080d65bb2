//! Which parts of XDP a driver has: the generic netlink family `netdev`
//! (`Documentation/netlink/specs/netdev.yaml` of the kernel), Linux 6.3.

use super::exchange::Asker;
use super::wire::{self, Attribute, malformed};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use std::io;

/// Bytes of `struct genlmsghdr`: command, version, two reserved.
const GENERIC_HEADER: usize = 4;

// include/uapi/linux/genetlink.h: the family that knows the others.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

// include/uapi/linux/netdev.h.
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_A_DEV_XDP_ZC_MAX_SEGS: u16 = 4;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_REDIRECT: u64 = 2;
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 4;
const NETDEV_XDP_ACT_XSK_ZEROCOPY: u64 = 8;
const NETDEV_XDP_ACT_RX_SG: u64 = 32;

/// What the driver of a device can do with XDP, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures {
    /// Programs in native mode, with pass, drop, abort and transmit.
    pub basic: bool,
    /// Redirect from its programs, into AF_XDP sockets among others.
    pub redirect: bool,
    /// Takes frames that programs of other devices redirect to it.
    pub ndo_xmit: bool,
    /// AF_XDP without copying.
    pub xsk_zerocopy: bool,
    /// Programs see frames of several buffers.
    pub rx_sg: bool,
    /// Frames of how many buffers it transmits from AF_XDP without copying; 1
    /// before Linux 6.6 and without zero-copy.
    pub zerocopy_segments: u32,
}

/// What the driver of an interface of this thread's namespace can do; `None`
/// where the kernel does not tell (before Linux 6.3).
///
/// # Errors
/// `ENODEV` without such an interface; whatever else the kernel answers.
pub fn xdp_features(ifindex: u32) -> io::Result<Option<XdpFeatures>> {
    let mut asker = match Asker::open(NETLINK_GENERIC) {
        Ok(asker) => asker,
        // A kernel without generic netlink.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = [Attribute {
        kind: CTRL_ATTR_FAMILY_NAME,
        value: b"netdev\0",
    }];
    let fixed = [CTRL_CMD_GETFAMILY, 1, 0, 0];
    let family = match asker.ask(GENL_ID_CTRL, GENL_ID_CTRL, &fixed, &name) {
        Ok(answer) => family(answer)?,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let index = [Attribute {
        kind: NETDEV_A_DEV_IFINDEX,
        value: &ifindex.to_ne_bytes(),
    }];
    let answer = asker.ask(family, family, &[NETDEV_CMD_DEV_GET, 1, 0, 0], &index)?;
    XdpFeatures::read(answer, ifindex).map(Some)
}

/// The number of the family that an answer of `GENL_ID_CTRL` tells.
fn family(answer: &[u8]) -> io::Result<u16> {
    let mut id = None;
    wire::attributes(wire::after(answer, GENERIC_HEADER)?, |kind, value| {
        if kind == CTRL_ATTR_FAMILY_ID {
            id = value.try_into().ok().map(u16::from_ne_bytes);
        }
    })?;
    id.ok_or_else(|| malformed("a family without a number"))
}

impl XdpFeatures {
    /// Reads the answer to `NETDEV_CMD_DEV_GET`, after its netlink header. What
    /// an older kernel leaves out, the device does not have.
    ///
    /// # Errors
    /// `InvalidData` if it is cut, or about another device than `ifindex`.
    pub fn read(answer: &[u8], ifindex: u32) -> io::Result<Self> {
        let (mut about, mut flags, mut segments) = (None, 0, None);
        wire::attributes(
            wire::after(answer, GENERIC_HEADER)?,
            |kind, value| match kind {
                NETDEV_A_DEV_IFINDEX => about = wire::number(value),
                NETDEV_A_DEV_XDP_FEATURES => flags = wire::long_number(value).unwrap_or(0),
                NETDEV_A_DEV_XDP_ZC_MAX_SEGS => segments = wire::number(value),
                _ => {}
            },
        )?;
        if about != Some(ifindex) {
            return Err(malformed("it is about another device"));
        }
        let has = |flag| flags & flag != 0;
        Ok(Self {
            basic: has(NETDEV_XDP_ACT_BASIC),
            redirect: has(NETDEV_XDP_ACT_REDIRECT),
            ndo_xmit: has(NETDEV_XDP_ACT_NDO_XMIT),
            xsk_zerocopy: has(NETDEV_XDP_ACT_XSK_ZEROCOPY),
            rx_sg: has(NETDEV_XDP_ACT_RX_SG),
            zerocopy_segments: segments.unwrap_or(1).max(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer as the kernel writes it, after its netlink header.
    fn answer(ifindex: u32, flags: u64, segments: u32) -> Vec<u8> {
        let (ifindex, segments) = (ifindex.to_ne_bytes(), segments.to_ne_bytes());
        let flags = flags.to_ne_bytes();
        let attributes = [
            (NETDEV_A_DEV_IFINDEX, &ifindex[..]),
            (NETDEV_A_DEV_XDP_FEATURES, &flags),
            (NETDEV_A_DEV_XDP_ZC_MAX_SEGS, &segments),
        ]
        .map(|(kind, value)| Attribute { kind, value });
        wire::question(20, 1, &[1, 1, 0, 0], &attributes).split_off(16)
    }

    #[test]
    fn each_flag_is_its_own() {
        let read = |flags| XdpFeatures::read(&answer(4, flags, 0), 4).expect("sane");
        let none = XdpFeatures {
            zerocopy_segments: 1,
            ..XdpFeatures::default()
        };
        assert_eq!(read(0), none);
        let expected = [
            XdpFeatures {
                basic: true,
                ..none
            },
            XdpFeatures {
                redirect: true,
                ..none
            },
            XdpFeatures {
                ndo_xmit: true,
                ..none
            },
            XdpFeatures {
                xsk_zerocopy: true,
                ..none
            },
            none,
            XdpFeatures {
                rx_sg: true,
                ..none
            },
            none,
        ];
        for (bit, expected) in expected.into_iter().enumerate() {
            assert_eq!(read(1 << bit), expected, "bit {bit}");
        }
    }

    #[test]
    fn an_answer_about_another_device_is_none() {
        assert!(XdpFeatures::read(&answer(4, 1, 1), 5).is_err());
    }

    proptest! {
        #[test]
        fn a_truncation_is_an_error_or_has_less(ifindex: u32, flags: u64, segments in 1u32..) {
            let bytes = answer(ifindex, flags, segments);
            let whole = XdpFeatures::read(&bytes, ifindex).expect("whole");
            prop_assert_eq!(whole.zerocopy_segments, segments);
            for len in 0..bytes.len() {
                if let Ok(part) = XdpFeatures::read(&bytes[..len], ifindex) {
                    prop_assert!(!part.basic || whole.basic);
                    prop_assert!(!part.xsk_zerocopy || whole.xsk_zerocopy);
                    prop_assert!(part.zerocopy_segments <= segments);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = XdpFeatures::read(&bytes, 1);
            let _ = family(&bytes);
        }
    }
}
