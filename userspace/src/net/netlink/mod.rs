//! rtnetlink: what happens to links, addresses and routes. For the control
//! thread; nothing here is on a packet's way.
//!
//! * [`NetEvents`]: addresses that went, routes and rules that changed, in the
//!   namespace of the sockets; links and neighbours too, for who asks.
//! * [`Routes`]: where a packet would go now.
//! * [`Tables`]: routes, links and neighbours, for who writes the headers.
//! * [`TunWatch`]: the TUN device up, down, another MTU, moved, removed.

mod events;
mod links;
mod neighbours;
mod nsid;
mod routes;
mod tables;
mod watch;

pub use events::{NetEvent, NetEvents};
pub use links::{Link, LinkKind, Medium};
pub use neighbours::{Neighbour, NeighbourKey};
pub use routes::{RouteTo, Routes, Way};
pub use tables::Tables;
pub use watch::{TunEvent, TunWatch};

use futures_util::{Stream, StreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use std::io;
use std::pin::Pin;
use tokio::task::JoinHandle;

/// Groups to hear of, one bit each: `1 << (RTNLGRP_… - 1)`, as `<linux/rtnetlink.h>`
/// numbers them.
const fn group(number: u32) -> u32 {
    1 << (number - 1)
}

type Unsolicited =
    Pin<Box<dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send>>;

/// A netlink socket of the calling thread's namespace, served by a task of the
/// runtime until this is dropped.
struct Connection {
    handle: rtnetlink::Handle,
    messages: Unsolicited,
    task: JoinHandle<()>,
}

/// One message that nobody asked for.
enum Heard {
    Message(RouteNetlinkMessage),
    /// Messages were lost for want of room: everything may have changed.
    Overrun,
}

impl Connection {
    /// Must be called within a tokio runtime.
    fn open(groups: u32, all_namespaces: bool) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        if all_namespaces {
            socket.socket_mut().set_listen_all_namespaces(true)?;
        }
        let (connection, handle, messages) = rtnetlink::from_socket(socket);
        Ok(Self {
            handle,
            messages: Box::pin(messages),
            task: tokio::spawn(connection),
        })
    }

    /// The next message; an error if the socket broke.
    async fn next(&mut self) -> io::Result<Heard> {
        loop {
            let Some((message, _)) = self.messages.next().await else {
                return Err(io::Error::other("the netlink socket was closed"));
            };
            match message.payload {
                NetlinkPayload::InnerMessage(message) => return Ok(Heard::Message(message)),
                NetlinkPayload::Overrun(_) => return Ok(Heard::Overrun),
                _ => {}
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// The kernel's answer as an `io::Error`: with its number, unless the socket
/// broke.
fn to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

/// The first answer, if there is one besides the acknowledgment.
///
/// An error that carries a number is the kernel's answer. A socket that broke
/// gives another, or no answer; who listens by one is told in any case.
async fn exchange(
    connection: &Connection,
    request: RouteNetlinkMessage,
    flags: u16,
) -> io::Result<Option<RouteNetlinkMessage>> {
    let mut request = NetlinkMessage::from(request);
    request.header.flags = flags;
    let mut answers = connection.handle.clone().request(request).map_err(to_io)?;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => return Ok(Some(message)),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            _ => {}
        }
    }
    Ok(None)
}
