use super::model::{Model, PORT_IN_USE};
use crate::control::errno::Errno;
use crate::control::uapi::UapiTarget;
use crate::control::uapi::parser::{Event, Operation, Parser};
use crate::control::uapi::reply::{self, CHUNK, GetReply};
use crate::control::uapi::session::SetSession;
use crate::control::uapi::{DeviceState, PeerState};
use crate::crypto::{PrivateKey, PublicKey};
use crate::tunnel::allowed_ips::Prefix;

fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

/// Sends the lines of one `set` to the device.
fn set(model: &mut Model, lines: &str) -> Result<(), Errno> {
    let mut parser = Parser::new(|_| None);
    let mut session = SetSession::default();
    let text = format!("set=1\n{lines}\n");
    let mut input = text.as_bytes();
    while let Some(event) = parser.next(&mut input) {
        match event {
            Event::Begin(_) => {}
            Event::Line(line) => session.line(model, line)?,
            Event::End(_) => return session.end(model),
            Event::Refused { error, .. } => panic!("{error}"),
        }
    }
    panic!("no end");
}

fn peer(byte: u8) -> String {
    format!("public_key={}\n", key(byte).to_hex())
}

#[test]
fn a_peer_is_made_once_and_its_lines_reach_it() {
    let mut model = Model::default();
    let lines = peer(1)
        + "protocol_version=1\nendpoint=192.0.2.1:5\nallowed_ip=10.0.0.9/8\n"
        + "persistent_keepalive_interval=25\n"
        + &peer(2)
        + "allowed_ip=10.2.0.0/16\nallowed_ip=10.3.0.0/16\nallowed_ip=-10.2.0.0/16\n";
    set(&mut model, &lines).unwrap();
    assert_eq!((model.added, model.removed, model.commits), (2, 0, 1));
    let first = &model.peers[&key(1)];
    assert_eq!(first.endpoint, Some("192.0.2.1:5".parse().unwrap()));
    assert_eq!(first.keepalive, 25);
    assert_eq!(first.allowed_ips[0].to_string(), "10.0.0.0/8");
    assert_eq!(model.peers[&key(2)].allowed_ips.len(), 1);

    // Again, and nobody is made anew; `replace_allowed_ips` comes first.
    set(
        &mut model,
        &(peer(2) + "replace_allowed_ips=true\nallowed_ip=10.0.0.0/8\n"),
    )
    .unwrap();
    assert_eq!(model.added, 2);
    assert!(
        model.peers[&key(1)].allowed_ips.is_empty(),
        "the range moved"
    );
    assert_eq!(model.peers[&key(2)].allowed_ips.len(), 1);
}

#[test]
fn a_peer_without_further_lines_is_made() {
    let mut model = Model::default();
    set(&mut model, &(peer(1) + &peer(2))).unwrap();
    assert_eq!(model.peers.len(), 2);
}

#[test]
fn update_only_changes_a_peer_and_makes_none() {
    let mut model = Model::default();
    let lines = peer(1) + "update_only=true\npersistent_keepalive_interval=9\n";
    set(&mut model, &lines).unwrap();
    assert!(model.peers.is_empty());
    // A line before it made the peer already.
    let late = peer(1) + "persistent_keepalive_interval=9\nupdate_only=true\nallowed_ip=::/0\n";
    set(&mut model, &late).unwrap();
    assert!(model.peers.is_empty());
    set(&mut model, &peer(1)).unwrap();
    set(&mut model, &lines).unwrap();
    assert_eq!(model.peers[&key(1)].keepalive, 9);
}

#[test]
fn removing_makes_no_peer_and_later_lines_are_ignored() {
    let mut model = Model::default();
    set(
        &mut model,
        &(peer(1) + "remove=true\nallowed_ip=::/0\nremove=true\n"),
    )
    .unwrap();
    assert_eq!((model.added, model.removed), (0, 0));
    set(&mut model, &peer(1)).unwrap();
    set(&mut model, &(peer(1) + "remove=true\nallowed_ip=::/0\n")).unwrap();
    assert!(model.peers.is_empty());
    set(
        &mut model,
        &(peer(1) + "remove=true\n" + &peer(1) + "allowed_ip=::/0\n"),
    )
    .unwrap();
    assert_eq!(model.peers[&key(1)].allowed_ips.len(), 1);
}

#[test]
fn the_device_is_no_peer_of_itself() {
    let mut model = Model::default();
    let private = PrivateKey::from_bytes(&[7; 32]);
    let own = private.public().to_hex();
    let lines = format!(
        "private_key={}\npublic_key={own}\nallowed_ip=10.0.0.0/8\n{}",
        &*private.to_hex(),
        peer(2)
    );
    set(&mut model, &lines).unwrap();
    assert_eq!(model.peers.keys().copied().collect::<Vec<_>>(), [key(2)]);
}

#[test]
fn zero_keys_clear_and_replace_peers_removes_all() {
    let mut model = Model::default();
    let zero = "0".repeat(64);
    let lines = format!(
        "private_key={}\nfwmark=7\n{}preshared_key={}\n",
        "7".repeat(64),
        peer(1),
        "9".repeat(64)
    );
    set(&mut model, &lines).unwrap();
    assert!(model.private_key.is_some() && model.peers[&key(1)].preshared_key.is_set());
    let lines = format!(
        "private_key={zero}\nfwmark=0\n{}preshared_key={zero}\n",
        peer(1)
    );
    set(&mut model, &lines).unwrap();
    assert!(model.private_key.is_none() && model.fwmark == 0);
    assert!(!model.peers[&key(1)].preshared_key.is_set());
    set(&mut model, &("replace_peers=true\n".to_owned() + &peer(3))).unwrap();
    assert_eq!(model.peers.keys().copied().collect::<Vec<_>>(), [key(3)]);
}

#[test]
fn what_the_device_refuses_is_passed_on() {
    let mut model = Model::default();
    let refused = set(
        &mut model,
        &format!("fwmark=3\nlisten_port={PORT_IN_USE}\n"),
    );
    assert_eq!(refused, Err(Errno::ADDRESS_IN_USE));
    assert_eq!(model.fwmark, 3);
}

#[test]
fn the_answer_to_get_has_the_lines_that_wg_reads() {
    let mut peer = PeerState::new(key(2));
    peer.endpoint = Some("[2001:db8::1]:9".parse().unwrap());
    peer.allowed_ips = vec![Prefix::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
    peer.last_handshake.secs = 1_700_000_000;
    peer.last_handshake.nanos = 5;
    (peer.rx_bytes, peer.tx_bytes, peer.keepalive) = (1, u64::MAX, 25);
    let state = DeviceState {
        private_key: Some(PrivateKey::from_bytes(&[0x40; 32])),
        listen_port: 51820,
        fwmark: 7,
        peers: vec![peer],
    };
    let text: String = GetReply::new(state).map(|c| c.to_string()).collect();
    let expected = format!(
        "private_key={}\nlisten_port=51820\nfwmark=7\npublic_key={}\npreshared_key={}\n\
         protocol_version=1\nendpoint=[2001:db8::1]:9\nlast_handshake_time_sec=1700000000\n\
         last_handshake_time_nsec=5\ntx_bytes=18446744073709551615\nrx_bytes=1\n\
         persistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\n",
        "40".repeat(32),
        "02".repeat(32),
        "00".repeat(32)
    );
    assert_eq!(text, expected);
    assert_eq!(GetReply::new(DeviceState::default()).count(), 0);
}

#[test]
fn a_large_answer_comes_in_bounded_chunks() {
    let mut model = Model::default();
    for n in 0..5000u32 {
        let mut bytes = [1; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let key = PublicKey::from_bytes(bytes);
        model.peers.insert(key, PeerState::new(key));
    }
    let mut peers = 0;
    for chunk in GetReply::new(model.state()) {
        assert!(chunk.len() < 2 * CHUNK);
        peers += chunk
            .lines()
            .filter(|l| l.starts_with("public_key="))
            .count();
    }
    assert_eq!(peers, 5000);
}

#[test]
fn the_sign_of_errno_is_the_one_wg_understands() {
    let refused = Err(Errno::INVALID);
    assert_eq!(
        reply::status(Some(Operation::Set), refused),
        "errno=-22\n\n"
    );
    assert_eq!(reply::status(None, refused), "errno=-22\n\n");
    assert_eq!(reply::status(Some(Operation::Get), refused), "errno=22\n\n");
    assert_eq!(reply::status(Some(Operation::Set), Ok(())), "errno=0\n\n");
}
