//! `Table`, and default routes of several tunnels.

use std::fs;

use ringtun_lab::keys::Keys;
use ringtun_lab::link::Middle;
use ringtun_lab::{NetNs, Pair, names};

use crate::machine::Machine;

fn file(pair: &Pair, interface: &str, allowed: &str) -> String {
    let key = || Keys::generate().unwrap();
    format!(
        "[Interface]\nAddress = 10.78.0.1/24, fd78::1/64\nPrivateKey = {}\n{interface}\
         [Peer]\nPublicKey = {}\nAllowedIPs = {allowed}\nEndpoint = {}:51820\n",
        key().private,
        key().public,
        pair.ends[1].address(false)
    )
}

fn routes(ns: &NetNs, table: &str) -> String {
    let of = |family| {
        let listed = ns.run("ip", [family, "route", "show", "table", table]);
        // A table that never had a route is none.
        listed.unwrap_or_default()
    };
    of("-4") + &of("-6")
}

#[test]
fn routes_go_to_the_table_that_the_file_names_or_to_none() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    let before = machine.state();
    let rules =
        || machine.ns.run("ip", ["rule"]).unwrap() + &machine.ns.run("ip", ["-6", "rule"]).unwrap();
    let rules_before = rules();
    let all = "0.0.0.0/0, ::/0, 203.0.113.0/24, 2001:db8:9::/48";
    let prefixes = ["default", "203.0.113.0/24", "2001:db8:9::/48"];

    machine.write(&file(&pair, "Table = 1234\n", all));
    machine.good("up");
    let there = routes(machine.ns, "1234");
    for prefix in prefixes {
        assert!(
            there.contains(&format!("{prefix} dev {}", machine.name)),
            "{there}"
        );
    }
    assert_eq!(there.matches("default").count(), 2, "{there}");
    assert!(!routes(machine.ns, "main").contains("203.0.113.0"));
    assert_eq!(rules(), rules_before, "the table is the administrator's");
    machine.good("down");
    assert_eq!(machine.state(), before);

    machine.write(&file(&pair, "Table = off\n", all));
    machine.good("up");
    let everywhere = routes(machine.ns, "all");
    for prefix in prefixes {
        assert!(
            !everywhere.contains(&format!("{prefix} dev {}", machine.name)),
            "{everywhere}"
        );
    }
    assert_eq!(rules(), rules_before);
    machine.good("down");
    assert_eq!(machine.state(), before);
}

#[test]
fn default_routes_of_two_tunnels_do_not_touch_each_other() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let machine = Machine::new(&pair.ends[0].ns);
    let first = machine.name.as_str();
    let second = names::unique("v");
    let text = file(&pair, "", "0.0.0.0/0, ::/0");
    machine.write(&text);
    let path = machine
        .files
        .path()
        .join(format!("wireguard/{second}.conf"));
    let addresses = ("10.78.0.1/24, fd78::1/64", "10.79.0.1/24, fd79::1/64");
    fs::write(path, text.replace(addresses.0, addresses.1)).unwrap();
    let binary = crate::e2e::ringtun().program;
    let good = |what: &str, name: &str| {
        machine.other(binary.to_str().unwrap(), &[what, name]);
    };
    let needs_mark = || machine.state().contains("src_valid_mark = 1");
    let none = machine.state();
    assert!(!needs_mark());

    good("up", first);
    let only_first = machine.state();
    good("up", &second);
    for (name, table) in [(first, "51820"), (second.as_str(), "51821")] {
        let there = routes(machine.ns, table);
        let wanted = format!("default dev {name}");
        assert_eq!(there.matches(&wanted).count(), 2, "{table}: {there}");
    }
    good("down", &second);
    assert_eq!(machine.state(), only_first);

    // The first goes, and leaves what the second needs.
    good("up", &second);
    good("down", first);
    let there = routes(machine.ns, "51821");
    assert_eq!(there.matches("unreachable default").count(), 2, "{there}");
    assert!(needs_mark());
    good("down", &second);
    assert_eq!(machine.state(), none);
}
