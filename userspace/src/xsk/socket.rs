//! An AF_XDP socket: four rings, and how to call the kernel.

use super::completion::Completion;
use super::fill::Fill;
use super::port::{Port, PortKey};
use super::ring::{Consumer, Desc, Producer};
use super::rx::Rx;
use super::tx::Tx;
use super::{XskError, sys};
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How packets get between the driver and the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The device reads and writes the UMEM itself.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
        })
    }
}

/// What the kernel counts about a socket (`XDP_STATISTICS`), since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Received packets dropped: no frame in the fill ring, or too long for one.
    pub rx_dropped: u64,
    /// Fill ring entries that were no frame.
    pub rx_invalid_descs: u64,
    /// Transmit ring entries that the kernel skipped. Their frames are lost.
    pub tx_invalid_descs: u64,
    /// Received packets dropped: the receive ring was full.
    pub rx_ring_full: u64,
    /// Times that the kernel found the fill ring empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times that the kernel found the transmit ring empty.
    pub tx_ring_empty_descs: u64,
}

/// How often the kernel was called for a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakeups {
    /// For the transmit ring (`sendto`).
    pub tx: u64,
    /// For the fill ring (`recvfrom`).
    pub rx: u64,
    /// Calls for the transmit ring that the kernel ended early: its budget, the
    /// completion ring or the device's queue was full.
    pub tx_again: u64,
}

/// The rings of one queue of a device, and its wake-ups.
///
/// Each ring is a part of its own, used together with the
/// [`Umem`](super::Umem) of the socket; dropping the socket closes it. Frames
/// that the kernel has then are lost to the UMEM.
#[derive(Debug)]
pub struct Socket {
    /// Frames for the kernel to receive into.
    pub fill: Fill,
    /// Frames that the kernel has transmitted.
    pub completion: Completion,
    /// Received packets.
    pub rx: Rx,
    /// Packets to transmit.
    pub tx: Tx,
    port: Arc<Port>,
    transfer: Transfer,
    why_copy: Option<io::Error>,
    busy_poll: bool,
    wakeups: Wakeups,
}

/// The program's ends of the four rings.
pub(super) struct Rings {
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) rx: Consumer<Desc>,
    pub(super) tx: Producer<Desc>,
}

/// What opening a socket brought.
pub(super) struct Opened {
    pub(super) port: Arc<Port>,
    pub(super) fill: Fill,
    pub(super) completion: Consumer<u64>,
    pub(super) rx: Consumer<Desc>,
    pub(super) tx: Producer<Desc>,
    pub(super) transfer: Transfer,
    pub(super) why_copy: Option<io::Error>,
    pub(super) busy_poll: bool,
    pub(super) metadata: bool,
}

impl Socket {
    pub(super) fn new(opened: Opened) -> Self {
        let key: PortKey = opened.port.key();
        Self {
            fill: opened.fill,
            completion: Completion::new(opened.completion, key),
            rx: Rx::new(opened.rx, key),
            tx: Tx::new(opened.tx, key, opened.metadata),
            port: opened.port,
            transfer: opened.transfer,
            why_copy: opened.why_copy,
            busy_poll: opened.busy_poll,
            wakeups: Wakeups::default(),
        }
    }

    /// The descriptor, for poll and for an XSKMAP; none for rings in memory.
    ///
    /// Polling it drives the kernel as a wake-up does.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.port.fd()
    }

    /// How packets get to and from the driver.
    #[must_use]
    pub const fn transfer(&self) -> Transfer {
        self.transfer
    }

    /// Why it is not zero-copy: what the driver answered.
    #[must_use]
    pub const fn why_copy(&self) -> Option<&io::Error> {
        self.why_copy.as_ref()
    }

    /// How often the kernel was called.
    #[must_use]
    pub const fn wakeups(&self) -> Wakeups {
        self.wakeups
    }

    /// Calls the kernel if it sleeps and there is something in the transmit
    /// ring; returns how many frames it has not taken yet.
    ///
    /// To be called after a batch, and in each turn while frames are left: in
    /// copy mode the kernel takes them only during this call, as many as its
    /// budget, the completion ring and the device allow.
    ///
    /// # Errors
    /// [`XskError::Down`], [`XskError::Gone`], [`XskError::Corrupt`].
    pub fn wake_tx(&mut self) -> Result<u32, XskError> {
        let mut left = self.tx.pending()?;
        let Some(fd) = self.port.fd() else {
            self.wakeups.tx += u64::from(left > 0 && self.tx.needs_wakeup());
            return Ok(left);
        };
        // Goes on only while the kernel makes progress.
        while left > 0 && (self.busy_poll || self.tx.needs_wakeup()) {
            self.wakeups.tx += 1;
            if !called(sys::kick_tx(fd))? {
                self.wakeups.tx_again += 1;
            }
            let now = self.tx.pending()?;
            if now >= left {
                return Ok(now);
            }
            left = now;
        }
        Ok(left)
    }

    /// Calls the kernel if it waits for frames in the fill ring, or always with
    /// busy polling, which is what receives then.
    ///
    /// # Errors
    /// [`XskError::Down`], [`XskError::Gone`].
    pub fn wake_rx(&mut self) -> Result<(), XskError> {
        if !self.busy_poll && !self.fill.needs_wakeup() {
            return Ok(());
        }
        self.wakeups.rx += 1;
        if let Some(fd) = self.port.fd() {
            called(sys::kick_rx(fd))?;
        }
        Ok(())
    }

    /// Whether the kernel waits for [`wake_rx`](Self::wake_rx): it found no frame
    /// in the fill ring, perhaps just before there were some.
    #[must_use]
    pub fn waits_for_frames(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// The kernel's counters; zeros for rings in memory.
    ///
    /// # Errors
    /// The kernel does not tell them.
    pub fn statistics(&self) -> Result<Statistics, XskError> {
        self.port
            .fd()
            .map_or(Ok(Statistics::default()), Statistics::read)
    }

    /// A handle by which another thread reads the kernel's counters; none for
    /// rings in memory, or out of descriptors. The kernel closes the socket with
    /// the last handle.
    #[must_use]
    pub fn probe(&self) -> Option<Probe> {
        Some(Probe(self.port.fd()?.try_clone_to_owned().ok()?))
    }
}

/// Reads the kernel's counters of a socket that another thread uses.
#[derive(Debug)]
pub struct Probe(OwnedFd);

impl Probe {
    /// The kernel's counters.
    ///
    /// # Errors
    /// The kernel does not tell them.
    pub fn statistics(&self) -> Result<Statistics, XskError> {
        Statistics::read(self.0.as_fd())
    }
}

impl Statistics {
    fn read(fd: BorrowedFd<'_>) -> Result<Self, XskError> {
        let counted: libc::xdp_statistics =
            sys::get_option(fd, libc::SOL_XDP, libc::XDP_STATISTICS)
                .map_err(XskError::io("read the statistics of a socket"))?;
        Ok(Self {
            rx_dropped: counted.rx_dropped,
            rx_invalid_descs: counted.rx_invalid_descs,
            tx_invalid_descs: counted.tx_invalid_descs,
            rx_ring_full: counted.rx_ring_full,
            rx_fill_ring_empty_descs: counted.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: counted.tx_ring_empty_descs,
        })
    }
}

/// What came of a call: whether the kernel did all that it was called for.
fn called(result: io::Result<()>) -> Result<bool, XskError> {
    let Err(source) = result else {
        return Ok(true);
    };
    match source.raw_os_error() {
        // Not now: a budget, a full ring, a full queue, no memory, a signal.
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) => Ok(false),
        Some(libc::ENETDOWN) => Err(XskError::Down),
        Some(libc::ENXIO | libc::ENODEV) => Err(XskError::Gone),
        _ => Err(XskError::Io {
            what: "wake up the kernel",
            source,
        }),
    }
}
