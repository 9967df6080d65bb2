//! The core's wishes carried out, and what threads report handed to it.

use std::sync::Arc;

use super::Device;
use crate::crypto::aead::TAG_LEN;
use crate::datapath::port::Event;
use crate::drops::DropReason;
use crate::net::clock;
use crate::tunnel::cell::{PeerCell, PeerId};
use crate::tunnel::keypair::{Role, padded_len};
use crate::tunnel::messages::{DATA_HEADER_LEN, KEEPALIVE_LEN};
use crate::tunnel::output::{HANDSHAKE_TOS, Output, PeerEvent};
use crate::tunnel::transport::{self, Amount, Ecn};

/// Handshakes of a device by outcome, since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct HandshakeCounters {
    /// Initiations sent, retransmissions included.
    pub initiations_sent: u64,
    /// Responses sent.
    pub responses_sent: u64,
    /// Sessions made with us as initiator.
    pub completed_initiator: u64,
    /// Sessions made with us as responder.
    pub completed_responder: u64,
    /// Given up after 20 initiations.
    pub gave_up: u64,
    /// Sessions that took the place of one that was still good.
    pub rekeys: u64,
    /// Times that data was sent and nothing came back for 15 s.
    pub stopped_answering: u64,
    /// Handshake messages that came from another address than before.
    pub roamed: u64,
    /// Cookies that peers under load gave us.
    pub cookies_received: u64,
}

impl Device {
    /// Hands in what a thread reports. False if the TUN device is gone.
    pub(super) fn handle(&mut self, event: Event) -> bool {
        let applied = match event {
            Event::Commit(commit) => self.core.handle_commit(clock::now(), commit),
            Event::Initiated(done) => self.core.handle_initiated(clock::now(), done),
            Event::ExitWanted(cell) => {
                self.nics.want(&self.tunnel, &cell);
                return true;
            }
            Event::HopWanted(destination) => {
                self.nics.want_hop(&self.tunnel, destination);
                return true;
            }
            Event::TunGone => return false,
        };
        if let Err(reason) = applied {
            self.tunnel.drops.count(reason);
        }
        true
    }

    /// A worker raised a signal of this peer.
    pub(super) fn handle_signal(&mut self, peer: PeerId) {
        self.core.handle_signal(clock::now(), peer);
    }

    /// Carries out what the core wants done. After every call into it.
    pub(super) fn pump(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Initiate(job) => self.plane.queues().initiate(&self.tunnel, job),
                Output::Send { cell, to, bytes } => {
                    if self.tunnel.send(&to, bytes.as_bytes(), HANDSHAKE_TOS) {
                        cell.endpoint.clear_source();
                    }
                }
                Output::Flush { cell, keepalive } => self.flush(&cell, keepalive),
                Output::Purged { packets, .. } => self
                    .tunnel
                    .drops
                    .add(DropReason::StagedPurged, packets.len() as u64),
                Output::Event { cell, event } => self.note(&cell, event),
            }
        }
        self.changed.notify_one();
    }

    /// Sends what waited for the handshake; at most 128 packets.
    ///
    /// One by one: while some wait, a worker that has newer packets sends those
    /// first, so that newer ones do not overtake them.
    fn flush(&self, cell: &Arc<PeerCell>, keepalive: bool) {
        let waiting = cell.staged.len();
        if waiting == 0 && keepalive {
            self.seal_and_send(cell, &[]);
        }
        // No more than there were: what finds no key waits again, at the end.
        for _ in 0..waiting {
            let Some(packet) = cell.staged.pop() else {
                break;
            };
            self.seal_and_send(cell, &packet);
        }
    }

    fn seal_and_send(&self, cell: &Arc<PeerCell>, inner: &[u8]) {
        let now = clock::boot();
        let Some(to) = cell.endpoint.get() else {
            return self.tunnel.drops.count(DropReason::NoEndpoint);
        };
        let keypair = cell.current();
        let Some((keypair, counter)) = keypair
            .as_ref()
            .and_then(|k| k.reserve(now, 1).ok().map(|counter| (k, counter)))
        else {
            if !inner.is_empty() && cell.stage(inner.into()).is_some() {
                self.tunnel.drops.count(DropReason::StagedOverflow);
            }
            return cell.want_handshake(now);
        };
        let padded = padded_len(inner.len(), self.tunnel.mtu());
        let mut packet = vec![0; KEEPALIVE_LEN + padded];
        packet[DATA_HEADER_LEN..DATA_HEADER_LEN + inner.len()].copy_from_slice(inner);
        debug_assert_eq!(packet.len(), DATA_HEADER_LEN + padded + TAG_LEN);
        keypair.seal(counter, &mut packet);
        let tos = Ecn::of_packet(inner) as u8;
        if self.tunnel.send(&to, &packet, tos) {
            cell.endpoint.clear_source();
        }
        let outer = Amount::one(packet.len() as u64);
        transport::sent(cell, keypair, now, outer, !inner.is_empty());
    }

    fn note(&mut self, cell: &PeerCell, event: PeerEvent) {
        let device = self.tunnel.name.as_str();
        let peer = tracing::field::display(cell.public());
        let counters = &mut self.handshakes;
        match event {
            PeerEvent::InitiationSent { attempt } => {
                counters.initiations_sent += 1;
                tracing::debug!(
                    event = "handshake_initiation_sent",
                    device,
                    peer,
                    attempt,
                    "sent handshake initiation"
                );
            }
            PeerEvent::ResponseSent => {
                counters.responses_sent += 1;
                tracing::debug!(
                    event = "handshake_response_sent",
                    device,
                    peer,
                    "sent handshake response"
                );
            }
            PeerEvent::HandshakeComplete { role } => {
                match role {
                    Role::Initiator => counters.completed_initiator += 1,
                    Role::Responder => counters.completed_responder += 1,
                }
                tracing::debug!(
                    event = "handshake_completed",
                    device,
                    peer,
                    ?role,
                    "session established"
                );
            }
            PeerEvent::Rekeyed => counters.rekeys += 1,
            PeerEvent::HandshakeGaveUp => {
                counters.gave_up += 1;
                tracing::info!(
                    event = "handshake_gave_up",
                    device,
                    peer,
                    "no answer to 20 initiations, giving up"
                );
            }
            PeerEvent::StoppedAnswering => {
                counters.stopped_answering += 1;
                tracing::debug!(
                    event = "peer_stopped_answering",
                    device,
                    peer,
                    "no answer for 15 s, new handshake"
                );
            }
            PeerEvent::Roamed { to } => {
                counters.roamed += 1;
                tracing::debug!(event = "peer_roamed", device, peer, %to, "the peer roamed");
            }
            PeerEvent::CookieReceived => {
                counters.cookies_received += 1;
                tracing::debug!(event = "cookie_received", device, peer, "received a cookie");
            }
            PeerEvent::KeysZeroed => {
                tracing::debug!(
                    event = "session_keys_erased",
                    device,
                    peer,
                    "no session for 540 s, keys overwritten"
                );
            }
        }
    }
}
