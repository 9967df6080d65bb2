//! `ringtun report` of a tunnel that runs: what a maintainer needs, and nothing that
//! says whose it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ringtun_lab::Pair;
use ringtun_lab::keys::{self, Keys};
use ringtun_lab::link::Middle;

use crate::logs::forms;
use crate::machine::{Machine, far_end_with};

const HOST: &str = "anna.example.test";
const FRIENDLY: &str = "Anna's gateway";

#[test]
fn a_report_has_what_it_needs_and_no_key_no_name_and_no_address() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let psk = keys::preshared().unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let more = format!("PresharedKey = {psk}\n");
    let _far = far_end_with(&pair, &keys, &more, &[]);
    let machine = Machine::new(&pair.ends[0].ns);
    let far = pair.ends[1].address(false);
    fs::write(
        machine.files.path().join("hosts"),
        format!("{far} {HOST}\n"),
    )
    .unwrap();
    machine.write(&format!(
        "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {}\nPostUp = true hunter2\n\
         [Peer]\n# friendly_name = {FRIENDLY}\nPublicKey = {}\nPresharedKey = {psk}\n\
         AllowedIPs = 10.78.0.0/24, fd78::/64\nEndpoint = {HOST}:51820\nPersistentKeepalive = 1\n",
        keys[0].private, keys[1].public
    ));
    machine.good("up");
    machine.answered("10.78.0.2");
    let binary = crate::e2e::ringtun().program;
    let report = |name: &str, more: &[&str]| {
        let path = machine.files.path().join(name);
        let mut arguments = vec!["report", &machine.name, "-o", path.to_str().unwrap()];
        arguments.extend(more);
        let output = machine.command(&binary, &arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said, path)
    };

    let (code, said, path) = report("report.txt", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Read it before you send it"), "{said}");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&path).unwrap();
    let secrets = [&keys[0].private, &keys[0].public, &keys[1].public, &psk];
    for form in secrets.into_iter().flat_map(|key| forms(key)) {
        assert!(!text.contains(&form), "{form} in {text}");
    }
    let links = machine.ns.run("ip", ["-o", "link"]).unwrap();
    let macs = links
        .lines()
        .filter_map(|line| line.split("link/ether ").nth(1)?.get(..17));
    let addresses = [
        "10.78.0.1",
        "10.78.0.2",
        "fd78::1",
        HOST,
        FRIENDLY,
        "hunter2",
    ];
    let far = far.to_string();
    let near = pair.ends[0].address(false).to_string();
    for hidden in macs.chain(addresses).chain([far.as_str(), near.as_str()]) {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    for there in [
        "==== doctor ====",
        "==== routes ====",
        "PublicKey = peer-1",
        "PostUp = (12 characters, not shown)",
        "\"public_key\": \"device-1\"",
        "\"public_key\": \"peer-1\"",
        "\"latest_handshake\": 1",
        "ringtun_drops_total",
        machine.name.as_str(),
    ] {
        assert!(text.contains(there), "{there} is not in {text}");
    }

    let (code, said, _) = report("report.txt", &[]);
    assert_eq!(code, Some(1), "not over another file");
    assert!(said.contains("-o names another"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let (code, said, path) = report("addresses.txt", &["--with-addresses"]);
    assert_eq!(code, Some(0), "{said}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("10.78.0.1") && text.contains(&far), "{text}");
    assert!(
        !text.contains(&keys[1].public) && !text.contains(HOST),
        "{text}"
    );
}
