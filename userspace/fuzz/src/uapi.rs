//! What `wg` may say to the socket: bytes to a device, and a device to text.

use crate::Seed;
use ringtun::control::capture::{Capture, CaptureRequest};
use ringtun::control::errno::Errno;
use ringtun::control::options::IoMode;
use ringtun::control::uapi::info::DeviceInfo;
use ringtun::control::uapi::parser::{Event, Operation, Parser};
use ringtun::control::uapi::reply::GetReply;
use ringtun::control::uapi::session::SetSession;
use ringtun::control::uapi::{DeviceState, PeerChange, PeerState, SetOp, UapiTarget};
use ringtun::crypto::{PrivateKey, PublicKey};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A device that keeps what it is told.
#[derive(Default)]
struct Model {
    state: DeviceState,
    peers: BTreeMap<PublicKey, PeerState>,
}

impl UapiTarget for Model {
    fn public_key(&self) -> Option<PublicKey> {
        self.state.private_key.as_ref().map(PrivateKey::public)
    }

    fn has_peer(&self, peer: &PublicKey) -> bool {
        self.peers.contains_key(peer)
    }

    fn apply(&mut self, op: SetOp) -> Result<(), Errno> {
        match op {
            SetOp::PrivateKey(key) => {
                self.state.private_key = key;
                if let Some(own) = self.public_key() {
                    self.peers.remove(&own);
                }
            }
            SetOp::ListenPort(port) => self.state.listen_port = port,
            SetOp::FwMark(mark) => self.state.fwmark = mark,
            SetOp::RemoveAllPeers => self.peers.clear(),
            SetOp::AddPeer(key) => {
                let old = self.peers.insert(key, PeerState::new(key));
                assert!(old.is_none(), "a peer that exists was made");
            }
            SetOp::RemovePeer(key) => {
                assert!(self.peers.remove(&key).is_some(), "nobody was removed");
            }
            SetOp::ChangePeer(key, change) => self.change(&key, change),
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    fn state(&self) -> DeviceState {
        DeviceState::default()
    }

    fn set_io(&mut self, _: IoMode) -> Result<(), Errno> {
        Ok(())
    }

    fn capture(&mut self, _: &CaptureRequest) -> Result<Capture, Errno> {
        unreachable!("the fuzzer asks no device")
    }

    fn info(&self) -> DeviceInfo {
        unreachable!("the fuzzer asks no device")
    }
}

impl Model {
    fn change(&mut self, key: &PublicKey, change: PeerChange) {
        if let PeerChange::AddAllowedIp(prefix) = &change {
            for peer in self.peers.values_mut() {
                peer.allowed_ips.retain(|p| p != prefix);
            }
        }
        let peer = self
            .peers
            .get_mut(key)
            .expect("a peer that was changed exists");
        match change {
            PeerChange::PresharedKey(key) => peer.preshared_key = key,
            PeerChange::Endpoint(to) => peer.endpoint = Some(to),
            PeerChange::Keepalive(seconds) => peer.keepalive = seconds,
            PeerChange::ClearAllowedIps => peer.allowed_ips.clear(),
            PeerChange::AddAllowedIp(prefix) => peer.allowed_ips.push(prefix),
            PeerChange::RemoveAllowedIp(prefix) => peer.allowed_ips.retain(|p| *p != prefix),
        }
    }

    /// Everything that a `set` can set, without the help of what `get` writes.
    fn summary(&self) -> String {
        let state = &self.state;
        let key = state.private_key.as_ref().map(PrivateKey::expose);
        let mut all = format!("{key:?} {} {}", state.listen_port, state.fwmark);
        for peer in self.peers.values() {
            write!(
                all,
                "\n{:?} {:?} {:?} {} {:?}",
                peer.public_key,
                peer.preshared_key.expose(),
                peer.endpoint,
                peer.keepalive,
                peer.allowed_ips,
            )
            .expect("a string takes everything");
        }
        all
    }

    /// What `get=1` answers.
    fn text(self) -> String {
        let mut state = self.state;
        state.peers = self.peers.into_values().collect();
        GetReply::new(state)
            .map(|chunk| chunk.as_str().to_owned())
            .collect()
    }
}

/// Feeds a conversation in pieces; gives the device and a line per answer.
fn converse(data: &[u8], piece: usize) -> (Model, Vec<String>) {
    let mut model = Model::default();
    let mut parser = Parser::new(|name| (name == "eth0").then_some(2));
    let mut session = SetSession::default();
    let mut answers = Vec::new();
    for mut input in data.chunks(piece.max(1)) {
        while let Some(event) = parser.next(&mut input) {
            match event {
                Event::Begin(_) => session = SetSession::default(),
                Event::Line(line) => session.line(&mut model, line).expect("the model agrees"),
                Event::End(Operation::Set) => {
                    let done = std::mem::take(&mut session).end(&mut model);
                    answers.push(format!("set {done:?}"));
                }
                Event::End(Operation::Capture(request)) => {
                    // What is asked for, written as our client does, asks for the same.
                    let mut again = Parser::new(|_| None);
                    let text = request.text();
                    let mut text = text.as_bytes();
                    let events = std::iter::from_fn(|| again.next(&mut text));
                    let same = |e| matches!(e, Event::End(Operation::Capture(r)) if r == request);
                    assert_eq!(events.map(same).collect::<Vec<_>>(), [false, true]);
                    answers.push(format!("{request:?}"));
                }
                Event::End(other) => answers.push(format!("{other:?}")),
                Event::Refused { operation, error } => {
                    assert!(error.errno.number() > 0);
                    answers.push(format!("{operation:?} {error}"));
                }
            }
        }
        assert!(input.is_empty(), "bytes were left over");
    }
    if let Some(event) = parser.end_of_input() {
        answers.push(format!("{event:?}"));
    }
    (model, answers)
}

/// `get` without what only `get` has.
fn settable(text: &str) -> String {
    let counters = ["last_handshake_time", "tx_bytes", "rx_bytes"];
    text.lines()
        .filter(|line| !counters.iter().any(|name| line.starts_with(name)))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// However the bytes are cut, the outcome is the same; and what `get` says,
/// sent back as a `set`, makes the same device.
pub fn run(data: &[u8]) {
    let (model, answers) = converse(data, data.len());
    let piece = 1 + usize::from(data.first().copied().unwrap_or(0)) % 7;
    let (again, answers_again) = converse(data, piece);
    assert_eq!(answers, answers_again);
    let summary = model.summary();
    assert_eq!(summary, again.summary());
    let text = model.text();
    assert_eq!(text, again.text());

    let replay = format!("set=1\n{}\n", settable(&text));
    let (copy, answers) = converse(replay.as_bytes(), replay.len());
    assert_eq!(answers, ["set Ok(())"], "{replay}");
    assert_eq!(copy.summary(), summary, "{text}");
}

/// Conversations of `wg`.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let key = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
    let private = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";
    let text = |text: String| text.into_bytes();
    vec![
        ("get", text("get=1\n\n".into())),
        ("info", text("ringtun=1\n\n".into())),
        (
            "capture",
            text(format!(
                "ringtun_capture=both\nsnap=96\npublic_key={key}\n\nringtun_capture=inner\n\n"
            )),
        ),
        (
            "device",
            text(format!(
                "set=1\nprivate_key={private}\nlisten_port=12912\nfwmark=7\nreplace_peers=true\n\n"
            )),
        ),
        (
            "peer",
            text(format!(
                "set=1\npublic_key={key}\npreshared_key={private}\nreplace_allowed_ips=true\n\
                 endpoint=[fe80::1%eth0]:51820\npersistent_keepalive_interval=25\n\
                 allowed_ip=10.0.0.0/8\nallowed_ip=-10.0.0.0/8\nallowed_ip=fd00::/64\n\n"
            )),
        ),
        (
            "remove",
            text(format!("set=1\npublic_key={key}\nremove=true\n\nget=1\n\n")),
        ),
        (
            "update-only",
            text(format!(
                "set=1\npublic_key={key}\nupdate_only=true\nendpoint=192.0.2.1:5\n\
                 protocol_version=1\n\n"
            )),
        ),
        (
            "refused-then-fine",
            text("set=1\nlisten_port=x\n\nset=1\nlisten_port=1\n\n".into()),
        ),
        ("unknown-key", text("set=1\ncolour=red\n\nget=1\n\n".into())),
        ("cut-off", text("set=1\nlisten_port=1\n".into())),
    ]
}
