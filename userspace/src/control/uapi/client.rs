//! The asking side, for `ringtun show`. Blocking, for the command line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::info::DeviceInfo;
use super::socket;
use super::target::{DeviceState, PeerState};
use super::values;
use crate::control::capture::CaptureRequest;
use crate::control::errno::Errno;
use crate::control::log::LogLevel;
use crate::control::names::InterfaceName;
use crate::control::options::IoMode;
use crate::crypto::{PresharedKey, PrivateKey, PublicKey};

/// A daemon that says nothing for this long is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest line of an answer, in bytes: the JSON of `ringtun=1`.
const MAX_LINE: u64 = 1 << 20;

/// Why an answer was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The device answered with an error.
    #[error("{0}")]
    Refused(Errno),
    /// The answer makes no sense.
    #[error("line {line} of the answer is not understood: {reason}")]
    Garbled {
        /// Line of the answer, from 1.
        line: u64,
        /// What was expected.
        reason: &'static str,
    },
}

/// A connection to one device.
pub struct Client {
    stream: BufReader<UnixStream>,
    line: u64,
}

impl Client {
    /// Connects to the device's daemon.
    ///
    /// # Errors
    /// Nobody listens, or this user may not ask.
    pub fn connect(directory: &Path, name: &InterfaceName) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket::path(directory, name))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            line: 0,
        })
    }

    /// The configuration and counters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn state(&mut self) -> Result<DeviceState, ClientError> {
        self.ask(b"get=1\n\n")?;
        let mut reader = StateReader::default();
        self.answer(|key, value| reader.line(key, value))?;
        Ok(reader.finish())
    }

    /// Changes the device: `lines` of a `set`, each with its newline.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn set(&mut self, lines: &str) -> Result<(), ClientError> {
        self.ask(b"set=1\n")?;
        self.ask(lines.as_bytes())?;
        self.ask(b"\n")?;
        self.answer(|_, _| Ok(()))
    }

    /// What only ringtun knows. Another implementation closes the connection
    /// or refuses.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn info(&mut self) -> Result<DeviceInfo, ClientError> {
        self.ask(b"ringtun=1\n\n")?;
        let mut info = None;
        self.answer(|key, value| {
            if key == "json" {
                info = Some(serde_json::from_str(value).map_err(|_| "wants JSON")?);
            }
            Ok(())
        })?;
        let line = self.line;
        let reason = "no json= came";
        info.ok_or(ClientError::Garbled { line, reason })
    }

    /// Has the device's packets travel another way.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn set_io(&mut self, mode: IoMode) -> Result<(), ClientError> {
        self.ask(format!("ringtun_io={}\n\n", mode.label()).as_bytes())?;
        self.answer(|_, _| Ok(()))
    }

    /// Has the process log at another level.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn set_log(&mut self, level: LogLevel) -> Result<(), ClientError> {
        self.ask(format!("ringtun_log={}\n\n", level.label()).as_bytes())?;
        self.answer(|_, _| Ok(()))
    }

    /// Begins a capture: the connection, and what came of the capture already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn capture(
        mut self,
        request: &CaptureRequest,
    ) -> Result<(UnixStream, Vec<u8>), ClientError> {
        self.ask(request.text().as_bytes())?;
        self.answer(|_, _| Ok(()))?;
        let begun = self.stream.buffer().to_vec();
        let stream = self.stream.into_inner();
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        Ok((stream, begun))
    }

    fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.line = 0;
        self.stream.get_mut().write_all(request)
    }

    /// Hands every line but the last to `each`.
    fn answer(
        &mut self,
        mut each: impl FnMut(&str, &str) -> Result<(), &'static str>,
    ) -> Result<(), ClientError> {
        let mut status = None;
        // Lines hold keys. As they fit, the buffer is not moved by growing.
        let mut text = Zeroizing::new(String::with_capacity(4096));
        loop {
            text.clear();
            let read = (&mut self.stream).take(MAX_LINE).read_line(&mut text)?;
            self.line += 1;
            let garbled = |reason| ClientError::Garbled {
                line: self.line,
                reason,
            };
            let Some(line) = text.strip_suffix('\n') else {
                return Err(garbled(if read == 0 {
                    "it ends without an empty line"
                } else {
                    "a line is cut off"
                }));
            };
            if line.is_empty() {
                return match status.ok_or_else(|| garbled("it ends without errno="))? {
                    None => Ok(()),
                    Some(errno) => Err(ClientError::Refused(errno)),
                };
            }
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| garbled("wants key=value"))?;
            if key == "errno" {
                let number = value
                    .parse()
                    .map_err(|_| garbled("errno= wants a number"))?;
                status = Some(Errno::from_wire(number));
            } else {
                each(key, value).map_err(garbled)?;
            }
        }
    }
}

/// Collects the lines of an answer to `get=1`. Unknown keys are passed over:
/// other implementations have some.
#[derive(Default)]
struct StateReader {
    state: DeviceState,
    peer: Option<PeerState>,
}

impl StateReader {
    fn line(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        if key == "public_key" {
            let public_key = PublicKey::from_hex(value).map_err(|_| "wants a hex key")?;
            self.state
                .peers
                .extend(self.peer.replace(PeerState::new(public_key)));
            return Ok(());
        }
        match &mut self.peer {
            Some(peer) => peer_line(peer, key, value),
            None => device_line(&mut self.state, key, value),
        }
    }

    fn finish(mut self) -> DeviceState {
        self.state.peers.extend(self.peer);
        self.state
    }
}

fn device_line(state: &mut DeviceState, key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "private_key" => {
            state.private_key =
                Some(PrivateKey::from_hex(value).map_err(|_| "wants a hex private key")?);
        }
        "listen_port" => state.listen_port = values::number(value).ok_or("wants a port")?,
        "fwmark" => state.fwmark = values::number(value).ok_or("wants a number")?,
        _ => {}
    }
    Ok(())
}

fn peer_line(peer: &mut PeerState, key: &str, value: &str) -> Result<(), &'static str> {
    const NUMBER: &str = "wants a number";
    match key {
        "preshared_key" => {
            peer.preshared_key =
                PresharedKey::from_hex(value).map_err(|_| "wants a hex preshared key")?;
        }
        "endpoint" => {
            let zone: fn(&str) -> Option<u32> = |name| nix::net::if_::if_nametoindex(name).ok();
            peer.endpoint = Some(values::endpoint(value, zone)?);
        }
        "last_handshake_time_sec" => {
            peer.last_handshake.secs = values::number(value).ok_or(NUMBER)?;
        }
        "last_handshake_time_nsec" => {
            peer.last_handshake.nanos = values::number(value).ok_or(NUMBER)?;
        }
        "rx_bytes" => peer.rx_bytes = values::number(value).ok_or(NUMBER)?,
        "tx_bytes" => peer.tx_bytes = values::number(value).ok_or(NUMBER)?,
        "persistent_keepalive_interval" => {
            peer.keepalive = values::number(value).ok_or(NUMBER)?;
        }
        "allowed_ip" => peer.allowed_ips.push(values::prefix(value)?),
        _ => {}
    }
    Ok(())
}
