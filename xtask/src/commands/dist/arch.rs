//! What is built for.

use anyhow::{Result, bail};
use clap::ValueEnum;

/// An architecture that has packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    Amd64,
    Arm64,
}

/// Of `--arch`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Which {
    Amd64,
    Arm64,
    All,
}

impl Which {
    pub fn all(self) -> Vec<Arch> {
        match self {
            Self::Amd64 => vec![Arch::Amd64],
            Self::Arm64 => vec![Arch::Arm64],
            Self::All => vec![Arch::Amd64, Arch::Arm64],
        }
    }
}

impl Arch {
    /// Of this machine.
    pub fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("there are packages for amd64 and arm64, not for {other}"),
        }
    }

    /// Debian's name.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The compiler's name.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}
