//! TCP between hosts behind two gateways whose tunnel has a smaller MTU than their own networks,
//! while nothing tells them so: ICMP is blocked, as it is on so many ways.

mod e2e;
mod sites;

use std::net::SocketAddr;
use std::time::Duration;

use ringtun_lab::names;
use ringtun_lab::stream::{self, Plan};
#[cfg(ringtun_bpf)]
use ringtun_lab::wait;
#[cfg(ringtun_bpf)]
use serde_json::Value;

use sites::{Host, Sites, address};

/// How long to wait for what must come, on a machine whose processors are taken.
const SOON: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;

fn sites(arguments: &[&str], mtu: u16) -> Sites {
    let lans = [names::unique("l"), names::unique("l")];
    Sites::with_lans(arguments, mtu, &lans)
}

/// Sends from host `from` to the other and gives what both were told as maximum segment size:
/// in the SYN as it arrived, in the SYN-ACK as it arrived.
fn transfer(sites: &Sites, from: usize, v6: bool, plan: &Plan) -> anyhow::Result<[u16; 2]> {
    let to = 1 - from;
    let (sender, receiver) = (&sites.hosts[from], &sites.hosts[to]);
    let syn = first_segment(receiver, &format!("tcp dst port {PORT}"));
    let answer = first_segment(sender, &format!("tcp src port {PORT}"));
    let at = SocketAddr::new(address(to, v6), PORT);
    stream::transfer(&sender.ns, &receiver.ns, at, plan)?;
    Ok([syn, answer].map(|dump| mss(&dump)))
}

/// A capture of the first SYN or SYN-ACK that arrives at a host and matches.
fn first_segment(host: &Host, filter: &str) -> ringtun_lab::Process {
    // Not what is left of the connection before.
    let filter = &format!("{filter} and (tcp[13] & 2 != 0 or ip6[53] & 2 != 0)");
    let dump = host
        .ns
        .start(
            "tcpdump",
            [
                "-n",
                "-l",
                "-Q",
                "in",
                "-c",
                "1",
                "-i",
                &host.device,
                filter,
            ],
        )
        .unwrap();
    dump.wait_line(SOON, |line| line.contains("listening on"))
        .unwrap();
    dump
}

/// What the captured segment asks for.
fn mss(dump: &ringtun_lab::Process) -> u16 {
    let line = dump.wait_line(SOON, |line| line.contains("mss ")).unwrap();
    let (_, rest) = line.split_once("mss ").unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// More than fits into a few segments.
fn bulk() -> Plan {
    Plan {
        stall: SOON,
        ..Plan::bulk(1 << 20)
    }
}

#[test]
fn hosts_behind_the_gateways_are_told_what_fits() {
    for mtu in [1420, 1280] {
        let sites = sites(&[], mtu);
        // Without offload the hosts fill in the checksum themselves; with it they leave it
        // partial, and what forwards the packet has to know.
        for offload in [false, true] {
            sites.set_offload(offload);
            for (from, v6) in [(0, false), (1, false), (0, true), (1, true)] {
                let fits = if v6 { mtu - 60 } else { mtu - 40 };
                let told = transfer(&sites, from, v6, &bulk()).unwrap();
                assert_eq!(told, [fits; 2], "MTU {mtu}, IPv6 {v6}, offload {offload}");
            }
        }
    }
}

#[test]
fn without_the_clamp_connections_open_and_stall() {
    let sites = sites(&["--no-mss-clamp"], 1280);
    for v6 in [false, true] {
        let told = transfer(&sites, 0, v6, &Plan::bulk(100)).unwrap();
        let ethernet = if v6 { 1440 } else { 1460 };
        assert_eq!(told, [ethernet; 2], "a few bytes get through");
        let plan = Plan {
            stall: Duration::from_secs(2),
            ..bulk()
        };
        let stalled = transfer(&sites, 0, v6, &plan);
        assert!(stalled.is_err(), "segments of 1500 bytes got through");
    }
}

#[test]
fn the_operator_may_ask_for_less() {
    let sites = sites(&["--mss", "1000"], 1420);
    for v6 in [false, true] {
        assert_eq!(transfer(&sites, 0, v6, &bulk()).unwrap(), [1000; 2]);
    }
}

/// The program on the network card does it, before the kernel sees the packet.
#[cfg(ringtun_bpf)]
#[test]
fn on_the_lan_side_the_network_card_lowers_it() {
    let lans = [names::unique("l"), names::unique("l")];
    // Each gateway has one of the two; the other never comes there.
    let arguments = ["--lan", &lans.join(",")];
    let sites = Sites::with_lans(&arguments, 1420, &lans);
    for at in [0, 1] {
        let attached = wait::until("the program", SOON, || {
            let lan = sites.show(at)["lan"].clone();
            let is_native =
                |lan: &Value| lan["name"] == lans[at].as_str() && lan["xdp"] == "native";
            Ok(lan
                .as_array()
                .is_some_and(|all| all.iter().any(is_native))
                .then_some(lan))
        });
        let lan = attached.unwrap();
        let absent = |lan: &Value| {
            lan["refused"]
                .as_str()
                .is_some_and(|why| why.contains("yet"))
        };
        assert!(lan.as_array().unwrap().iter().any(absent), "{lan}");
    }
    let clamped = |at| {
        let shown = sites.show(at);
        shown["lan_verdicts"]["clamped"]["packets"]
            .as_u64()
            .unwrap()
    };
    for (number, (mtu, from, v6)) in [
        (1420, 0, false),
        (1420, 1, true),
        (1280, 1, false),
        (1280, 0, true),
    ]
    .into_iter()
    .enumerate()
    {
        for at in [0, 1] {
            let device = &sites.tunnel.devices[at].name;
            sites
                .tunnel
                .ns(at)
                .ip(&format!("link set {device} mtu {mtu}\n"))
                .unwrap();
            // The map follows the device's MTU.
            wait::until("the new MTU to be known", SOON, || {
                Ok((sites.show(at)["mtu"] == mtu).then_some(()))
            })
            .unwrap();
        }
        let fits = if v6 { mtu - 60 } else { mtu - 40 };
        let told = transfer(&sites, from, v6, &bulk()).unwrap();
        assert_eq!(told, [fits; 2], "MTU {mtu}, IPv6 {v6}");
        // The SYN on one side, the SYN-ACK on the other.
        for at in [0, 1] {
            assert_eq!(clamped(at), number as u64 + 1, "gateway {at}");
        }
    }
    // Its networks are nobody's any more: SYNs pass as they are.
    let peer = &sites.tunnel.keys[1].public;
    sites.tunnel.set(0, &format!("peer {peer} remove")).unwrap();
    let to = SocketAddr::new(address(1, false), PORT);
    wait::until("a SYN that is left alone", SOON, || {
        let before = clamped(0);
        // Not answered: what counts is what the card does with it.
        let answer = sites.hosts[0].ns.connect(to, Duration::from_millis(100));
        assert!(answer.is_err(), "there is no way");
        Ok((clamped(0) == before).then_some(()))
    })
    .unwrap();
    let last = clamped(0);
    assert!(last >= 4, "{last}");
    assert!(
        sites.hosts[0]
            .ns
            .connect(to, Duration::from_millis(100))
            .is_err()
    );
    assert_eq!(clamped(0), last, "it stays so");
}
