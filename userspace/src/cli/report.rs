//! `ringtun report [NAME]`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use rand_core::Rng as _;

use super::doctor::{all, json};
use super::output::print;
use super::{show, show_json};
use crate::control::doctor::{self, Subject};
use crate::control::quick::up::device_of;
use crate::control::report::{Redactor, Report, config, sources};
use crate::control::uapi::socket::DIRECTORY as SOCKETS;
use crate::control::wgquick::file;
use crate::crypto::os_rng;

/// Lines of the log of each tunnel.
const LOG_LINES: usize = 400;
/// Network cards that are looked at.
const CARDS_MAX: usize = 32;

/// What a machine may have set that changes what a tunnel does.
const SETTINGS: [&str; 12] = [
    "/proc/sys/kernel/ostype",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/net/core/bpf_jit_enable",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/wmem_max",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all/rp_filter",
    "/proc/sys/net/ipv4/conf/default/rp_filter",
    "/proc/sys/net/ipv4/conf/all/src_valid_mark",
    "/proc/sys/net/ipv4/tcp_congestion_control",
    "/proc/sys/net/ipv6/conf/all/forwarding",
];

const PREFACE: &str = "\
What is in here was redacted: private and preshared keys are not in it at all, public
keys, names and addresses were replaced. peer-1 is the same peer everywhere. Addresses
that share a network still share one; 10.0.0.0/8 and its like stay what they are.
";

#[derive(Args)]
#[command(after_help = "\
One text file with versions, kernel settings, links, routes, rules, the firewall, the
tunnels' files, state, counters and last log lines, and what doctor finds. It is written
for the user only, and never over another file. Private and preshared keys are not in
it; public keys, peers' names, host names, hardware and IP addresses are replaced; hooks
and comments of the file are left out. It goes by what text looks like: read it before
you send it.

Examples:
  sudo ringtun report
  sudo ringtun report wg0 -o wg0.txt
  sudo ringtun report wg0 -o - | less")]
pub struct ReportArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf; all there are without
    #[arg(value_name = "NAME or FILE")]
    name: Option<String>,

    /// Where to write it; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "ringtun-report.txt")]
    output: PathBuf,

    /// Leave IP and hardware addresses as they are
    #[arg(long)]
    with_addresses: bool,
}

/// Gathers, and says what is in it.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    let subjects = match &args.name {
        Some(name) => {
            let path = file::locate(name);
            let path = std::path::absolute(&path).unwrap_or(path);
            vec![Subject::new(device_of(&path)?, path, Path::new(SOCKETS))]
        }
        None => all(),
    };
    let to_terminal = args.output == Path::new("-");
    // Before the work: a file of that name may be there.
    let file = if to_terminal {
        None
    } else {
        Some(create(&args.output)?)
    };
    let (text, sections, [keys, names, addresses]) = gather(args, &subjects);
    let Some(mut file) = file else {
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    };
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    let kept = if args.with_addresses {
        String::from("addresses were left as they are")
    } else {
        format!("{addresses} addresses were replaced")
    };
    print(&format!(
        "{}: {} KiB, {} sections. {keys} keys and {names} names were replaced, {kept}.\n\
         Read it before you send it.\n",
        args.output.display(),
        text.len().div_ceil(1024),
        sections.len(),
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn create(path: &Path) -> Result<fs::File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {} (-o names another file)", path.display()))
}

fn gather(args: &ReportArgs, subjects: &[Subject]) -> (String, Vec<String>, [usize; 3]) {
    let mut report = Report::new(redactor(args, subjects));
    report.add(
        "ringtun",
        &format!(
            "{PREFACE}\nringtun {} for {}, XDP programs inside: {}\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH,
            if crate::bpf::embedded().is_some() {
                "yes"
            } else {
                "no"
            },
        ),
    );
    for subject in subjects {
        let name = subject.name.as_str();
        report.add_config(&format!("{name}: file"), &subject.path);
        let state = show::ask(Path::new(SOCKETS), &subject.name)
            .map_err(anyhow::Error::from)
            .and_then(|shown| show_json::render(&[shown], true));
        let state = state.unwrap_or_else(|error| format!("does not run: {error:#}\n"));
        report.add(&format!("{name}: state"), &state);
        let metrics = subject.info.as_ref().and_then(|info| info.metrics.as_ref());
        if let Some(Ok(address)) = metrics.map(|address| address.parse()) {
            let page = sources::metrics(address)
                .unwrap_or_else(|error| format!("cannot be read: {error}\n"));
            report.add(&format!("{name}: metrics"), &page);
        }
        let log = format!(
            "journalctl --no-pager --no-hostname -q -o short-iso -n {LOG_LINES} -u ringtun@{name}"
        );
        report.add(&format!("{name}: log"), &sources::command(&log));
    }
    let findings = doctor::examine(subjects, args.name.is_some());
    let findings = json(&findings).unwrap_or_else(|error| format!("{error}\n"));
    report.add("doctor", &findings);
    report.add("settings", &sources::settings(&SETTINGS));
    for (title, words) in [
        ("processors", "lscpu"),
        ("links", "ip -d -s link show"),
        ("addresses", "ip -br address show"),
        ("rules", "ip rule show"),
        ("rules, IPv6", "ip -6 rule show"),
        ("routes", "ip route show table all"),
        ("routes, IPv6", "ip -6 route show table all"),
        ("firewall", "nft list ruleset"),
    ] {
        report.add(title, &sources::command(words));
    }
    for card in cards() {
        for option in ["-i", "-l", "-k"] {
            let words = format!("ethtool {option} {card}");
            report.add(&words.clone(), &sources::command(&words));
        }
    }
    report.finish()
}

/// With all it is to know: keys and names of the files and of what runs.
fn redactor(args: &ReportArgs, subjects: &[Subject]) -> Redactor {
    let mut secret = [0; 32];
    os_rng().fill_bytes(&mut secret);
    let mut redactor = Redactor::new((!args.with_addresses).then_some(secret));
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname") {
        redactor.know_name(&host);
    }
    for subject in subjects {
        if let Some((file, _)) = &subject.file {
            config::learn(file, &mut redactor);
        }
        if let Ok(shown) = show::ask(Path::new(SOCKETS), &subject.name) {
            if let Some(key) = &shown.state.private_key {
                redactor.know_key(&key.public(), "device");
            }
            for peer in &shown.state.peers {
                redactor.know_key(&peer.public_key, "peer");
            }
            let mut names: Vec<_> = shown.names.values().collect();
            names.sort();
            names.iter().for_each(|name| redactor.know_name(name));
        }
        if let Ok(text) = crate::metrics::names::read(&subject.path) {
            let names = crate::metrics::names::parse(&text);
            let mut names: Vec<_> = names.values().collect();
            names.sort();
            names.iter().for_each(|name| redactor.know_name(name));
        }
    }
    redactor
}

/// Links that have hardware behind them.
fn cards() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    let mut cards: Vec<String> = entries
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .take(CARDS_MAX)
        .collect();
    cards.sort();
    cards
}
