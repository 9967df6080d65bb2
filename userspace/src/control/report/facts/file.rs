//! A tunnel's file, as our parser understands it.

use super::{CELL_MAX, ROWS_MAX};
use crate::control::report::gathered::Tunnel;
use crate::control::report::page::Section;
use crate::control::report::pseudonyms::Pseudonyms;
use crate::control::report::value::{Fact, Word};
use crate::control::wgquick::{Severity, Table};

/// Settings, peers, and where mistakes are.
#[must_use]
pub fn section(tunnel: &Tunnel, names: &mut Pseudonyms) -> Section {
    let mut section = Section::of("file", names.device(&tunnel.name));
    match &tunnel.journal {
        Ok(true) => section.line("brought up by ringtun up", Word::of("wholly")),
        Ok(false) => section.line("brought up by ringtun up", Word::of("in part")),
        Err(why) => section.missing("brought up by ringtun up", *why),
    }
    let (config, mistakes) = match &tunnel.file {
        Ok(parsed) => parsed,
        Err(why) => {
            section.missing("file", *why);
            return section;
        }
    };
    let interface = &config.interface;
    section.line("errors", mistakes.errors());
    section.line("warnings", mistakes.warnings());
    section.line("private key", interface.private_key.is_some());
    section.line("listen port", interface.listen_port);
    section.line("mark", interface.fwmark);
    section.line("MTU", interface.mtu);
    section.line(
        "table",
        match &interface.table {
            Table::Auto => Word::of("auto").into(),
            Table::Off => Word::of("off").into(),
            Table::Number(number) => Fact::from(*number),
            Table::Named(name) => Fact::hidden(name),
        },
    );
    let addresses = Fact::first(CELL_MAX, &interface.addresses, |own| {
        names.network(own.addr, own.len)
    });
    section.line("addresses", addresses);
    let dns = Fact::first(CELL_MAX, &interface.dns, |dns| names.address(*dns));
    section.line("name servers", dns);
    section.line("search domains", interface.dns_search.len());
    let hooks = [
        ("PreUp hooks", &interface.pre_up),
        ("PostUp hooks", &interface.post_up),
        ("PreDown hooks", &interface.pre_down),
        ("PostDown hooks", &interface.post_down),
    ];
    for (label, commands) in hooks {
        section.line(label, commands.len());
    }
    section.line("saves its configuration", interface.save_config);
    section.line("peers with names", tunnel.friendly.len());
    let head = &[
        "peer",
        "line",
        "preshared key",
        "endpoint",
        "keepalive",
        "allowed IPs",
    ];
    section.table("peers", head, &config.peers, ROWS_MAX, |peer| {
        let endpoint = peer.endpoint.as_ref();
        vec![
            names.peer(&peer.public_key),
            peer.line.into(),
            peer.preshared_key.is_set().into(),
            endpoint.map_or(Fact::Nothing, |endpoint| names.endpoint(endpoint)),
            peer.keepalive.into(),
            Fact::first(CELL_MAX, &peer.allowed_ips, |range| names.prefix(*range)),
        ]
    });
    let head = &["severity", "line", "key"];
    section.table("mistakes", head, mistakes.sorted(), ROWS_MAX, |mistake| {
        let severity = match mistake.severity {
            Severity::Error => Word::of("error"),
            Severity::Warning => Word::of("warning"),
        };
        let key = mistake.key.map(Word::of);
        vec![severity.into(), mistake.line.into(), key.into()]
    });
    section
}
