//! `ringtun peer add` and `ringtun peer remove`.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::print;
use super::qr::{self, Paint};
use crate::control::doctor::machine;
use crate::control::names::InterfaceName;
use crate::control::peers::addresses;
use crate::control::peers::change::Held;
use crate::control::peers::client::{Callable, Client};
use crate::control::peers::edit::Section;
use crate::control::peers::name::FriendlyName;
use crate::control::quick::up::device_of;
use crate::control::uapi::client::Client as Daemon;
use crate::control::uapi::socket::DIRECTORY;
use crate::control::wgquick::file;
use crate::crypto::{PresharedKey, PrivateKey, PublicKey, os_rng};
use crate::metrics::names;
use crate::tunnel::allowed_ips::Prefix;

#[derive(Args)]
pub struct PeerArgs {
    #[command(subcommand)]
    command: PeerCommand,
}

#[derive(Subcommand)]
enum PeerCommand {
    /// Add a client: new keys, the next free addresses, its file, and a QR code
    Add(AddArgs),
    /// Take a client out again
    Remove(RemoveArgs),
}

#[derive(Args)]
#[command(after_help = "\
Adds a [Peer] to the tunnel's file, of which all else stays as it is, and tells the running
tunnel: no session ends. The client's file holds its private key: it is there once, mode
0600, and nowhere else.

Addresses are the first free ones of each network in Address; of an address without a
network (/32, /128), those of its /24 and /64.

Examples:
  ringtun peer add wg0 \"Anna's phone\" --endpoint vpn.example.org --qr
  ringtun peer add wg0 laptop --allowed 10.0.0.0/24 --out laptop.conf
  ringtun peer add wg0 box --json | jq -r .addresses[]")]
struct AddArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf
    #[arg(value_name = "NAME or FILE")]
    file: String,

    /// What people call it; becomes its name in `show` and metrics
    #[arg(value_name = "FRIENDLY")]
    friendly: FriendlyName,

    /// Show its file as a QR code, for the camera of a phone
    #[arg(long, conflicts_with = "json")]
    qr: bool,

    /// Where it reaches this host: HOST, HOST:PORT; a public address of this host without
    #[arg(long, value_name = "HOST[:PORT]")]
    endpoint: Option<Callable>,

    /// What it sends through the tunnel; everything without
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    allowed: Vec<Prefix>,

    /// Name servers that it asks
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    dns: Vec<IpAddr>,

    /// Where its file goes; `-` is standard output. Without, ./NAME.conf after the client
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// No preshared key
    #[arg(long)]
    no_preshared_key: bool,

    /// Print one JSON object, without secrets
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Takes its sections out of the tunnel's file, and out of the running tunnel.

Examples:
  ringtun peer remove wg0 \"Anna's phone\"
  ringtun peer remove wg0 xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=")]
struct RemoveArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf
    #[arg(value_name = "NAME or FILE")]
    file: String,

    /// Its name, or its public key
    #[arg(value_name = "FRIENDLY or KEY")]
    peer: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Adds or removes.
pub fn run(args: &PeerArgs) -> Result<ExitCode> {
    match &args.command {
        PeerCommand::Add(args) => add(args),
        PeerCommand::Remove(args) => remove(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn hold(name_or_path: &str) -> Result<(Held, InterfaceName)> {
    let path = file::locate(name_or_path);
    let name = device_of(&path)?;
    Ok((Held::new(name.clone(), &path)?, name))
}

/// What was done.
#[derive(Serialize)]
struct Outcome<'a> {
    name: &'a str,
    public_key: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// The tunnel's file.
    tunnel_file: &'a Path,
    /// The client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_file: Option<&'a Path>,
    /// The running device knows it, too.
    applied: bool,
}

fn add(args: &AddArgs) -> Result<()> {
    let (held, name) = hold(&args.file)?;
    let known = names::parse(held.text());
    if known.values().any(|known| known == args.friendly.as_str()) {
        bail!(
            "{} has a peer of that name already; choose another, or `ringtun peer remove` it",
            held.path().display()
        );
    }
    let server = server(&held, &name)?;
    let endpoint = endpoint(args, &held, &name)?;
    let addresses = addresses::free(held.config())?;
    let private = PrivateKey::generate(&mut os_rng());
    let preshared = if args.no_preshared_key {
        PresharedKey::none()
    } else {
        PresharedKey::generate(&mut os_rng())
    };
    let own: Vec<Prefix> = addresses
        .iter()
        .map(|address| Prefix::host(*address))
        .collect();
    let text = Client {
        private: &private,
        addresses: &addresses,
        dns: &args.dns,
        server,
        preshared: &preshared,
        endpoint: &endpoint,
        allowed_ips: &allowed(args, &addresses),
    }
    .text();
    let code = match args.qr {
        false => None,
        true => Some(qr::render(&text, paint()).context("the file is too long for a QR code")?),
    };
    let to_stdout = args.out.as_deref() == Some(Path::new("-"));
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| format!("{}.conf", args.friendly.device()).into());
    if !to_stdout {
        write_new(&out, &text)?;
    }
    let section = Section {
        name: &args.friendly,
        key: private.public(),
        preshared: &preshared,
        allowed_ips: &own,
    };
    let applied = held.add(&section, Path::new(DIRECTORY)).inspect_err(|_| {
        // Nobody knows its key: it is of no use. Not after the file was changed.
        if !to_stdout && names::read(held.path()).is_ok_and(|now| *now == *held.text()) {
            let _ = std::fs::remove_file(&out);
        }
    })?;
    let outcome = Outcome {
        name: args.friendly.as_str(),
        public_key: private.public().to_string(),
        addresses,
        endpoint: Some(endpoint.to_string()),
        tunnel_file: held.path(),
        client_file: (!to_stdout).then_some(&out),
        applied,
    };
    if to_stdout {
        print(&text)?;
    }
    if args.json && !to_stdout {
        return print(&(serde_json::to_string_pretty(&outcome)? + "\n"));
    }
    // What is for pipes goes to standard output, what is for people does not.
    let mut told = std::io::stderr();
    let _ = writeln!(told, "{}", added(&outcome, &args.file));
    if args.endpoint.is_none() {
        let _ = writeln!(
            told,
            "its Endpoint {endpoint} is an address of this host; --endpoint says another"
        );
    }
    match code {
        Some(code) => print(&code),
        None => Ok(()),
    }
}

fn added(outcome: &Outcome<'_>, file: &str) -> String {
    let addresses: Vec<_> = outcome.addresses.iter().map(IpAddr::to_string).collect();
    let mut text = format!(
        "added `{}` to {}: {}",
        outcome.name,
        outcome.tunnel_file.display(),
        addresses.join(", ")
    );
    if let Some(file) = outcome.client_file {
        text += &format!("; its file, with its keys, is {}", file.display());
    }
    text + &running(outcome.applied, file)
}

fn running(applied: bool, file: &str) -> String {
    if applied {
        "\nthe running tunnel knows it".to_owned()
    } else {
        format!("\nit is not up by ringtun: `ringtun up {file}`, or `wg syncconf`")
    }
}

fn paint() -> Paint {
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match (std::io::stdout().is_terminal(), colours) {
        (true, true) => Paint::Colours,
        (true, false) => Paint::OnDark,
        (false, _) => Paint::OnLight,
    }
}

/// Everything, in the families that the client has an address of.
fn allowed(args: &AddArgs, addresses: &[IpAddr]) -> Vec<Prefix> {
    if !args.allowed.is_empty() {
        return args.allowed.clone();
    }
    let all = ["0.0.0.0/0", "::/0"]
        .into_iter()
        .filter_map(|all| all.parse::<Prefix>().ok());
    let has = |all: &Prefix| {
        addresses
            .iter()
            .any(|a| a.is_ipv4() == all.addr().is_ipv4())
    };
    all.filter(has).collect()
}

/// This side's public key.
fn server(held: &Held, name: &InterfaceName) -> Result<PublicKey> {
    if let Some(key) = &held.config().interface.private_key {
        return Ok(key.public());
    }
    // A hook may set it.
    let state = Daemon::connect(Path::new(DIRECTORY), name).and_then(|mut d| d.state());
    let key = state.ok().and_then(|state| state.private_key);
    let key = key.with_context(|| {
        format!(
            "{} has no PrivateKey, and no running device `{name}` has one",
            held.path().display()
        )
    })?;
    Ok(key.public())
}

fn endpoint(args: &AddArgs, held: &Held, name: &InterfaceName) -> Result<Callable> {
    let endpoint = match &args.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => Callable::new(
            own_address(name).context(
                "this host has no public address of its own: say how clients reach it, \
                 --endpoint HOST (the router's address, with UDP forwarded from there)",
            )?,
            0,
        ),
    };
    let port = held.config().interface.listen_port.unwrap_or(0);
    let endpoint = endpoint.or_port(port);
    if endpoint.port() == 0 {
        bail!(
            "{} has no ListenPort, so clients do not know which port to call; add \
             ListenPort = 51820 to [Interface], or say --endpoint HOST:PORT",
            held.path().display()
        );
    }
    Ok(endpoint)
}

/// A public address of this host, IPv4 first.
fn own_address(tunnel: &InterfaceName) -> Option<IpAddr> {
    let links = machine::links();
    let outside = links
        .iter()
        .filter(|link| link.name != tunnel.as_str() && link.up);
    let mut all: Vec<IpAddr> = outside
        .flat_map(|link| link.addresses.iter().map(|(address, _)| *address))
        .filter(|address| is_public(*address))
        .collect();
    all.sort_unstable();
    all.first().copied()
}

/// Not one that only this network knows (RFC 1918, 3927, 6598, 4193, 4291), nor one of
/// examples.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_documentation()
                || v4.is_multicast()
                || v4.is_broadcast()
                || shared)
        }
        // 2000::/3 is what is given out.
        IpAddr::V6(v6) => {
            v6.segments()[0] & 0xe000 == 0x2000 && v6.segments()[0..2] != [0x2001, 0xdb8]
        }
    }
}

/// A file that was not there.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| {
            format!(
                "cannot make {} (--out names another); nothing was changed",
                path.display()
            )
        })?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written
        .inspect_err(|_| _ = std::fs::remove_file(path))
        .with_context(|| format!("cannot write {}; nothing was changed", path.display()))
}

fn remove(args: &RemoveArgs) -> Result<()> {
    let (held, name) = hold(&args.file)?;
    let known = names::parse(held.text());
    let called: Vec<_> = known
        .iter()
        .filter(|(_, known)| **known == args.peer)
        .collect();
    let key = match (called.as_slice(), PublicKey::from_base64(&args.peer)) {
        ([(key, _)], _) => **key,
        ([], Ok(key)) => key,
        ([], Err(_)) => bail!(
            "{} has no peer called so; names are in its lines `# friendly_name = …`, and a public \
             key is as good",
            held.path().display()
        ),
        _ => bail!("several peers are called so; say the public key of the one"),
    };
    let applied = held.remove(&key, Path::new(DIRECTORY))?;
    let friendly = known.get(&key).map_or("", String::as_str);
    let outcome = Outcome {
        name: friendly,
        public_key: key.to_string(),
        addresses: Vec::new(),
        endpoint: None,
        tunnel_file: held.path(),
        client_file: None,
        applied,
    };
    if args.json {
        return print(&(serde_json::to_string_pretty(&outcome)? + "\n"));
    }
    let still = if applied {
        format!("; the running tunnel {name} does not know it any more")
    } else {
        String::new()
    };
    let mut told = std::io::stderr();
    let _ = writeln!(told, "removed {key} from {}{still}", held.path().display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_this_network_knows_is_not_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("169.254.1.1", false),
            ("192.0.2.1", false),
            ("2a00:1450::1", true),
            ("2001:db8::1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
