//! Where the metrics endpoint listens.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;

/// First port that is tried.
pub const DEFAULT_PORT: u16 = 9586;

/// How many ports are tried, one after the other.
const PORTS_TRIED: u16 = 200;

/// What `--metrics` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsListen {
    /// On loopback, at [`DEFAULT_PORT`] or the next free port.
    #[default]
    Automatic,
    /// There and nowhere else.
    At(SocketAddr),
    /// Not at all.
    Off,
}

impl FromStr for MetricsListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            format!("wants `off` or ADDRESS:PORT, such as 127.0.0.1:{DEFAULT_PORT} or [::1]:{DEFAULT_PORT}")
        })
    }
}

/// No port could be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "metrics: cannot listen on {address}: {error}; choose another with --metrics, or --metrics off"
)]
pub struct ListenError {
    /// The last address tried.
    pub address: SocketAddr,
    /// What the system said.
    pub error: std::io::Error,
}

impl MetricsListen {
    /// A listening socket; `None` when switched off.
    ///
    /// # Errors
    /// The address cannot be had; in automatic choice, no port was free or
    /// there is no loopback address (a network namespace whose `lo` is down).
    pub fn bind(self) -> Result<Option<TcpListener>, ListenError> {
        match self {
            Self::Off => Ok(None),
            Self::At(address) => listen(address).map(Some),
            Self::Automatic => first_free(DEFAULT_PORT..DEFAULT_PORT + PORTS_TRIED).map(Some),
        }
    }
}

fn first_free(ports: std::ops::Range<u16>) -> Result<TcpListener, ListenError> {
    let mut last = ports.clone();
    let attempt = |port| listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    for port in ports {
        match attempt(port) {
            Err(e) if e.error.kind() == std::io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
    attempt(last.next_back().unwrap_or(DEFAULT_PORT))
}

fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|error| ListenError { address, error })
}

impl fmt::Display for MetricsListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Automatic => write!(f, "127.0.0.1:{DEFAULT_PORT} or the next free port"),
            Self::At(address) => address.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_only_if_none_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let port = address.port();
        let error = MetricsListen::At(address).bind().unwrap_err().to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("--metrics"),
            "{error}"
        );
        let next = first_free(port..port.saturating_add(50)).unwrap();
        assert_ne!(next.local_addr().unwrap().port(), port);
        assert!(first_free(port..port + 1).is_err());
        assert!(MetricsListen::Off.bind().unwrap().is_none());
    }

    #[test]
    fn what_can_be_said() {
        assert_eq!("off".parse(), Ok(MetricsListen::Off));
        let address = "[::1]:1".parse().unwrap();
        assert_eq!("[::1]:1".parse(), Ok(MetricsListen::At(address)));
        for bad in [
            "",
            "on",
            "9586",
            "localhost:1",
            "127.0.0.1",
            "127.0.0.1:99999",
        ] {
            assert!(bad.parse::<MetricsListen>().is_err(), "{bad}");
        }
    }
}
