//! What is forwarded, and as whom.

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

use super::finding::{Finding, Severity, word};
use super::firewall::{self, Blocked};
use super::machine;
use super::subject::Subject;
use crate::control::quick::program::ip_json;
use crate::control::wgquick::InterfaceAddress;
use crate::tunnel::allowed_ips::Prefix;

/// Name of the table that a remedy makes.
const TABLE: &str = "ringtun-masquerade";

/// What a gateway lacks, and what its firewall keeps from it.
#[must_use]
pub fn examine(subject: &Subject, rules: Option<&Value>) -> Vec<Finding> {
    let mut found = Vec::new();
    let chains = rules.map(firewall::chains);
    let masquerades = rules.map(firewall::masquerades);
    if subject.runs() {
        let forwarding = forwarding(subject);
        if let Some(masquerades) = masquerades.filter(|_| forwarding.is_empty()) {
            found.extend(no_masquerade(subject, masquerades));
        }
        found.extend(forwarding);
        found.extend(marks(subject));
    }
    if let (Some(chains), Some(port)) = (&chains, subject.port()) {
        let blocked = chains.iter().find_map(|chain| chain.blocks(port));
        found.extend(blocked.and_then(|blocked| closed(subject, port, &blocked)));
        let mentioned = chains.iter().any(|chain| chain.mentions(port));
        found.extend(by_rings(subject, port, mentioned));
    }
    found
}

/// Whether the file's hooks speak of packets that are forwarded, by family.
fn is_gateway(subject: &Subject, v6: bool) -> bool {
    let hooks = subject.hooks();
    let lines = hooks.lines().filter(|line| {
        (line.contains("ip6") || line.contains("ipv6")) == v6 || line.contains("inet")
    });
    let says = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.contains("forward") || line.contains("masquerade")
    };
    let by_hooks = lines.into_iter().any(says);
    let by_lan = subject
        .info
        .as_ref()
        .is_some_and(|info| !info.lan.is_empty());
    by_hooks || by_lan
}

fn addresses(subject: &Subject, v6: bool) -> impl Iterator<Item = &InterfaceAddress> {
    let all = subject
        .config()
        .into_iter()
        .flat_map(|config| &config.interface.addresses);
    all.filter(move |address| address.addr.is_ipv6() == v6)
}

fn forwarding(subject: &Subject) -> Vec<Finding> {
    let switches = [
        (false, "net.ipv4.ip_forward"),
        (true, "net.ipv6.conf.all.forwarding"),
    ];
    let off = switches.into_iter().filter(|(v6, switch)| {
        is_gateway(subject, *v6)
            && addresses(subject, *v6).next().is_some()
            && machine::switch(&switch.replace('.', "/")) == Some(0)
    });
    let found = off.map(|(v6, switch)| {
        let family = if v6 { "IPv6" } else { "IPv4" };
        let what = format!("this host is to forward, and it does not forward {family}");
        Finding::new("forwarding-off", Severity::Error, what)
            .of(&subject.name)
            .seen(format!("{switch} is 0"))
            .command(format!("sysctl -w {switch}=1"))
            .advice(format!(
                "and `{switch} = 1` in /etc/sysctl.d/90-ringtun.conf, for the next boot"
            ))
    });
    found.collect()
}

/// Clients with private addresses whose packets go on as they are.
fn no_masquerade(subject: &Subject, masquerades: bool) -> Option<Finding> {
    // What the old iptables has set is not among the rules of nftables.
    let old = machine::read(Path::new("/proc/net/ip_tables_names")).unwrap_or_default();
    if masquerades || !is_gateway(subject, false) || old.contains("nat") {
        return None;
    }
    let clients = subject.networks();
    let private = |network: &Prefix| match network.addr() {
        IpAddr::V4(address) => network.len() == 32 && address.is_private(),
        IpAddr::V6(_) => true,
    };
    if clients.is_empty() || !clients.iter().all(private) {
        return None;
    }
    let own = addresses(subject, false).find(|address| address.len < 32)?;
    let defaults = ip_json("-4 route show default");
    let out = defaults.first()?["dev"]
        .as_str()
        .filter(|out| *out != subject.name.as_str())?;
    let network = Prefix::new(own.addr, own.len)?;
    let what = format!(
        "clients in {network} are forwarded to {out} with their private addresses, to which nobody there has a way"
    );
    Some(
        Finding::new("no-masquerade", Severity::Warning, what)
            .of(&subject.name)
            .seen("nft list ruleset: no masquerade and no snat")
            .command(format!("nft add table ip {TABLE}"))
            .command(format!(
                "nft 'add chain ip {TABLE} post {{ type nat hook postrouting priority srcnat; }}'"
            ))
            .command(format!(
                "nft add rule ip {TABLE} post oifname {} ip saddr {network} masquerade",
                word(out)
            )),
    )
}

/// With a default route through the tunnel, answers come by another way than the
/// kernel would take to who sent them, unless it looks at their mark.
fn marks(subject: &Subject) -> Option<Finding> {
    let by_mark = subject.mark() != 0 && subject.networks().iter().any(|n| n.len() == 0);
    let links = machine::links();
    let filter = |name: &str| machine::switch(&format!("net/ipv4/conf/{name}/rp_filter"));
    let strict =
        |link: &machine::Link| !link.loopback && filter("all").max(filter(&link.name)) == Some(1);
    let valid = machine::switch("net/ipv4/conf/all/src_valid_mark");
    if !by_mark || valid != Some(0) {
        return None;
    }
    let link = links.iter().find(|link| strict(link))?;
    let what = "the kernel drops the answers of the endpoint: it takes their way for the wrong one";
    Some(
        Finding::new("answers-dropped", Severity::Error, what)
            .of(&subject.name)
            .seen(format!(
                "rp_filter is 1 on {}, and net.ipv4.conf.all.src_valid_mark is 0",
                link.name
            ))
            .command("sysctl -w net.ipv4.conf.all.src_valid_mark=1"),
    )
}

/// A port that others are to call.
fn closed(subject: &Subject, port: u16, blocked: &Blocked) -> Option<Finding> {
    let state = subject.state.as_ref()?;
    let called = state.peers.iter().any(|peer| peer.last_handshake.secs == 0)
        && subject
            .config()
            .is_none_or(|config| config.interface.listen_port.is_some());
    if !called {
        return None;
    }
    let what = format!("the firewall drops what arrives for UDP port {port}");
    let finding = Finding::new("port-closed", Severity::Error, what).of(&subject.name);
    Some(match blocked {
        Blocked::ByRule { chain, handle } => finding
            .seen(format!(
                "nft -a list chain {chain}: the rule with handle {handle}"
            ))
            .command(format!("nft insert rule {chain} udp dport {port} accept")),
        Blocked::ByPolicy { chain } => finding
            .seen(format!(
                "nft list chain {chain}: policy drop, and no rule accepts the port"
            ))
            .command(format!("nft add rule {chain} udp dport {port} accept")),
    })
}

/// Rules about a port whose packets they do not see.
fn by_rings(subject: &Subject, port: u16, mentioned: bool) -> Option<Finding> {
    let info = subject
        .info
        .as_ref()
        .filter(|info| info.io == "xdp" && mentioned)?;
    let cards: Vec<_> = info.cards.iter().map(|card| card.name.as_str()).collect();
    let what = format!("rules about UDP port {port} do not see what arrives by AF_XDP");
    Some(
        Finding::new("firewall-passed-by", Severity::Note, what)
            .of(&subject.name)
            .seen(format!(
                "ringtun show {}: by rings on {}",
                subject.name,
                cards.join(", ")
            ))
            .advice(format!(
                "for the firewall to see it: ringtun io {} udp",
                subject.name
            )),
    )
}
