//! A device with 10,000 peers.

use std::fmt::Write as _;

use ringtun::crypto::PublicKey;
use ringtun_lab::peers::local::Device;
use ringtun_lab::stream::Pattern;
use ringtun_lab::{NetNs, names};

use crate::e2e;

pub const PEERS: usize = 10_000;

/// In a namespace of its own, with these options; each peer has a key, an endpoint, an
/// address of 10.9.0.0/16, and `more` lines of its section.
pub fn gateway(options: &[&str], more: &str) -> (NetNs, Device) {
    let ns = NetNs::new("m").unwrap();
    let name = names::unique("w");
    let options = [&["--io", "udp"], options].concat();
    let device = Device::start_with(&e2e::ringtun(), &ns, &name, &options).unwrap();
    let mut text = String::new();
    let mut random = Pattern::new(9);
    for number in 0..PEERS {
        let mut key = [0; 32];
        random.fill(&mut key);
        let key = PublicKey::from_bytes(key);
        let [_, _, high, low] = (number as u32).to_be_bytes();
        writeln!(
            text,
            "[Peer]\nPublicKey = {key}\nAllowedIPs = 10.9.{high}.{low}/32\nEndpoint = 192.0.2.1:{}\n{more}",
            1 + number
        )
        .unwrap();
    }
    let setconf = ["setconf", name.as_str(), "/dev/stdin"];
    ns.run_with_input("wg", setconf, text.as_bytes()).unwrap();
    (ns, device)
}
