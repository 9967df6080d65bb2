//! Links, addresses and neighbours that change under a tunnel on rings: the
//! next echo is answered within five seconds, and the rings are in use again.

use ringtun_lab::link::veth_with_queues;
use ringtun_lab::tunnel::Options;
use ringtun_lab::{NetNs, Tunnel, wait};

use crate::support::{
    FIRST, GOES_ON, io_of, options, passes_sockets_by, program_on, switch, tunnel, until_on_rings,
};

/// Traffic goes on both ways, by rings.
#[track_caller]
fn goes_on(tunnel: &Tunnel) {
    for at in [0, 1] {
        if let Err(error) = tunnel.reach(at, false, GOES_ON) {
            let logs = [0, 1].map(|at| tunnel.devices[at].process.output());
            panic!(
                "{error:#}\n{}\n--\n{}\n{}",
                io_of(tunnel, at),
                logs[0],
                logs[1]
            );
        }
    }
    for at in [0, 1] {
        until_on_rings(tunnel, at);
    }
    passes_sockets_by(tunnel);
}

/// Two ends without anything between: each is the other's neighbour.
fn direct() -> Tunnel {
    tunnel(&Options {
        middle: ringtun_lab::link::Middle::None,
        ..options()
    })
}

fn card(tunnel: &Tunnel, at: usize) -> (&NetNs, &str) {
    (tunnel.ns(at), tunnel.pair.ends[at].device.as_str())
}

#[test]
fn a_card_that_goes_down_and_comes_up() {
    let tunnel = tunnel(&options());
    let (ns, device) = card(&tunnel, 0);
    ns.ip(&format!("link set {device} down\n")).unwrap();
    ns.ip(&format!("link set {device} up\n")).unwrap();
    goes_on(&tunnel);
    // Its other end, so that the carrier goes.
    let hop = tunnel.pair.middle.as_ref().unwrap();
    let far = &hop.devices[0];
    hop.ns
        .ip(&format!("link set {far} down\nlink set {far} up\n"))
        .unwrap();
    goes_on(&tunnel);
}

#[test]
fn a_card_that_is_deleted_and_made_again() {
    let tunnel = direct();
    let (ns, device) = card(&tunnel, 0);
    let (far_ns, far) = card(&tunnel, 1);
    ns.ip(&format!("link delete {device}\n")).unwrap();
    veth_with_queues(ns, device, far_ns, far, 1).unwrap();
    for (ns, device, host) in [(ns, device, 1), (far_ns, far, 2)] {
        ns.ip(&format!(
            "addr add 10.77.0.{host}/24 dev {device}\naddr add fd77::{host}/64 dev {device} nodad\n"
        ))
        .unwrap();
    }
    goes_on(&tunnel);
}

#[test]
fn another_address_of_a_card() {
    let tunnel = tunnel(&options());
    let (ns, device) = card(&tunnel, 0);
    ns.ip(&format!(
        "addr add 10.77.0.9/24 dev {device}\naddr delete 10.77.0.1/24 dev {device}\naddr add 10.77.0.9/24 dev {device}\n"
    ))
    .or_else(|_| ns.ip(&format!("addr replace 10.77.0.9/24 dev {device}\n")))
    .unwrap();
    goes_on(&tunnel);
    let endpoints = tunnel.show(1, "endpoints").unwrap();
    assert!(endpoints.contains("10.77.0.9:"), "{endpoints}");
}

#[test]
fn another_hardware_address_of_a_card_and_so_of_the_others_neighbour() {
    let tunnel = direct();
    let (ns, device) = card(&tunnel, 0);
    // ARP believes another address no sooner than a second after the last one.
    wait::until(
        "the other end's neighbour to be a second old",
        FIRST,
        || {
            let list = tunnel
                .ns(1)
                .run("ip", ["-j", "-s", "neighbour", "show", "to", "10.77.0.1"])?;
            let list: serde_json::Value = serde_json::from_str(&list)?;
            let age = list[0]["updated"].as_u64();
            Ok(age.is_some_and(|age| age > 1).then_some(()))
        },
    )
    .unwrap();
    ns.ip(&format!("link set {device} address 02:00:00:00:77:01\n"))
        .unwrap();
    goes_on(&tunnel);
}

#[test]
fn another_number_of_queues() {
    let tunnel = tunnel(&Options {
        queues: 4,
        ..options()
    });
    let (ns, device) = card(&tunnel, 0);
    let set = |queues: &str| ns.run("ethtool", ["-L", device, "rx", queues, "tx", queues]);
    let rings = || {
        io_of(&tunnel, 0)["cards"][0]["queues"]
            .as_array()
            .map_or(0, Vec::len)
    };
    // The kernel itself takes no queue away that has a ring.
    assert!(set("1").is_err());
    goes_on(&tunnel);
    switch(&tunnel, 0, "udp");
    // The kernel closes a socket some time after its descriptor.
    wait::until("the queues to be free", FIRST, || Ok(set("1").ok())).unwrap();
    switch(&tunnel, 0, "xdp");
    goes_on(&tunnel);
    assert_eq!(rings(), 1);
    // No event tells of more: what comes by the new ones goes by the socket
    // until that is seen.
    set("4").unwrap();
    for at in [0, 1] {
        tunnel.reach(at, false, GOES_ON).unwrap();
    }
    wait::until("rings on all queues", FIRST, || {
        Ok((rings() == 4).then_some(()))
    })
    .unwrap();
    goes_on(&tunnel);
}

#[test]
fn a_program_that_somebody_takes_off_by_force_is_no_end_of_the_tunnel() {
    let tunnel = tunnel(&options());
    let (ns, device) = card(&tunnel, 0);
    // A link's program cannot be taken off by `ip link`: said, and nothing changes.
    assert!(ns.run("ip", ["link", "set", device, "xdp", "off"]).is_err());
    assert!(!program_on(ns, device).is_null());
    goes_on(&tunnel);
}
