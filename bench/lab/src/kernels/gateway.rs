//! One ringtun in the guest.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::traffic;
use crate::keys::Keys;
use crate::peers::guest::Guest;
use crate::tunnel::{MTU, PORT, Tunnel};
use crate::{counters, wait};

/// How long a device may take to appear, or to get its rings, on an emulated processor: the
/// verifier of the kernel alone takes seconds.
const START: Duration = Duration::from_secs(120);

/// A ringtun in a namespace of the guest, or in its first one.
#[derive(Debug)]
pub(super) struct Gateway<'a> {
    guest: &'a Guest,
    namespace: Option<&'static str>,
    device: &'static str,
    at: usize,
}

impl<'a> Gateway<'a> {
    /// Starts it as end `at` of the tunnel, with more arguments; it answers when this
    /// returns.
    pub(super) fn start(
        guest: &'a Guest,
        namespace: Option<&'static str>,
        device: &'static str,
        at: usize,
        more: &str,
    ) -> Result<Gateway<'a>> {
        let gateway = Gateway {
            guest,
            namespace,
            device,
            at,
        };
        // It goes to the background by itself, once it answers.
        gateway
            .shell(&format!(
                "ringtun run --io xdp --metrics off --log info {more} {device} > /tmp/{device}.log 2>&1"
            ))
            .with_context(|| gateway.log())?;
        Ok(gateway)
    }

    /// Runs shell text where it is.
    pub(super) fn shell(&self, text: &str) -> Result<String> {
        match self.namespace {
            Some(namespace) => self.guest.run_in(namespace, text),
            None => self.guest.run(text),
        }
    }

    /// What it logged.
    pub(super) fn log(&self) -> String {
        let log = self.guest.run(&format!("cat /tmp/{}.log", self.device));
        format!("{} says:\n{}", self.device, log.unwrap_or_default())
    }

    /// Keys, peer, addresses inside; up.
    pub(super) fn configure(&self, keys: &[Keys; 2], endpoint: SocketAddr) -> Result<()> {
        let text = configuration(keys, self.at, endpoint).replace('\n', "\\n");
        let (device, at) = (self.device, self.at);
        let (v4, v6) = (Tunnel::inside_v4(at), Tunnel::inside_v6(at));
        self.shell(&format!(
            "printf \"{text}\" > /tmp/{device}.conf && wg setconf {device} /tmp/{device}.conf && \
             ip addr add {v4}/24 dev {device} && ip -6 addr add {v6}/64 dev {device} && \
             ip link set dev {device} mtu {MTU} && ip link set dev {device} up"
        ))
        .map(drop)
    }

    /// The other end is reached there from now on.
    pub(super) fn set_endpoint(&self, keys: &[Keys; 2], endpoint: SocketAddr) -> Result<()> {
        let other = &keys[1 - self.at].public;
        self.shell(&format!(
            "wg set {} peer {other} endpoint {endpoint}",
            self.device
        ))
        .map(drop)
    }

    /// The MTU inside.
    pub(super) fn set_mtu(&self, mtu: u32) -> Result<()> {
        let text = format!("ip link set dev {} mtu {mtu}", self.device);
        self.shell(&text).map(drop)
    }

    /// What it says of its packets' way.
    pub(super) fn io(&self) -> Result<Value> {
        let text = self.shell(&format!("ringtun io {} --json", self.device))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until its packets go by rings; what it says then.
    pub(super) fn until_on_rings(&self) -> Result<Value> {
        let io = wait::until("rings", START, || {
            let io = self.io()?;
            ensure!(
                traffic::is_on_rings(&io) || !traffic::is_refused(&io),
                "no rings: {}",
                io["reason"]
            );
            Ok(traffic::is_on_rings(&io).then_some(io))
        });
        io.with_context(|| self.log())
    }

    /// Switches it; what it says then.
    pub(super) fn switch(&self, mode: &str) -> Result<Value> {
        let text = self.shell(&format!("ringtun io {} {mode} --json", self.device))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// UDP datagrams of all sockets of its namespace.
    pub(super) fn udp_datagrams(&self) -> Result<u64> {
        let v4 = self.shell("cat /proc/net/snmp")?;
        let v6 = self.shell("cat /proc/net/snmp6")?;
        counters::udp_datagrams_in(&v4, &v6)
    }

    /// Echo requests through the tunnel, all of them answered.
    pub(super) fn ping(&self, to: IpAddr, count: u32) -> Result<()> {
        self.ping_with(to, count, 56)
    }

    /// As [`Gateway::ping`], with so many bytes in each.
    pub(super) fn ping_with(&self, to: IpAddr, count: u32, bytes: u32) -> Result<()> {
        let text = self.shell(&format!("ping -c {count} -s {bytes} -i 0.2 -W 20 {to}"));
        let text = text.with_context(|| self.log())?;
        ensure!(
            text.contains(&format!(" {count} packets received")),
            "ping {to}: {text}"
        );
        Ok(())
    }

    /// Serves one TCP connection by a program of the shell.
    pub(super) fn serve(&self, port: u16, program: &str) -> Result<()> {
        self.shell(&format!(
            "(nc -l -p {port} -e {program} > /tmp/{port}.nc 2>&1 &)"
        ))?;
        wait::until("a listener in the guest", START, || {
            let port = format!(":{port:04X} ");
            let table = self.shell("cat /proc/net/tcp /proc/net/tcp6")?;
            let mut lines = table.lines();
            Ok(lines
                .any(|l| l.contains(&port) && l.contains(" 0A "))
                .then_some(()))
        })
    }

    /// The name of its device.
    pub(super) fn device(&self) -> &'static str {
        self.device
    }

    /// Which end it is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Ends it by a signal; it is gone when this returns.
    pub(super) fn end(self, signal: &str) -> Result<()> {
        // The daemon has the device's name for its last argument; busybox has no pgrep.
        let device = self.device;
        let there = "tr '\\0' ' ' < $p/cmdline 2> /dev/null | grep -q";
        self.guest
            .run(&format!(
                "for p in /proc/[0-9]*; do if {there} '^ringtun run .* {device} $'; then kill -{signal} ${{p##*/}} && while {there} ringtun; do sleep 0.1; done; fi; done"
            ))
            .map(drop)
    }
}

/// A `wg setconf` file for end `at`.
pub(super) fn configuration(keys: &[Keys; 2], at: usize, endpoint: SocketAddr) -> String {
    format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {}\nAllowedIPs = {}/32, {}/128\nEndpoint = {endpoint}\n",
        keys[at].private,
        keys[1 - at].public,
        Tunnel::inside_v4(1 - at),
        Tunnel::inside_v6(1 - at),
    )
}
