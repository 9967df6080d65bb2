//! What a client asks for:
//!
//! ```text
//! ringtun_capture=both      outer, inner or both
//! snap=96                   bytes of a frame that are kept; may be left out
//! public_key=…              one peer's packets only, 64 hexadecimal digits; may be left out
//!                           an empty line
//! ```
//!
//! The answer is `errno=0`, an empty line, and a pcapng stream until either side
//! closes; or another `errno`, and the connection goes on as before.

use std::fmt::Write as _;
use std::str::FromStr;

use super::pcapng::{ETHERNET, SNAP_MAX};
use crate::control::uapi::values;
use crate::crypto::PublicKey;

/// Which sides of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureSides {
    /// The encrypted packets.
    Outer,
    /// The plaintext packets.
    Inner,
    /// Both.
    #[default]
    Both,
}

impl CaptureSides {
    /// As it is written.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Outer => "outer",
            Self::Inner => "inner",
            Self::Both => "both",
        }
    }

    /// Whether encrypted packets are wanted.
    #[must_use]
    pub const fn outer(self) -> bool {
        !matches!(self, Self::Inner)
    }

    /// Whether plaintext packets are wanted.
    #[must_use]
    pub const fn inner(self) -> bool {
        !matches!(self, Self::Outer)
    }
}

impl FromStr for CaptureSides {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Outer, Self::Inner, Self::Both];
        all.into_iter()
            .find(|sides| sides.label() == text)
            .ok_or("wants outer, inner or both")
    }
}

/// Bytes of a frame that are kept, its Ethernet header included.
pub const SNAP_MIN: u32 = ETHERNET as u32;

/// A capture to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureRequest {
    /// Of which sides.
    pub sides: CaptureSides,
    /// Bytes of a frame that are kept, [`SNAP_MIN`] to [`SNAP_MAX`].
    pub snap: u32,
    /// Of one peer only.
    pub peer: Option<PublicKey>,
}

impl CaptureRequest {
    /// All of these sides.
    #[must_use]
    pub const fn new(sides: CaptureSides) -> Self {
        Self {
            sides,
            snap: SNAP_MAX,
            peer: None,
        }
    }

    /// Takes in a line of the request.
    ///
    /// # Errors
    /// Why not.
    pub fn line(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        match key {
            "snap" => {
                let bounds = SNAP_MIN..=SNAP_MAX;
                self.snap = values::number(value)
                    .filter(|snap| bounds.contains(snap))
                    .ok_or("wants bytes from 14 to 262144")?;
            }
            "public_key" => {
                let key = PublicKey::from_hex(value).map_err(|_| "wants 64 hexadecimal digits")?;
                self.peer = Some(key);
            }
            _ => return Err("is no key of a capture"),
        }
        Ok(())
    }

    /// The lines of the request.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "ringtun_capture={}\nsnap={}\n",
            self.sides.label(),
            self.snap
        );
        if let Some(peer) = &self.peer {
            let _ = writeln!(text, "public_key={}", peer.to_hex());
        }
        text + "\n"
    }
}
