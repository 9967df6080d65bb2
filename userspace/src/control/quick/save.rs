//! `SaveConfig`: the device as it is, as its file.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use zeroize::Zeroizing;

use super::default_route::addresses;
use super::files::replace;
use super::program::ip_json;
use crate::control::names::InterfaceName;
use crate::control::uapi::DeviceState;
use crate::control::wgquick::{Config, Table, file};
use crate::crypto::PublicKey;
use crate::metrics::names;

/// Writes the file anew, mode 0600: the peers of `state`, the addresses of the
/// device, and what only the old file knows.
///
/// # Errors
/// The file cannot be read or written.
pub fn save(path: &Path, name: &InterfaceName, state: &DeviceState) -> Result<()> {
    let (config, _) =
        file::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let called = names::read(path).map(|text| names::parse(&text));
    let text = text(&config, name, state, &called.unwrap_or_default());
    replace(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn text(
    config: &Config,
    name: &InterfaceName,
    state: &DeviceState,
    called: &HashMap<PublicKey, String>,
) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(4096 + 512 * state.peers.len()));
    let i = &config.interface;
    out.push_str("[Interface]\n");
    for (address, len) in addresses(name) {
        let _ = writeln!(out, "Address = {address}/{len}");
    }
    for server in &i.dns {
        let _ = writeln!(out, "DNS = {server}");
    }
    for domain in &i.dns_search {
        let _ = writeln!(out, "DNS = {domain}");
    }
    let links = ip_json(&format!("link show dev {name}"));
    let mtu = links.first().and_then(|l| l["mtu"].as_u64());
    if let Some(mtu) = mtu.filter(|_| i.mtu.is_some()) {
        let _ = writeln!(out, "MTU = {mtu}");
    }
    match &i.table {
        Table::Auto => {}
        Table::Off => out.push_str("Table = off\n"),
        Table::Number(n) => _ = writeln!(out, "Table = {n}"),
        Table::Named(n) => _ = writeln!(out, "Table = {n}"),
    }
    out.push_str("SaveConfig = true\n");
    for (key, commands) in [
        ("PreUp", &i.pre_up),
        ("PostUp", &i.post_up),
        ("PreDown", &i.pre_down),
        ("PostDown", &i.post_down),
    ] {
        for command in commands {
            let _ = writeln!(out, "{key} = {command}");
        }
    }
    device(config, state, called, &mut out);
    out
}

fn device(
    config: &Config,
    state: &DeviceState,
    called: &HashMap<PublicKey, String>,
    out: &mut String,
) {
    if state.listen_port != 0 {
        let _ = writeln!(out, "ListenPort = {}", state.listen_port);
    }
    // That of a default route is chosen anew.
    if state.fwmark != 0 && config.interface.fwmark.is_some() {
        let _ = writeln!(out, "FwMark = {:#x}", state.fwmark);
    }
    if let Some(key) = &state.private_key {
        let _ = writeln!(out, "PrivateKey = {}", &*key.to_base64());
    }
    for peer in &state.peers {
        out.push_str("\n[Peer]\n");
        if let Some(called) = called.get(&peer.public_key) {
            let _ = writeln!(out, "# friendly_name = {called}");
        }
        let _ = writeln!(out, "PublicKey = {}", peer.public_key);
        if peer.preshared_key.is_set() {
            let _ = writeln!(out, "PresharedKey = {}", &*peer.preshared_key.to_base64());
        }
        let ranges: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        if !ranges.is_empty() {
            let _ = writeln!(out, "AllowedIPs = {}", ranges.join(", "));
        }
        if let Some(endpoint) = peer.endpoint {
            let _ = writeln!(out, "Endpoint = {endpoint}");
        }
        if peer.keepalive != 0 {
            let _ = writeln!(out, "PersistentKeepalive = {}", peer.keepalive);
        }
    }
}
