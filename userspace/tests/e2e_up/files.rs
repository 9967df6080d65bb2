//! Files and journals that are not what they should be.

use std::fs;
use std::os::unix::fs::symlink;

use ringtun_lab::NetNs;
use ringtun_lab::keys::Keys;

use crate::machine::Machine;

fn simple(extra: &str) -> String {
    let key = Keys::generate().unwrap().private;
    format!("[Interface]\nAddress = 10.78.0.1\nPrivateKey = {key}\n{extra}")
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_told_with_line_and_key() {
    let ns = NetNs::new("f").unwrap();
    let machine = Machine::new(&ns);
    let before = machine.state();
    for (text, line, key) in [
        (simple("MTU = nonsense\n"), ":4:", "MTU"),
        (
            simple("[Peer]\nAllowedIPs = 10.0.0.0/33\n"),
            ":5:",
            "AllowedIPs",
        ),
        ("x".repeat(20 << 20), "", "MiB"),
        ("\0\u{fffd}[[[\n=\n".repeat(1000), ":1:", ""),
    ] {
        machine.write(&text);
        let (code, said) = machine.ringtun("up");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(line) && said.contains(key), "{said}");
        assert_eq!(machine.state(), before);
        assert!(!machine.journal().exists());
    }
}

#[test]
fn a_journal_that_cannot_be_trusted_is_refused_and_left() {
    let ns = NetNs::new("j").unwrap();
    let machine = Machine::new(&ns);
    machine.write(&simple(""));
    machine.good("up");
    let good = fs::read(machine.journal()).unwrap();
    let truncated = good[..good.len() / 2].to_vec();
    let text = String::from_utf8(good.clone()).unwrap();
    let newer = text.replace("\"version\": 1", "\"version\": 2");
    let other = text.replace(&machine.name, "another");
    for (journal, says) in [
        (truncated, "broken"),
        (newer.into_bytes(), "version 2"),
        (other.into_bytes(), "another device"),
        (Vec::new(), "broken"),
    ] {
        fs::write(machine.journal(), &journal).unwrap();
        for what in ["down", "up"] {
            let (code, said) = machine.ringtun(what);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains(says) && said.contains(".json"), "{said}");
        }
        assert_eq!(fs::read(machine.journal()).unwrap(), journal);
    }
    // A link to a good one elsewhere is none.
    let elsewhere = machine.files.path().join("elsewhere");
    fs::write(&elsewhere, &good).unwrap();
    fs::remove_file(machine.journal()).unwrap();
    symlink(&elsewhere, machine.journal()).unwrap();
    let (code, said) = machine.ringtun("down");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("symbolic link"), "{said}");
    fs::remove_file(machine.journal()).unwrap();
    fs::write(machine.journal(), &good).unwrap();
    machine.good("down");
}

#[test]
fn an_interface_of_somebody_else_is_left_alone() {
    let ns = NetNs::new("s").unwrap();
    let machine = Machine::new(&ns);
    machine.write(&simple(""));
    let name = &machine.name;
    ns.ip(&format!("link add {name} type bridge\n")).unwrap();
    let before = machine.state();
    for (what, says) in [("up", "did not set up"), ("down", "was not set up")] {
        let (code, said) = machine.ringtun(what);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(says), "{said}");
        assert_eq!(machine.state(), before);
    }
}
