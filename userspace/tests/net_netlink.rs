//! Netlink in namespaces of our own. Needs root.

mod netlink;

use netlink::{addr, index, inside, ip};
use ringtun::net::netlink::{NetEvent, NetEvents, RouteTo, Routes, TunEvent, TunWatch};
use ringtun::net::tun::{self, Tun};
use ringtun::net::udp::Source;
use ringtun_lab::link::{addressed, veth};
use ringtun_lab::{NetNs, names};
use std::time::Duration;

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = std::io::Result<T>>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing heard within {SOON:?}"))
        .unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The watch has nothing to tell.
async fn nothing_more(watch: &mut TunWatch) {
    let next = tokio::time::timeout(Duration::from_millis(200), watch.next()).await;
    assert!(next.is_err(), "{next:?}");
}

#[test]
fn the_watch_tells_all_that_happens_to_the_device() {
    let ns = NetNs::new("nw").expect("namespace");
    let (name, new_name) = (names::unique("nw"), names::unique("nx"));
    inside(&ns, async || {
        let tun = Tun::create(&name, 1).expect("device");
        let mut watch = TunWatch::new(&tun).expect("watch");
        let ip = |arguments: &[&str]| ns.run("ip", arguments).expect("ip");

        ip(&["link", "set", &name, "up"]);
        assert_eq!(soon("up", watch.next()).await, TunEvent::Up(true));
        ip(&["link", "set", &name, "mtu", "1400"]);
        assert_eq!(soon("MTU", watch.next()).await, TunEvent::Mtu(1400));
        ip(&["link", "set", &name, "down"]);
        assert_eq!(soon("down", watch.next()).await, TunEvent::Up(false));
        ip(&["link", "set", &name, "name", &new_name]);
        let renamed = TunEvent::Renamed(new_name.clone());
        assert_eq!(soon("name", watch.next()).await, renamed);
        ip(&["link", "delete", &new_name]);
        assert_eq!(soon("removal", watch.next()).await, TunEvent::Removed);
    });
}

#[test]
fn what_happened_before_the_watch_began_is_told_too() {
    let ns = NetNs::new("nb").expect("namespace");
    inside(&ns, async || {
        let tun = Tun::create(&names::unique("nb"), 1).expect("device");
        tun.set_mtu(1380).expect("MTU");
        tun.set_up(true).expect("up");
        let mut watch = TunWatch::new(&tun).expect("watch");
        assert_eq!(soon("MTU", watch.next()).await, TunEvent::Mtu(1380));
        assert_eq!(soon("up", watch.next()).await, TunEvent::Up(true));
    });
}

#[test]
fn the_watch_follows_the_device_from_namespace_to_namespace() {
    let home = NetNs::new("nh").expect("namespace");
    let others = [
        NetNs::new("ni").expect("namespace"),
        NetNs::new("nj").expect("namespace"),
    ];
    let name = names::unique("nt");
    inside(&home, async || {
        let tun = Tun::create(&name, 1).expect("device");
        let mut watch = TunWatch::new(&tun).expect("watch");
        let mut at = &home;
        for other in &others {
            let target = other.path().display().to_string();
            at.run("ip", ["link", "set", &name, "netns", &target])
                .expect("move");
            assert_eq!(soon("move", watch.next()).await, TunEvent::Moved);
            at = other;
            // It has looked at everything and listens: what comes is heard.
            nothing_more(&mut watch).await;
            at.run("ip", ["link", "set", &name, "mtu", "1300"])
                .expect("change");
            assert_eq!(soon("MTU", watch.next()).await, TunEvent::Mtu(1300));
            nothing_more(&mut watch).await;
            at.run("ip", ["link", "set", &name, "up"]).expect("up");
            assert_eq!(soon("up", watch.next()).await, TunEvent::Up(true));
            at.run("ip", ["link", "set", &name, "down", "mtu", "1500"])
                .expect("change");
            assert_eq!(soon("MTU", watch.next()).await, TunEvent::Mtu(1500));
            assert_eq!(soon("down", watch.next()).await, TunEvent::Up(false));
            nothing_more(&mut watch).await;
        }
        at.run("ip", ["link", "delete", &name]).expect("delete");
        assert_eq!(soon("removal", watch.next()).await, TunEvent::Removed);
    });
}

#[test]
fn a_namespace_that_ends_takes_the_device_along_although_it_is_watched() {
    let home = NetNs::new("ne").expect("namespace");
    let other = NetNs::new("nf").expect("namespace");
    let name = names::unique("ne");
    inside(&home, async || {
        let tun = Tun::create(&name, 1).expect("device");
        let mut watch = TunWatch::new(&tun).expect("watch");
        let target = other.path().display().to_string();
        home.run("ip", ["link", "set", &name, "netns", &target])
            .expect("move");
        assert_eq!(soon("move", watch.next()).await, TunEvent::Moved);
        nothing_more(&mut watch).await;
        drop(other);
        assert_eq!(soon("removal", watch.next()).await, TunEvent::Removed);
        assert!(tun::is_gone(&tun.mtu().expect_err("gone")));
    });
}

#[test]
fn removed_addresses_and_changed_routes_are_told() {
    let ns = NetNs::new("na").expect("namespace");
    let other = NetNs::new("nc").expect("namespace");
    let device = names::unique("na");
    veth(&ns, &device, &other, "peer").expect("veth");
    ns.ip(&format!(
        "address add 192.0.2.1/24 dev {device}\naddress add 2001:db8::1/64 dev {device} nodad\n"
    ))
    .expect("addresses");
    addressed(&ns, &device).expect("what follows the addresses is over");
    let ifindex = index(&ns, &device);
    inside(&ns, async || {
        let mut events = NetEvents::open().expect("netlink");
        for (text, length) in [("192.0.2.1", 24), ("2001:db8::1", 64)] {
            ns.ip(&format!("address delete {text}/{length} dev {device}\n"))
                .expect("delete");
            let expected = NetEvent::AddressRemoved {
                addr: addr(text),
                ifindex,
            };
            let mut heard = soon("address", events.next()).await;
            while heard == NetEvent::RoutesChanged {
                heard = soon("address", events.next()).await;
            }
            assert_eq!(heard, expected);
        }
        // Whatever is left of the removals' routes.
        while let Ok(left) = tokio::time::timeout(Duration::from_millis(200), events.next()).await {
            assert_eq!(left.expect("netlink"), NetEvent::RoutesChanged);
        }
        for line in [
            "route add 198.51.100.0/24 dev {}",
            "route delete 198.51.100.0/24 dev {}",
            "-6 route add 2001:db8:1::/48 dev {}",
            "rule add fwmark 7 prohibit",
            "rule delete fwmark 7 prohibit",
        ] {
            let line = line.replace("{}", &device);
            ip(&ns, &line);
            assert_eq!(soon(&line, events.next()).await, NetEvent::RoutesChanged);
        }
    });
}

#[test]
fn routes_are_looked_up_with_mark_and_source() {
    let ns = NetNs::new("nr").expect("namespace");
    let other = NetNs::new("ns").expect("namespace");
    let devices = [names::unique("nr"), names::unique("ns")];
    for (device, net) in devices.iter().zip(["0", "1"]) {
        veth(&ns, device, &other, &format!("peer{net}")).expect("veth");
        ns.ip(&format!(
            "address add 10.9.{net}.1/24 dev {device}\naddress add fd09:{net}::1/64 dev {device} nodad\n"
        ))
        .expect("addresses");
        addressed(&ns, device).expect("addresses that are sources");
    }
    let indices = devices.each_ref().map(|device| index(&ns, device));
    for line in [
        "route add default via 10.9.0.2",
        "-6 route add default via fd09:0::2",
        "rule add fwmark 9 prohibit",
        "-6 rule add fwmark 9 prohibit",
    ] {
        ip(&ns, line);
    }
    inside(&ns, async || {
        let routes = Routes::open().expect("netlink");
        let cases = [
            (
                "192.0.2.7",
                ["10.9.0.1", "10.9.1.1"],
                "route add 192.0.2.0/24 via 10.9.1.2",
            ),
            (
                "2001:db8::7",
                ["fd09::1", "fd09:1::1"],
                "-6 route add 2001:db8::/48 via fd09:1::2",
            ),
        ];
        for (to, sources, better) in cases {
            let to = addr(to);
            let sources = sources.map(addr);
            let expected = RouteTo {
                ifindex: indices[0],
                source: Some(sources[0]),
            };
            let found = soon("route", routes.route_to(to, 0, None)).await;
            assert_eq!(found, expected);
            let error = routes.route_to(to, 9, None).await.expect_err("prohibited");
            assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error}");
            let source = Source {
                addr: sources[0],
                ifindex: indices[0],
            };
            let fits = soon("fit", routes.source_still_fits(to, 0, source)).await;
            assert!(fits);
            // A better route appears.
            ip(&ns, better);
            let fits = soon("fit", routes.source_still_fits(to, 0, source)).await;
            assert!(!fits, "{to} leaves by the other interface now");
            let found = soon("route", routes.route_to(to, 0, None)).await;
            assert_eq!(found.source, Some(sources[1]));
            // An address that nobody here has.
            let gone = Source {
                addr: addr(if to.is_ipv4() {
                    "10.9.1.77"
                } else {
                    "fd09:1::77"
                }),
                ifindex: indices[1],
            };
            let fits = soon("fit", routes.source_still_fits(to, 0, gone)).await;
            assert!(!fits, "{} is no address of ours", gone.addr);
        }
    });
}
