//! Up, down, and every way in between.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ringtun_lab::capture::Capture;
use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::{Pair, wait};

use crate::machine::{BEYOND, FIRST, Machine, default_route, far_end};

fn keys() -> [Keys; 2] {
    [Keys::generate().unwrap(), Keys::generate().unwrap()]
}

#[test]
fn a_default_route_for_both_families_goes_up_and_down_without_a_trace() {
    let pair = Pair::new(Middle::Router, 1500).unwrap();
    let keys = keys();
    let _far = far_end(&pair, &keys);
    let machine = Machine::new(&pair.ends[0].ns);
    let hooks = ["PreUp", "PostUp", "PreDown", "PostDown"].map(|what| machine.hook(what));
    machine.write(&default_route(&pair, &keys, &hooks.concat()));
    let name = &machine.name;
    let before = machine.state();

    let (code, said) = machine.ringtun("down");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("is not up"), "{said}");
    machine.good("up");
    for address in ["10.78.0.2", "fd78::2"].into_iter().chain(BEYOND) {
        machine.answered(address);
    }
    let link = machine.ns.run("ip", ["link", "show", name]).unwrap();
    assert!(link.contains("mtu 1420"), "{link}");
    assert_eq!(machine.log(), format!("PreUp {name}\nPostUp {name}\n"));
    let resolv = fs::read_to_string(machine.files.path().join("resolv.conf")).unwrap();
    assert!(
        resolv.contains("10.78.0.2") && resolv.contains("example.test"),
        "{resolv}"
    );
    for family in ["-4", "-6"] {
        let table = ["route", "show", "table", "51820"];
        let routes = machine.ns.run("ip", [&[family][..], &table].concat());
        let routes = routes.unwrap();
        assert!(routes.contains("unreachable default"), "{routes}");
    }
    let mode = fs::metadata(machine.journal()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let (code, said) = machine.ringtun("up");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("already up"), "{said}");

    machine.good("down");
    assert_eq!(machine.state(), before);
    assert_eq!(
        machine.log(),
        format!("PreUp {name}\nPostUp {name}\nPreDown {name}\nPostDown {name}\n")
    );
    assert!(!machine.journal().exists());

    // SIGTERM is `down`.
    machine.good("up");
    machine.answered(BEYOND[0]);
    machine.signal(15);
    assert_eq!(machine.state(), before);
    let last = format!("PostDown {name}\n");
    let told = wait::until("PostDown", FIRST, || {
        Ok(machine.log().ends_with(&last).then_some(()))
    });
    assert!(told.is_ok(), "{}", machine.log());
    assert!(!machine.journal().exists());

    // Either tool takes down what the other set up.
    machine.good("up");
    machine.other("wg-quick", &["down", name]);
    wait::until("the daemon cleans up", FIRST, || {
        Ok((!machine.journal().exists()).then_some(()))
    })
    .unwrap();
    assert_eq!(machine.state(), before);
}

#[test]
fn an_up_that_fails_at_any_hook_leaves_no_trace() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let keys = keys();
    let _far = far_end(&pair, &keys);
    let machine = Machine::new(&pair.ends[0].ns);
    let before = machine.state();
    let touch = |what: &str| format!("{what} = nft add table ip mark-of-%i\n");
    let undo = "PostDown = nft delete table ip mark-of-%i\n";
    for hooks in [
        "PreUp = false\n".to_owned(),
        touch("PreUp") + "PreUp = false\n" + undo,
        "PostUp = false\n".to_owned(),
        touch("PostUp") + "PostUp = false\n" + undo,
        touch("PreUp") + "PostUp = exit 7\n" + undo,
    ] {
        machine.write(&default_route(&pair, &keys, &hooks));
        let (code, said) = machine.ringtun("up");
        assert_eq!(code, Some(1), "{hooks}{said}");
        assert!(said.contains("exit status"), "{hooks}{said}");
        assert_eq!(machine.state(), before, "{hooks}");
        assert!(!machine.journal().exists(), "{hooks}");
    }
    // So does one that fails in the middle: there is no such table name.
    machine.write(&format!(
        "{}AllowedIPs = 192.0.2.0/24\n",
        default_route(&pair, &keys, "Table = no-such-table\n")
    ));
    let (code, said) = machine.ringtun("up");
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(machine.state(), before);
}

#[test]
fn after_a_kill_nothing_leaves_in_the_clear_and_down_restores_all() {
    let pair = Pair::new(Middle::Bridge, 1500).unwrap();
    let keys = keys();
    let _far = far_end(&pair, &keys);
    let machine = Machine::new(&pair.ends[0].ns);
    machine.write(&default_route(&pair, &keys, ""));
    // A way out that the packets would take.
    let other = pair.ends[1].address(false);
    let other6 = pair.ends[1].address(true);
    machine
        .ns
        .ip(&format!(
            "route add default via {other}\nroute add default via {other6}\n"
        ))
        .unwrap();
    let before = machine.state();
    machine.good("up");
    machine.answered(BEYOND[0]);
    let middle = pair.middle.as_ref().expect("a bridge");
    let capture = Capture::start(&middle.ns, &middle.devices[0]).unwrap();
    machine.signal(9);
    let send = |to: &str, text: &str| {
        let script = format!("printf {text} > /dev/udp/{to}/4242");
        machine.ns.run("bash", ["-c", &script])
    };
    for address in BEYOND {
        let refused = format!("{:#}", send(address, "MARKER-SECRET").unwrap_err());
        assert!(refused.contains("No route to host"), "{refused}");
    }
    // What is on the wire is seen: to a neighbour it may go.
    send(&other.to_string(), "MARKER-CONTROL").unwrap();
    let packets = capture.finish().unwrap();
    assert!(packets.holding(b"MARKER-CONTROL") > 0);
    assert_eq!(packets.holding(b"MARKER-SECRET"), 0);
    assert!(Path::new(&machine.journal()).exists());

    // The next start takes back what was left, and `down` does too.
    machine.good("up");
    machine.answered(BEYOND[0]);
    machine.signal(9);
    machine.good("down");
    assert_eq!(machine.state(), before);
    assert!(!machine.journal().exists());
}

#[test]
fn an_endpoint_whose_name_is_not_known_yet_is_found_when_it_is() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let keys = keys();
    let _far = far_end(&pair, &keys);
    let machine = Machine::new(&pair.ends[0].ns);
    machine.write(&format!(
        "[Interface]\nAddress = 10.78.0.1/24\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.2/32\nEndpoint = far.example.test:51820\n",
        keys[0].private, keys[1].public,
    ));
    machine.good("up");
    let shown = || machine.other("wg", &["show", &machine.name, "endpoints"]);
    assert!(shown().contains("(none)"), "{}", shown());
    let hosts = format!("{} far.example.test\n", pair.ends[1].address(false));
    fs::write(machine.files.path().join("hosts"), hosts).unwrap();
    machine.answered("10.78.0.2");
    assert!(shown().contains(":51820"), "{}", shown());
}
