//! What the data path keeps with each peer: the inbound lane, and how its
//! packets leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};

use super::inbound::InboundLane;
use crate::net::outer::Template;
use crate::tunnel::cell::PeerCell;
use crate::tunnel::endpoint::Endpoint;
use crate::tunnel::time::BootTime;

/// A peer whose way out is unknown is reported at most this often: the answer
/// takes control some milliseconds, and until then packets go by the socket.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How packets to one endpoint leave.
#[derive(Debug)]
pub struct Exit {
    /// The endpoint that this is about. The peer may have moved since.
    pub to: Endpoint,
    /// The headers, and the device by whose ring the frames go. None: by the
    /// socket, until control says otherwise.
    pub template: Option<Template>,
}

/// What all threads share of a peer's way; attached to its cell.
#[derive(Debug, Default)]
pub struct Path {
    /// The ordering stage of what it sends.
    pub lane: InboundLane,
    exit: ArcSwapOption<Exit>,
    /// When control was asked last, in nanoseconds of boot time; 0: never.
    asked: AtomicU64,
}

impl Path {
    /// The path of this peer; made by the first who asks.
    #[must_use]
    pub fn of(cell: &PeerCell) -> &Self {
        cell.attachment(Self::default)
    }

    /// How packets to `to` leave; `None` if nobody looked it up yet.
    #[must_use]
    pub fn exit(&self, to: &Endpoint) -> Option<Guard<Option<Arc<Exit>>>> {
        let exit = self.exit.load();
        exit.as_ref().is_some_and(|e| e.to == *to).then_some(exit)
    }

    /// Control found out.
    pub fn set_exit(&self, exit: Option<Exit>) {
        self.exit.store(exit.map(Arc::new));
    }

    /// Whether it is time to ask control; it is the caller's then to ask.
    #[must_use]
    pub fn may_ask(&self, now: BootTime) -> bool {
        let asked = self.asked.load(Relaxed);
        let due = asked == 0 || now.since(BootTime::from_nanos(asked)) >= ASK_EVERY;
        due && self
            .asked
            .compare_exchange(asked, now.as_nanos().max(1), Relaxed, Relaxed)
            .is_ok()
    }
}
