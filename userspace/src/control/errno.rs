//! The error numbers of the UAPI: those of `errno.h`, as `wg` reports them.

use std::fmt;

/// An error number of `errno.h`, always positive here.
///
/// How it is written on the socket depends on the operation, see
/// [`super::uapi::reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// A key that does not exist, or a value that it does not take.
    pub const INVALID: Self = Self(libc::EINVAL);
    /// A line that is not `key=value`, an unknown operation, a cut-off request.
    pub const PROTOCOL: Self = Self(libc::EPROTO);
    /// The device could not do it, or the request stood still too long.
    pub const IO: Self = Self(libc::EIO);
    /// The listen port belongs to another program.
    pub const ADDRESS_IN_USE: Self = Self(libc::EADDRINUSE);
    /// The capability is missing.
    pub const NOT_PERMITTED: Self = Self(libc::EPERM);
    /// This build or machine cannot do it.
    pub const NOT_SUPPORTED: Self = Self(libc::EOPNOTSUPP);
    /// As many of it as there may be are under way.
    pub const BUSY: Self = Self(libc::EBUSY);
    /// No such peer or device.
    pub const NOT_FOUND: Self = Self(libc::ENOENT);

    /// The number, positive.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// From a number in either sign; zero is success and gives `None`.
    #[must_use]
    pub fn from_wire(number: i32) -> Option<Self> {
        (number != 0).then_some(Self(number.checked_abs().unwrap_or(libc::EIO)))
    }

    /// The kernel's number for `error`, or `EIO` if it has none.
    #[must_use]
    pub fn from_io(error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) if number > 0 => Self(number),
            _ => Self::IO,
        }
    }
}

impl From<&std::io::Error> for Errno {
    fn from(error: &std::io::Error) -> Self {
        Self::from_io(error)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_either_sign_on_the_wire() {
        assert_eq!(Errno::from_wire(0), None);
        assert_eq!(Errno::from_wire(-22), Some(Errno::INVALID));
        assert_eq!(Errno::from_wire(22), Some(Errno::INVALID));
        assert_eq!(Errno::from_wire(i32::MIN), Some(Errno::IO));
    }

    #[test]
    fn an_error_of_ours_has_a_number_too() {
        let error = std::io::Error::other("no number");
        assert_eq!(Errno::from_io(&error), Errno::IO);
        let error = std::io::Error::from_raw_os_error(libc::EADDRINUSE);
        assert_eq!(Errno::from_io(&error), Errno::ADDRESS_IN_USE);
    }
}
