//! `sendmsg`, `recvmmsg` and `sendmmsg` over preallocated headers.

use super::{check, check_len};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for the longest socket address used: `struct sockaddr_in6`.
pub(in crate::net) const NAME_LEN: usize = 28;
/// Room for the control messages of one datagram. Received: packet info
/// (IPv6: 16 + 20 bytes, padded to 40), TOS (24), GRO size (24), with slack.
pub(in crate::net) const CONTROL_LEN: usize = 128;

/// An encoded socket address.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(8))]
pub(in crate::net) struct Name {
    pub bytes: [u8; NAME_LEN],
    pub len: usize,
}

/// Encoded control messages.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(in crate::net) struct Control {
    pub bytes: [u8; CONTROL_LEN],
    pub len: usize,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            bytes: [0; CONTROL_LEN],
            len: 0,
        }
    }
}

/// Message headers, vectors, addresses and control buffers of one batch.
pub(in crate::net) struct Messages {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
}

// SAFETY: the raw pointers in `headers` and `vectors` are written at the start
// of each call, before the kernel reads them, and are not read by anything else.
unsafe impl Send for Messages {}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages")
            .field("capacity", &self.headers.len())
            .finish_non_exhaustive()
    }
}

fn empty_header() -> libc::mmsghdr {
    libc::mmsghdr {
        // SAFETY: `msghdr` is integers and raw pointers, for which all zeros
        // is valid; it has private padding on some C libraries, so that it
        // cannot be written as a literal.
        msg_hdr: unsafe { std::mem::zeroed() },
        msg_len: 0,
    }
}

impl Messages {
    /// For at most `capacity` messages a call.
    pub fn new(capacity: usize) -> Self {
        let vector = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            headers: (0..capacity).map(|_| empty_header()).collect(),
            vectors: vec![vector; capacity].into(),
            names: vec![Name::default(); capacity].into(),
            controls: vec![Control::default(); capacity].into(),
        }
    }

    pub fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Receives one datagram into each of `buffers`, as many as there are.
    pub fn receive<B: AsMut<[u8]>>(
        &mut self,
        fd: BorrowedFd<'_>,
        buffers: &mut [B],
    ) -> io::Result<usize> {
        let count = buffers.len().min(self.capacity());
        for (i, buffer) in buffers.iter_mut().take(count).enumerate() {
            let buffer = buffer.as_mut();
            self.names[i].len = NAME_LEN;
            self.controls[i].len = CONTROL_LEN;
            self.point(i, buffer.as_mut_ptr(), buffer.len());
        }
        // SAFETY: the first `count` headers were just pointed at buffers that
        // are borrowed exclusively until this function returns, with their lengths.
        let received = check(unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        })?;
        Ok(received as usize)
    }

    /// Sends what `fill` gives for each index below `count`: it encodes the
    /// address and control messages and answers with the payload. Gives the
    /// number of messages that the kernel took; an error only if it took none.
    pub fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        count: usize,
        mut fill: impl FnMut(usize, &mut Name, &mut Control) -> &'a [u8],
    ) -> io::Result<usize> {
        let count = count.min(self.capacity());
        for i in 0..count {
            let payload = fill(i, &mut self.names[i], &mut self.controls[i]);
            self.point(i, payload.as_ptr().cast_mut(), payload.len());
        }
        // SAFETY: the first `count` headers were just pointed at payloads that
        // live as long as `'a`, which outlasts this call; the kernel only reads.
        let sent = check(unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        })?;
        Ok(sent as usize)
    }

    /// Bytes received in message `i`.
    pub fn len(&self, i: usize) -> usize {
        self.headers[i].msg_len as usize
    }

    /// Flags of received message `i`: `MSG_TRUNC`, `MSG_CTRUNC`.
    pub fn flags(&self, i: usize) -> libc::c_int {
        self.headers[i].msg_hdr.msg_flags
    }

    /// Source address of received message `i`.
    pub fn name(&self, i: usize) -> &[u8] {
        let len = self.headers[i].msg_hdr.msg_namelen as usize;
        &self.names[i].bytes[..len.min(NAME_LEN)]
    }

    /// Control messages of received message `i`.
    pub fn control(&self, i: usize) -> &[u8] {
        // The field's type differs between C libraries.
        let len = CONTROL_LEN.min(self.headers[i].msg_hdr.msg_controllen as _);
        &self.controls[i].bytes[..len]
    }

    fn point(&mut self, i: usize, base: *mut u8, len: usize) {
        let vector = &mut self.vectors[i];
        vector.iov_base = base.cast();
        vector.iov_len = len;
        let header = &mut self.headers[i].msg_hdr;
        let (name, control) = (&mut self.names[i], &mut self.controls[i]);
        header.msg_name = name.bytes.as_mut_ptr().cast();
        header.msg_namelen = name.len as libc::socklen_t;
        header.msg_iov = &raw mut *vector;
        header.msg_iovlen = 1;
        header.msg_control = control.bytes.as_mut_ptr().cast();
        header.msg_controllen = control.len as _;
        header.msg_flags = 0;
    }
}

/// Sends one datagram.
pub(in crate::net) fn send_message(
    fd: BorrowedFd<'_>,
    name: &Name,
    control: &Control,
    payload: &[u8],
) -> io::Result<usize> {
    let mut vector = libc::iovec {
        iov_base: payload.as_ptr().cast_mut().cast(),
        iov_len: payload.len(),
    };
    let mut header = empty_header().msg_hdr;
    header.msg_name = name.bytes.as_ptr().cast_mut().cast();
    header.msg_namelen = name.len as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if control.len > 0 {
        header.msg_control = control.bytes.as_ptr().cast_mut().cast();
        header.msg_controllen = control.len as _;
    }
    // SAFETY: every pointer in `header` is to an argument or a local that
    // outlives the call, with its length; the kernel only reads.
    check_len(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) })
}
