//! Between hosts behind two gateways, past their kernels' stacks. Needs root and a
//! build with the BPF object, as `cargo xtask test` makes it.
#![cfg(ringtun_bpf)]

mod e2e;
mod sites;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use ringtun_lab::ping::{self, until_answered};
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::{names, wait};
use serde_json::Value;
use sites::{Host, Sites, address};

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;
const MTU: u16 = 1420;

/// Gateways that fast-forward.
fn forwarding(more: &[&str]) -> Sites {
    let lans = [names::unique("l"), names::unique("l")];
    let all = lans.join(",");
    let arguments = [
        &["--lan", &all, "--fast-forward", "--metrics", "off"][..],
        more,
    ]
    .concat();
    let sites = Sites::with_lans(&arguments, MTU, &lans);
    for at in [0, 1] {
        // Here ICMP is wanted.
        let rules = ["delete", "table", "inet", "quiet"];
        sites.tunnel.ns(at).run("nft", rules).unwrap();
        until_forwarding(&sites, at);
    }
    until_passing(&sites);
    sites
}

/// Waits until both gateways know where packets for both hosts go: a card outside that is
/// attached meanwhile comes first.
fn until_passing(sites: &Sites) {
    for v6 in [false, true] {
        let host = &sites.hosts[0];
        until_answered(&host.ns, address(1, v6), SOON).unwrap();
        let passing = wait::until("packets past the kernels", SOON, || {
            let before = [0, 1].map(|at| passed(sites, at));
            echo(host, address(1, v6), &["-W", "1"]);
            let after = [0, 1].map(|at| passed(sites, at));
            let all = before.iter().flatten().zip(after.iter().flatten());
            Ok(all
                .into_iter()
                .all(|(before, after)| after > before)
                .then_some(()))
        });
        passing.unwrap();
    }
}

/// What is said of the gateway's card towards its host.
fn card(sites: &Sites, at: usize) -> Option<Value> {
    let shown = sites.show(at);
    let lans = shown["lan"].as_array()?;
    lans.iter()
        .find(|lan| lan["forwarding"].is_object())
        .cloned()
}

fn until_forwarding(sites: &Sites, at: usize) {
    let found = wait::until("fast forward", SOON, || Ok(card(sites, at)));
    if let Err(error) = found {
        panic!(
            "{error:#}: {}\n{}",
            sites.show(at)["lan"],
            sites.tunnel.devices[at].process.output()
        );
    }
}

/// Packets that passed a gateway's kernel by: from its host, to its host.
fn passed(sites: &Sites, at: usize) -> [u64; 2] {
    let shown = sites.show(at);
    let from = shown["lan_verdicts"]["forwarded"]["packets"].as_u64();
    let card = card(sites, at).expect("it forwards");
    let to = card["forwarding"]["queues"][0]["tx_packets"].as_u64();
    [from.unwrap_or(0), to.unwrap()]
}

/// Packets that a gateway's kernel forwarded.
fn by_kernel(sites: &Sites, at: usize) -> u64 {
    let cat = |file| sites.tunnel.ns(at).run("cat", [file]).unwrap();
    let v6 = cat("/proc/net/snmp6");
    let v6 = v6
        .lines()
        .find_map(|line| line.strip_prefix("Ip6OutForwDatagrams"));
    let v4 = cat("/proc/net/snmp");
    let mut lines = v4.lines().filter(|line| line.starts_with("Ip:"));
    let names = lines.next().unwrap().split_whitespace();
    let values = lines.next().unwrap().split_whitespace();
    let v4 = names.zip(values).find(|(name, _)| *name == "ForwDatagrams");
    v4.unwrap().1.parse::<u64>().unwrap() + v6.unwrap().trim().parse::<u64>().unwrap()
}

fn transfer(sites: &Sites, from: usize, v6: bool, bytes: u64) -> anyhow::Result<()> {
    let to = 1 - from;
    let at = SocketAddr::new(address(to, v6), PORT);
    let plan = Plan {
        stall: SOON,
        ..Plan::bulk(bytes)
    };
    stream::transfer(&sites.hosts[from].ns, &sites.hosts[to].ns, at, &plan).map(|_| ())
}

/// One echo request with these arguments of `ping`; all that was printed.
fn echo(host: &Host, to: IpAddr, more: &[&str]) -> String {
    let mut command = host.ns.command("ping");
    command
        .args(["-n", "-c", "1", "-W", "5"])
        .args(more)
        .arg(to.to_string());
    let output = command.output().context("ping").unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn transfers_pass_the_kernels_by_both_ways_in_both_families() {
    let sites = forwarding(&[]);
    // With offload the hosts leave checksums to a card that there is not.
    for offload in [false, true] {
        sites.set_offload(offload);
        for (from, v6) in [(0, false), (1, false), (0, true), (1, true)] {
            let before = [0, 1].map(|at| (passed(&sites, at), by_kernel(&sites, at)));
            transfer(&sites, from, v6, 8 << 20).unwrap();
            for (at, (before, kernel)) in before.into_iter().enumerate() {
                let [from_host, to_host] = passed(&sites, at);
                let packets = from_host - before[0] + to_host - before[1];
                let kernel = by_kernel(&sites, at) - kernel;
                // 6,000 segments and their acknowledgments. How the connection begins, and until
                // a neighbour is known, is the kernel's.
                let what = format!("gateway {at}, from {from}, IPv6 {v6}, offload {offload}");
                assert!(packets > 6_000, "{what}: {packets}");
                assert!(kernel * 20 < packets, "{what}: {packets}, kernel {kernel}");
            }
        }
    }
}

#[test]
fn a_hop_is_a_hop_and_the_kernel_answers_where_the_last_one_was() {
    let sites = forwarding(&[]);
    let host = &sites.hosts[0];
    for v6 in [false, true] {
        let to = address(1, v6);
        let near = if v6 { "fd80::1" } else { "10.80.0.1" };
        let far = if v6 { "fd78::2" } else { "10.78.0.2" };
        // Both kernels have been asked: from here on packets pass them by.
        ping::expect_all(&host.ns, to, 5).unwrap();
        let before = [0, 1].map(|at| passed(&sites, at));
        let answered = echo(host, to, &["-t", "3"]);
        assert!(answered.contains("bytes from"), "{answered}");
        let after = [0, 1].map(|at| passed(&sites, at));
        for at in [0, 1] {
            assert!(
                after[at][0] > before[at][0] && after[at][1] > before[at][1],
                "{after:?}"
            );
        }
        for (hops, who) in [("1", near), ("2", far)] {
            let told = echo(host, to, &["-t", hops]);
            let expired = told.to_lowercase().contains("exceeded") && told.contains(who);
            assert!(expired, "{hops} hops, {who}: {told}");
        }
        // Two routers are between the hosts.
        assert!(answered.contains("ttl=62"), "{answered}");
    }
}

#[test]
fn what_is_too_long_for_the_tunnel_is_answered_by_the_kernel() {
    let sites = forwarding(&[]);
    let host = &sites.hosts[0];
    for v6 in [false, true] {
        let to = address(1, v6);
        let headers = if v6 { 48 } else { 28 };
        let size = |len: u16| (len - headers).to_string();
        let fits = echo(host, to, &["-M", "do", "-s", &size(MTU)]);
        assert!(fits.contains("bytes from"), "{fits}");
        let told = echo(host, to, &["-M", "do", "-s", &size(MTU + 1)]);
        assert!(told.contains("mtu") && told.contains("1420"), "{told}");
    }
    // Fragments go by the kernels, and arrive.
    let long = echo(host, address(1, false), &["-M", "dont", "-s", "4000"]);
    assert!(long.contains("4008 bytes from"), "{long}");
}

#[test]
fn the_kernels_routes_and_switches_decide() {
    let sites = forwarding(&[]);
    let host = &sites.hosts[0];
    let gateway = sites.tunnel.ns(0);
    let answered = |v6: bool| echo(host, address(1, v6), &["-W", "1"]).contains("bytes from");
    for v6 in [false, true] {
        let to = address(1, v6);
        ping::expect_all(&host.ns, to, 3).unwrap();
        let prefix = if v6 {
            format!("{to}/128")
        } else {
            format!("{to}/32")
        };
        gateway
            .ip(&format!("route add blackhole {prefix}\n"))
            .unwrap();
        assert!(!answered(v6), "a route that leads nowhere");
        gateway
            .ip(&format!("route del blackhole {prefix}\n"))
            .unwrap();
        ping::expect_all(&host.ns, to, 3).unwrap();
        let switch = if v6 {
            "net.ipv6.conf.all.forwarding"
        } else {
            "net.ipv4.ip_forward"
        };
        gateway.sysctl(switch, "0").unwrap();
        assert!(!answered(v6), "a host that forwards nothing");
        gateway.sysctl(switch, "1").unwrap();
    }
}

/// Out of a tunnel control asks for the switches, every ten seconds.
#[test]
fn a_gateway_that_stops_forwarding_does_so_out_of_the_tunnel_too() {
    let sites = forwarding(&[]);
    let (host, gateway) = (&sites.hosts[0], sites.tunnel.ns(1));
    let answered = || echo(host, address(1, false), &["-W", "1"]).contains("bytes from");
    gateway.sysctl("net.ipv4.ip_forward", "0").unwrap();
    // Echo replies come by the card and are not forwarded either; requests have to stop.
    let before = passed(&sites, 1);
    wait::until("the switch to be seen", SOON, || {
        let before = passed(&sites, 1)[1];
        Ok((!answered() && passed(&sites, 1)[1] == before).then_some(()))
    })
    .unwrap();
    assert!(
        passed(&sites, 1)[0] <= before[0] + 1,
        "nothing goes in meanwhile"
    );
    gateway.sysctl("net.ipv4.ip_forward", "1").unwrap();
    until_passing(&sites);
}

#[test]
fn a_neighbour_that_moved_is_found_again() {
    let sites = forwarding(&[]);
    let (host, other) = (&sites.hosts[1], &sites.hosts[0]);
    for v6 in [false, true] {
        transfer(&sites, 0, v6, 1 << 20).unwrap();
    }
    let device = &host.device;
    host.ns
        .ip(&format!(
            "link set {device} down\nlink set {device} address 02:00:00:00:77:01\nlink set {device} up\n\
             addr replace fd80:0:0:1::2/64 dev {device} nodad\n\
             route replace default via 10.80.1.1\nroute replace default via fd80:0:0:1::1\n"
        ))
        .unwrap();
    for v6 in [false, true] {
        until_answered(&other.ns, address(1, v6), SOON).unwrap();
        transfer(&sites, 0, v6, 1 << 20).unwrap();
    }
    until_passing(&sites);
    let before = passed(&sites, 1);
    transfer(&sites, 0, false, 1 << 20).unwrap();
    assert!(
        passed(&sites, 1)[1] > before[1] + 500,
        "past the kernel again"
    );
}

#[test]
fn a_card_that_comes_back_forwards_again_and_the_end_leaves_nothing() {
    let mut sites = forwarding(&["--workers", "2"]);
    let gateway = sites.tunnel.ns(0);
    let lan = card(&sites, 0).unwrap()["name"]
        .as_str()
        .unwrap()
        .to_owned();
    // The outer end of the pair goes along.
    gateway.ip(&format!("link del {lan}\n")).unwrap();
    wait::until("the card to be gone", SOON, || {
        Ok(card(&sites, 0).is_none().then_some(()))
    })
    .unwrap();
    sites.hosts[0] = Sites::host(&sites.tunnel, 0, MTU, &lan);
    until_forwarding(&sites, 0);
    until_passing(&sites);
    let before = passed(&sites, 0);
    transfer(&sites, 0, false, 4 << 20).unwrap();
    let after = passed(&sites, 0);
    assert!(
        after[0] > before[0] + 1000 && after[1] > before[1],
        "{before:?} {after:?}"
    );
    let device = &sites.tunnel.devices[0];
    device.process.stop(SOON).unwrap();
    let links = sites
        .tunnel
        .ns(0)
        .run("ip", ["-j", "-d", "link", "show", &lan])
        .unwrap();
    let links: Value = serde_json::from_str(&links).unwrap();
    assert_eq!(links[0]["xdp"], Value::Null, "no program is left");
}

#[test]
fn without_a_lan_card_the_option_says_what_it_needs() {
    let ringtun = e2e::ringtun();
    let output = std::process::Command::new(&ringtun.program)
        .args(["run", "--foreground", "--fast-forward", "nothing0"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("--lan"), "{told}");
}
