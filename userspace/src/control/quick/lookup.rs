//! Endpoints that are names: looked up at the start, again and again while they
//! are not known (at boot the network may be missing), and when handshakes fail.

use std::fmt::Write as _;
use std::net::{SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::journal::Place;
use crate::control::names::InterfaceName;
use crate::control::uapi::client::Client;
use crate::control::wgquick::{Config, Endpoint, Host};
use crate::crypto::PublicKey;

/// The first wait, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_LONGEST: Duration = Duration::from_secs(30);
/// A session without a new handshake for this long has ended or is about to:
/// REKEY_AFTER_TIME and some attempts, as `reresolve-dns.sh` of wireguard-tools has it.
const STALE: u64 = 135;

/// How long names are waited for at most, all together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where they are now, in their order; `None` while a name is not known.
///
/// A resolver that cannot reach its server may take half a minute for each name:
/// what is not known in five seconds is for the next round.
#[must_use]
pub fn all(endpoints: Vec<Endpoint>) -> Vec<Option<SocketAddr>> {
    let mut found = vec![None; endpoints.len()];
    let (tell, told) = mpsc::channel();
    let mut left = 0;
    let mut names = Vec::new();
    for (at, endpoint) in endpoints.into_iter().enumerate() {
        if matches!(endpoint.host, Host::Name(_)) {
            left += 1;
            names.push((at, endpoint));
        } else {
            found[at] = one(&endpoint);
        }
    }
    if names.is_empty() {
        return found;
    }
    // It ends by itself, if need be after us.
    thread::spawn(move || {
        for (at, endpoint) in names {
            if tell.send((at, one(&endpoint))).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + PATIENCE;
    while left > 0 {
        let wait = end.saturating_duration_since(Instant::now());
        let Ok((at, address)) = told.recv_timeout(wait) else {
            break;
        };
        found[at] = address;
        left -= 1;
    }
    found
}

fn one(endpoint: &Endpoint) -> Option<SocketAddr> {
    let port = endpoint.port;
    match &endpoint.host {
        Host::Addr(addr) => Some(SocketAddr::new(*addr, port)),
        Host::Zoned(addr, zone) => {
            let index = nix::net::if_::if_nametoindex(zone.as_str()).ok()?;
            Some(SocketAddrV6::new(*addr, port, 0, index).into())
        }
        Host::Name(name) => (name.as_str(), port).to_socket_addrs().ok()?.next(),
    }
}

/// The peers of a file whose endpoints have to be looked up.
#[must_use]
pub fn names(config: &Config) -> Vec<(PublicKey, Endpoint)> {
    let peers = config.peers.iter();
    let named = peers.filter_map(|p| Some((p.public_key, p.endpoint.clone()?)));
    named
        .filter(|(_, e)| !matches!(e.host, Host::Addr(_)))
        .collect()
}

/// Keeps the endpoints true, for ever: at first those that are names in `config`. The file
/// is read again each time, for `reload`, if it can be: it may be where only its owner may
/// look ([`crate::confine`]). The place is for the path of that file.
pub async fn keep(directory: PathBuf, place: Place, name: InterfaceName, config: &Config) {
    let mut wait = WAIT_FIRST;
    let mut known = names(config);
    loop {
        tokio::time::sleep(wait).await;
        let (directory, place, name) = (directory.clone(), place.clone(), name.clone());
        let mut last = known.clone();
        let look = move || {
            if let Ok(Some(journal)) = place.load()
                && let Ok((config, _)) = crate::control::wgquick::file::read(&journal.file)
            {
                last = names(&config);
            }
            let all_known = round(&directory, &name, &last).unwrap_or(false);
            (last, all_known)
        };
        // A resolver may take its time; the device is served meanwhile.
        let all_known = match tokio::task::spawn_blocking(look).await {
            Ok((last, all_known)) => {
                known = last;
                all_known
            }
            Err(_) => false,
        };
        wait = if all_known {
            WAIT_LONGEST
        } else {
            (wait * 2).min(WAIT_LONGEST)
        };
    }
}

/// Whether every name is known.
fn round(
    directory: &Path,
    name: &InterfaceName,
    names: &[(PublicKey, Endpoint)],
) -> anyhow::Result<bool> {
    if names.is_empty() {
        return Ok(true);
    }
    let mut client = Client::connect(directory, name)?;
    let state = client.state()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut lines = String::new();
    let mut all_known = true;
    let mut asked = Vec::new();
    for (key, endpoint) in names {
        let Some(peer) = state.peers.iter().find(|p| p.public_key == *key) else {
            continue;
        };
        let stale = now.saturating_sub(peer.last_handshake.secs) >= STALE;
        if peer.endpoint.is_some() && !stale {
            continue;
        }
        asked.push((*key, endpoint.clone(), peer.endpoint));
    }
    let found = all(asked
        .iter()
        .map(|(_, endpoint, _)| endpoint.clone())
        .collect());
    for ((key, endpoint, before), found) in asked.into_iter().zip(found) {
        let Some(found) = found else {
            all_known = false;
            continue;
        };
        if before != Some(found) {
            tracing::info!(event = "endpoint_looked_up", device = %name, %endpoint, %found, "a peer's name was looked up");
            let key = key.to_hex();
            let _ = write!(
                lines,
                "public_key={key}\nupdate_only=true\nendpoint={found}\n"
            );
        }
    }
    if !lines.is_empty() {
        client.set(&lines)?;
    }
    Ok(all_known)
}
