//! Whose a card is, and whose a packet.

use std::net::SocketAddr;
use std::time::Duration;

use ringtun::bpf::{Mode, RingProgram};
use ringtun_lab::keys::Keys;
use ringtun_lab::link::veth;
use ringtun_lab::peers::local::Device;
use ringtun_lab::tunnel::PORT;
use ringtun_lab::{NetNs, Tunnel, names, ping, registry, wait};
use serde_json::Value;

use crate::e2e;
use crate::support::{FIRST, XDP, io, io_of, options, passes_sockets_by, program_on, tunnel};

/// Configures a second device with a peer at end 1 of the tunnel, and that
/// peer's device there.
fn second_pair(tunnel: &Tunnel, names: [&str; 2]) {
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    for at in [0, 1] {
        let ns = tunnel.ns(at);
        let port = PORT + 1;
        let endpoint = SocketAddr::new(tunnel.pair.ends[1 - at].address(false), port);
        let text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {port}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.79.0.0/24\nEndpoint = {endpoint}\n",
            keys[at].private,
            keys[1 - at].public,
        );
        ns.run_with_input("wg", ["setconf", names[at], "/dev/stdin"], text.as_bytes())
            .unwrap();
        ns.ip(&format!(
            "addr add 10.79.0.{}/24 dev {name}\nlink set {name} up\n",
            at + 1,
            name = names[at]
        ))
        .unwrap();
    }
}

fn reaches(tunnel: &Tunnel) {
    ping::until_answered(tunnel.ns(0), "10.79.0.2".parse().unwrap(), FIRST).unwrap();
}

fn until_io(ns: &NetNs, device: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let ringtun = e2e::ringtun();
    wait::until(what, FIRST, || {
        let io = io(ns, &ringtun, device);
        Ok(is(&io).then_some(io))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", io(ns, &ringtun, device)))
}

#[test]
fn two_devices_of_one_process_share_a_card() {
    let ringtun = e2e::ringtun();
    let more = [names::unique("w"), names::unique("w")];
    // A killed program leaves its sockets behind.
    let _sockets = more
        .each_ref()
        .map(|name| registry::adopt_file(wait::uapi_path(name)).unwrap());
    // The second device of each process is named among its arguments.
    let start = |ns: &NetNs, other: &str| {
        let name = names::unique("w");
        let mut arguments = XDP.to_vec();
        arguments.push(other);
        Device::start_with(&ringtun, ns, &name, &arguments).unwrap()
    };
    let mut tunnel = tunnel(&options());
    for at in [0, 1] {
        let device = start(tunnel.ns(at), &more[at]);
        drop(std::mem::replace(&mut tunnel.devices[at], device));
    }
    for at in [0, 1] {
        let endpoint = SocketAddr::new(tunnel.pair.ends[1 - at].address(false), PORT);
        tunnel
            .configure(
                at,
                &format!(
                    "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.0/24\nEndpoint = {endpoint}\n",
                    tunnel.keys[at].private,
                    tunnel.keys[1 - at].public,
                ),
            )
            .unwrap();
        tunnel.up(tunnel.ns(at), at).unwrap();
    }
    tunnel.reach(0, false, FIRST).unwrap();
    second_pair(&tunnel, [&more[0], &more[1]]);
    reaches(&tunnel);
    for at in [0, 1] {
        for device in [tunnel.devices[at].name.as_str(), more[at].as_str()] {
            let io = until_io(tunnel.ns(at), device, "rings", |io| io["io"] == "xdp");
            assert_eq!(io["cards"].as_array().unwrap().len(), 1, "{io}");
        }
    }
    passes_sockets_by(&tunnel);
}

#[test]
fn a_second_process_goes_by_the_socket_and_names_the_first() {
    let ringtun = e2e::ringtun();
    let tunnel = tunnel(&options());
    let names = [names::unique("w"), names::unique("w")];
    let _devices =
        [0, 1].map(|at| Device::start_with(&ringtun, tunnel.ns(at), &names[at], &XDP).unwrap());
    second_pair(&tunnel, [&names[0], &names[1]]);
    reaches(&tunnel);
    for at in [0, 1] {
        let io = until_io(tunnel.ns(at), &names[at], "a reason", |io| {
            let reason = io["reason"].as_str().unwrap_or_default();
            reason.contains("belongs to")
        });
        assert_eq!(io["io"], "udp");
        let holder = format!(
            "process {} ({})",
            tunnel.devices[at].process.pid(),
            tunnel.devices[at].name
        );
        assert!(io["reason"].as_str().unwrap().contains(&holder), "{io}");
    }
    // Neither disturbs the other.
    reaches(&tunnel);
    passes_sockets_by(&tunnel);
    assert_eq!(io_of(&tunnel, 0)["io"], "xdp");
}

#[test]
fn somebody_elses_program_stays_and_is_named() {
    let ringtun = e2e::ringtun();
    let mut tunnel = tunnel(&options());
    let card = tunnel.pair.ends[0].device.clone();
    tunnel.devices[0].process.stop(FIRST).unwrap();
    let program = RingProgram::load().unwrap();
    let foreign = tunnel
        .ns(0)
        .within(|| {
            let index = nix::net::if_::if_nametoindex(card.as_str())?;
            Ok(program.attach(index, Mode::Native)?)
        })
        .unwrap();
    let id = program_on(tunnel.ns(0), &card)["prog"]["id"].clone();

    let device = Device::start_with(&ringtun, tunnel.ns(0), &names::unique("w"), &XDP).unwrap();
    drop(std::mem::replace(&mut tunnel.devices[0], device));
    let endpoint = SocketAddr::new(tunnel.pair.ends[1].address(false), PORT);
    tunnel
        .configure(
            0,
            &format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.0/24\nEndpoint = {endpoint}\n",
                tunnel.keys[0].private, tunnel.keys[1].public,
            ),
        )
        .unwrap();
    tunnel.up(tunnel.ns(0), 0).unwrap();
    tunnel.reach(0, false, FIRST).unwrap();
    let io = until_io(tunnel.ns(0), &tunnel.devices[0].name, "a reason", |io| {
        let reason = io["reason"].as_str().unwrap_or_default();
        reason.contains("another XDP program")
    });
    let reason = io["reason"].as_str().unwrap();
    // The daemon may not know its name; doctor, below, does.
    let which = format!("(id {id}; `ringtun doctor` tells its name)");
    assert!(reason.contains(&which), "{reason}");
    assert_eq!(program_on(tunnel.ns(0), &card)["prog"]["id"], id);
    let doctor = || {
        let binary = e2e::ringtun().program;
        let mut command = tunnel.ns(0).command(binary);
        command.args(["doctor", &tunnel.devices[0].name]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said = doctor();
    assert!(said.contains("[xdp-taken]"), "{said}");
    assert!(
        said.contains(&format!("{card} carries the XDP program ringtun_ring")),
        "{said}"
    );
    drop(foreign);
    let said = doctor();
    assert!(!said.contains("[xdp-taken]"), "{said}");
}

/// A client behind a gateway speaks to somebody else's WireGuard server on the
/// same port number: the gateway's card lets it through.
#[test]
fn a_lan_clients_own_tunnel_through_the_gateway_is_left_alone() {
    let ringtun = e2e::ringtun();
    let tunnel = tunnel(&options());
    let gateway = tunnel.ns(0);
    let client = NetNs::new("c").unwrap();
    let (inside, outside) = (names::unique("ci"), names::unique("co"));
    veth(gateway, &inside, &client, &outside).unwrap();
    gateway.sysctl("net.ipv4.ip_forward", "1").unwrap();
    gateway
        .ip(&format!("addr add 10.80.0.1/24 dev {inside}\n"))
        .unwrap();
    client
        .ip(&format!(
            "addr add 10.80.0.2/24 dev {outside}\nroute add default via 10.80.0.1\n"
        ))
        .unwrap();
    // The server is end 1's neighbour in the same namespace, on the same port
    // of another address.
    let server_card = &tunnel.pair.ends[1].device;
    tunnel
        .ns(1)
        .ip(&format!(
            "addr add 10.77.0.22/24 dev {server_card}\nroute add 10.80.0.0/24 via 10.77.0.1\n"
        ))
        .unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let server = NetNs::new("s").unwrap();
    let (near, far) = (names::unique("sn"), names::unique("sf"));
    veth(tunnel.ns(1), &near, &server, &far).unwrap();
    tunnel.ns(1).sysctl("net.ipv4.ip_forward", "1").unwrap();
    tunnel
        .ns(1)
        .ip(&format!("addr add 10.81.0.1/24 dev {near}\n"))
        .unwrap();
    server
        .ip(&format!(
            "addr add 10.81.0.2/24 dev {far}\nroute add default via 10.81.0.1\n"
        ))
        .unwrap();
    gateway
        .ip("route add 10.81.0.0/24 via 10.77.0.2\n")
        .unwrap();
    let devices = [(&client, 0, "10.81.0.2"), (&server, 1, "10.80.0.2")].map(|(ns, at, to)| {
        let device = Device::start_with(
            &ringtun,
            ns,
            &names::unique("w"),
            &["--io", "udp", "--metrics", "off"],
        )
        .unwrap();
        let text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.82.0.0/24\nEndpoint = {to}:{PORT}\n",
            keys[at].private,
            keys[1 - at].public,
        );
        ns.run_with_input("wg", ["setconf", &device.name, "/dev/stdin"], text.as_bytes())
            .unwrap();
        ns.ip(&format!(
            "addr add 10.82.0.{}/24 dev {name}\nlink set {name} up\n",
            at + 1,
            name = device.name
        ))
        .unwrap();
        device
    });
    ping::until_answered(&client, "10.82.0.2".parse().unwrap(), FIRST).unwrap();
    let every = Duration::from_millis(10);
    let report = ping::ping(&client, "10.82.0.2".parse().unwrap(), 50, every, FIRST).unwrap();
    assert_eq!(report.received, 50);
    // Meanwhile the gateway's own tunnel goes on, and no ring saw a stranger.
    passes_sockets_by(&tunnel);
    let io = io_of(&tunnel, 0);
    assert_eq!(io["cards"][0]["queues"][0]["stray"], 0, "{io}");
    drop(devices);
}
