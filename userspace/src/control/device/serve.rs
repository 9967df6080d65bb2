//! The tasks of one device, until it ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Device, DeviceError, Inbox};
use crate::control::uapi::{self, UapiSocket};
use crate::net::clock;
use crate::net::netlink::{NetEvent, NetEvents, Routes, TunEvent, TunWatch};
use crate::net::timer::BootTimer;

/// Why a device ended. None of these is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The TUN device was removed.
    DeviceRemoved,
    /// The UAPI socket file was removed.
    SocketRemoved,
}

/// Messages taken in one go before others get their turn.
const EVENTS_PER_ROUND: usize = 64;

/// Serves the device until it ends. Dropping the future ends it at once; either
/// way the TUN device goes when the last reference to `device` does.
///
/// # Errors
/// When the kernel takes away what the device cannot do without.
pub async fn serve(
    device: Rc<RefCell<Device>>,
    inbox: Inbox,
    socket: UapiSocket,
) -> Result<Ended, DeviceError> {
    let io = |action| move |source| DeviceError::Io { action, source };
    tokio::select! {
        result = uapi::serve(socket, Rc::clone(&device)) => {
            result.map_err(io("cannot watch the UAPI socket"))?;
            Ok(Ended::SocketRemoved)
        }
        () = threads(&device, inbox) => Ok(Ended::DeviceRemoved),
        result = timers(&device) => {
            result.map_err(io("the protocol timer broke"))?;
            Ok(Ended::DeviceRemoved)
        }
        result = link(&device) => {
            result.map_err(io("cannot watch the TUN device"))?;
            Ok(Ended::DeviceRemoved)
        }
        result = sources(&device) => {
            result.map_err(io("cannot watch addresses and routes"))?;
            Ok(Ended::DeviceRemoved)
        }
    }
}

/// What workers and handshake threads report; returns when the TUN device is gone.
async fn threads(device: &RefCell<Device>, mut inbox: Inbox) {
    let mut events = Vec::with_capacity(EVENTS_PER_ROUND);
    let mut signals = Vec::with_capacity(EVENTS_PER_ROUND);
    loop {
        tokio::select! {
            count = inbox.events.recv_many(&mut events, EVENTS_PER_ROUND) => if count == 0 { return },
            count = inbox.signals.recv_many(&mut signals, EVENTS_PER_ROUND) => if count == 0 { return },
        }
        let mut device = device.borrow_mut();
        for event in events.drain(..) {
            if !device.handle(event) {
                return;
            }
        }
        for peer in signals.drain(..) {
            device.handle_signal(peer);
        }
        device.pump();
    }
}

/// The core's timer.
async fn timers(device: &RefCell<Device>) -> std::io::Result<()> {
    let timer = BootTimer::new()?;
    let changed = Rc::clone(&device.borrow().changed);
    loop {
        let next = device.borrow_mut().core.poll_timeout();
        timer.set(next.map(|(at, _reason)| at))?;
        tokio::select! {
            fired = timer.fired() => {
                fired?;
                let mut device = device.borrow_mut();
                device.core.handle_timeout(clock::now());
                device.pump();
            }
            () = changed.notified() => {}
        }
    }
}

/// How long the TUN device has to be down before its sessions end.
///
/// Linux learns that a device is down before it can come up again; we do not. A
/// move to another namespace takes a device down and its owner brings it up again
/// at once: sessions ended in between would take the first packets with them.
const DOWN_FOR: Duration = Duration::from_millis(100);

/// Follows the TUN device; returns when it is removed.
async fn link(device: &RefCell<Device>) -> std::io::Result<()> {
    let mut watch = TunWatch::new(&device.borrow().tun)?;
    let mut down_at = None;
    loop {
        let event = tokio::select! {
            biased;
            event = watch.next() => event?,
            () = expiry(down_at) => {
                down_at = None;
                set_up(device, false);
                continue;
            }
        };
        match event {
            TunEvent::Up(true) => {
                down_at = None;
                set_up(device, true);
            }
            TunEvent::Up(false) => down_at = Some(Instant::now() + DOWN_FOR),
            TunEvent::Mtu(mtu) => device.borrow().set_mtu(mtu),
            TunEvent::Renamed(name) => {
                tracing::warn!(event = "device_renamed", device = %device.borrow().name, %name, "the interface was renamed; its UAPI socket keeps the old name");
            }
            TunEvent::Moved => {
                device.borrow().tell_nics();
                tracing::info!(event = "device_moved", device = %device.borrow().name, "the interface moved to another namespace; its sockets stay");
            }
            TunEvent::Removed => return Ok(()),
        }
    }
}

/// Ends at `at`; never if there is no such time.
async fn expiry(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn set_up(device: &RefCell<Device>, up: bool) {
    let mut device = device.borrow_mut();
    if let Err(error) = device.set_up(up) {
        tracing::error!(event = "device_without_sockets", device = %device.name, %error, "the device is up without sockets");
    }
}

/// Forgets sticky sources that no longer fit: their address is gone, or the
/// way to the peer leaves by another interface now.
async fn sources(device: &RefCell<Device>) -> std::io::Result<()> {
    let mut news = NetEvents::open()?;
    let routes = Routes::open()?;
    loop {
        match news.next().await? {
            NetEvent::AddressRemoved { addr, .. } => device.borrow().forget_address(addr),
            NetEvent::RoutesChanged | NetEvent::Lost => {
                let (pinned, mark) = device.borrow().pinned_sources();
                for (cell, endpoint, source) in pinned {
                    let fits = routes
                        .source_still_fits(endpoint.addr.ip(), mark, source)
                        .await?;
                    if !fits {
                        // The peer may have roamed while the kernel was asked.
                        cell.endpoint.clear_source_if(|s| {
                            (s.addr, s.ifindex) == (source.addr, source.ifindex)
                        });
                    }
                }
            }
            NetEvent::AddressAdded
            | NetEvent::Link(_)
            | NetEvent::LinkRemoved(_)
            | NetEvent::Neighbour(..) => {}
        }
    }
}
