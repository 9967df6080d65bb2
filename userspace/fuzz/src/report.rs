//! What `ringtun report` takes out of text.

use crate::Seed;
use ringtun::control::report::{Redactor, config};
use ringtun::crypto::PublicKey;

const V4: &str = "203.0.113.9";
const V6: &str = "2001:db8::77";
const NAME: &str = "anna.example.test";

/// Whatever stands around them: no key, no name and no address comes through.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (key, other) = (
        PublicKey::from_bytes([0x5a; 32]),
        PublicKey::from_bytes([0x77; 32]),
    );
    let mut redactor = Redactor::new(Some([3; 32]));
    redactor.know_key(&key, "peer");
    redactor.know_name(NAME);
    let hidden = [&key.to_base64(), &other.to_base64(), V4, V6, NAME];
    if hidden.iter().any(|hidden| text.contains(hidden)) {
        return;
    }
    let whole = hidden
        .map(|hidden| format!("{text} {hidden} {text}\n"))
        .concat();
    let shown = redactor.text(&whole);
    for hidden in hidden {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    let file = format!("{text}\nPrivateKey = {}\n{text}", hidden[1]);
    let shown = config::render(&file, &mut redactor);
    assert!(!shown.contains(hidden[1]), "{shown}");
}

/// Lines of programs and logs.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let seed = |name, text: &str| (name, text.as_bytes().to_vec());
    vec![
        seed(
            "route",
            "default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.7 metric 100",
        ),
        seed("link", "link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff"),
        seed(
            "v6",
            "fe80::1%eth0 [2001:db8::1]:51820 ::ffff:192.0.2.1 64:ff9b::192.0.2.1",
        ),
        seed(
            "log",
            "ringtun::datapath::worker 12:34:56 peer=WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=",
        ),
        seed(
            "file",
            "[Interface]\nAddress = 10.0.0.1/24\nPostUp = true\n[Peer]\n# name\nEndpoint = a.b:1",
        ),
    ]
}
