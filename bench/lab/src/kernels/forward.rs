//! A host behind a gateway of the guest that fast-forwards.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::gateway::Gateway;
use crate::keys::Keys;
use crate::peers::guest::Guest;
use crate::tunnel::Tunnel;
use crate::wait;

/// The gateway's card towards the host: an argument of ringtun.
pub(super) const ARGUMENTS: &str = "--lan lan --fast-forward";
const NAMESPACE: &str = "h";
const ECHOES: u32 = 5;
const HOST: [&str; 2] = ["10.81.0.2", "fd81::2"];
/// How long the program may take to be attached, on an emulated CPU.
const START: std::time::Duration = std::time::Duration::from_secs(120);

/// Puts the host behind the first gateway, and lets it speak with the second.
pub(super) fn run(guest: &Guest, gateways: &[Gateway<'_>; 2], keys: &[Keys; 2]) -> Result<String> {
    let [near, far] = gateways;
    let ip = "/usr/sbin/ip";
    guest.run(&format!("{ip} netns add {NAMESPACE}"))?;
    near.shell(&format!(
        "{ip} link add lan type veth peer name host netns {NAMESPACE} && \
         {ip} addr add 10.81.0.1/24 dev lan && {ip} addr add fd81::1/64 dev lan nodad && \
         {ip} link set lan up && echo 1 > /proc/sys/net/ipv4/ip_forward && \
         echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
    ))?;
    guest.run_in(
        NAMESPACE,
        &format!(
            "{ip} addr add {}/24 dev host && {ip} addr add {}/64 dev host nodad && \
             {ip} link set host up && {ip} route add default via 10.81.0.1 && \
             {ip} -6 route add default via fd81::1",
            HOST[0], HOST[1]
        ),
    )?;
    let (peer, device) = (&keys[0].public, far.device());
    far.shell(&format!(
        "wg set {device} peer {peer} allowed-ips {},{},10.81.0.0/24,fd81::/64 && \
         {ip} route add 10.81.0.0/24 dev {device} && {ip} -6 route add fd81::/64 dev {device}",
        Tunnel::inside_v4(0),
        Tunnel::inside_v6(0)
    ))?;
    wait::until("fast forward", START, || {
        let lan = &show(near)?["lan"][0];
        ensure!(
            lan["refused"]
                .as_str()
                .is_none_or(|why| why.contains("yet"))
                && lan["not_forwarding"].is_null(),
            "{lan}"
        );
        Ok(lan["forwarding"].is_object().then_some(()))
    })
    .with_context(|| near.log())?;
    for v6 in [false, true] {
        let to = Tunnel::inside(1, v6);
        // The first makes the kernel find the neighbours.
        for count in [1, ECHOES] {
            let text = guest.run_in(NAMESPACE, &format!("ping -c {count} -i 0.2 -W 20 {to}"))?;
            let all = format!(" {count} packets received");
            ensure!(text.contains(&all), "ping {to} from the host: {text}");
        }
    }
    let shown = show(near)?;
    let into = shown["lan_verdicts"]["forwarded"]["packets"].as_u64();
    let out = shown["lan"][0]["forwarding"]["queues"][0]["tx_packets"].as_u64();
    let (into, out) = (into.unwrap_or(0), out.unwrap_or(0));
    let expected = u64::from(2 * ECHOES);
    ensure!(
        into >= expected && out >= expected,
        "{into} packets into the tunnel and {out} out of it passed the kernel by, {expected} were expected: {shown}"
    );
    Ok(format!(
        "{into} packets into the tunnel and {out} out of it"
    ))
}

fn show(gateway: &Gateway<'_>) -> Result<Value> {
    let text = gateway.shell(&format!("ringtun show {} --json", gateway.device()))?;
    Ok(serde_json::from_str(&text)?)
}
