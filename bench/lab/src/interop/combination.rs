//! One combination from beginning to end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::Outcome;
use super::place::Place;
use super::slots::Slots;
use crate::keys::{self, Keys};
use crate::link::Middle;
use crate::peers::Prepared;
use crate::peers::guest::Guest;
use crate::stream::{self, Plan};
use crate::{NetNs, Pair, names, wait};

/// Longer than REKEY_AFTER_TIME (120 s) by a few retransmissions (5 s each), so that a rekey falls
/// into the paced transfer.
const PACED: Duration = Duration::from_secs(140);
/// Two handshakes of a session that lives are further apart than this (seconds).
const REKEY_LEAST: u64 = 60;
const PACED_RATE: u64 = 64 * 1024;
const ECHO_PORT: u16 = 5001;
const LISTEN_PORT: u16 = 51000;

/// Who speaks first, over what, and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Combination {
    pub(super) number: u8,
    pub(super) subject_first: bool,
    pub(super) v6: bool,
    pub(super) preshared: bool,
    pub(super) paced: bool,
    pub(super) bulk: u64,
}

impl Combination {
    /// Builds the tunnel, opens it from the side that begins, moves bytes, watches the rekey.
    pub(super) fn run(
        &self,
        subject: &Prepared,
        peer: &Prepared,
        guest: Option<&Guest>,
        gate: &Slots,
    ) -> Result<Outcome> {
        let names = [names::unique("w"), names::unique("w")];
        // Declared before the devices in it, so that those end first.
        let (pair, alone);
        let (places, outside): ([Place<'_>; 2], [IpAddr; 2]) = match guest {
            None => {
                pair = Pair::new(Middle::None, 1500)?;
                let [a, b] = &pair.ends;
                (
                    [
                        Place::local(subject, &a.ns, &names[0])?,
                        Place::local(peer, &b.ns, &names[1])?,
                    ],
                    [a.address(self.v6), b.address(self.v6)],
                )
            }
            Some(guest) => {
                alone = NetNs::new("a")?;
                let (v4, v6) = guest.attach(&alone, self.number + 1)?;
                let outside = if self.v6 {
                    [v6, Guest::V6.into()]
                } else {
                    [v4, Guest::V4.into()]
                };
                let near = Place::local(subject, &alone, &names[0])?;
                ([near, Place::guest(guest, &names[1])?], outside)
            }
        };
        self.configure(&places, outside)?;
        let first = self.first();
        let (v4, v6) = self.inside(1 - first);
        places[first].reach(v4.into()).context("first contact")?;
        places[first].reach(v6.into()).context("IPv6 inside")?;
        self.exchange(&places, gate)
            .with_context(|| places[0].tell() + &places[1].tell())
    }

    /// The end that begins.
    fn first(&self) -> usize {
        usize::from(!self.subject_first)
    }

    /// The addresses inside of end `at`; no two combinations share any.
    fn inside(&self, at: usize) -> (Ipv4Addr, Ipv6Addr) {
        let (net, host) = (self.number, at as u8 + 1);
        (
            Ipv4Addr::new(10, 88, net, host),
            Ipv6Addr::new(0xfd88, net.into(), 0, 0, 0, 0, 0, host.into()),
        )
    }

    fn configure(&self, places: &[Place<'_>; 2], outside: [IpAddr; 2]) -> Result<()> {
        let port = LISTEN_PORT + u16::from(self.number);
        let keys = [Keys::generate()?, Keys::generate()?];
        let preshared = self.preshared.then(keys::preshared).transpose()?;
        for at in [0, 1] {
            let (v4, v6) = self.inside(1 - at);
            let mut text = format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {port}\n[Peer]\nPublicKey = {}\nAllowedIPs = {v4}/32, {v6}/128\n",
                keys[at].private,
                keys[1 - at].public
            );
            if let Some(preshared) = &preshared {
                text.push_str(&format!("PresharedKey = {preshared}\n"));
            }
            if at == self.first() {
                // Only this end knows where the other is, so only it can begin.
                let endpoint = SocketAddr::new(outside[1 - at], port);
                text.push_str(&format!("Endpoint = {endpoint}\n"));
            }
            places[at].configure(&text)?;
            let (v4, v6) = self.inside(at);
            places[at].addresses(v4, v6)?;
        }
        Ok(())
    }

    fn exchange(&self, places: &[Place<'_>; 2], gate: &Slots) -> Result<Outcome> {
        let Place::Local { ns, .. } = &places[0] else {
            return Err(anyhow!("the implementation under test runs in a namespace"));
        };
        let (far_v4, far_v6) = self.inside(1);
        // The guest's ends share one namespace, and its echo service binds no address.
        let address = |ip: IpAddr, which: u16| {
            SocketAddr::new(ip, ECHO_PORT + 2 * u16::from(self.number) + which)
        };
        let bulk = {
            let _slot = gate.take();
            let plan = Plan::bulk(self.bulk);
            echo(ns, &places[1], address(far_v4.into(), 0), &plan).context("bulk")?
        };
        let mut outcome = Outcome {
            bytes: bulk.bytes,
            rate: bulk.bits_per_second(),
            rekey: None,
        };
        if self.paced {
            let handshakes = || -> Result<[u64; 2]> {
                Ok([places[0].latest_handshake()?, places[1].latest_handshake()?])
            };
            let before = handshakes()?;
            let plan = Plan::paced(PACED_RATE, PACED);
            echo(ns, &places[1], address(far_v6.into(), 1), &plan).context("paced")?;
            let after = handshakes()?;
            ensure!(
                (0..2).all(|at| after[at] >= before[at] + REKEY_LEAST),
                "no rekey within {PACED:?}: handshakes {before:?}, then {after:?}"
            );
            outcome.rekey = Some([0, 1].map(|at| after[at] - before[at]));
        }
        Ok(outcome)
    }
}

/// Sends to an echo service at the far end and compares what comes back.
fn echo(ns: &NetNs, far: &Place<'_>, address: SocketAddr, plan: &Plan) -> Result<stream::Report> {
    match far {
        Place::Local { ns: far_ns, .. } => {
            let listener = far_ns.listen(address)?;
            thread::scope(|scope| {
                let echo = scope.spawn(|| {
                    let (stream, _) = stream::accept(&listener, plan.stall)?;
                    stream::echo(&stream, plan.stall)
                });
                let report = stream::round_trip(ns, address, plan);
                let echoed = echo.join().map_err(|_| anyhow!("the echo panicked"))?;
                let report = report?;
                echoed?;
                Ok(report)
            })
        }
        Place::Guest { guest, device } => {
            // busybox serves one connection and ends.
            guest.run(&format!(
                "(nc -l -p {} -e cat > /tmp/{device}.nc 2>&1 &)",
                address.port()
            ))?;
            wait::until("the guest's echo service", Duration::from_secs(60), || {
                let port = format!(":{:04X} ", address.port());
                let table = guest.run("cat /proc/net/tcp /proc/net/tcp6")?;
                let mut lines = table.lines();
                Ok(lines
                    .any(|l| l.contains(&port) && l.contains(" 0A "))
                    .then_some(()))
            })?;
            stream::round_trip(ns, address, plan)
        }
    }
}
