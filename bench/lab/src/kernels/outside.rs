//! One gateway on the guest's virtio_net, one on the tap device at its other end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::gateway::{Gateway, configuration};
use super::traffic::{self, Counted};
use crate::keys::Keys;
use crate::peers::Prepared;
use crate::peers::guest::Guest;
use crate::peers::local::Device;
use crate::stream::{self, Plan};
use crate::tunnel::{MTU, PORT, Tunnel};
use crate::{NetNs, link, names, ping, wait};

const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 0, 1);
const BYTES: u64 = 2 << 20;
const ECHO: u16 = 5002;
const ECHOES: u32 = 5;
const FIRST: Duration = Duration::from_secs(60);
/// This machine's own kernel needs no time for rings, or has none to give.
const HOST_RINGS: Duration = Duration::from_secs(10);

/// Sets it up, and looks.
pub(super) fn run(guest: &Guest, ringtun: &Prepared, say: &dyn Fn(&str)) -> Result<()> {
    let (ns, tap) = guest.outside();
    ns.ip(&format!(
        "addr add {HOST_V4}/16 dev {tap}\naddr add {HOST_V6}/64 dev {tap} nodad\n"
    ))?;
    link::addressed(ns, tap)?;
    let keys = [Keys::generate()?, Keys::generate()?];
    // End 0 is the guest's.
    let near = Gateway::start(guest, None, "wo", 0, "")?;
    near.configure(&keys, SocketAddr::new(HOST_V4.into(), PORT))?;
    let far = Far::start(ns, ringtun, &keys)?;
    for v6 in [false, true] {
        let (host, inner): (IpAddr, IpAddr) = if v6 {
            (HOST_V6.into(), Guest::V6.into())
        } else {
            (HOST_V4.into(), Guest::V4.into())
        };
        near.set_endpoint(&keys, SocketAddr::new(host, PORT))?;
        far.set_endpoint(&keys, SocketAddr::new(inner, PORT))?;
        for inside_v6 in [false, true] {
            ping::until_answered(ns, Tunnel::inside(0, inside_v6), FIRST)
                .with_context(|| near.log() + &far.device.process.output())?;
        }
        let here = near.until_on_rings()?;
        let there = far.on_rings_perhaps()?;
        let outside = if v6 { "IPv6" } else { "IPv4" };
        say(&format!(
            "virtio_net, {outside} outside: guest {}; host {}",
            traffic::mode(&here),
            traffic::mode(&there)
        ));
        for inside_v6 in [false, true] {
            near.ping(Tunnel::inside(1, inside_v6), ECHOES)?;
            ping::expect_all(ns, Tunnel::inside(0, inside_v6), ECHOES)?;
        }
        near.serve(ECHO, "cat")?;
        let before = count(&near)?;
        let to = SocketAddr::new(Tunnel::inside(0, v6), ECHO);
        let report = stream::round_trip(ns, to, &Plan::bulk(BYTES))
            .with_context(|| near.log() + &far.device.process.output())?;
        // Each byte crosses the guest's ring twice. The host's may be sockets.
        let counted = count(&near)?.since(before);
        counted.expect_rings(BYTES, 2)?;
        say(&format!(
            "virtio_net, {outside} outside: echoes of both families; {} MiB each way by TCP in {:.1} s, every byte compared; guest: {counted}",
            report.bytes >> 20,
            report.time.as_secs_f64()
        ));
        let lost = traffic::lost(&near.io()?);
        if lost > 0 {
            say(&format!("the kernel lost {lost} packets before the ring"));
        }
    }
    near.end("TERM")
}

fn count(near: &Gateway<'_>) -> Result<Counted> {
    Ok(Counted::new(&[(near.io()?, near.udp_datagrams()?)]))
}

/// The gateway at this machine's end.
struct Far<'a> {
    ns: &'a NetNs,
    ringtun: &'a Prepared,
    device: Device,
}

impl<'a> Far<'a> {
    fn start(ns: &'a NetNs, ringtun: &'a Prepared, keys: &[Keys; 2]) -> Result<Far<'a>> {
        let name = names::unique("w");
        let arguments = ["--io", "xdp", "--metrics", "off", "--log", "info"];
        let device = Device::start_with(ringtun, ns, &name, &arguments)?;
        let text = configuration(keys, 1, SocketAddr::new(Guest::V4.into(), PORT));
        ns.run_with_input("wg", ["setconf", &name, "/dev/stdin"], text.as_bytes())?;
        ns.ip(&format!(
            "addr add {}/24 dev {name}\naddr add {}/64 dev {name} nodad\nlink set {name} mtu {MTU}\nlink set {name} up\n",
            Tunnel::inside_v4(1),
            Tunnel::inside_v6(1)
        ))?;
        link::addressed(ns, &name)?;
        Ok(Far {
            ns,
            ringtun,
            device,
        })
    }

    fn set_endpoint(&self, keys: &[Keys; 2], endpoint: SocketAddr) -> Result<()> {
        let (name, endpoint) = (&*self.device.name, endpoint.to_string());
        let arguments = ["set", name, "peer", &keys[0].public, "endpoint", &endpoint];
        self.ns.run("wg", arguments).map(drop)
    }

    fn io(&self) -> Result<Value> {
        let program = self.ringtun.program.to_str().context("a path in UTF-8")?;
        let text = self.ns.run(program, ["io", &self.device.name, "--json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What it says once it has rings, or has none after a while.
    fn on_rings_perhaps(&self) -> Result<Value> {
        let io = wait::until("rings", HOST_RINGS, || {
            let io = self.io()?;
            Ok((traffic::is_on_rings(&io) || traffic::is_refused(&io)).then_some(io))
        });
        io.or_else(|_| self.io())
    }
}
