//! Cookie replies, sent several to a system call.
//!
//! Under a flood there are tens of thousands a second, each to another address;
//! sending them one by one costs more than making them.

use std::sync::Arc;

use super::port::Tunnel;
use crate::net::udp::SendBatch;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::messages::COOKIE_REPLY_LEN;

/// Replies that leave together: the first waits for the last, some 100 µs.
pub const TOGETHER: usize = 32;

/// One cookie reply and where it goes.
#[derive(Debug)]
pub struct Reply {
    tunnel: Arc<Tunnel>,
    /// Who asked, and which of our addresses was spoken to.
    pub to: Endpoint,
    /// The message.
    pub bytes: [u8; COOKIE_REPLY_LEN],
}

/// The replies of one handshake thread that wait to be sent.
#[derive(Debug)]
pub struct Replies {
    waiting: Vec<Reply>,
    batch: SendBatch,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            waiting: Vec::with_capacity(TOGETHER),
            batch: SendBatch::new(TOGETHER),
        }
    }
}

impl Replies {
    /// Adds a reply; sends all of them if that was the last that fits.
    pub fn push(&mut self, tunnel: &Arc<Tunnel>, to: Endpoint, bytes: [u8; COOKIE_REPLY_LEN]) {
        self.waiting.push(Reply {
            tunnel: Arc::clone(tunnel),
            to,
            bytes,
        });
        if self.waiting.len() == TOGETHER {
            self.send();
        }
    }

    /// Sends what waits.
    pub fn send(&mut self) {
        let one_socket = |a: &Reply, b: &Reply| {
            Arc::ptr_eq(&a.tunnel, &b.tunnel) && a.to.addr.is_ipv4() == b.to.addr.is_ipv4()
        };
        for group in self.waiting.chunk_by(one_socket) {
            group[0].tunnel.send_cookies(&mut self.batch, group);
        }
        self.waiting.clear();
    }
}
