//! What is sent back: the lines of `get=1`, the extension, and `errno=`.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use super::info::DeviceInfo;
use super::parser::Operation;
use super::target::{DeviceState, PeerState};
use crate::control::errno::Errno;

/// A chunk is handed over as soon as it has this many bytes.
pub const CHUNK: usize = 32 * 1024;

/// The answer to `get=1`, in chunks of about [`CHUNK`] bytes, without its
/// `errno=`. Chunks hold keys and are wiped when dropped.
pub struct GetReply {
    state: DeviceState,
    next_peer: usize,
    device_done: bool,
}

impl GetReply {
    /// The answer for this state of the device.
    #[must_use]
    pub fn new(state: DeviceState) -> Self {
        Self {
            state,
            next_peer: 0,
            device_done: false,
        }
    }

    fn device(&self, out: &mut String) {
        if let Some(key) = &self.state.private_key {
            let _ = writeln!(out, "private_key={}", &*key.to_hex());
        }
        if self.state.listen_port != 0 {
            let _ = writeln!(out, "listen_port={}", self.state.listen_port);
        }
        if self.state.fwmark != 0 {
            let _ = writeln!(out, "fwmark={}", self.state.fwmark);
        }
    }
}

impl Iterator for GetReply {
    type Item = Zeroizing<String>;

    fn next(&mut self) -> Option<Zeroizing<String>> {
        // Room for the peer that crosses the limit, so that keys are seldom
        // left behind by growing.
        let mut out = Zeroizing::new(String::with_capacity(2 * CHUNK));
        if !self.device_done {
            self.device_done = true;
            self.device(&mut out);
        }
        while out.len() < CHUNK {
            let Some(peer) = self.state.peers.get(self.next_peer) else {
                break;
            };
            self.next_peer += 1;
            peer_lines(peer, &mut out);
        }
        (!out.is_empty()).then_some(out)
    }
}

fn peer_lines(peer: &PeerState, out: &mut String) {
    let _ = writeln!(out, "public_key={}", peer.public_key.to_hex());
    let _ = writeln!(out, "preshared_key={}", &*peer.preshared_key.to_hex());
    out.push_str("protocol_version=1\n");
    if let Some(endpoint) = peer.endpoint {
        let _ = writeln!(out, "endpoint={endpoint}");
    }
    let _ = write!(
        out,
        "last_handshake_time_sec={}\nlast_handshake_time_nsec={}\ntx_bytes={}\nrx_bytes={}\n\
         persistent_keepalive_interval={}\n",
        peer.last_handshake.secs,
        peer.last_handshake.nanos,
        peer.tx_bytes,
        peer.rx_bytes,
        peer.keepalive,
    );
    for prefix in &peer.allowed_ips {
        let _ = writeln!(out, "allowed_ip={prefix}");
    }
}

/// The answer to `ringtun=1` without its `errno=`: one line of JSON.
#[must_use]
pub fn info(info: &DeviceInfo) -> String {
    let json = serde_json::to_string(info).expect("plain data with string keys is always JSON");
    format!("json={json}\n")
}

/// The end of every answer.
///
/// The specification wants the number of `errno.h`. `wg` reads it with the
/// opposite sign after `set` (and prints "Unknown error -22" for 22), as
/// wireguard-go sends it, and with this sign after `get`; so do we.
#[must_use]
pub fn status(operation: Option<Operation>, result: Result<(), Errno>) -> String {
    let number = match (result, operation) {
        (Ok(()), _) => 0,
        (Err(errno), Some(Operation::Set) | None) => -errno.number(),
        (Err(errno), Some(_)) => errno.number(),
    };
    format!("errno={number}\n\n")
}
