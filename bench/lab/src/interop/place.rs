//! One end of a tunnel: a program in a namespace, or a device of the guest's kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::peers::Prepared;
use crate::peers::guest::Guest;
use crate::peers::local::Device;
use crate::tunnel::MTU;
use crate::{NetNs, ping};

/// One end of a tunnel.
#[derive(Debug)]
pub(super) enum Place<'a> {
    Local { ns: &'a NetNs, device: Device },
    Guest { guest: &'a Guest, device: String },
}

impl<'a> Place<'a> {
    /// Starts `peer` in `ns`.
    pub(super) fn local(peer: &Prepared, ns: &'a NetNs, name: &str) -> Result<Place<'a>> {
        Ok(Place::Local {
            ns,
            device: Device::start(peer, ns, name)?,
        })
    }

    /// Makes a device of the guest's kernel.
    pub(super) fn guest(guest: &'a Guest, name: &str) -> Result<Place<'a>> {
        guest.run(&format!("ip link add {name} type wireguard"))?;
        Ok(Place::Guest {
            guest,
            device: name.to_owned(),
        })
    }

    /// What this end has to say, for a failure's message.
    pub(super) fn tell(&self) -> String {
        let output = match self {
            Place::Local { device, .. } => device.process.output(),
            Place::Guest { .. } => String::new(),
        };
        let shown = self.shell(&format!("wg show {}", self.device()));
        format!(
            "{}: {output}\n{}\n",
            self.device(),
            shown.unwrap_or_default()
        )
    }

    pub(super) fn device(&self) -> &str {
        match self {
            Place::Local { device, .. } => &device.name,
            Place::Guest { device, .. } => device,
        }
    }

    pub(super) fn shell(&self, text: &str) -> Result<String> {
        match self {
            Place::Local { ns, .. } => ns.run("sh", ["-c", text]),
            Place::Guest { guest, .. } => guest.run(text),
        }
    }

    pub(super) fn configure(&self, text: &str) -> Result<()> {
        match self {
            Place::Local { ns, device } => ns
                .run_with_input(
                    "wg",
                    ["setconf", &device.name, "/dev/stdin"],
                    text.as_bytes(),
                )
                .map(drop),
            Place::Guest { guest, device } => guest
                .run(&format!(
                    "printf '{}' > /tmp/{device}.conf && wg setconf {device} /tmp/{device}.conf",
                    text.replace('\n', "\\n")
                ))
                .map(drop),
        }
    }

    pub(super) fn addresses(&self, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<()> {
        let device = self.device();
        // Or it is no source before the kernel's queue of work came to it. The guest's `ip` has no
        // such word.
        let nodad = match self {
            Place::Local { .. } => " nodad",
            Place::Guest { .. } => "",
        };
        self.shell(&format!(
            "ip addr add {v4}/24 dev {device} && ip -6 addr add {v6}/64 dev {device}{nodad} && ip link set dev {device} mtu {MTU} && ip link set dev {device} up"
        ))
        .map(drop)
    }

    /// When the last handshake was, in seconds since 1970 by this end's clock.
    pub(super) fn latest_handshake(&self) -> Result<u64> {
        /// A day in 2001: what is less is no time of now.
        const LEAST: u64 = 1_000_000_000;
        let text = self.shell(&format!("wg show {} latest-handshakes", self.device()))?;
        let seconds: u64 = text
            .split_whitespace()
            .nth(1)
            .and_then(|seconds| seconds.parse().ok())
            .with_context(|| format!("latest-handshakes: {text:?}"))?;
        if seconds >= LEAST {
            return Ok(seconds);
        }
        // boringtun 0.7 answers with the time since then.
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(now - seconds)
    }

    /// One answered echo request, with patience for the handshake.
    pub(super) fn reach(&self, address: IpAddr) -> Result<()> {
        match self {
            Place::Local { ns, .. } => {
                ping::until_answered(ns, address, Duration::from_secs(60)).map(drop)
            }
            Place::Guest { guest, .. } => {
                // Emulated, and one of many on few processors: as patient as above.
                let once = format!("ping -c 1 -W 2 {address}");
                guest
                    .run(&format!(
                        "n=0; until {once}; do n=$((n+1)); [ $n -lt 30 ] || break; done; [ $n -lt 30 ]"
                    ))
                    .map(drop)
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Place::Guest { guest, device } = self {
            // The guest serves all combinations; a device that stays would keep sending.
            let _ = guest.run(&format!("ip link del {device}"));
        }
    }
}
