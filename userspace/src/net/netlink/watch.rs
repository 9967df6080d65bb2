//! The TUN device, wherever it goes.
//!
//! The device can be moved to another network namespace, where the netlink
//! sockets of its first one do not hear of it; and a socket opened there, or
//! any other descriptor of that namespace, would keep it alive after its
//! container ended, and the device with it. So one socket in the first
//! namespace listens to all namespaces that have a number there
//! (`NETLINK_LISTEN_ALL_NSID`), and the one that the device is in is given a
//! number. News are only the occasion to look: what is told is read from the
//! device itself, in another namespace by that number, so that nobody has to
//! enter it.
//!
//! A namespace that ends loses its number before its devices are removed, so
//! that their removal is not heard. Then the device's own descriptor tells.

use super::{Connection, Heard, exchange, group, nsid};
use crate::net::netns::Namespace;
use crate::net::sys;
use crate::net::tun::{self, Tun};
use rtnetlink::packet_core::NLM_F_REQUEST;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// RTNLGRP_LINK and RTNLGRP_NSID.
const GROUPS: u32 = group(1) | group(28);

/// What a device's descriptor tells at its end: an error. The kernel wakes for
/// it only who waits for packets.
const END: Interest = Interest::READABLE.add(Interest::ERROR);

/// What happened to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TunEvent {
    /// It was brought up, or down.
    Up(bool),
    /// It has another MTU, in bytes.
    Mtu(u32),
    /// It has another name.
    Renamed(String),
    /// It is in another network namespace; its queues work on.
    Moved,
    /// It is gone for good.
    Removed,
}

/// What was told.
#[derive(Debug)]
struct State {
    /// [`Namespace::identity`].
    namespace: (u64, u64),
    index: u32,
    name: String,
    up: bool,
    mtu: u32,
}

/// What can be changed about a device besides its name.
#[derive(Debug)]
struct Properties {
    index: u32,
    /// In bytes.
    mtu: u32,
    up: bool,
}

/// News of one TUN device.
#[derive(Debug)]
pub struct TunWatch {
    tun: Tun,
    connection: Connection,
    known: State,
    home: (u64, u64),
    /// The number at home of the namespace that the device is in, if another.
    number: Option<i32>,
    /// The number is yet to be found, since the device was moved.
    number_unknown: bool,
    /// Look before waiting: the last look told one of perhaps several changes.
    look: bool,
    /// The device's namespace is ending: its descriptor, to wait for the end.
    ending: Option<AsyncFd<OwnedFd>>,
}

impl TunWatch {
    /// Starts watching. To be called in the namespace in which `tun` was
    /// created, within a tokio runtime. What happened since the device was
    /// created is told as well.
    ///
    /// # Errors
    /// Out of descriptors or memory, or the device is gone.
    pub fn new(tun: &Tun) -> io::Result<Self> {
        let tun = tun.try_clone()?;
        // Listening first: what happens from here on is heard.
        let connection = Connection::open(GROUPS, true)?;
        let home = Namespace::current()?.identity();
        let known = State {
            namespace: home,
            index: tun.index(),
            name: tun.name().into(),
            up: false,
            mtu: tun::MTU_INITIAL,
        };
        Ok(Self {
            tun,
            connection,
            known,
            home,
            number: None,
            number_unknown: false,
            look: true,
            ending: None,
        })
    }

    /// The next event. Can be dropped and called again without losing one.
    ///
    /// # Errors
    /// If the netlink socket broke.
    pub async fn next(&mut self) -> io::Result<TunEvent> {
        loop {
            let step = if self.number_unknown {
                self.find_number().await.map(|()| None)
            } else {
                self.difference().await
            };
            match step {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) if tun::is_gone(&error) => return Ok(TunEvent::Removed),
                // Renamed or moved between two questions: ask again.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => continue,
                // Its namespace cannot be told any more, because it is ending.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.await_end()?,
                Err(error) => return Err(error),
            }
            while !self.look {
                self.wait().await?;
            }
        }
    }

    /// Waits for one occasion, which may or may not be one to look.
    async fn wait(&mut self) -> io::Result<()> {
        let Some(ending) = &self.ending else {
            return self.listen().await;
        };
        ending.ready(END).await?.clear_ready();
        self.look = true;
        Ok(())
    }

    async fn listen(&mut self) -> io::Result<()> {
        match self.connection.next().await? {
            Heard::Overrun => self.look = true,
            Heard::Message(RouteNetlinkMessage::DelNsId(message))
                if self.number.is_some() && nsid::number_in(&message) == self.number =>
            {
                self.await_end()?;
                self.look = true;
            }
            Heard::Message(
                RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link),
            ) => self.look = self.concerns_us(&link),
            Heard::Message(_) => {}
        }
        Ok(())
    }

    /// Has the device's own descriptor tell of its end. Not before the end is
    /// near: it tells of every packet, too.
    fn await_end(&mut self) -> io::Result<()> {
        if self.ending.is_none() {
            let descriptor = self.tun.as_fd().try_clone_to_owned()?;
            self.ending = Some(sys::register(descriptor, END)?);
        }
        self.look = false;
        Ok(())
    }

    /// The first difference between what is and what was told, now told.
    async fn difference(&mut self) -> io::Result<Option<TunEvent>> {
        if !self.look {
            return Ok(None);
        }
        let namespace = self.tun.namespace()?.identity();
        if namespace != self.known.namespace {
            self.known.namespace = namespace;
            self.number_unknown = true;
            return Ok(Some(TunEvent::Moved));
        }
        let name = self.tun.current_name()?;
        let now = self.properties(&name).await?;
        self.known.index = now.index;
        if name != self.known.name {
            self.known.name.clone_from(&name);
            return Ok(Some(TunEvent::Renamed(name)));
        }
        if now.mtu != self.known.mtu {
            self.known.mtu = now.mtu;
            return Ok(Some(TunEvent::Mtu(now.mtu)));
        }
        if now.up != self.known.up {
            self.known.up = now.up;
            return Ok(Some(TunEvent::Up(now.up)));
        }
        self.look = false;
        Ok(None)
    }

    /// What the device, which is called `name`, is now.
    async fn properties(&self, name: &str) -> io::Result<Properties> {
        match self.number {
            None => Ok(Properties {
                index: self.tun.current_index()?,
                mtu: self.tun.mtu()?,
                up: self.tun.is_up()?,
            }),
            Some(number) => elsewhere(&self.connection, number, name).await,
        }
    }

    /// Gives the namespace that the device is in a number, if it is not home.
    /// What happened before that was not heard: `look` is still set.
    async fn find_number(&mut self) -> io::Result<()> {
        let namespace = self.tun.namespace()?;
        self.number = if namespace.identity() == self.home {
            None
        } else {
            Some(nsid::number_of(&self.connection, &namespace).await?)
        };
        self.number_unknown = false;
        self.ending = None;
        Ok(())
    }

    /// Whether a link message is an occasion to look: the device's index or
    /// name is mentioned, be it as those of another one in another namespace.
    fn concerns_us(&self, link: &LinkMessage) -> bool {
        link.header.index == self.known.index || name_of(link) == Some(&self.known.name)
    }
}

/// The properties of the device that is called `name` in the namespace with a number
/// (`IFLA_TARGET_NETNSID`, Linux 4.20; CAP_NET_ADMIN in that namespace's user namespace).
async fn elsewhere(connection: &Connection, number: i32, name: &str) -> io::Result<Properties> {
    let mut question = LinkMessage::default();
    question.attributes = vec![
        LinkAttribute::IfNetnsId(number),
        LinkAttribute::IfName(name.to_owned()),
    ];
    let question = RouteNetlinkMessage::GetLink(question);
    let Some(RouteNetlinkMessage::NewLink(link)) =
        exchange(connection, question, NLM_F_REQUEST).await?
    else {
        return Err(io::Error::other(
            "netlink did not answer the question for a link",
        ));
    };
    let mtu = link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    Ok(Properties {
        index: link.header.index,
        mtu: mtu.ok_or_else(|| io::Error::other("netlink told no MTU of a link"))?,
        up: link.header.flags.contains(LinkFlags::Up),
    })
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}
