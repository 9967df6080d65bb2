//! The machine: kernel, switches, programs.

use crate::control::report::gathered::Gathered;
use crate::control::report::page::Section;
use crate::control::report::value::{Fact, Version, Word};

const RELEASE: &str = "/proc/sys/kernel/osrelease";
const DISTRIBUTION: &str = "/etc/os-release";
const MEMORY: &str = "/proc/meminfo";
const UPTIME: &str = "/proc/uptime";
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// Where files that hold one number are.
const SYSCTLS: &str = "/proc/sys/";
const SWITCHES: [&str; 14] = [
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/net/core/bpf_jit_enable",
    "/proc/sys/net/core/busy_poll",
    "/proc/sys/net/core/netdev_budget",
    "/proc/sys/net/core/netdev_max_backlog",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/wmem_max",
    "/proc/sys/net/ipv4/conf/all/rp_filter",
    "/proc/sys/net/ipv4/conf/all/src_valid_mark",
    "/proc/sys/net/ipv4/conf/default/rp_filter",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ip_no_pmtu_disc",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6",
    "/proc/sys/net/ipv6/conf/all/forwarding",
];

/// All files that are read.
pub fn files() -> impl Iterator<Item = &'static str> {
    let others = [RELEASE, DISTRIBUTION, MEMORY, UPTIME, CONGESTION, CLOCK];
    others.into_iter().chain(SWITCHES)
}

/// Words behind the number of a kernel.
const FLAVOURS: [&str; 24] = [
    "aarch64",
    "amd64",
    "arch1",
    "arm64",
    "armmp",
    "aws",
    "azure",
    "bpo",
    "cloud",
    "default",
    "gcp",
    "generic",
    "hardened",
    "lowlatency",
    "lts",
    "oracle",
    "pve",
    "raspi",
    "rpi",
    "rt",
    "virtual",
    "vanilla",
    "x86_64",
    "zen1",
];
/// `ID` in `os-release`.
const DISTRIBUTIONS: [&str; 20] = [
    "alma",
    "almalinux",
    "alpine",
    "amzn",
    "arch",
    "centos",
    "debian",
    "fedora",
    "gentoo",
    "linuxmint",
    "manjaro",
    "nixos",
    "opensuse-leap",
    "opensuse-tumbleweed",
    "openwrt",
    "ol",
    "raspbian",
    "rhel",
    "rocky",
    "ubuntu",
];
const CONGESTIONS: [&str; 8] = [
    "bbr", "bic", "cubic", "dctcp", "htcp", "reno", "vegas", "westwood",
];
const CLOCKS: [&str; 7] = [
    "tsc",
    "hpet",
    "acpi_pm",
    "kvm-clock",
    "xen",
    "arch_sys_counter",
    "hyperv_clocksource_tsc_page",
];

/// This program.
#[must_use]
pub fn ringtun(gathered: &Gathered) -> Section {
    let mut section = Section::new("ringtun");
    section.line("version", Fact::version(env!("CARGO_PKG_VERSION")));
    section.line("architecture", Word::of(std::env::consts::ARCH));
    section.line("XDP programs inside", crate::bpf::embedded().is_some());
    section.line("asked by root", gathered.root);
    section.line("made at (s since 1970)", gathered.now);
    section
}

/// What it runs on.
#[must_use]
pub fn machine(gathered: &Gathered) -> Section {
    let mut section = Section::new("machine");
    let text = |path| {
        gathered
            .files
            .get(path)
            .map(|text| text.as_ref().map(|text| text.trim()))
    };
    let mut put = |label, path, fact: &dyn Fn(&str) -> Fact| match text(path) {
        Some(Ok(text)) => section.line(label, fact(text)),
        Some(Err(why)) => section.missing(label, *why),
        None => section.line(label, Fact::Nothing),
    };
    put("kernel", RELEASE, &kernel);
    put("distribution", DISTRIBUTION, &distribution);
    put("memory", MEMORY, &memory);
    put("up for", UPTIME, &uptime);
    put("clock", CLOCK, &|text| Fact::among(&CLOCKS, text));
    put("TCP congestion control", CONGESTION, &|text| {
        Fact::among(&CONGESTIONS, text)
    });
    let processors = std::thread::available_parallelism();
    section.line("processors", processors.ok().map(usize::from));
    let is_there = |wanted: bool| {
        let all = gathered
            .programs
            .iter()
            .filter(move |(_, is)| *is == wanted);
        Fact::Many(all.map(|(name, _)| Word::of(name).into()).collect())
    };
    section.line("programs", is_there(true));
    section.line("programs not installed", is_there(false));
    section
}

/// Switches of the kernel.
#[must_use]
pub fn switches(gathered: &Gathered) -> Section {
    let mut section = Section::new("switches");
    for path in SWITCHES {
        let label = path.trim_start_matches(SYSCTLS);
        match gathered.files.get(path) {
            Some(Ok(text)) => section.line(label, integer(text)),
            Some(Err(why)) => section.missing(label, *why),
            None => section.line(label, Fact::Nothing),
        }
    }
    section
}

/// A number as the kernel writes it; a longer one is none of its switches.
fn integer(text: &str) -> Fact {
    let number: Option<i32> = text.trim().parse().ok();
    number.map_or_else(|| Fact::hidden(text), |number| i64::from(number).into())
}

/// `6.1.0-18-cloud-amd64`: the first three numbers, and words that are known.
fn kernel(text: &str) -> Fact {
    let Some((version, rest)) = Version::parse(text) else {
        return Fact::hidden(text);
    };
    let parts = rest
        .split(['-', '+', '.', '~', '_'])
        .filter(|part| !part.is_empty());
    let mut numbers = 0;
    let parts = parts.map(|part| match part.parse::<u16>() {
        // An Ubuntu or Debian has one or two; four may be an address.
        Ok(number) if part.len() < 4 && numbers < 2 => {
            numbers += 1;
            number.into()
        }
        _ => Fact::among(&FLAVOURS, part),
    });
    let all = std::iter::once(Fact::Version(version)).chain(parts);
    Fact::first(super::CELL_MAX, all, |part| part)
}

fn distribution(text: &str) -> Fact {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(name, _)| *name == key)?;
        Some(value.trim_matches(['"', '\'']))
    };
    let id = value("ID").map(|id| Fact::among(&DISTRIBUTIONS, id));
    let version = value("VERSION_ID").map(Fact::version);
    Fact::Many(id.into_iter().chain(version).collect())
}

fn memory(text: &str) -> Fact {
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|total| total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map_or(Fact::Nothing, |kib| {
        Fact::Amount(kib / 1024, Word::of("MiB"))
    })
}

fn uptime(text: &str) -> Fact {
    let seconds = text
        .split(['.', ' '])
        .next()
        .and_then(|text| text.parse().ok());
    seconds.map_or(Fact::Nothing, |seconds| {
        Fact::Amount(seconds, Word::of("s"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_known_by_number_and_flavour() {
        for (text, shown) in [
            ("6.1.0-18-cloud-amd64", "6.1.0, 18, cloud, amd64"),
            ("6.18.44", "6.18.44"),
            (
                "6.8.0-annas-laptop",
                "6.8.0, <text, 5 characters>, <text, 6 characters>",
            ),
            (
                "5.15.0-10.1.2.3",
                "5.15.0, 10, 1, <text, 1 character>, <text, 1 character>",
            ),
            ("hunter2", "<text, 7 characters>"),
        ] {
            assert_eq!(kernel(text).to_string(), shown);
        }
    }

    #[test]
    fn files_of_the_system_are_taken_apart() {
        let release = "NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\nHOME_URL=\"https://anna\"\n";
        assert_eq!(distribution(release).to_string(), "debian, 12");
        assert_eq!(distribution("ID=annas").to_string(), "<text, 5 characters>");
        assert_eq!(memory("MemTotal:  2048 kB\n").to_string(), "2 MiB");
        assert_eq!(uptime("123.45 678.9").to_string(), "123 s");
        assert_eq!(integer("-1\n").to_string(), "-1");
        assert_eq!(integer("10.1.2.3").to_string(), "<text, 8 characters>");
        assert_eq!(integer("99999999999").to_string(), "<text, 11 characters>");
    }
}
