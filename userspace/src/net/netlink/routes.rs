//! Where a packet would go now.

use super::{Connection, exchange};
use crate::net::outer::Flow;
use crate::net::udp::Source;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use std::io;
use std::net::IpAddr;

/// The kernel's answer to "how would you send to that address?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTo {
    /// Index of the outgoing interface.
    pub ifindex: u32,
    /// The address that the packet would leave from.
    pub source: Option<IpAddr>,
}

/// All of that answer that a sender of frames needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Index of the outgoing interface.
    pub ifindex: u32,
    /// The gateway, perhaps of the other family (RFC 5549); `None` on the link.
    pub gateway: Option<IpAddr>,
    /// The address that the kernel would choose to leave from.
    pub source: Option<IpAddr>,
    /// Bytes of the longest packet, where the route says so.
    pub mtu: Option<u32>,
    /// TTL or hop limit, where the route says so.
    pub hop_limit: Option<u8>,
    /// To an address of this host.
    pub local: bool,
    /// To one host, here or elsewhere: neither broadcast nor multicast.
    pub unicast: bool,
    /// With a header of the route's own (MPLS, segments).
    pub encapsulated: bool,
}

/// Route lookups, in the namespace in which this was opened.
#[derive(Debug)]
pub struct Routes {
    connection: Connection,
}

impl Routes {
    /// Opens a socket in the calling thread's namespace; within a tokio runtime.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open(0, false)?,
        })
    }

    /// The route that a packet marked `mark` (0: none) takes to `to`, if it
    /// leaves from `source`, or from whatever address the kernel chooses.
    ///
    /// # Errors
    /// `ENETUNREACH` and the like without a route; `EINVAL` if `source` is an
    /// IPv4 address that is not local.
    pub async fn route_to(
        &self,
        to: IpAddr,
        mark: u32,
        source: Option<IpAddr>,
    ) -> io::Result<RouteTo> {
        let way = read(&ask(&self.connection, query(to, mark, source)?).await?);
        Ok(RouteTo {
            ifindex: way.ifindex,
            source: way.source,
        })
    }

    /// Whether a packet to `to` from that source would still leave by that
    /// interface. If not, a better route appeared, or the address or the
    /// interface went: the source is to be forgotten.
    ///
    /// # Errors
    /// If the socket broke.
    pub async fn source_still_fits(
        &self,
        to: IpAddr,
        mark: u32,
        source: Source,
    ) -> io::Result<bool> {
        let mut question = query(to, mark, Some(source.addr))?;
        // Such a destination is on the link that it was reached by.
        let on_link = is_link_local(to);
        if on_link {
            question
                .attributes
                .push(RouteAttribute::Oif(source.ifindex));
        }
        let way = match ask(&self.connection, question).await {
            Ok(answer) => read(&answer),
            Err(error) if error.raw_os_error().is_some() => return Ok(false),
            Err(error) => return Err(error),
        };
        if source.ifindex != 0 && way.ifindex != source.ifindex {
            return Ok(false);
        }
        // IPv6 gives a route from any source.
        Ok(on_link || is_local(&self.connection, source.addr).await?)
    }
}

/// Of use only together with an interface.
pub(super) fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

/// Whether it is an address of this host.
pub(super) async fn is_local(connection: &Connection, addr: IpAddr) -> io::Result<bool> {
    match ask(connection, query(addr, 0, None)?).await {
        Ok(answer) => Ok(read(&answer).local),
        Err(error) if error.raw_os_error().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Asks for one route.
pub(super) async fn ask(
    connection: &Connection,
    question: RouteMessage,
) -> io::Result<RouteMessage> {
    let question = RouteNetlinkMessage::GetRoute(question);
    // With an acknowledgment: an answer that cannot be decoded is then an
    // answer missed, not one waited for.
    match exchange(connection, question, NLM_F_REQUEST | NLM_F_ACK).await? {
        Some(RouteNetlinkMessage::NewRoute(answer)) => Ok(answer),
        _ => Err(io::Error::from_raw_os_error(libc::EBADMSG)),
    }
}

/// What to ask for a flow: as its socket would, ports included, for rules and
/// multipath hashes look at them.
pub(super) fn question(flow: &Flow) -> io::Result<RouteMessage> {
    let source = flow.pinned().map(|source| source.addr);
    let mut message = query(flow.to.ip(), flow.mark, source)?;
    message.attributes.extend([
        RouteAttribute::IpProto(ringtun_common::ip::UDP),
        RouteAttribute::Sport(flow.port),
        RouteAttribute::Dport(flow.to.port()),
    ]);
    if flow.bound_to() != 0 {
        let bound = RouteAttribute::Oif(flow.bound_to());
        message.attributes.push(bound);
    }
    Ok(message)
}

fn query(to: IpAddr, mark: u32, source: Option<IpAddr>) -> io::Result<RouteMessage> {
    let length = |addr: &IpAddr| if addr.is_ipv4() { 32 } else { 128 };
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to, length(&to))
        .map_err(io::Error::other)?;
    if let Some(source) = source {
        builder = builder
            .source_prefix(source, length(&source))
            .map_err(io::Error::other)?;
    }
    if mark != 0 {
        builder = builder.mark(mark);
    }
    let mut message = builder.build();
    // A query names neither table nor kind; the builder presets them for adding routes.
    message.header.table = 0;
    message.header.protocol = 0.into();
    message.header.scope = 0.into();
    message.header.kind = 0.into();
    Ok(message)
}

pub(super) fn read(answer: &RouteMessage) -> Way {
    let mut way = Way {
        local: answer.header.kind == RouteType::Local,
        unicast: matches!(answer.header.kind, RouteType::Unicast | RouteType::Local),
        ..Way::default()
    };
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => way.ifindex = *index,
            RouteAttribute::PrefSource(addr) => way.source = ip(addr),
            RouteAttribute::Gateway(addr) => way.gateway = ip(addr),
            RouteAttribute::Via(RouteVia::Inet(addr)) => way.gateway = Some((*addr).into()),
            RouteAttribute::Via(RouteVia::Inet6(addr)) => way.gateway = Some((*addr).into()),
            RouteAttribute::Metrics(metrics) => read_metrics(&mut way, metrics),
            RouteAttribute::Encap(_) | RouteAttribute::EncapType(_) => way.encapsulated = true,
            _ => {}
        }
    }
    way
}

fn read_metrics(way: &mut Way, metrics: &[RouteMetric]) {
    for metric in metrics {
        match metric {
            RouteMetric::Mtu(mtu) if *mtu != 0 => way.mtu = Some(*mtu),
            RouteMetric::Hoplimit(limit) => {
                // 0 and -1 leave it to the system.
                way.hop_limit = u8::try_from(*limit).ok().filter(|limit| *limit != 0);
            }
            _ => {}
        }
    }
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
