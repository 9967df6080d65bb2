//! One peer that is busy among many that are idle, beside a gateway that has no other.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use ringtun::crypto::{PrivateKey, os_rng};
use ringtun::net::clock;
use ringtun::tunnel::allowed_ips::Prefix;

use crate::pass::{self, Part, Sides};
use crate::pipeline::open::{self, Open};
use crate::pipeline::seal::{self, Seal};
use crate::pipeline::{Connected, packets};
use crate::wireguard::{Client, Gateway, at};

/// What is measured: bytes of an inner packet, and which way it goes.
pub const CASES: [(&str, usize, Way); 4] = [
    ("seal-1420", 1420, Way::Seal),
    ("open-1420", 1420, Way::Open),
    ("seal-64", 64, Way::Seal),
    ("open-64", 64, Way::Open),
];

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Out.
    Seal,
    /// In.
    Open,
}

/// Packets per second of each case: with `others` peers beside, and with none.
pub fn measure(many: &mut Gateway, others: u32, passes: usize) -> Result<[[f64; 2]; CASES.len()]> {
    let boot = at(clock::boot()).boot;
    let mut alone = Gateway::new(boot, 1420, PrivateKey::generate(&mut os_rng()));
    let far = [join(many, others + 1)?, join(&mut alone, 1)?];
    let mut rates = [[0.0; 2]; CASES.len()];
    for (rates, (_, size, way)) in rates.iter_mut().zip(CASES) {
        *rates = match way {
            Way::Seal => seal([many, &alone], &far, size, passes)?,
            Way::Open => open([many, &alone], &far, size, passes)?,
        };
    }
    Ok(rates)
}

/// Connects the peer; its session gets this index.
fn join(gateway: &mut Gateway, index: u32) -> Result<Connected> {
    let address = SocketAddr::from(([192, 0, 2, 1], 51820));
    let mut client = Client::new(gateway.public(), address)?;
    gateway.add(client.public(), &[Prefix::host(packets::inner(0).into())])?;
    gateway.publish();
    let session = gateway.connect(at(clock::boot()), &mut client, index)?;
    Ok(Connected {
        address,
        session: Arc::new(session),
    })
}

fn sides<P: Part + 'static>(workers: [P; 2]) -> Sides {
    workers.map(|worker| vec![Box::new(worker) as Box<dyn Part>])
}

fn seal(
    gateways: [&Gateway; 2],
    far: &[Connected; 2],
    size: usize,
    passes: usize,
) -> Result<[f64; 2]> {
    let mut workers = gateways.map(|gateway| Seal::new(&gateway.tunnel, size, 0, 0));
    let checks = workers
        .each_mut()
        .map(|worker| seal::Checks::of(std::slice::from_mut(worker)));
    let sample = pass::measure(&mut sides(workers), passes, packets::of_pass(size))?;
    for (checks, far) in checks.iter().zip(far) {
        checks.conclude(size, &[Arc::clone(&far.session)], |_| 0)?;
    }
    Ok(sample.rates)
}

fn open(
    gateways: [&Gateway; 2],
    [many, alone]: &[Connected; 2],
    size: usize,
    passes: usize,
) -> Result<[f64; 2]> {
    let [with_many, with_none] = gateways;
    let mut workers = [(with_many, many), (with_none, alone)]
        .map(|(gateway, far)| Open::new(&gateway.tunnel, size, (0, far), 0));
    let checks = workers
        .each_mut()
        .map(|worker| open::Checks::of(std::slice::from_mut(worker)));
    let sample = pass::measure(&mut sides(workers), passes, packets::of_pass(size))?;
    for checks in &checks {
        // One pass more than those that count.
        checks.conclude(size, passes + 1)?;
    }
    Ok(sample.rates)
}
