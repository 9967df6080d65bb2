//! How many slots the rings of a socket have.

use super::XskError;

/// Slots of each ring: powers of two up to [`RingSizes::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Frames for the kernel to receive into.
    pub fill: u32,
    /// Transmitted frames.
    pub completion: u32,
    /// Received packets.
    pub rx: u32,
    /// Packets to transmit.
    pub tx: u32,
}

/// What is taken from a ring in one go.
const BATCH: u32 = 64;

impl RingSizes {
    /// Slots of one ring at most.
    pub const MAX: u32 = 1 << 16;

    /// All four alike.
    #[must_use]
    pub const fn all(size: u32) -> Self {
        Self {
            fill: size,
            completion: size,
            rx: size,
            tx: size,
        }
    }

    /// All four alike, as somebody asks for.
    ///
    /// # Errors
    /// It is no power of two, too small for one batch, or too large.
    pub fn of(slots: u32) -> Result<Self, String> {
        if (BATCH..=Self::MAX).contains(&slots) && slots.is_power_of_two() {
            Ok(Self::all(slots))
        } else {
            Err(format!(
                "wants a power of two from {BATCH} to {}",
                Self::MAX
            ))
        }
    }

    pub(super) fn check(&self) -> Result<(), XskError> {
        for size in [self.fill, self.completion, self.rx, self.tx] {
            if !size.is_power_of_two() || size > Self::MAX {
                return Err(XskError::Config {
                    what: "ring size",
                    value: size.into(),
                    remedy: "take a power of two up to 65536",
                });
            }
        }
        Ok(())
    }
}

impl Default for RingSizes {
    fn default() -> Self {
        Self::all(2048)
    }
}
