//! The kernel's tables, one entry at a time.

use super::events::local_address;
use super::neighbours::{self, Neighbour, NeighbourKey};
use super::routes::{self, Way};
use super::{Connection, Link, exchange, links, to_io};
use crate::net::outer::Flow;
use futures_util::TryStreamExt as _;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::io;
use std::net::IpAddr;

/// Routes, links and neighbours, in the namespace in which this was opened.
///
/// Errors that carry a number are the kernel's answer to this question
/// ([`io::Error::raw_os_error`]); others say that the socket broke.
#[derive(Debug)]
pub struct Tables {
    connection: Connection,
}

impl Tables {
    /// Opens a socket in the calling thread's namespace; within a tokio runtime.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open(0, false)?,
        })
    }

    /// The way that packets of this flow take, as the kernel would choose it
    /// for its socket: rules, mark, ports and pinned source included.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` if the pinned source is no address of this host;
    /// `ENETUNREACH` without a route; `EHOSTUNREACH`, `EACCES`, `EINVAL` for a
    /// route of the type unreachable, prohibit, blackhole.
    pub async fn way(&self, flow: &Flow) -> io::Result<Way> {
        if let Some(source) = flow.pinned()
            && !routes::is_link_local(source.addr)
            && !routes::is_local(&self.connection, source.addr).await?
        {
            return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        }
        let question = routes::question(flow)?;
        Ok(routes::read(
            &routes::ask(&self.connection, question).await?,
        ))
    }

    /// The device of that index, if there is one.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub async fn link(&self, index: u32) -> io::Result<Option<Link>> {
        let question = RouteNetlinkMessage::GetLink(links::question(index));
        // With an acknowledgment: an answer that cannot be decoded is then an
        // answer missed, not one waited for.
        match exchange(&self.connection, question, NLM_F_REQUEST | NLM_F_ACK).await {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(links::read(&link)),
            Ok(_) => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All addresses of this host.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub async fn local_addresses(&self) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.connection.handle.address().get().execute();
        let mut all = Vec::new();
        while let Some(answer) = answers.try_next().await.map_err(to_io)? {
            all.extend(local_address(&answer));
        }
        Ok(all)
    }

    /// What the kernel knows of a neighbour.
    ///
    /// # Errors
    /// Whatever the kernel answers.
    pub async fn neighbour(&self, key: NeighbourKey) -> io::Result<Neighbour> {
        let question = RouteNetlinkMessage::GetNeighbour(neighbours::question(key));
        match exchange(&self.connection, question, NLM_F_REQUEST | NLM_F_ACK).await {
            Ok(Some(RouteNetlinkMessage::NewNeighbour(answer))) => {
                Ok(neighbours::read(&answer).map_or(Neighbour::Unknown, |(_, state)| state))
            }
            Ok(_) => Ok(Neighbour::Unknown),
            // No entry, or no device any more.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {
                Ok(Neighbour::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the kernel that a neighbour that it knows is in use, so that it
    /// asks whether it is still there. The answer comes as an event.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_ADMIN`; `ENOENT` if it forgot the neighbour.
    pub async fn neighbour_in_use(&self, key: NeighbourKey) -> io::Result<()> {
        let request = RouteNetlinkMessage::NewNeighbour(neighbours::in_use(key));
        exchange(&self.connection, request, NLM_F_REQUEST | NLM_F_ACK).await?;
        Ok(())
    }
}
