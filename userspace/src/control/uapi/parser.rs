//! The incremental parser: bytes in, typed events out. Pure, so that it can be
//! fuzzed; memory is one line, however long the operation.
//!
//! After an error the rest of the operation, up to its empty line, is skipped,
//! and the next operation on the same connection is understood again.

use std::net::SocketAddr;

use super::lines::{Line, Lines, MAX_LINE};
use super::values::{self, ZoneResolver};
use crate::control::capture::CaptureRequest;
use crate::control::errno::Errno;
use crate::control::log::LogLevel;
use crate::control::options::IoMode;
use crate::crypto::{KEY_LEN, PresharedKey, PrivateKey, PublicKey, Secret, encoding};
use crate::tunnel::allowed_ips::Prefix;

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `get=1`: the whole configuration and the peers' counters.
    Get,
    /// `set=1`: a change, line by line.
    Set,
    /// `ringtun=1`: what `wg` does not know, see [`super::info`].
    Info,
    /// `ringtun_io=MODE`: how outer packets travel from now on.
    Io(IoMode),
    /// `ringtun_log=LEVEL`: what the process logs from now on.
    Log(LogLevel),
    /// `ringtun_capture=SIDES` and lines of its own, see [`crate::control::capture::request`]:
    /// the connection carries a capture from then on.
    Capture(CaptureRequest),
}

/// One thing understood.
#[derive(Debug)]
pub enum Event {
    /// An operation begins.
    Begin(Operation),
    /// One line of a `set`.
    Line(SetLine),
    /// The empty line that ends an operation: do it, answer.
    End(Operation),
    /// The operation is refused: answer with the error. What is left of it is
    /// skipped, and no further event of it comes.
    Refused {
        /// What was begun; `None` where not even that was understood.
        operation: Option<Operation>,
        /// Why.
        error: ParseError,
    },
}

/// One line of a `set`, its value checked. Keys of a peer follow its
/// `public_key`.
#[derive(Debug)]
pub enum SetLine {
    /// `private_key`; all zero is `None`.
    PrivateKey(Option<PrivateKey>),
    /// `listen_port`; 0 lets the kernel choose.
    ListenPort(u16),
    /// `fwmark`; 0 is off.
    FwMark(u32),
    /// `replace_peers=true`.
    ReplacePeers,
    /// `public_key`: the peer that the lines after it are about.
    Peer(PublicKey),
    /// A line about that peer.
    OfPeer(PeerLine),
}

/// A line about the peer of the last `public_key`.
#[derive(Debug)]
pub enum PeerLine {
    /// `remove=true`.
    Remove,
    /// `update_only=true`: the peer is not created if it does not exist.
    UpdateOnly,
    /// `protocol_version=1`, the only one there is.
    ProtocolVersion,
    /// Anything that changes the peer.
    Change(PeerChange),
}

/// A change of one peer.
#[derive(Debug)]
pub enum PeerChange {
    /// `preshared_key`; all zero is none.
    PresharedKey(PresharedKey),
    /// `endpoint`; its source address is forgotten.
    Endpoint(SocketAddr),
    /// `persistent_keepalive_interval` in seconds; 0 is off. The change from 0
    /// to more sends one at once.
    Keepalive(u16),
    /// `replace_allowed_ips=true`: takes all ranges from the peer.
    ClearAllowedIps,
    /// `allowed_ip`: gives the range to the peer, from whoever has it.
    AddAllowedIp(Prefix),
    /// `allowed_ip` with a leading `-`: nothing happens if the peer has it not.
    RemoveAllowedIp(Prefix),
}

/// Why an operation was refused. Never shows a value that may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// For the client.
    pub errno: Errno,
    /// Line of the operation, from 1.
    pub line: u64,
    /// For the log.
    pub reason: String,
}

enum State {
    /// Between operations.
    Idle,
    /// In a `get` or `ringtun`, which have no lines of their own.
    Bare(Operation),
    /// In a `ringtun_capture`.
    Capture(CaptureRequest),
    /// In a `set`, before the first `public_key`, or after it.
    Set { of_peer: bool },
    /// After a refusal, until the empty line.
    Skipping,
}

/// See the module.
pub struct Parser {
    lines: Lines,
    state: State,
    line: u64,
    zone: ZoneResolver,
}

impl Parser {
    /// A parser at the beginning of a connection. `zone` finds the index of an
    /// interface named in a link-local endpoint.
    #[must_use]
    pub fn new(zone: ZoneResolver) -> Self {
        Self {
            lines: Lines::default(),
            state: State::Idle,
            line: 0,
            zone,
        }
    }

    /// The next event, taken off `input`. `None` when `input` is used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Event> {
        loop {
            let line = self.lines.next(input)?;
            self.line += 1;
            let result = match (&mut self.state, line) {
                (state @ State::Skipping, line) => {
                    if line == Line::Whole(b"") {
                        *state = State::Idle;
                        self.line = 0;
                    }
                    continue;
                }
                (_, Line::TooLong) => Err(overlong()),
                (State::Idle, Line::Whole(b"")) => {
                    self.line = 0;
                    continue;
                }
                (state @ State::Idle, Line::Whole(line)) => begin(line, state),
                (State::Bare(operation), Line::Whole(b"")) => Ok(Event::End(*operation)),
                (State::Bare(_), Line::Whole(_)) => {
                    Err((Errno::INVALID, "`get` is followed by an empty line".into()))
                }
                (State::Capture(request), Line::Whole(b"")) => {
                    Ok(Event::End(Operation::Capture(*request)))
                }
                (State::Capture(request), Line::Whole(line)) => match capture_line(line, request) {
                    Ok(()) => continue,
                    Err(refusal) => Err(refusal),
                },
                (State::Set { .. }, Line::Whole(b"")) => Ok(Event::End(Operation::Set)),
                (State::Set { of_peer }, Line::Whole(line)) => {
                    set_line(line, of_peer, self.zone).map(Event::Line)
                }
            };
            return Some(match result {
                Ok(event) => {
                    if let Event::End(_) = event {
                        self.state = State::Idle;
                        self.line = 0;
                    }
                    event
                }
                Err((errno, reason)) => self.refuse(errno, reason, State::Skipping),
            });
        }
    }

    /// The client will send no more. A refusal if it stopped in the middle of
    /// an operation.
    pub fn end_of_input(&mut self) -> Option<Event> {
        match self.state {
            State::Idle if !self.lines.is_partial() => None,
            State::Skipping => None,
            _ => {
                let reason = "the request ends without an empty line".to_owned();
                Some(self.refuse(Errno::PROTOCOL, reason, State::Idle))
            }
        }
    }

    fn refuse(&mut self, errno: Errno, reason: String, then: State) -> Event {
        let operation = match std::mem::replace(&mut self.state, then) {
            State::Set { .. } => Some(Operation::Set),
            State::Bare(operation) => Some(operation),
            State::Capture(request) => Some(Operation::Capture(request)),
            State::Idle | State::Skipping => None,
        };
        Event::Refused {
            operation,
            error: ParseError {
                errno,
                line: self.line,
                reason,
            },
        }
    }
}

type Refusal = (Errno, String);

fn overlong() -> Refusal {
    (
        Errno::PROTOCOL,
        format!("more than {MAX_LINE} bytes in a line"),
    )
}

fn begin(line: &[u8], state: &mut State) -> Result<Event, Refusal> {
    let operation = match line {
        b"get=1" => Operation::Get,
        b"set=1" => Operation::Set,
        b"ringtun=1" => Operation::Info,
        _ if let Some(mode) = line.strip_prefix(b"ringtun_io=") => {
            let mode = std::str::from_utf8(mode).map_err(|_| "wants auto, xdp or udp");
            let mode = mode.and_then(str::parse);
            Operation::Io(mode.map_err(|reason| (Errno::INVALID, reason.into()))?)
        }
        _ if let Some(level) = line.strip_prefix(b"ringtun_log=") => {
            let level = std::str::from_utf8(level).map_err(|_| "wants a level");
            let level = level.and_then(str::parse);
            Operation::Log(level.map_err(|reason| (Errno::INVALID, reason.into()))?)
        }
        _ if let Some(sides) = line.strip_prefix(b"ringtun_capture=") => {
            let sides = std::str::from_utf8(sides).map_err(|_| "wants outer, inner or both");
            let sides = sides.and_then(str::parse);
            let sides = sides.map_err(|reason| (Errno::INVALID, reason.into()))?;
            Operation::Capture(CaptureRequest::new(sides))
        }
        _ => {
            let reason = "a request begins with `get=1` or `set=1`";
            return Err((Errno::PROTOCOL, reason.into()));
        }
    };
    *state = match operation {
        Operation::Set => State::Set { of_peer: false },
        Operation::Capture(request) => State::Capture(request),
        bare => State::Bare(bare),
    };
    Ok(Event::Begin(operation))
}

fn key_and_value(line: &[u8]) -> Result<(&str, &str), Refusal> {
    let line = std::str::from_utf8(line).ok();
    line.and_then(|line| line.split_once('='))
        .ok_or_else(|| (Errno::PROTOCOL, "not of the form key=value".into()))
}

fn refused_value(key: &str, reason: &str) -> Refusal {
    // Keys are words. Anything else is not repeated: it may be a private key on a line
    // of its own, whose last character in base64 is the sign that ends a word here.
    let is_word =
        (1..=40).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_word {
        (Errno::INVALID, format!("`{key}` {reason}"))
    } else {
        (
            Errno::INVALID,
            format!("what stands before the `=` {reason}"),
        )
    }
}

fn capture_line(line: &[u8], request: &mut CaptureRequest) -> Result<(), Refusal> {
    let (key, value) = key_and_value(line)?;
    request
        .line(key, value)
        .map_err(|reason| refused_value(key, reason))
}

fn set_line(line: &[u8], of_peer: &mut bool, zone: ZoneResolver) -> Result<SetLine, Refusal> {
    let (key, value) = key_and_value(line)?;
    let parsed = if key == "public_key" {
        *of_peer = true;
        key_value(value).map(|key| SetLine::Peer(PublicKey::from_bytes(*key.expose())))
    } else if *of_peer {
        peer_line(key, value, zone)
    } else {
        device_line(key, value)
    };
    parsed.map_err(|reason| refused_value(key, reason))
}

fn key_value(value: &str) -> Result<Secret<KEY_LEN>, &'static str> {
    encoding::from_hex(value.as_bytes()).map_err(|_| "wants 64 hexadecimal digits")
}

fn device_line(key: &str, value: &str) -> Result<SetLine, &'static str> {
    Ok(match key {
        "private_key" => {
            let key = key_value(value)?;
            SetLine::PrivateKey((!key.is_zero()).then(|| PrivateKey::from_secret(key)))
        }
        "listen_port" => {
            SetLine::ListenPort(values::number(value).ok_or("wants a port from 0 to 65535")?)
        }
        "fwmark" => {
            const EXPECTED: &str = "wants a decimal number from 0 to 4294967295";
            SetLine::FwMark(values::number(value).ok_or(EXPECTED)?)
        }
        "replace_peers" => values::is_true(value).map(|()| SetLine::ReplacePeers)?,
        _ => return Err("is no key of a device (peer keys follow a public_key)"),
    })
}

fn peer_line(key: &str, value: &str, zone: ZoneResolver) -> Result<SetLine, &'static str> {
    let change = match key {
        "remove" => return flag(value, PeerLine::Remove),
        "update_only" => return flag(value, PeerLine::UpdateOnly),
        "protocol_version" if value == "1" => {
            return Ok(SetLine::OfPeer(PeerLine::ProtocolVersion));
        }
        "protocol_version" => return Err("takes only 1"),
        "preshared_key" => {
            PeerChange::PresharedKey(PresharedKey::from_bytes(key_value(value)?.expose()))
        }
        "endpoint" => PeerChange::Endpoint(values::endpoint(value, zone)?),
        "persistent_keepalive_interval" => {
            const EXPECTED: &str = "wants seconds from 0 to 65535";
            PeerChange::Keepalive(values::number(value).ok_or(EXPECTED)?)
        }
        "replace_allowed_ips" => return flag(value, PeerLine::Change(PeerChange::ClearAllowedIps)),
        "allowed_ip" => match value.strip_prefix('-') {
            Some(value) => PeerChange::RemoveAllowedIp(values::prefix(value)?),
            None => PeerChange::AddAllowedIp(values::prefix(value)?),
        },
        _ => return Err("is no key of a peer"),
    };
    Ok(SetLine::OfPeer(PeerLine::Change(change)))
}

fn flag(value: &str, line: PeerLine) -> Result<SetLine, &'static str> {
    values::is_true(value).map(|()| SetLine::OfPeer(line))
}
