//! Devices that move between namespaces, and networks that change under a running tunnel.
//!
//! Each test ends with one single echo request: the next packet has to get through, not one of
//! the next few.

mod e2e;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringtun_lab::keys::Keys;
use ringtun_lab::link::{Middle, addressed, veth};
use ringtun_lab::peers::local::Device;
use ringtun_lab::tunnel::{Options, PORT};
use ringtun_lab::{NetNs, Tunnel, names, ping, wait};

/// How long to wait for what must come, on a machine whose processors are taken.
const FIRST: Duration = Duration::from_secs(60);
/// Within this the next packet is to be answered.
const NEXT: Duration = Duration::from_secs(1);
/// Within this it must be, whoever else has the processors: before a handshake message that was
/// lost is sent again (5 s), so that it was not lost.
const NEXT_AT_ALL: Duration = Duration::from_millis(4500);

fn tunnel() -> Tunnel {
    let ringtun = e2e::ringtun();
    let tunnel = Tunnel::new([&ringtun, &ringtun], &Options::default()).unwrap();
    for v6 in [false, true] {
        tunnel.reach(0, v6, FIRST).unwrap();
    }
    tunnel
}

/// The very next echo request is answered.
#[track_caller]
fn next_is_answered(ns: &NetNs, to: IpAddr) {
    let report = ping::ping(ns, to, 1, NEXT, NEXT_AT_ALL).unwrap();
    assert_eq!(
        report.received, 1,
        "no answer from {to} within {NEXT_AT_ALL:?}"
    );
    let time = report.mean.unwrap_or(0.0);
    if time > NEXT.as_secs_f64() {
        println!("{to} answered after {time:.3} s, later than {NEXT:?}");
    }
}

fn endpoint_of_peer(tunnel: &Tunnel, at: usize) -> SocketAddr {
    let text = tunnel.show(at, "endpoints").unwrap();
    text.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn sent_packets(ns: &NetNs, device: &str) -> u64 {
    let json = ns.run("ip", ["-j", "-s", "link", "show", device]).unwrap();
    let links: serde_json::Value = serde_json::from_str(&json).unwrap();
    links[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
}

/// The inode numbers of the UDP sockets of a namespace.
fn udp_sockets(ns: &NetNs) -> Vec<String> {
    let text = ns.run("ss", ["-Huane"]).unwrap();
    let fields = text.split_whitespace();
    let mut inodes: Vec<_> = fields.filter_map(|f| f.strip_prefix("ino:")).collect();
    inodes.sort_unstable();
    inodes.into_iter().map(str::to_owned).collect()
}

#[test]
fn a_device_moved_away_keeps_its_sockets_where_it_was_made() {
    let tunnel = tunnel();
    let room = NetNs::new("r").unwrap();
    let device = &tunnel.devices[0].name;
    let target = room.path();
    tunnel
        .ns(0)
        .ip(&format!("link set {device} netns {}\n", target.display()))
        .unwrap();
    // The kernel takes addresses and routes off a device that moves.
    tunnel.up(&room, 0).unwrap();
    next_is_answered(&room, Tunnel::inside_v4(1).into());
    // The answer to IPv6 is taken no sooner, whatever the device does.
    addressed(&room, device).unwrap();
    next_is_answered(&room, Tunnel::inside_v6(1).into());
    next_is_answered(tunnel.ns(1), Tunnel::inside_v4(0).into());
    // The room has no way out of its own: what arrived came through the old sockets.
    let links = room.run("ip", ["-o", "link"]).unwrap();
    assert_eq!(links.lines().count(), 2, "{links}");
}

#[test]
fn a_device_that_was_down_for_a_moment_keeps_its_sessions() {
    let tunnel = tunnel();
    let sockets = udp_sockets(tunnel.ns(0));
    assert!(!sockets.is_empty());
    let device = &tunnel.devices[0].name;
    // The moment is as short as it can be: the program sees its beginning and its end at once,
    // however long this machine takes from one to the other.
    let process = &tunnel.devices[0].process;
    process.signal(libc::SIGSTOP).unwrap();
    tunnel
        .ns(0)
        .ip(&format!("link set {device} down\nlink set {device} up\n"))
        .unwrap();
    process.signal(libc::SIGCONT).unwrap();
    next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
    assert_eq!(sockets, udp_sockets(tunnel.ns(0)));

    // Down for good: the sockets close, and with them go the sessions.
    tunnel
        .ns(0)
        .ip(&format!("link set {device} down\n"))
        .unwrap();
    wait::until("the sockets to close", FIRST, || {
        Ok(udp_sockets(tunnel.ns(0)).is_empty().then_some(()))
    })
    .unwrap();
    tunnel.ns(0).ip(&format!("link set {device} up\n")).unwrap();
    next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
}

#[test]
fn two_devices_moved_away_talk_over_the_loopback_they_left() {
    let ringtun = e2e::ringtun();
    let origin = NetNs::new("o").unwrap();
    let rooms = [NetNs::new("r").unwrap(), NetNs::new("r").unwrap()];
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    for v6 in [false, true] {
        let names = [names::unique("w"), names::unique("w")];
        let devices = names
            .each_ref()
            .map(|name| Device::start(&ringtun, &origin, name).unwrap());
        for at in [0, 1] {
            let host = if v6 { "[::1]" } else { "127.0.0.1" };
            let text = format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.0/24\nEndpoint = {host}:{}\n",
                keys[at].private,
                4000 + at,
                keys[1 - at].public,
                4000 + (1 - at),
            );
            origin
                .run_with_input(
                    "wg",
                    ["setconf", &devices[at].name, "/dev/stdin"],
                    text.as_bytes(),
                )
                .unwrap();
            let (name, room) = (&devices[at].name, &rooms[at]);
            origin
                .ip(&format!(
                    "link set {name} netns {}\n",
                    room.path().display()
                ))
                .unwrap();
            room.ip(&format!(
                "addr add {}/24 dev {name}\nlink set {name} up\n",
                Tunnel::inside_v4(at)
            ))
            .unwrap();
        }
        ping::until_answered(&rooms[0], Tunnel::inside_v4(1).into(), FIRST).unwrap();
        next_is_answered(&rooms[1], Tunnel::inside_v4(0).into());
    }
}

/// End 0 gets the address 10.77.0.11, too, and the peer speaks to that: replies leave from there.
fn speak_to_a_second_address(tunnel: &Tunnel) {
    let device = &tunnel.pair.ends[0].device;
    tunnel
        .ns(0)
        .ip(&format!("addr add 10.77.0.11/24 dev {device}\n"))
        .unwrap();
    let near = &tunnel.keys[0].public;
    tunnel
        .set(1, &format!("peer {near} endpoint 10.77.0.11:{PORT}"))
        .unwrap();
    next_is_answered(tunnel.ns(1), Tunnel::inside_v4(0).into());
}

#[test]
fn the_local_address_in_use_is_removed() {
    let tunnel = tunnel();
    speak_to_a_second_address(&tunnel);
    let device = &tunnel.pair.ends[0].device;
    next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
    let in_use = SocketAddr::new("10.77.0.11".parse().unwrap(), PORT);
    assert_eq!(
        endpoint_of_peer(&tunnel, 1),
        in_use,
        "replies leave from another address"
    );

    tunnel
        .ns(0)
        .ip(&format!("addr del 10.77.0.11/24 dev {device}\n"))
        .unwrap();
    next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
    let left = SocketAddr::new(tunnel.pair.ends[0].v4.into(), PORT);
    assert_eq!(
        endpoint_of_peer(&tunnel, 1),
        left,
        "the peer has not followed"
    );
    next_is_answered(tunnel.ns(1), Tunnel::inside_v4(0).into());
}

#[test]
fn another_mark_forgets_the_address_that_was_spoken_to() {
    let tunnel = tunnel();
    speak_to_a_second_address(&tunnel);
    tunnel.set(0, "fwmark 7").unwrap();
    // One way only: an answer from there would be spoken to that address again.
    next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
    let main = SocketAddr::new(tunnel.pair.ends[0].v4.into(), PORT);
    assert_eq!(endpoint_of_peer(&tunnel, 1), main, "it answers from before");
}

/// What `wg` counts as sent while one echo request of `len` bytes, with its IPv4 header, is answered.
fn sent_of_one_echo(tunnel: &Tunnel, len: usize) -> u64 {
    let sent = || {
        let text = tunnel.show(0, "transfer").unwrap();
        let field = text.split_whitespace().nth(2).unwrap();
        field.parse::<u64>().unwrap()
    };
    let payload = (len - 28).to_string();
    let before = sent();
    let more = ["-M", "do", "-s", &payload];
    let to = Tunnel::inside_v4(1).into();
    let report = ping::ping_with(tunnel.ns(0), to, 1, NEXT, FIRST, &more).unwrap();
    assert_eq!(report.received, 1);
    sent() - before
}

#[test]
fn another_mtu_is_where_padding_ends() {
    let tunnel = tunnel();
    // What was sent before, to find out that the tunnel works, may be counted late.
    wait::until("a packet padded to 16 bytes", FIRST, || {
        Ok((sent_of_one_echo(&tunnel, 1301) == 32 + 1312).then_some(()))
    })
    .unwrap();
    let device = &tunnel.devices[0].name;
    tunnel
        .ns(0)
        .ip(&format!("link set {device} mtu 1301\n"))
        .unwrap();
    wait::until("packets that are not longer than the MTU", FIRST, || {
        Ok((sent_of_one_echo(&tunnel, 1301) == 32 + 1301).then_some(()))
    })
    .unwrap();
}

#[test]
fn the_local_address_changes() {
    let tunnel = tunnel();
    for (family, old, new) in [
        ("-4", "10.77.0.2/24", "10.77.0.22/24"),
        ("-6", "fd77::2/64", "fd77::22/64"),
    ] {
        let v6 = family == "-6";
        let far = &tunnel.keys[1].public;
        let there = SocketAddr::new(tunnel.pair.ends[1].address(v6), PORT);
        tunnel
            .set(0, &format!("peer {far} endpoint {there}"))
            .unwrap();
        next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
        let device = &tunnel.pair.ends[1].device;
        tunnel
            .ns(1)
            .ip(&format!(
                "addr del {old} dev {device}\naddr add {new} dev {device} nodad\n"
            ))
            .unwrap();
        // Nobody gets an answer there before.
        addressed(tunnel.ns(1), device).unwrap();
        // The end that moved speaks: the other follows it.
        next_is_answered(tunnel.ns(1), Tunnel::inside_v4(0).into());
        next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
        let (host, _) = new.split_once('/').unwrap();
        assert_eq!(
            endpoint_of_peer(&tunnel, 0),
            SocketAddr::new(host.parse().unwrap(), PORT)
        );
    }
}

#[test]
fn a_better_route_is_taken_and_its_loss_survived() {
    let tunnel = tunnel();
    let (near, far) = (names::unique("c"), names::unique("d"));
    veth(tunnel.ns(0), &near, tunnel.ns(1), &far).unwrap();
    tunnel
        .ns(0)
        .ip(&format!("addr add 10.77.9.1/24 dev {near}\n"))
        .unwrap();
    tunnel
        .ns(1)
        .ip(&format!("addr add 10.77.9.2/24 dev {far}\n"))
        .unwrap();
    next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());

    tunnel
        .ns(0)
        .ip("route add 10.77.0.2/32 via 10.77.9.2\n")
        .unwrap();
    // Each packet gets through, and soon they take the better route.
    wait::until("packets that take the better route", FIRST, || {
        let before = sent_packets(tunnel.ns(0), &near);
        next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
        Ok((sent_packets(tunnel.ns(0), &near) > before).then_some(()))
    })
    .unwrap();

    tunnel.ns(0).ip(&format!("link del {near}\n")).unwrap();
    next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
}

#[test]
fn the_family_of_the_endpoint_changes_by_wg_set() {
    let tunnel = tunnel();
    let far = &tunnel.keys[1].public;
    for v6 in [true, false, true] {
        let there = SocketAddr::new(tunnel.pair.ends[1].address(v6), PORT);
        tunnel
            .set(0, &format!("peer {far} endpoint {there}"))
            .unwrap();
        next_is_answered(tunnel.ns(0), Tunnel::inside_v4(1).into());
        let seen = endpoint_of_peer(&tunnel, 1);
        assert_eq!(seen.is_ipv6(), v6, "the peer sees {seen}");
        next_is_answered(tunnel.ns(1), Tunnel::inside_v6(0).into());
    }
}

#[test]
fn replies_leave_from_the_address_that_was_spoken_to() {
    let ringtun = e2e::ringtun();
    let options = Options {
        middle: Middle::Router,
        ..Options::default()
    };
    let tunnel = Tunnel::new([&ringtun, &ringtun], &options).unwrap();
    let device = &tunnel.pair.ends[0].device;
    tunnel
        .ns(0)
        .ip(&format!(
            "addr add 10.77.0.3/24 dev {device}\naddr add fd77::3/64 dev {device} nodad\n"
        ))
        .unwrap();
    let near = &tunnel.keys[0].public;
    for address in ["10.77.0.3", "fd77::3", "10.77.0.2", "fd77::2"] {
        let there = SocketAddr::new(address.parse().unwrap(), PORT);
        tunnel
            .set(1, &format!("peer {near} endpoint {there}"))
            .unwrap();
        ping::until_answered(tunnel.ns(1), Tunnel::inside_v4(0).into(), FIRST).unwrap();
        // An authenticated reply from elsewhere would have moved the endpoint.
        assert_eq!(endpoint_of_peer(&tunnel, 1), there);
    }
}

#[test]
fn a_program_whose_device_is_removed_ends_cleanly() {
    for moved in [false, true] {
        let tunnel = tunnel();
        let device = &tunnel.devices[0];
        let room = NetNs::new("r").unwrap();
        let at = if moved {
            tunnel
                .ns(0)
                .ip(&format!(
                    "link set {} netns {}\n",
                    device.name,
                    room.path().display()
                ))
                .unwrap();
            &room
        } else {
            tunnel.ns(0)
        };
        at.ip(&format!("link del {}\n", device.name)).unwrap();
        let status = device.process.wait_exit(FIRST).unwrap();
        assert!(status.success(), "{status}\n{}", device.process.output());
        wait::uapi_gone(&device.name, FIRST).unwrap();
    }
}

#[test]
fn a_program_whose_socket_is_removed_or_that_is_told_to_ends_cleanly() {
    for how in ["socket", "SIGTERM", "SIGINT"] {
        let tunnel = tunnel();
        let device = &tunnel.devices[0];
        match how {
            "socket" => std::fs::remove_file(wait::uapi_path(&device.name)).unwrap(),
            "SIGTERM" => device.process.signal(libc::SIGTERM).unwrap(),
            _ => device.process.signal(libc::SIGINT).unwrap(),
        }
        let status = device.process.wait_exit(FIRST).unwrap();
        assert!(
            status.success(),
            "{how}: {status}\n{}",
            device.process.output()
        );
        wait::uapi_gone(&device.name, FIRST).unwrap();
        let links = tunnel.ns(0).run("ip", ["-o", "link"]).unwrap();
        assert!(!links.contains(&device.name), "{how}: {links}");
    }
}
