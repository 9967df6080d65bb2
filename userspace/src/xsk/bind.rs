//! Opening a socket on a queue of a device.

use super::fill::Fill;
use super::port::Port;
use super::ring::{Descriptor, MappedRing, RingOffsets};
use super::socket::{Opened, Rings, Socket, Transfer};
use super::sys::{self, MAX_TX_SKB_BUDGET, SO_BUSY_POLL, SO_BUSY_POLL_BUDGET, SO_PREFER_BUSY_POLL};
use super::umem::Umem;
use super::{RingSizes, XskError};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

/// How a socket is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketConfig {
    /// Slots of its rings.
    pub rings: RingSizes,
    /// Which transfer; none: zero-copy if the driver can, else copy. The second
    /// and later sockets of a UMEM have that of the first.
    pub transfer: Option<Transfer>,
    /// Frames given to the fill ring before the socket is bound.
    pub prefill: u32,
    /// Receive and transmit in this process's calls instead of in interrupts.
    pub busy_poll: Option<BusyPoll>,
}

/// Preferred busy polling (`SO_PREFER_BUSY_POLL`, Linux 5.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// Time that one call polls the device at most, in microseconds.
    pub microseconds: u16,
    /// Packets that one call receives at most; above 64 needs CAP_NET_ADMIN.
    pub budget: u16,
}

impl BusyPoll {
    /// Where polling is asked for and nothing else is said.
    pub const DEFAULT: Self = Self {
        microseconds: 20,
        budget: 64,
    };
}

impl Socket {
    /// Opens a socket on a queue of an interface of this thread's network
    /// namespace. The first registers the UMEM; later ones share it.
    ///
    /// Packets arrive once an XDP program redirects them to its
    /// [`fd`](Socket::fd).
    ///
    /// # Errors
    /// Each with its remedy: see [`XskError`].
    pub fn bind(
        umem: &mut Umem,
        ifindex: u32,
        queue: u32,
        config: &SocketConfig,
    ) -> Result<Self, XskError> {
        config.rings.check()?;
        let key = umem.new_key()?;
        let fd = sys::socket().map_err(|source| match source.raw_os_error() {
            Some(libc::EAFNOSUPPORT) => XskError::NoKernelSupport,
            Some(libc::EPERM) => XskError::NotPermitted,
            _ => XskError::io("open a socket")(source),
        })?;
        let shared = umem.a_kernel_port();
        if shared.is_none() {
            umem.register(fd.as_fd())?;
        }
        let rings = make_rings(fd.as_fd(), &config.rings)?;
        if let Some(busy_poll) = config.busy_poll {
            prefer_busy_poll(fd.as_fd(), busy_poll)?;
        }
        // Packets in flight in copy mode: their memory counts against the socket.
        grow_send_buffer(fd.as_fd(), config.rings.tx, umem);
        let target = Target {
            fd: fd.as_fd(),
            ifindex,
            queue,
            multi_buffer: umem.multi_buffer(),
        };
        let mut fill = Fill::new(rings.fill, key);
        fill.refill(umem, config.prefill)?;
        let bound = match &shared {
            Some(port) => target.share(port).map(|()| None),
            None => target.bind(config.transfer),
        };
        let why_copy = bound.map_err(|error| {
            umem.take_back_unbound(key.id);
            match error {
                // How the kernel says that a queue has a socket of this UMEM.
                XskError::Refused { .. } if umem.has_queue(ifindex, queue) => {
                    XskError::Busy { ifindex, queue }
                }
                other => other,
            }
        })?;
        let transfer = target.transfer()?;
        if config.transfer.is_some_and(|wanted| wanted != transfer) {
            return Err(XskError::OtherTransfer { ifindex, transfer });
        }
        let metadata = umem.tx_metadata_len() > 0 && transfer == Transfer::Copy;
        let port = Arc::new(Port::bound(key, fd, (ifindex, queue)));
        umem.add_port(&port);
        Ok(Self::new(Opened {
            port,
            fill,
            completion: rings.completion,
            rx: rings.rx,
            tx: rings.tx,
            transfer,
            why_copy,
            busy_poll: config.busy_poll.is_some(),
            metadata,
        }))
    }
}

fn make_rings(fd: BorrowedFd<'_>, sizes: &RingSizes) -> Result<Rings, XskError> {
    for (name, size) in [
        (libc::XDP_RX_RING, sizes.rx),
        (libc::XDP_TX_RING, sizes.tx),
        (libc::XDP_UMEM_FILL_RING, sizes.fill),
        (libc::XDP_UMEM_COMPLETION_RING, sizes.completion),
    ] {
        // At most RingSizes::MAX.
        sys::set_option(fd, libc::SOL_XDP, name, &(size as libc::c_int))
            .map_err(XskError::io("make a ring"))?;
    }
    // So that one call takes a whole ring in copy mode, and not 32 frames. Older
    // kernels do not know it: they are called more often.
    let _ = sys::set_option(
        fd,
        libc::SOL_XDP,
        MAX_TX_SKB_BUDGET,
        &(sizes.tx as libc::c_int),
    );
    let offsets: libc::xdp_mmap_offsets =
        sys::get_option(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)
            .map_err(XskError::io("learn the layout of the rings"))?;
    Ok(Rings {
        rx: map(fd, libc::XDP_PGOFF_RX_RING as u64, &offsets.rx, sizes.rx)?.consumer(),
        tx: map(fd, libc::XDP_PGOFF_TX_RING as u64, &offsets.tx, sizes.tx)?.producer(),
        fill: map(fd, libc::XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, sizes.fill)?.producer(),
        completion: map(
            fd,
            libc::XDP_UMEM_PGOFF_COMPLETION_RING,
            &offsets.cr,
            sizes.completion,
        )?
        .consumer(),
    })
}

fn map<T: Descriptor>(
    fd: BorrowedFd<'_>,
    page_offset: u64,
    offsets: &RingOffsets,
    size: u32,
) -> Result<MappedRing<T>, XskError> {
    MappedRing::new(fd, page_offset, offsets, size).map_err(XskError::io("map a ring"))
}

/// A hint: with less, the kernel takes fewer frames at a time.
fn grow_send_buffer(fd: BorrowedFd<'_>, slots: u32, umem: &Umem) {
    // What the kernel adds to each packet: struct sk_buff, headroom, alignment.
    const OVERHEAD: u64 = 1024;
    let bytes = u64::from(slots) * (umem.frame_size() as u64 + OVERHEAD);
    // The kernel doubles the value.
    let value = libc::c_int::try_from(bytes / 2).unwrap_or(libc::c_int::MAX);
    for name in [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF] {
        if sys::set_option(fd, libc::SOL_SOCKET, name, &value).is_ok() {
            return;
        }
    }
}

fn prefer_busy_poll(fd: BorrowedFd<'_>, config: BusyPoll) -> Result<(), XskError> {
    for (name, value) in [
        (SO_PREFER_BUSY_POLL, 1),
        (SO_BUSY_POLL, config.microseconds),
        (SO_BUSY_POLL_BUDGET, config.budget),
    ] {
        sys::set_option(fd, libc::SOL_SOCKET, name, &libc::c_int::from(value)).map_err(
            XskError::io(
                "switch on busy polling (Linux 5.11; a budget above 64 needs CAP_NET_ADMIN)",
            ),
        )?;
    }
    Ok(())
}

/// What a socket is bound to.
struct Target<'a> {
    fd: BorrowedFd<'a>,
    ifindex: u32,
    queue: u32,
    multi_buffer: bool,
}

impl Target<'_> {
    /// Binds the first socket of a UMEM. If it had to be copy: why.
    fn bind(&self, wanted: Option<Transfer>) -> Result<Option<io::Error>, XskError> {
        let mut flags = libc::XDP_USE_NEED_WAKEUP;
        if self.multi_buffer {
            flags |= libc::XDP_USE_SG;
        }
        let mut why_copy = None;
        if wanted != Some(Transfer::Copy) {
            match self.try_bind(flags | libc::XDP_ZEROCOPY, None) {
                Ok(()) => return Ok(None),
                Err(source) => match self.plain_error(&source) {
                    Some(error) => return Err(error),
                    None if wanted.is_some() => return Err(self.no_zero_copy(source)),
                    None => why_copy = Some(source),
                },
            }
        }
        match self.try_bind(flags | libc::XDP_COPY, None) {
            Ok(()) => Ok(why_copy),
            Err(source) => Err(self.refused(source)),
        }
    }

    /// Binds a further socket to the UMEM of `first`; the kernel takes over its
    /// flags.
    fn share(&self, first: &Port) -> Result<(), XskError> {
        self.try_bind(libc::XDP_SHARED_UMEM, first.fd())
            .map_err(|source| match source.raw_os_error() {
                Some(libc::EOPNOTSUPP) => self.no_zero_copy(source),
                _ => self.refused(source),
            })
    }

    fn try_bind(&self, flags: u16, shared: Option<BorrowedFd<'_>>) -> io::Result<()> {
        sys::bind(self.fd, self.ifindex, self.queue, flags, shared)
    }

    /// What the kernel made of it.
    fn transfer(&self) -> Result<Transfer, XskError> {
        let options: libc::xdp_options = sys::get_option(self.fd, libc::SOL_XDP, libc::XDP_OPTIONS)
            .map_err(XskError::io("read the options of a socket"))?;
        Ok(if options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0 {
            Transfer::ZeroCopy
        } else {
            Transfer::Copy
        })
    }

    /// The errors that do not depend on the transfer.
    fn plain_error(&self, source: &io::Error) -> Option<XskError> {
        let Self { ifindex, queue, .. } = *self;
        match source.raw_os_error()? {
            libc::EBUSY => Some(XskError::Busy { ifindex, queue }),
            libc::ENODEV => Some(XskError::NoDevice { ifindex }),
            libc::EPERM => Some(XskError::NotPermitted),
            _ => None,
        }
    }

    fn refused(&self, source: io::Error) -> XskError {
        self.plain_error(&source).unwrap_or(XskError::Refused {
            ifindex: self.ifindex,
            queue: self.queue,
            multi_buffer: self.multi_buffer,
            source,
        })
    }

    fn no_zero_copy(&self, source: io::Error) -> XskError {
        XskError::NoZeroCopy {
            ifindex: self.ifindex,
            queue: self.queue,
            source,
        }
    }
}
