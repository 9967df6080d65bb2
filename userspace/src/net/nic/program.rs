//! Which XDP program a device carries, for errors that say whose it is.

use super::exchange::Asker;
use super::wire::{self, Attribute};
use aya::programs::loaded_programs;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use std::fmt;
use std::io;

// include/uapi/linux/rtnetlink.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
/// Bytes of `struct ifinfomsg`: family, padding, type (2), index (4), flags, change.
const LINK_HEADER: usize = 16;
/// Where in it the index is.
const LINK_INDEX: std::ops::Range<usize> = 4..8;

// include/uapi/linux/if_link.h.
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const IFLA_XDP_HW_PROG_ID: u16 = 7;
const XDP_ATTACHED_DRV: u8 = 1;
const XDP_ATTACHED_SKB: u8 = 2;
const XDP_ATTACHED_HW: u8 = 3;

/// An XDP program on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// Its number, as `bpftool prog` shows it.
    pub id: u32,
    /// Where in the receive path it runs.
    pub mode: XdpMode,
    /// Its name, of at most 15 bytes; empty if it has none, is gone already, or
    /// this process may not look at it (`CAP_SYS_ADMIN`).
    pub name: String,
}

impl fmt::Display for XdpProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, mode, name } = self;
        if name.is_empty() {
            write!(f, "XDP program {id} ({mode})")
        } else {
            write!(f, "XDP program {id} `{name}` ({mode})")
        }
    }
}

/// Where in the receive path a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack.
    Generic,
    /// On the NIC.
    Hardware,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Hardware => "hardware",
        })
    }
}

/// The XDP program that an interface of this thread's namespace carries; of
/// several, the one that sees a frame first but for the NIC's own.
///
/// # Errors
/// `ENODEV` without such an interface; whatever else the kernel answers.
pub fn xdp_program(ifindex: u32) -> io::Result<Option<XdpProgram>> {
    let mut fixed = [0; LINK_HEADER];
    fixed[LINK_INDEX].copy_from_slice(&ifindex.to_ne_bytes());
    let mask = [Attribute {
        kind: IFLA_EXT_MASK,
        value: &RTEXT_FILTER_SKIP_STATS.to_ne_bytes(),
    }];
    let mut asker = Asker::open(NETLINK_ROUTE)?;
    let answer = asker.ask(RTM_GETLINK, RTM_NEWLINK, &fixed, &mask)?;
    let attached = attached(answer)?;
    Ok(attached.map(|(id, mode)| XdpProgram {
        id,
        mode,
        name: name(id),
    }))
}

/// Number and mode of the program of which a link message tells, after its
/// netlink header.
///
/// # Errors
/// `InvalidData` if the message is cut.
pub fn attached(link: &[u8]) -> io::Result<Option<(u32, XdpMode)>> {
    let mut found = Ok(None);
    wire::attributes(wire::after(link, LINK_HEADER)?, |kind, value| {
        if kind == IFLA_XDP {
            found = read(value);
        }
    })?;
    found
}

/// Reads the attributes within `IFLA_XDP`.
fn read(xdp: &[u8]) -> io::Result<Option<(u32, XdpMode)>> {
    let (mut mode, mut only, mut by_mode) = (None, None, [None; 3]);
    wire::attributes(xdp, |kind, value| match kind {
        IFLA_XDP_ATTACHED => mode = value.first().copied(),
        IFLA_XDP_PROG_ID => only = wire::number(value),
        IFLA_XDP_DRV_PROG_ID => by_mode[0] = wire::number(value),
        IFLA_XDP_SKB_PROG_ID => by_mode[1] = wire::number(value),
        IFLA_XDP_HW_PROG_ID => by_mode[2] = wire::number(value),
        _ => {}
    })?;
    let modes = [XdpMode::Native, XdpMode::Generic, XdpMode::Hardware];
    let several = || {
        by_mode
            .into_iter()
            .zip(modes)
            .find_map(|(id, mode)| Some((id?, mode)))
    };
    // Kernels before 4.19 have one program and tell only its number.
    Ok(several().or_else(|| {
        let mode = match mode? {
            XDP_ATTACHED_DRV => XdpMode::Native,
            XDP_ATTACHED_SKB => XdpMode::Generic,
            XDP_ATTACHED_HW => XdpMode::Hardware,
            _ => return None,
        };
        Some((only?, mode))
    }))
}

/// The name of a loaded program, if this process may know it.
fn name(id: u32) -> String {
    loaded_programs()
        .map_while(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Number and value of an attribute.
    type Written<'a> = (u16, &'a [u8]);

    /// A link message after its netlink header, with these attributes in `IFLA_XDP`.
    fn link(xdp: &[Written<'_>]) -> Vec<u8> {
        let list: Vec<_> = xdp
            .iter()
            .map(|&(kind, value)| Attribute { kind, value })
            .collect();
        let nested = wire::question(0, 0, &[], &list).split_off(16);
        let attributes = [
            Attribute {
                kind: 3,
                value: b"eth0\0",
            },
            Attribute {
                // With the flag that kernels set on what is nested.
                kind: IFLA_XDP | 0x8000,
                value: &nested,
            },
        ];
        wire::question(RTM_NEWLINK, 1, &[0; LINK_HEADER], &attributes).split_off(16)
    }

    #[test]
    fn each_way_to_carry_a_program_is_told() {
        let id = |id: u32| id.to_ne_bytes();
        let (five, six) = (id(5), id(6));
        let cases: [(&[Written<'_>], _); 7] = [
            (&[], None),
            (&[(IFLA_XDP_ATTACHED, &[0])], None),
            (
                &[
                    (IFLA_XDP_ATTACHED, &[1]),
                    (IFLA_XDP_PROG_ID, &five),
                    (IFLA_XDP_DRV_PROG_ID, &five),
                ],
                Some((5, XdpMode::Native)),
            ),
            (
                &[(IFLA_XDP_ATTACHED, &[2]), (IFLA_XDP_PROG_ID, &five)],
                Some((5, XdpMode::Generic)),
            ),
            (
                &[
                    (IFLA_XDP_ATTACHED, &[4]),
                    (IFLA_XDP_SKB_PROG_ID, &five),
                    (IFLA_XDP_HW_PROG_ID, &six),
                ],
                Some((5, XdpMode::Generic)),
            ),
            (
                &[(IFLA_XDP_ATTACHED, &[3]), (IFLA_XDP_HW_PROG_ID, &six)],
                Some((6, XdpMode::Hardware)),
            ),
            (&[(IFLA_XDP_ATTACHED, &[1]), (IFLA_XDP_PROG_ID, &[5])], None),
        ];
        for (xdp, expected) in cases {
            assert_eq!(attached(&link(xdp)).expect("sane"), expected, "{xdp:?}");
        }
    }

    #[test]
    fn an_error_can_say_whose_program_it_is() {
        let mut program = XdpProgram {
            id: 7,
            mode: XdpMode::Generic,
            name: "xdp_dispatcher".into(),
        };
        assert_eq!(
            program.to_string(),
            "XDP program 7 `xdp_dispatcher` (generic)"
        );
        program.name.clear();
        assert_eq!(program.to_string(), "XDP program 7 (generic)");
    }

    proptest! {
        #[test]
        fn a_truncation_is_an_error_or_no_program(number: u32) {
            let bytes = link(&[
                (IFLA_XDP_ATTACHED, &[1]),
                (IFLA_XDP_DRV_PROG_ID, &number.to_ne_bytes()),
            ]);
            let whole = attached(&bytes).expect("whole");
            prop_assert_eq!(whole, Some((number, XdpMode::Native)));
            for len in 0..bytes.len() {
                if let Ok(part) = attached(&bytes[..len]) {
                    prop_assert_eq!(part, None);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = attached(&bytes);
            let _ = read(&bytes);
        }
    }
}
