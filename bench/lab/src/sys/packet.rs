//! Whole Ethernet frames by packet sockets.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::{c_path, check};

/// A socket that sends or receives Ethernet frames as they are through one device.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// One that sends, in the calling thread's network namespace.
    pub fn open(device: &str) -> io::Result<PacketSocket> {
        // Protocol 0: receives nothing.
        PacketSocket::bind(device, 0)
    }

    /// One that receives IPv4 which arrives by the device, in the calling thread's network
    /// namespace, with room for what its reader is late for. All of them on a device share what
    /// arrives: each has the packets that were received on its own CPUs.
    pub fn receive_by_cpu(device: &str) -> io::Result<PacketSocket> {
        /// Bytes; of `SO_RCVBUFFORCE`, which the kernel doubles.
        const ROOM: libc::c_int = 128 << 20;
        /// `PACKET_FANOUT_CPU`, and a number of the group in its namespace.
        const GROUP: libc::c_int = (libc::PACKET_FANOUT_CPU as libc::c_int) << 16 | 1;
        let socket = PacketSocket::bind(device, libc::ETH_P_IP as u16)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &ROOM)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &GROUP)?;
        Ok(socket)
    }

    fn bind(device: &str, protocol: u16) -> io::Result<PacketSocket> {
        let name = c_path(Path::new(device))?;
        // SAFETY: the string is NUL-terminated and outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: takes no pointer. Protocol 0: receives nothing until it is bound.
        let fd = check(unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0)
        })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = i32::try_from(index).unwrap_or(0);
        // SAFETY: the address has the type and the size that are passed.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })?;
        Ok(PacketSocket(fd))
    }

    /// Sends `frames`; returns how many the kernel took.
    pub fn send(&self, frames: &[impl AsRef<[u8]>]) -> io::Result<usize> {
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.as_ref().as_ptr().cast_mut().cast(),
                iov_len: frame.as_ref().len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = vectors
            .iter_mut()
            .map(|vector| {
                // SAFETY: all-zero is a valid mmsghdr: no name, no control data.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        // SAFETY: each message points to one vector and each vector to one frame; both outlive the
        // call, and sending only reads the frames.
        let sent =
            check(unsafe { libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, 0) })?;
        Ok(usize::try_from(sent).unwrap_or(0))
    }

    /// Waits at most so long for a frame.
    pub fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let time = libc::timeval {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_usec: timeout.subsec_micros().into(),
        };
        self.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time)
    }

    /// The length of the next frame, whose beginning is in `buffer` then; `None` if none came in
    /// time.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // SAFETY: the pointer and the length describe `buffer`, which outlives the call.
        let received = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_TRUNC,
            )
        };
        if let Ok(len) = usize::try_from(received) {
            return Ok(Some(len));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    }

    fn set<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the option is a live value of the length given.
        check(unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        })
        .map(drop)
    }
}
