//! The package in a clean Debian: installed, used, upgraded under traffic, removed.
//!
//! * [`root`]: a new root of a release, from the machine's own mirror.
//! * [`room`]: that root with namespaces of its own: network, processes, mounts.
//! * [`outage`]: how long nothing arrived.

mod outage;
mod room;
mod root;

use super::arch::Arch;
use super::{Release, contents, deb, needs};
use crate::{process, progress};
use anyhow::{Context as _, Result, ensure};
use ringtun_lab::registry::Directory;
use room::Room;
use std::path::PathBuf;
use std::time::Instant;

/// What traffic may stand still for while the package is upgraded, in seconds.
const OUTAGE_MAX: f64 = 1.0;

const LIST: &str = "find / -xdev \\( -path /tmp -o -path /run -o -path /var/lib/dpkg \
    -o -path /var/cache -o -path /var/log -o -path /proc -o -path /sys -o -path /dev \\) \
    -prune -o -print | sort";

/// Checks the package of this machine's architecture on that release of Debian.
pub fn run(release: &Release, arch: Arch, suite: &str) -> Result<String> {
    progress::step(&format!("the package on Debian {suite}"), || {
        in_root(release, arch, suite)
    })
}

fn in_root(release: &Release, arch: Arch, suite: &str) -> Result<String> {
    let stage = release.output.join(format!("stage-{}", arch.debian()));
    let binary = stage.join("usr/bin/ringtun");
    ensure!(
        binary.is_file(),
        "--check wants the package of this machine: --arch {}",
        arch.debian()
    );
    let archive = root::archive(release, suite)?;
    let directory = Directory::new()?;
    let at = directory.path();
    let mut tar = process::command("tar");
    tar.arg("-xpf").arg(&archive).arg("-C").arg(at);
    progress::step("a new root", || process::output(tar))?;
    let packages: Vec<PathBuf> = (1..=2)
        .map(|revision| {
            let depends = needs::of(&binary)?;
            deb::build(release, arch, &stage, &depends, revision, &at.join("tmp"))
        })
        .collect::<Result<_>>()?;
    let inside = |revision: usize| {
        let name = packages[revision - 1].file_name().unwrap_or_default();
        format!("/tmp/{}", name.to_string_lossy())
    };
    let room = Room::new(at)?;

    let before = room.sh(LIST)?;
    room.sh(&format!("dpkg -i {}", inside(1)))?;
    let version = room.sh("ringtun --version")?;
    ensure!(
        version.trim() == format!("ringtun {}", release.version),
        "{version}"
    );
    let pages = pages(&room)?;
    completions(&room)?;
    let said =
        room.sh("systemd-analyze verify ringtun@wg0.service ringtun-gateway.service 2>&1")?;
    ensure!(said.is_empty(), "systemd-analyze verify: {said}");
    tunnel(&room)?;
    let traffic = upgrade(&room, &inside(2))?;
    let restart = restart(&room)?;
    removal(&room, &before)?;
    Ok(format!(
        "  Debian {suite}: installed; {pages} pages and 3 completions load; tunnel by XDP and sockets; \
         upgrade: {traffic}; `down` and `up` with the new program: {restart:.2} s; \
         removal leaves /etc/default/ringtun and /etc/wireguard"
    ))
}

fn pages(room: &Room) -> Result<usize> {
    let names = room.sh("cd /usr/share/man/man8 && ls | grep ^ringtun")?;
    for name in names.lines() {
        let page = name.trim_end_matches(".8.gz");
        let text = room.sh(&format!(
            "MANWIDTH=80 man --warnings -P cat 8 {page} 2>/tmp/warnings
             if [ -s /tmp/warnings ]; then cat /tmp/warnings >&2; exit 1; fi"
        ))?;
        ensure!(
            text.contains("NAME") && text.contains("EXIT STATUS"),
            "man {page}:\n{text}"
        );
    }
    ensure!(names.contains("ringtun-up.8.gz"), "{names}");
    Ok(names.lines().count())
}

fn completions(room: &Room) -> Result<()> {
    let bash = "bash --norc -c '. /usr/share/bash-completion/bash_completion; \
        if type _comp_load >/dev/null 2>&1; then _comp_load ringtun; else _completion_loader ringtun; fi; \
        COMP_WORDS=(ringtun che); COMP_CWORD=1; _ringtun ringtun che ringtun; echo ${COMPREPLY[@]}'";
    let zsh = "zsh -fc 'autoload -Uz compinit; compinit -D -u; autoload +X _ringtun; \
        echo ${_comps[ringtun]}; functions _ringtun'";
    let fish = "fish -c 'complete -C \"ringtun che\"'";
    for (shell, script, expected) in [
        ("bash", bash, "check"),
        ("zsh", zsh, "_ringtun"),
        ("zsh", zsh, "check"),
        ("fish", fish, "check"),
    ] {
        let said = room.sh(script)?;
        ensure!(
            said.contains(expected),
            "{shell}: {said:?} has no {expected}"
        );
    }
    Ok(())
}

/// Two gateways in two network namespaces of the room, and a third in its own.
fn tunnel(room: &Room) -> Result<()> {
    room.sh(
        "ip netns add a; ip netns add b
         ip link add eth0 netns a type veth peer name eth0 netns b
         ip -n a address add 192.0.2.1/24 dev eth0; ip -n b address add 192.0.2.2/24 dev eth0
         for n in a b; do ip -n $n link set lo up; ip -n $n link set eth0 up; done
         umask 077
         A=$(ringtun genkey) B=$(ringtun genkey)
         file() { # name, own address, own key, other's key, other's address, its endpoint
             printf '[Interface]\\nAddress = %s/24\\nListenPort = 51820\\nPrivateKey = %s\\n[Peer]\\nPublicKey = %s\\nAllowedIPs = %s/32\\nEndpoint = %s\\n' \
                 $2 $3 $(echo $4 | ringtun pubkey) $5 $6 >/etc/wireguard/$1.conf
         }
         file wga 10.9.0.1 $A $B 10.9.0.2 192.0.2.2:51820
         file wgb 10.9.0.2 $B $A 10.9.0.1 192.0.2.1:51820
         file wgc 10.8.0.1 $A $B 10.8.0.2 127.0.0.1:51821
         ip netns exec b ringtun up wgb; ip netns exec a ringtun up wga",
    )?;
    let ping = "ip netns exec a ping -c 3 -i 0.2 -W 5 10.9.0.2";
    for mode in ["udp", "xdp"] {
        room.sh(&format!("ip netns exec a ringtun io wga {mode}"))?;
        let said = room.sh(ping)?;
        ensure!(said.contains("3 received"), "--io {mode}: {said}");
    }
    Ok(())
}

/// The new package comes while a ping every 10 ms and a TCP stream run.
fn upgrade(room: &Room, package: &str) -> Result<String> {
    let said = room.sh(&format!(
        "ip netns exec b iperf3 --server --one-off >/dev/null & server=$!
         until ip netns exec b ss -Hltn 2>/dev/null | grep -q :5201; do sleep 0.05; done
         ip netns exec a ping -D -i 0.01 -c 500 10.9.0.2 >/tmp/ping & ping=$!
         ip netns exec a iperf3 --client 10.9.0.2 --time 6 --json >/tmp/iperf & iperf=$!
         until grep -q icmp_seq=100 /tmp/ping; do sleep 0.05; done
         dpkg -i {package}
         wait $ping; wait $iperf; wait $server"
    ))?;
    for name in ["wga", "wgb"] {
        let told = format!("the tunnel {name} goes on with the program of before");
        ensure!(
            said.contains(&told),
            "the package does not say that {name} goes on:\n{said}"
        );
    }
    let old =
        room.sh("ls -l /proc/[0-9]*/exe 2>/dev/null | grep -c '/usr/bin/ringtun (deleted)'")?;
    ensure!(
        old.trim() == "2",
        "{} processes run the old program, not 2",
        old.trim()
    );
    let ping = outage::read(&room.sh("cat /tmp/ping")?)?;
    let report: serde_json::Value = serde_json::from_str(&room.sh("cat /tmp/iperf")?)?;
    let bytes = report["end"]["sum_received"]["bytes"]
        .as_f64()
        .with_context(|| format!("iperf3 received nothing: {}", report["error"]))?;
    ensure!(bytes > 1e6, "iperf3 received {bytes} bytes");
    ensure!(
        ping.longest <= OUTAGE_MAX,
        "nothing arrived for {:.3} s of the upgrade",
        ping.longest
    );
    Ok(format!(
        "both processes go on, {} of 500 pings answered, longest gap {:.3} s, TCP went on ({:.0} MB)",
        ping.answers,
        ping.longest,
        bytes / 1e6
    ))
}

/// Seconds that it takes to have one end run the new program.
fn restart(room: &Room) -> Result<f64> {
    let begin = Instant::now();
    room.sh("ip netns exec a sh -euc 'ringtun down wga; ringtun up wga; ping -c 1 -W 5 10.9.0.2'")?;
    Ok(begin.elapsed().as_secs_f64())
}

fn removal(room: &Room, before: &str) -> Result<()> {
    room.sh("ip link set lo up; ringtun up wgc")?;
    room.sh("ip netns exec a ringtun down wga; ip netns exec b ringtun down wgb")?;
    // Removed with a tunnel up: it ends.
    room.sh("dpkg -r ringtun")?;
    let left = room.sh("ls -l /proc/[0-9]*/exe 2>/dev/null | grep ringtun || ip -o link show wgc 2>/dev/null || true")?;
    ensure!(left.is_empty(), "the removal left a tunnel: {left}");
    let tunnels = ["", "/wga.conf", "/wgb.conf", "/wgc.conf"]
        .map(|name| format!("/{}{name}", contents::TUNNELS));
    let conffiles = contents::CONFFILES.iter().map(ToString::to_string);
    is_left(room, before, conffiles.chain(tunnels.clone()).collect())?;
    room.sh("dpkg -P ringtun")?;
    is_left(room, before, tunnels.to_vec())
}

fn is_left(room: &Room, before: &str, mut expected: Vec<String>) -> Result<()> {
    let after = room.sh(LIST)?;
    let left: Vec<&str> = after
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line))
        .collect();
    expected.sort();
    let gone: Vec<&str> = before
        .lines()
        .filter(|line| !after.lines().any(|new| new == *line))
        .collect();
    ensure!(
        left == expected,
        "the removal left {left:?}, not {expected:?}"
    );
    ensure!(gone.is_empty(), "the removal took along {gone:?}");
    Ok(())
}
