//! What keeps an XDP program on an interface: a `bpf_link` that lives as long
//! as this process holds it.

use super::BpfError;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Where in the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel allocates anything.
    Native,
    /// In the stack, on any device, slower.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// A program on an interface. Dropping it, or the end of the process in
/// whatever way, takes the program off.
#[derive(Debug)]
pub struct Link {
    // Held for its Drop: the kernel detaches when the last descriptor closes.
    _fd: OwnedFd,
    ifindex: u32,
    mode: Mode,
}

// include/uapi/linux/bpf.h and if_link.h.
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The start of `union bpf_attr` for `BPF_LINK_CREATE`; what follows is zero.
#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

impl Link {
    /// Puts the loaded XDP program `program` on the interface.
    ///
    /// By the system call, not by `aya`: where the kernel answers EINVAL, aya
    /// attaches by netlink without a word, and such a program stays behind when
    /// the process is killed.
    ///
    /// # Errors
    /// [`BpfError::Busy`] when the interface carries a program already, else
    /// [`BpfError::Attach`] with the kernel's answer.
    pub(super) fn create(
        program: BorrowedFd<'_>,
        ifindex: u32,
        mode: Mode,
    ) -> Result<Self, BpfError> {
        let attr = LinkCreate {
            prog_fd: program.as_raw_fd(),
            target_ifindex: ifindex,
            attach_type: BPF_XDP,
            flags: match mode {
                Mode::Native => XDP_FLAGS_DRV_MODE,
                Mode::Generic => XDP_FLAGS_SKB_MODE,
            },
        };
        // SAFETY: the kernel reads `size` bytes at `attr`, a live, initialised
        // and padding-free struct, and takes the rest of the union for zero.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_LINK_CREATE,
                &raw const attr,
                size_of::<LinkCreate>(),
            )
        };
        let Ok(fd) = i32::try_from(fd) else {
            return Err(BpfError::Attach {
                ifindex,
                mode,
                source: io::Error::other("no file descriptor came back"),
            });
        };
        if fd < 0 {
            let source = io::Error::last_os_error();
            return Err(match source.raw_os_error() {
                Some(libc::EBUSY | libc::EEXIST) => BpfError::Busy { ifindex },
                _ => BpfError::Attach {
                    ifindex,
                    mode,
                    source,
                },
            });
        }
        Ok(Self {
            // SAFETY: the kernel just made this descriptor, and nobody else
            // knows it.
            _fd: unsafe { OwnedFd::from_raw_fd(fd) },
            ifindex,
            mode,
        })
    }

    /// Index of the interface that carries the program.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Where in the receive path the program runs.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }
}
