//! The numbers that network namespaces have in one another
//! (`<linux/net_namespace.h>`).

use super::{Connection, exchange};
use crate::net::netns::Namespace;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// No number, or "choose one".
const NONE: i32 = -1;

/// The number of `namespace` in the one that `connection` was opened in;
/// it gets one if it has none.
pub(super) async fn number_of(connection: &Connection, namespace: &Namespace) -> io::Result<i32> {
    if let Some(number) = ask(connection, namespace).await? {
        return Ok(number);
    }
    let request = RouteNetlinkMessage::NewNsId(message(namespace, Some(NONE)));
    match exchange(connection, request, NLM_F_REQUEST | NLM_F_ACK).await {
        // Somebody else gave it one just now.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    ask(connection, namespace)
        .await?
        .ok_or_else(|| io::Error::other("the kernel gave a network namespace no number"))
}

/// The number that a message is about.
pub(super) fn number_in(message: &NsidMessage) -> Option<i32> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NsidAttribute::Id(number) if *number != NONE => Some(*number),
            _ => None,
        })
}

async fn ask(connection: &Connection, namespace: &Namespace) -> io::Result<Option<i32>> {
    let request = RouteNetlinkMessage::GetNsId(message(namespace, None));
    match exchange(connection, request, NLM_F_REQUEST).await? {
        Some(RouteNetlinkMessage::NewNsId(answer)) => Ok(number_in(&answer)),
        _ => Err(io::Error::other(
            "netlink did not answer the question for a namespace's number",
        )),
    }
}

fn message(namespace: &Namespace, number: Option<i32>) -> NsidMessage {
    let mut message = NsidMessage::default();
    // Never negative.
    let fd = namespace.as_fd().as_raw_fd() as u32;
    message.attributes.push(NsidAttribute::Fd(fd));
    message.attributes.extend(number.map(NsidAttribute::Id));
    message
}
