//! Two gateways in namespaces of the guest, joined by a veth.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::forward;
use super::gateway::Gateway;
use super::traffic::{self, Counted};
use crate::keys::Keys;
use crate::peers::guest::Guest;
use crate::tunnel::{PORT, Tunnel};
use crate::wait;

const NAMESPACES: [&str; 2] = ["a", "b"];
const LINKS: [&str; 2] = ["va", "vb"];
const MIB: u64 = 4;
const SINK: u16 = 5001;
const ECHOES: u32 = 5;
/// Outside, for packets that no chunk of a UMEM holds.
const LONG_MTU: u32 = 9000;
/// IPv6, UDP and WireGuard around a packet.
const OVERHEAD: u32 = 80;
/// Bytes of an echo in such a packet.
const LONG: u32 = 8000;
/// How long the line may take, on an emulated CPU.
const START: Duration = Duration::from_secs(120);

/// Sets it up, and looks.
pub(super) fn run(guest: &Guest, say: &dyn Fn(&str)) -> Result<()> {
    links(guest)?;
    let keys = [Keys::generate()?, Keys::generate()?];
    let gateways = [
        Gateway::start(guest, Some(NAMESPACES[0]), "wa", 0, forward::ARGUMENTS)?,
        Gateway::start(guest, Some(NAMESPACES[1]), "wb", 1, "")?,
    ];
    for (at, gateway) in gateways.iter().enumerate() {
        gateway.configure(&keys, endpoint(1 - at, false))?;
    }
    guest.run(&format!(
        "dd if=/dev/urandom of=/tmp/sent bs=1M count={MIB} 2> /dev/null"
    ))?;
    let sent = guest.run("sha256sum < /tmp/sent")?;
    for v6 in [false, true] {
        for (at, gateway) in gateways.iter().enumerate() {
            gateway.set_endpoint(&keys, endpoint(1 - at, v6))?;
        }
        // The handshake, and what is still on its way by sockets.
        gateways[0].ping(Tunnel::inside(1, false), 1)?;
        let mut modes = Vec::new();
        for gateway in &gateways {
            modes.push(gateway.until_on_rings()?);
        }
        let outside = if v6 { "IPv6" } else { "IPv4" };
        say(&format!(
            "veth, {outside} outside: {}; {}",
            traffic::mode(&modes[0]),
            traffic::mode(&modes[1])
        ));
        for io in &modes {
            let card = &io["cards"][0];
            ensure!(
                card["xdp"] == "native" && card["transfer"] == "copy",
                "native and copy were expected: {card}"
            );
        }
        for inside_v6 in [false, true] {
            gateways[0].ping(Tunnel::inside(1, inside_v6), ECHOES)?;
            gateways[1].ping(Tunnel::inside(0, inside_v6), ECHOES)?;
        }
        let before = count(&gateways)?;
        let begin = Instant::now();
        gateways[1].serve(SINK, "sha256sum")?;
        let to = Tunnel::inside(1, v6);
        let arrived = gateways[0].shell(&format!("nc -w 60 {to} {SINK} < /tmp/sent"))?;
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(
            arrived == sent,
            "sent with checksum {sent}, arrived with {arrived}"
        );
        let counted = count(&gateways)?.since(before);
        counted.expect_rings(MIB << 20, 2)?;
        say(&format!(
            "veth, {outside} outside: echoes of both families; {MIB} MiB by TCP in {seconds:.1} s, SHA-256 equal; {counted}"
        ));
        for gateway in &gateways {
            let lost = traffic::lost(&gateway.io()?);
            if lost > 0 {
                say(&format!("the kernel lost {lost} packets before the ring"));
            }
        }
    }
    switching(guest, &gateways)?;
    say("veth: taken off and put on again by `ringtun io`, with traffic");
    let forwarded = forward::run(guest, &gateways, &keys)?;
    say(&format!(
        "veth: a host behind the gateway: {forwarded} passed the kernel by"
    ));
    let line = logging(guest, &gateways)?;
    say(&format!("veth: the XDP program logs: {line}"));
    let [killed, ended] = gateways;
    for (gateway, signal) in [(killed, "KILL"), (ended, "TERM")] {
        let at = gateway.at();
        gateway.end(signal)?;
        ensure!(
            !has_program(guest, at)?,
            "the XDP program stays after SIG{signal}"
        );
    }
    say("veth: no XDP program stays, neither after SIGKILL nor after SIGTERM");
    Ok(())
}

/// Both namespaces, the veth, its addresses.
fn links(guest: &Guest) -> Result<()> {
    let ip = "/usr/sbin/ip";
    guest.run(&format!(
        "{ip} netns add {0} && {ip} netns add {1} && {ip} link add {2} netns {0} type veth peer name {3} netns {1}",
        NAMESPACES[0], NAMESPACES[1], LINKS[0], LINKS[1]
    ))?;
    for at in [0, 1] {
        let (device, v4, v6) = (LINKS[at], outside_v4(at), outside_v6(at));
        guest.run_in(
            NAMESPACES[at],
            &format!(
                "{ip} link set lo up && {ip} addr add {v4}/24 dev {device} && {ip} addr add {v6}/64 dev {device} nodad && {ip} link set {device} up"
            ),
        )?;
    }
    Ok(())
}

fn outside_v4(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, at as u8 + 1)
}

fn outside_v6(at: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, at as u16 + 1)
}

fn endpoint(at: usize, v6: bool) -> SocketAddr {
    let address: IpAddr = if v6 {
        outside_v6(at).into()
    } else {
        outside_v4(at).into()
    };
    SocketAddr::new(address, PORT)
}

fn count(gateways: &[Gateway<'_>; 2]) -> Result<Counted> {
    let mut ends = Vec::new();
    for gateway in gateways {
        ends.push((gateway.io()?, gateway.udp_datagrams()?));
    }
    Ok(Counted::new(&ends))
}

fn has_program(guest: &Guest, at: usize) -> Result<bool> {
    let device = LINKS[at];
    let text = guest.run_in(
        NAMESPACES[at],
        &format!("/usr/sbin/ip -d link show dev {device}"),
    )?;
    Ok(text.contains("prog/xdp"))
}

/// To sockets and back to rings, with echoes before, between and after.
fn switching(guest: &Guest, gateways: &[Gateway<'_>; 2]) -> Result<()> {
    let to = Tunnel::inside(1, false);
    ensure!(has_program(guest, 0)?, "no XDP program on {}", LINKS[0]);
    let io = gateways[0].switch("udp")?;
    ensure!(io["io"] == "udp", "switched to udp: {io}");
    ensure!(!has_program(guest, 0)?, "the XDP program stays");
    // What is counted as "by UDP sockets" is counted indeed.
    let before = count(gateways)?;
    gateways[0].ping(to, ECHOES).context("by sockets")?;
    let counted = count(gateways)?.since(before);
    ensure!(
        counted.sockets >= 2 * u64::from(ECHOES),
        "echoes by sockets: {counted}"
    );
    gateways[0].switch("xdp")?;
    gateways[0].until_on_rings()?;
    gateways[0].ping(to, ECHOES).context("by rings again")
}

/// Packets that are too long for the rings, until the program at their end has told of one; the
/// line.
fn logging(guest: &Guest, gateways: &[Gateway<'_>; 2]) -> Result<String> {
    for (at, gateway) in gateways.iter().enumerate() {
        let ip = "/usr/sbin/ip";
        let outside = format!("{ip} link set dev {} mtu {LONG_MTU}", LINKS[at]);
        guest.run_in(NAMESPACES[at], &outside)?;
        gateway.set_mtu(LONG_MTU - OVERHEAD)?;
    }
    let to = Tunnel::inside(1, false);
    let line = wait::until("a line of the XDP program", START, || {
        gateways[0].ping_with(to, 1, LONG)?;
        let log = gateways[1].log();
        let mut lines = log.lines();
        let line = lines.find(|line| line.contains("verdict=\"oversize\""));
        Ok(line.map(str::to_owned))
    });
    line.with_context(|| gateways[1].log())
}
