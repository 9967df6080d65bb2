//! A distribution kernel in QEMU, joined to a namespace by a tap device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Prepared, initramfs};
use crate::link::veth;
use crate::{NetNs, Process, names};

/// Emulated on a busy machine: a boot takes 10 s when all is well.
const BOOT: Duration = Duration::from_secs(240);
const COMMAND: Duration = Duration::from_secs(120);
/// How long a command may take to arrive.
const TAKEN: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 10;

/// A running guest: its first network device is on a bridge that namespaces can join.
#[derive(Debug)]
pub struct Guest {
    console: Mutex<Console>,
    hop: NetNs,
    bridge: String,
    tap: String,
    /// `uname -r` inside.
    pub release: String,
}

/// What is booted, and how.
#[derive(Clone, Copy, Debug)]
pub struct Boot<'a> {
    /// The kernel's image.
    pub kernel: &'a Path,
    /// Its root.
    pub initramfs: &'a Path,
    /// MiB of memory.
    pub memory: u32,
    /// Its network device is on a bridge; else it is alone with its tap device.
    pub bridge: bool,
    /// How much QEMU yields to others.
    pub nice: u8,
}

#[derive(Debug)]
struct Console {
    qemu: Process,
    next: u64,
}

impl Console {
    /// Has a command run, as often as it takes for it to arrive whole; the number of the first line
    /// behind what says so.
    fn give(&mut self, id: u64, text: &str) -> Result<usize> {
        let len = id.to_string().len() + text.len();
        let (line, taken) = (format!("{id} {len} {text}\n"), format!("@{id}+"));
        let mut first = self.qemu.line_count();
        let mut give = line.as_str();
        for _ in 0..ATTEMPTS {
            self.qemu.write(give.as_bytes())?;
            let answer = self
                .qemu
                .wait_line_from(first, TAKEN, |said| said == taken || said == "@again");
            give = match answer {
                Ok((at, said)) => {
                    first = at + 1;
                    if said == taken {
                        return Ok(first);
                    }
                    &line
                }
                // Its end was lost, too: with one, the rest is asked for again.
                Err(error) if self.qemu.status().is_some() => return Err(error),
                Err(_) => "\n",
            };
        }
        bail!("it did not arrive in {ATTEMPTS} attempts")
    }
}

impl Guest {
    /// The guest's outside addresses, on `10.79.0.0/16` and `fd79::/64`.
    pub const V4: Ipv4Addr = Ipv4Addr::new(10, 79, 255, 1);
    /// See [`Guest::V4`].
    pub const V6: Ipv6Addr = Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 0xffff, 1);

    /// Boots a prepared kernel; its network device is on a bridge.
    ///
    /// # Errors
    /// QEMU cannot run or the guest is not up within minutes; the message has its console.
    pub fn boot(kernel: &Prepared) -> Result<Guest> {
        Guest::boot_with(&Boot {
            kernel: &kernel.program,
            initramfs: &initramfs::beside(&kernel.program),
            memory: 256,
            bridge: true,
            nice: 0,
        })
    }

    /// As [`Guest::boot`], with choices.
    ///
    /// # Errors
    /// As [`Guest::boot`].
    pub fn boot_with(boot: &Boot<'_>) -> Result<Guest> {
        let hop = NetNs::new("q")?;
        let (bridge, tap) = (names::unique("br"), names::unique("tp"));
        hop.ip(&format!("tuntap add {tap} mode tap vnet_hdr\n"))?;
        if boot.bridge {
            hop.ip(&format!(
                "link add {bridge} type bridge\nlink set {bridge} up\nlink set {tap} master {bridge}\n"
            ))?;
        }
        hop.ip(&format!("link set {tap} up\n"))?;
        let mut command = hop.command("nice");
        command
            .args(["-n", &boot.nice.to_string(), "qemu-system-x86_64"])
            .args(["-accel", "tcg", "-cpu", "max", "-smp", "1"])
            .args(["-m", &boot.memory.to_string()])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "null", "-serial", "stdio"])
            .arg("-kernel")
            .arg(boot.kernel)
            .arg("-initrd")
            .arg(boot.initramfs)
            .args([
                "-append",
                "console=ttyS0 quiet panic=-1 random.trust_cpu=on",
            ])
            .arg("-netdev")
            .arg(format!("tap,id=net,ifname={tap},script=no,downscript=no"))
            .args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        let qemu = hop.spawn(command)?;
        let ready = qemu
            .wait_line(BOOT, |line| line.contains("@ready="))
            .context("the guest does not boot")?;
        let release = ready.split_once('=').map_or("", |(_, release)| release);
        let guest = Guest {
            release: release.to_owned(),
            console: Mutex::new(Console { qemu, next: 0 }),
            hop,
            bridge,
            tap,
        };
        guest.run(&format!(
            "ip addr add {}/16 dev eth0; ip -6 addr add {}/64 dev eth0; ip link set eth0 up",
            Guest::V4,
            Guest::V6
        ))?;
        Ok(guest)
    }

    /// The namespace that QEMU runs in, and the tap device there.
    #[must_use]
    pub fn outside(&self) -> (&NetNs, &str) {
        (&self.hop, &self.tap)
    }

    /// As [`Guest::run`], in a network namespace of the guest (`/usr/sbin/ip` of the initramfs).
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn run_in(&self, namespace: &str, text: &str) -> Result<String> {
        let text = text.replace('\'', "'\\''");
        self.run(&format!(
            "/usr/sbin/ip netns exec {namespace} sh -o pipefail -c '{text}'"
        ))
    }

    /// Runs shell text inside (one line) and returns its output.
    ///
    /// # Errors
    /// Its status is not 0, or it takes more than two minutes.
    pub fn run(&self, text: &str) -> Result<String> {
        let text = text.trim();
        ensure!(
            !text.contains('\n') && text.is_ascii(),
            "guest commands are one line of ASCII"
        );
        let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        console.next += 1;
        let id = console.next;
        let first = console
            .give(id, text)
            .with_context(|| format!("in the guest: {text}"))?;
        let (prefix, end) = (format!("@{id}:"), format!("@{id}="));
        let (mut output, mut at) = (String::new(), first);
        loop {
            let (line_number, line) = console
                .qemu
                .wait_line_from(at, COMMAND, |line| {
                    line.starts_with(&prefix) || line.starts_with(&end)
                })
                .with_context(|| format!("in the guest: {text}"))?;
            at = line_number + 1;
            if let Some(status) = line.strip_prefix(&end) {
                ensure!(
                    status == "0",
                    "in the guest: {text}: status {status}\n{output}"
                );
                return Ok(output);
            }
            output.push_str(line.strip_prefix(&prefix).unwrap_or_default());
            output.push('\n');
        }
    }

    /// Joins `ns` to the guest's network and returns its addresses there (number `number`).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach(&self, ns: &NetNs, number: u8) -> Result<(IpAddr, IpAddr)> {
        let (inside, outside) = (names::unique("g"), names::unique("h"));
        let (v4, v6) = (
            Ipv4Addr::new(10, 79, 1, number),
            Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 1, number.into()),
        );
        veth(ns, &inside, &self.hop, &outside)?;
        self.hop
            .ip(&format!("link set {outside} master {}\n", self.bridge))?;
        ns.ip(&format!(
            "addr add {v4}/16 dev {inside}\naddr add {v6}/64 dev {inside} nodad\n"
        ))?;
        Ok((v4.into(), v6.into()))
    }
}
