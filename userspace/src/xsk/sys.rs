//! System calls of AF_XDP: the socket, its options, its memory.
//!
//! Numbers and layouts are those of `include/uapi/linux/if_xdp.h`; what `libc`
//! has is taken from there.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::NonNull;

/// `XDP_MAX_TX_SKB_BUDGET`: frames that one `sendto` may transmit in copy mode.
/// Linux 6.18; kernels before it always take 32.
pub(super) const MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// `include/uapi/asm-generic/socket.h`, not in `libc` for every target.
pub(super) const SO_PREFER_BUSY_POLL: libc::c_int = 69;
/// As above.
pub(super) const SO_BUSY_POLL_BUDGET: libc::c_int = 70;
/// As above.
pub(super) const SO_BUSY_POLL: libc::c_int = 46;

/// Size of a page of memory, in bytes, of every mapping that is not of huge pages.
pub(super) fn page_size() -> usize {
    // SAFETY: takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// A close-on-exec AF_XDP socket in the calling thread's network namespace.
pub(super) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A structure of plain integers: every bit pattern is a value, no padding.
///
/// # Safety
/// Implemented for such types only.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: an integer.
unsafe impl Plain for libc::c_int {}
// SAFETY: integers only; two u64 and four u32 leave no padding.
unsafe impl Plain for libc::xdp_umem_reg {}
// SAFETY: u64 only.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: u64 only.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: one u32.
unsafe impl Plain for libc::xdp_options {}

/// Sets a socket option.
pub(super) fn set_option<T: Plain>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Reads a socket option whose value the kernel gives in full; a shorter answer
/// (an older layout) is an error.
pub(super) fn get_option<T: Plain>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<T> {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `len` holds the room at `value`; both outlive the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    })?;
    if len as usize != size_of::<T>() {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    // SAFETY: all of it was zeroed, and any bit pattern is a value of `T`.
    Ok(unsafe { value.assume_init() })
}

/// Binds to a queue of a device.
pub(super) fn bind(
    fd: BorrowedFd<'_>,
    ifindex: u32,
    queue: u32,
    flags: u16,
    shared: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: queue,
        // Never negative: it is open.
        sxdp_shared_umem_fd: shared.map_or(0, |fd| fd.as_raw_fd().unsigned_abs()),
    };
    // SAFETY: pointer and length describe `address`, which outlives the call.
    check(unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_xdp>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Makes the kernel look at the transmit ring.
pub(super) fn kick_tx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no data and no address: the pointers may be null.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            std::ptr::null(),
            0,
            libc::MSG_DONTWAIT,
            std::ptr::null(),
            0,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes the kernel look at the fill ring.
pub(super) fn kick_rx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no data and no address: the pointers may be null.
    let got = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            std::ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
        )
    };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Memory from the kernel, unmapped on drop.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: memory belongs to no thread; who may touch what in it is the
// business of those who hold the mapping.
unsafe impl Send for Mapping {}
// SAFETY: as above; the mapping itself only tells where it is.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed private memory, of huge pages (2 MiB) if `huge`.
    ///
    /// It is not inherited by a fork (pinned pages would have to be copied) and
    /// does not appear in core dumps (it holds what travels in tunnels).
    pub(super) fn anonymous(len: usize, huge: bool) -> io::Result<Self> {
        let mut flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        if huge {
            flags |= libc::MAP_HUGETLB;
        }
        let map = Self::map(len, flags, -1, 0)?;
        for advice in [libc::MADV_DONTFORK, libc::MADV_DONTDUMP] {
            map.advise(advice);
        }
        if !huge {
            map.advise(libc::MADV_HUGEPAGE);
        }
        Ok(map)
    }

    /// One of the rings of an AF_XDP socket.
    pub(super) fn ring(fd: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset)
            .map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        Self::map(len, flags, fd.as_raw_fd(), offset)
    }

    fn map(len: usize, flags: libc::c_int, fd: libc::c_int, at: libc::off_t) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so nothing that exists is
        // overwritten.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, fd, at) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len })
    }

    /// A hint; that the kernel does not know it changes nothing.
    fn advise(&self, advice: libc::c_int) {
        // SAFETY: the range is this mapping, and none of the hints given here
        // changes its contents.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.len, advice) };
    }

    /// Its first byte.
    pub(super) const fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its length in bytes.
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map`, and whoever has a pointer into
        // it keeps the mapping alive.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
