//! Two hosts on a link, and waiting for what is told about a flow.

use crate::netlink::index;
use ringtun::net::hops::{Hops, NoHop};
use ringtun::net::outer::{Addresses, Flow, Hop, Mac, Tags};
use ringtun_lab::link::{addressed, veth};
use ringtun_lab::{NetNs, names};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Within this a change has to be told, once the kernel told of it: see
/// `changes::a_change_is_told_within_a_second`.
pub const SOON: Duration = Duration::from_secs(1);
/// How long to wait for what must come, on a machine whose processors are taken.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What a flow without a hop sends by the socket meanwhile.
const PACKETS_EVERY: Duration = Duration::from_millis(50);
/// The port that packets are sent from.
pub const PORT: u16 = 51820;
/// The port that they are sent to.
pub const PEER_PORT: u16 = 4500;

pub fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// A namespace, and others that it is joined to.
pub struct Host {
    pub ns: NetNs,
}

/// One of the host's devices, and the host at its other end.
pub struct Wire {
    pub device: String,
    pub index: u32,
    pub mac: Mac,
    pub far: NetNs,
    pub far_device: String,
    pub far_mac: Mac,
}

impl Host {
    pub fn new() -> Self {
        Self {
            ns: NetNs::new("ho").expect("a namespace: these tests need root"),
        }
    }

    /// A wire to another host: `10.0.NUMBER.1` and `fd00:NUMBER::1` here, 2
    /// there, MTU 1400 + `number`.
    pub fn wire(&self, number: u8) -> Wire {
        let far = NetNs::new("hp").expect("namespace");
        let (device, far_device) = (names::unique("ho"), names::unique("hp"));
        let (mac, far_mac) = (mac(number), mac(100 + number));
        veth(&self.ns, &device, &far, &far_device).expect("veth");
        let mtu = 1400 + u16::from(number);
        for (ns, device, mac, host) in
            [(&self.ns, &device, mac, 1), (&far, &far_device, far_mac, 2)]
        {
            ns.ip(&format!(
                "link set {device} down\nlink set {device} address {mac} mtu {mtu}\n\
                 link set {device} up\n\
                 address add 10.0.{number}.{host}/24 dev {device}\n\
                 address add fd00:{number}::{host}/64 dev {device} nodad\n"
            ))
            .expect("addresses");
        }
        for (ns, device) in [(&self.ns, &device), (&far, &far_device)] {
            addressed(ns, device).expect("a link that is up");
        }
        Wire {
            index: index(&self.ns, &device),
            device,
            mac,
            far,
            far_device,
            far_mac,
        }
    }

    /// Sends a packet by a socket, as the worker does that finds no hop: the
    /// kernel asks for the neighbour.
    pub fn send_by_socket(&self, to: SocketAddr) {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = self.ns.udp(any.parse().expect("address")).expect("socket");
        socket.send_to(b"by the socket", to).expect("send");
    }
}

impl Wire {
    /// The hop to `to` by this wire, from the address chosen by the kernel.
    pub fn hop(&self, source: &str, to: SocketAddr) -> Hop {
        let source: IpAddr = source.parse().expect("address");
        Hop {
            ifindex: self.index,
            source_mac: self.mac,
            next_hop_mac: self.far_mac,
            tags: Tags::NONE,
            addresses: Addresses::new(source, to.ip()).expect("one family"),
            mtu: 1400 + u32::from(self.mac.0[5]),
            hop_limit: 64,
        }
    }
}

pub fn flow(to: &str) -> Flow {
    Flow {
        to: SocketAddr::new(to.parse().expect("address"), PEER_PORT),
        source: None,
        port: PORT,
        mark: 0,
        tunnel: 0,
    }
}

/// What is told of the flow first.
pub async fn first(hops: &Hops, flow: &Flow) -> Result<Hop, NoHop> {
    assert_eq!(hops.wanted(flow), Err(NoHop::Pending));
    told(hops, flow).await
}

/// The next change that is told of the flow; it is also what is known from then
/// on.
pub async fn told(hops: &Hops, flow: &Flow) -> Result<Hop, NoHop> {
    let wait = async {
        loop {
            let changes = hops.changed().await.expect("netlink");
            if let Some(change) = changes.into_iter().find(|change| change.flow == *flow) {
                assert_eq!(hops.get(flow), Some(change.hop.clone()));
                return change.hop;
            }
        }
    };
    let known = || hops.get(flow);
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{flow:?}: nothing told within {PATIENCE:?}: {:?}", known()))
}

/// Waits until this is told of the flow, passing over what comes before: a
/// change made by several steps can be told in several.
pub async fn until(hops: &Hops, flow: &Flow, expected: &Result<Hop, NoHop>) {
    let wait = async {
        while hops.get(flow).as_ref() != Some(expected) {
            hops.changed().await.expect("netlink");
        }
    };
    let known = || hops.get(flow);
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| {
            panic!(
                "{flow:?}: not within {PATIENCE:?}: {expected:?}, but {:?}",
                known()
            )
        });
}

/// The hop, once the kernel knows the neighbour: at first it does not.
pub async fn resolved(host: &Host, hops: &Hops, flow: &Flow) -> Hop {
    match first(hops, flow).await {
        Err(NoHop::Unresolved { .. }) => found(host, hops, flow).await,
        // The kernel had asked before, for another flow.
        other => other.expect("a hop"),
    }
}

/// The hop, once the kernel found the neighbour for the socket's packets.
pub async fn found(host: &Host, hops: &Hops, flow: &Flow) -> Hop {
    by_socket_until(host, hops, flow, Result::is_ok)
        .await
        .expect("a hop")
}

/// As [`until`], while the flow's packets go by the socket as long as there is
/// no hop.
pub async fn regained(host: &Host, hops: &Hops, flow: &Flow, expected: &Result<Hop, NoHop>) {
    let answer = by_socket_until(host, hops, flow, |answer| answer == expected).await;
    assert_eq!(&answer, expected);
}

/// The kernel tells of a carrier up to a second late, and asks for a neighbour
/// once a second.
async fn by_socket_until(
    host: &Host,
    hops: &Hops,
    flow: &Flow,
    right: impl Fn(&Result<Hop, NoHop>) -> bool,
) -> Result<Hop, NoHop> {
    let wait = async {
        loop {
            let answer = hops.get(flow).expect("it was wanted");
            if right(&answer) {
                return answer;
            }
            if let Err(NoHop::Unresolved { .. } | NoHop::NoAnswer { .. }) = answer {
                host.send_by_socket(flow.to);
            }
            // A flow has more than one packet: the other end may not be ready
            // to answer the question that the first one made.
            if let Ok(changes) = tokio::time::timeout(PACKETS_EVERY, hops.changed()).await {
                changes.expect("netlink");
            }
        }
    };
    let known = || hops.get(flow);
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{flow:?}: no hop by the socket's packets: {:?}", known()))
}
