//! The TUN device: several queues, vnet headers, segmentation offloads.

mod queue;

use super::netns::Namespace;
use super::sys::{self, IfName};
pub use queue::{READ_MAX, TunQueue, is_down, is_gone};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use thiserror::Error;

const DEVICE: &str = "/dev/net/tun";
/// Most queues of one device (`MAX_TAP_QUEUES` of the kernel).
pub const QUEUES_MAX: usize = 256;
/// MTU of a new device, in bytes.
pub const MTU_INITIAL: u32 = 1500;
/// MTUs that the kernel takes for a TUN device, in bytes.
pub const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65_535;

/// Why there is no device, and what to do about it.
#[derive(Debug, Error)]
pub enum TunError {
    /// Not a name that an interface can have.
    #[error(
        "\"{0}\" cannot be an interface name: it takes 1 to 15 bytes, not \".\" or \"..\", \
         without white space, \"/\", \":\" and \"%\""
    )]
    InvalidName(String),
    /// An interface of that name exists.
    #[error(
        "an interface named \"{0}\" exists already: choose another name, or remove it with \
         \"ip link delete {0}\""
    )]
    NameTaken(String),
    /// No `CAP_NET_ADMIN`.
    #[error(
        "creating a network interface takes the capability CAP_NET_ADMIN: run as root, or give \
         it to the service (AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NoCapability,
    /// No `/dev/net/tun`.
    #[error(
        "{DEVICE} is missing: load the module with \"modprobe tun\"; in a container, pass the \
         device in (--device {DEVICE})"
    )]
    NoDeviceNode,
    /// `/dev/net/tun` cannot be opened.
    #[error("{DEVICE} cannot be opened ({0}): run as root, or allow this user to open it")]
    NotPermitted(io::Error),
    /// Zero queues, or more than the kernel allows.
    #[error("a TUN device has 1 to {QUEUES_MAX} queues, not {0}")]
    QueueCount(usize),
    /// The kernel refused for another reason.
    #[error("the kernel refused to {action} \"{name}\": {source}")]
    Kernel {
        /// What was asked for.
        action: &'static str,
        /// The device.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A TUN device. It exists as long as this or one of its queues does.
#[derive(Debug)]
pub struct Tun {
    name: String,
    index: u32,
    queues: Vec<TunQueue>,
    /// A duplicate of a queue: for requests, and for watching.
    handle: OwnedFd,
    /// The namespace of creation, and a socket for requests in it.
    home: (Namespace, OwnedFd),
    udp_offload: bool,
}

impl Tun {
    /// Makes a device in the calling thread's network namespace, with vnet
    /// headers and every offload that the kernel has. It is down, without an
    /// address, with an MTU of [`MTU_INITIAL`].
    ///
    /// # Errors
    /// [`TunError`]; nothing has been changed then.
    pub fn create(name: &str, queues: usize) -> Result<Self, TunError> {
        if !is_valid_name(name) {
            return Err(TunError::InvalidName(name.into()));
        }
        if !(1..=QUEUES_MAX).contains(&queues) {
            return Err(TunError::QueueCount(queues));
        }
        let kernel = |action| {
            move |source| TunError::Kernel {
                action,
                name: name.into(),
                source,
            }
        };
        let requests = sys::socket(libc::AF_INET, libc::SOCK_DGRAM)
            .map_err(kernel("open a socket for requests about"))?;
        let wire_name = IfName::new(name);
        if sys::link_index(requests.as_fd(), wire_name).is_ok() {
            return Err(TunError::NameTaken(name.into()));
        }
        let first = queue::open(name, wire_name, libc::IFF_TUN_EXCL)?;
        let mut files = vec![first];
        for _ in 1..queues {
            files.push(queue::open(name, wire_name, 0)?);
        }
        let mut udp_offload = true;
        for file in &files {
            udp_offload &=
                queue::set_offloads(file.as_fd()).map_err(kernel("set the offloads of"))?;
        }
        let index =
            sys::link_index(requests.as_fd(), wire_name).map_err(kernel("tell the index of"))?;
        let handle = files[0]
            .as_fd()
            .try_clone_to_owned()
            .map_err(kernel("duplicate a queue of"))?;
        let home = Namespace::current().map_err(kernel("tell the namespace of"))?;
        Ok(Self {
            name: name.into(),
            index,
            queues: files.into_iter().map(TunQueue::from).collect(),
            handle,
            home: (home, requests),
            udp_offload,
        })
    }

    /// The name that the device was created with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface index that the device was created with.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether the kernel hands over, and takes, UDP super-packets (since Linux 6.2).
    #[must_use]
    pub fn has_udp_offload(&self) -> bool {
        self.udp_offload
    }

    /// A second handle on the same device, without queues.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            index: self.index,
            queues: Vec::new(),
            handle: self.handle.try_clone()?,
            home: (self.home.0.try_clone()?, self.home.1.try_clone()?),
            udp_offload: self.udp_offload,
        })
    }

    /// The queues, for the workers; empty the second time.
    #[must_use]
    pub fn take_queues(&mut self) -> Vec<TunQueue> {
        std::mem::take(&mut self.queues)
    }

    /// The name that the device has now: somebody may have changed it.
    ///
    /// # Errors
    /// [`is_gone`] if it was removed.
    pub fn current_name(&self) -> io::Result<String> {
        Ok(sys::tun_name(self.handle.as_fd())?.to_string_lossy())
    }

    /// The interface index that the device has now: it can differ in another namespace.
    ///
    /// # Errors
    /// [`is_gone`] if the device was removed.
    pub fn current_index(&self) -> io::Result<u32> {
        self.request(sys::link_index)
    }

    /// The namespace that the device is in now.
    ///
    /// # Errors
    /// [`is_gone`] if it was removed; `EINVAL` while that namespace is ending.
    pub fn namespace(&self) -> io::Result<Namespace> {
        Namespace::from_fd(sys::tun_device_namespace(self.handle.as_fd())?)
    }

    /// The MTU, in bytes.
    ///
    /// # Errors
    /// [`is_gone`] if the device was removed.
    pub fn mtu(&self) -> io::Result<u32> {
        self.request(sys::link_mtu)
    }

    /// Sets the MTU, in bytes, within [`MTU_RANGE`].
    ///
    /// # Errors
    /// [`is_gone`] if the device was removed; `EINVAL` outside of the range.
    pub fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        self.request(|socket, name| sys::set_link_mtu(socket, name, mtu))
    }

    /// Whether the device is up.
    ///
    /// # Errors
    /// [`is_gone`] if the device was removed.
    pub fn is_up(&self) -> io::Result<bool> {
        Ok(self.request(sys::link_flags)? & libc::IFF_UP != 0)
    }

    /// Brings the device up or down.
    ///
    /// # Errors
    /// [`is_gone`] if the device was removed.
    pub fn set_up(&self, up: bool) -> io::Result<()> {
        self.request(|socket, name| {
            let flags = sys::link_flags(socket, name)?;
            let flags = if up {
                flags | libc::IFF_UP
            } else {
                flags & !libc::IFF_UP
            };
            sys::set_link_flags(socket, name, flags)
        })
    }

    /// Runs a request about the device, by the name and in the namespace that
    /// it has now.
    fn request<T: Send>(
        &self,
        request: impl FnOnce(BorrowedFd<'_>, IfName) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let name = sys::tun_name(self.handle.as_fd())?;
        let namespace = self.namespace()?;
        if namespace == self.home.0 {
            return request(self.home.1.as_fd(), name);
        }
        namespace.run(|| {
            let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM)?;
            request(socket.as_fd(), name)
        })?
    }
}

impl AsFd for Tun {
    /// For watching: an error event means that the device is gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// The kernel's `dev_valid_name`, and no "%", which it would fill in.
fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < libc::IFNAMSIZ
        && name != "."
        && name != ".."
        && !name.bytes().any(|byte| {
            matches!(byte, b'/' | b':' | b'%' | 0) || byte.is_ascii_whitespace() || byte == 0x0b
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_refuse_or_fill_in_are_refused_before() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "wg%d",
            "sixteen-bytes-xx",
            "a\n",
            "a\0b",
        ] {
            assert!(
                matches!(Tun::create(bad, 1), Err(TunError::InvalidName(_))),
                "{bad:?}"
            );
        }
        assert!(is_valid_name("fifteen-bytes-x"));
        assert!(is_valid_name("wg0"));
    }

    #[test]
    fn a_taken_name_is_told_without_any_capability() {
        let error = Tun::create("lo", 1).expect_err("lo exists");
        assert!(matches!(error, TunError::NameTaken(_)), "{error}");
    }

    #[test]
    fn no_queues_or_too_many_are_refused() {
        for count in [0, QUEUES_MAX + 1] {
            let result = Tun::create("wg0", count);
            assert!(matches!(result, Err(TunError::QueueCount(_))));
        }
    }
}
