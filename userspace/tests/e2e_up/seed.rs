//! The dual-stack gateway of everybody's first `wg0.conf`, unchanged, and a client
//! of another implementation behind a NAT.

use ringtun_lab::keys::Keys;
use ringtun_lab::link::{addressed, veth};
use ringtun_lab::peers::local::Device;
use ringtun_lab::peers::{Implementation, default_cache};
use ringtun_lab::{NetNs, names, ping};

use crate::machine::{FIRST, Machine};

/// A server beyond the gateway, which knows no way to the tunnel's addresses.
const SERVER: [&str; 2] = ["198.51.100.2", "2001:db8:51::2"];

#[test]
fn a_dual_stack_gateway_with_masquerade_serves_a_client_behind_a_nat() {
    let client_program = Implementation::WireguardGo
        .prepare(&default_cache())
        .expect("wireguard-go can be had");
    let [server, gateway, nat, client] = ["s", "g", "n", "c"].map(|tag| NetNs::new(tag).unwrap());
    let [wan, gw, nat_out, nat_in, inside, far] = ["w", "g", "o", "i", "c", "s"].map(names::unique);
    veth(&server, &far, &gateway, &wan).unwrap();
    veth(&gateway, &gw, &nat, &nat_out).unwrap();
    veth(&nat, &nat_in, &client, &inside).unwrap();
    let address = |ns: &NetNs, device: &str, addresses: &[&str]| {
        for a in addresses {
            let nodad = if a.contains(':') { " nodad" } else { "" };
            ns.ip(&format!("addr add {a} dev {device}{nodad}\n"))
                .unwrap();
        }
        addressed(ns, device).unwrap();
    };
    address(&server, &far, &["198.51.100.2/24", "2001:db8:51::2/64"]);
    address(&gateway, &wan, &["198.51.100.1/24", "2001:db8:51::1/64"]);
    address(&gateway, &gw, &["10.77.0.1/24"]);
    address(&nat, &nat_out, &["10.77.0.2/24"]);
    address(&nat, &nat_in, &["192.168.7.1/24"]);
    address(&client, &inside, &["192.168.7.2/24"]);
    gateway.sysctl("net.ipv4.ip_forward", "1").unwrap();
    gateway.sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
    nat.sysctl("net.ipv4.ip_forward", "1").unwrap();
    nat.run_with_input(
        "nft",
        ["-f", "-"],
        format!("table ip nat {{ chain post {{ type nat hook postrouting priority 100; oifname {nat_out} masquerade; }}; }}\n").as_bytes(),
    )
    .unwrap();

    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let machine = Machine::new(&gateway);
    let hook = |what: &str, flag: &str| {
        let one = |program: &str| {
            format!(
                "{program} {flag} FORWARD -i %i -j ACCEPT; {program} -t nat {flag} POSTROUTING -o {wan} -j MASQUERADE"
            )
        };
        format!("{what} = {}; {}\n", one("iptables"), one("ip6tables"))
    };
    machine.write(&format!(
        "[Interface]\nAddress = 10.0.0.1/32, fd86:ea04:1119::1\nListenPort = 1194\nPrivateKey = {}\n{}{}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.0.0.2/32, fd86:ea04:1119::2\n",
        keys[0].private,
        hook("PostUp", "-A"),
        hook("PostDown", "-D"),
        keys[1].public
    ));
    // iptables leaves empty tables behind; they are here before, then.
    for program in ["iptables", "ip6tables"] {
        for flag in ["-A", "-D"] {
            machine.other(program, &[flag, "FORWARD", "-i", "none", "-j", "ACCEPT"]);
            machine.other(
                program,
                &[
                    "-t",
                    "nat",
                    flag,
                    "POSTROUTING",
                    "-o",
                    "none",
                    "-j",
                    "MASQUERADE",
                ],
            );
        }
    }
    let before = machine.state();
    machine.good("up");

    let device = Device::start(&client_program, &client, &names::unique("w")).unwrap();
    let text = format!(
        "[Interface]\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 10.77.0.1:1194\nPersistentKeepalive = 25\n",
        keys[1].private, keys[0].public
    );
    client
        .run_with_input(
            "wg",
            ["setconf", &device.name, "/dev/stdin"],
            text.as_bytes(),
        )
        .unwrap();
    client
        .ip(&format!(
            "addr add 10.0.0.2/32 dev {0}\naddr add fd86:ea04:1119::2/128 dev {0} nodad\nlink set {0} mtu 1420 up\nroute add 10.77.0.1/32 via 192.168.7.1\nroute add default dev {0}\nroute add ::/0 dev {0}\n",
            device.name
        ))
        .unwrap();
    for address in SERVER {
        ping::until_answered(&client, address.parse().unwrap(), FIRST).unwrap();
        ping::expect_all(&client, address.parse().unwrap(), 20).unwrap();
    }
    let seen = machine.other("wg", &["show", &machine.name, "endpoints"]);
    assert!(seen.contains("10.77.0.2:"), "the NAT's address: {seen}");

    machine.good("down");
    assert_eq!(machine.state(), before);
}
