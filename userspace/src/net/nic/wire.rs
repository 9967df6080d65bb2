//! One netlink question and its answer, as bytes.
//!
//! ```text
//!  0        4      6       8          12         16
//!  ┌────────┬──────┬───────┬──────────┬──────────┬──────────────┬────────────┐
//!  │ length │ type │ flags │ sequence │ port     │ fixed header │ attributes │
//!  └────────┴──────┴───────┴──────────┴──────────┴──────────────┴────────────┘
//! ```
//!
//! The fixed header has 4 bytes in generic netlink (`struct genlmsghdr`) and 16
//! in link messages (`struct ifinfomsg`). Source: `include/uapi/linux/netlink.h`.
//!
//! What comes from the socket is the kernel's, but read as if it were not: every
//! length is checked, and what is unknown is skipped.

use rtnetlink::packet_core::{
    ErrorBuffer, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NlasIterator,
};
use std::io;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// An attribute of a question.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    /// What it is; the number belongs to the kind of message.
    pub kind: u16,
    /// Its value, without padding; short.
    pub value: &'a [u8],
}

/// A question for one thing, so that one message or one error answers it.
#[must_use]
pub fn question(kind: u16, sequence: u32, fixed: &[u8], attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes.extend(fixed);
    for Attribute { kind, value } in attributes {
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = bytes.len() as u32;
    let mut header = NetlinkBuffer::new(&mut bytes);
    header.set_length(length);
    header.set_message_type(kind);
    header.set_flags(NLM_F_REQUEST);
    header.set_sequence_number(sequence);
    bytes
}

/// What follows the netlink header of the answer to question `sequence`.
///
/// # Errors
/// With a number, if that is the kernel's answer; `InvalidData` for what is no
/// answer to this question.
pub fn answer(datagram: &[u8], kind: u16, sequence: u32) -> io::Result<&[u8]> {
    let message = NetlinkBuffer::new_checked(datagram).map_err(malformed)?;
    if message.sequence_number() != sequence {
        return Err(malformed("an answer to another question"));
    }
    if message.message_type() == NLMSG_ERROR {
        let error = ErrorBuffer::new_checked(message.payload()).map_err(malformed)?;
        // Negative, as the kernel counts its errors; 0 would be an acknowledgment.
        return Err(match error.code() {
            Some(code) if code.get() < 0 && code.get() > i32::MIN => {
                io::Error::from_raw_os_error(-code.get())
            }
            _ => malformed("an acknowledgment without an answer"),
        });
    }
    if message.message_type() != kind {
        return Err(malformed("an answer of another type"));
    }
    Ok(message.payload())
}

/// Calls `each` with the number and the value of every attribute.
///
/// # Errors
/// `InvalidData` where an attribute is cut; those before it were told.
pub fn attributes(bytes: &[u8], mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
    for attribute in NlasIterator::new(bytes) {
        let attribute = attribute.map_err(malformed)?;
        each(attribute.kind(), attribute.value());
    }
    Ok(())
}

/// What follows the fixed header of a message.
///
/// # Errors
/// `InvalidData` if the message is shorter.
pub fn after(message: &[u8], fixed: usize) -> io::Result<&[u8]> {
    message
        .get(fixed..)
        .ok_or_else(|| malformed("a message without its header"))
}

/// A 32-bit number, if that is what the value is.
#[must_use]
pub fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// As [`number`], of 64 bits.
#[must_use]
pub fn long_number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_ne_bytes)
}

/// The kernel said something that makes no sense.
pub(super) fn malformed(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the kernel's answer by netlink makes no sense: {what}"),
    )
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
