//! Where the frames of each flow go, kept true.
//!
//! AF_XDP transmits whole frames, so somebody has to do what the kernel does
//! for a socket: find route, source address, device, VLAN tags and the next
//! hop's MAC address. The kernel is asked, over netlink, by the control thread;
//! what it answers is kept until an event says that it may be wrong.
//!
//! ```text
//! wanted(flow) ─▶ route ─▶ link, and what is below it ─▶ neighbour ─▶ Hop, or why not
//!                   ▲               ▲                       ▲
//!        route, rule, address     link                  neighbour     events
//! ```
//!
//! * [`Hops`]: asks and listens.
//! * [`NoHop`]: why a flow's packets go by the socket.
//! * `table`, `upkeep`: what is known and what to ask next. No I/O.
//! * `path`: from answers to a hop. No I/O.
//!
//! **Neighbours.** The kernel counts a neighbour as REACHABLE for half a minute
//! after it heard of it, then as STALE; a packet sent by a socket makes it ask
//! again. Frames of ours pass the kernel by, and a neighbour that was replaced
//! would be sent to for ever. So a STALE neighbour of a flow that was wanted in
//! the last minute is reported in use (`NTF_USE`), once per change of its
//! state. What the kernel does not know at all is left to the socket: its first
//! packet makes the kernel ask, and the answer comes as an event.

mod no_hop;
mod path;
mod table;
mod upkeep;
mod work;

pub use no_hop::NoHop;
pub use table::{Change, FLOWS_MAX, IN_USE};

use super::clock;
use super::netlink::{NetEvents, Tables};
use super::outer::{Flow, Hop};
use futures_util::FutureExt;
use std::cell::RefCell;
use std::io;
use std::time::Duration;
use table::{Ask, Next, Table};
use tokio::sync::{Mutex, Notify};

/// Changes given at once; others of the control thread get their turn between.
const CHANGES_AT_ONCE: usize = 256;
/// Events taken before the next question.
const EVENTS_AT_ONCE: usize = 64;

/// The hops of all flows of one network namespace. For the control thread.
#[derive(Debug)]
pub struct Hops {
    table: RefCell<Table>,
    tables: Tables,
    /// Held by [`changed`](Self::changed) alone.
    events: Mutex<NetEvents>,
    wanted: Notify,
}

impl Hops {
    /// Starts listening in the calling thread's namespace; within a tokio runtime.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            table: RefCell::default(),
            events: Mutex::new(NetEvents::open_all()?),
            tables: Tables::open()?,
            wanted: Notify::new(),
        })
    }

    /// What is known of this flow now, and from now on [`changed`](Self::changed)
    /// tells of it: at first [`NoHop::Pending`].
    ///
    /// Repeat it every 10 to 30 s while the flow carries packets: that keeps its
    /// neighbour fresh and sees what no event tells, such as a path MTU that
    /// the kernel learned. At most [`FLOWS_MAX`] are kept; when there are as
    /// many, those not wanted for [`IN_USE`] are given up.
    ///
    /// # Errors
    /// Why its packets have to go by the socket.
    pub fn wanted(&self, flow: &Flow) -> Result<Hop, NoHop> {
        let mut table = self.table.borrow_mut();
        let answer = table.wanted(flow, clock::boot());
        if table.has_work() {
            self.wanted.notify_one();
        }
        answer
    }

    /// Nobody needs this flow any more; nothing will be told of it.
    pub fn forget(&self, flow: &Flow) {
        self.table.borrow_mut().forget(flow);
    }

    /// What is known of this flow, without wanting it.
    #[must_use]
    pub fn get(&self, flow: &Flow) -> Option<Result<Hop, NoHop>> {
        self.table.borrow().get(flow)
    }

    /// Does the work, and tells which flows have another answer than was told
    /// before. Can be dropped and called again without losing one; one task at
    /// a time. Nothing is looked up while nobody awaits this.
    ///
    /// # Errors
    /// If a netlink socket broke: open another and want all flows again.
    pub async fn changed(&self) -> io::Result<Vec<Change>> {
        let mut events = self.events.lock().await;
        loop {
            for _ in 0..EVENTS_AT_ONCE {
                let Some(event) = events.next().now_or_never() else {
                    break;
                };
                self.table.borrow_mut().heard(event?, clock::boot());
            }
            let next = self.table.borrow_mut().next(clock::boot());
            let changes = {
                let mut table = self.table.borrow_mut();
                let idle = matches!(next, Next::Wait(_));
                if idle || table.changes() >= CHANGES_AT_ONCE {
                    table.take_changes()
                } else {
                    Vec::new()
                }
            };
            if !changes.is_empty() {
                // What was to be asked next is still to be asked.
                return Ok(changes);
            }
            match next {
                Next::Ask(ask) => self.carry_out(ask).await?,
                Next::Wait(until) => {
                    let pause = until.map(|at| at.since(clock::boot()));
                    tokio::select! {
                        event = events.next() => {
                            self.table.borrow_mut().heard(event?, clock::boot());
                        }
                        () = self.wanted.notified() => {}
                        () = passed(pause) => {}
                    }
                }
            }
        }
    }

    /// Asks the kernel. Dropped before the answer, the question is asked again.
    async fn carry_out(&self, ask: Ask) -> io::Result<()> {
        match ask {
            Ask::Route(flow) => {
                let answer = kernel(self.tables.way(&flow).await)?;
                self.table.borrow_mut().route(&flow, answer, clock::boot());
            }
            Ask::Link(index) => {
                let answer = kernel(self.tables.link(index).await)?;
                self.table.borrow_mut().link(index, answer.ok().flatten());
            }
            Ask::Neighbour(key, flow) => {
                let answer = kernel(self.tables.neighbour(key).await)?;
                self.table.borrow_mut().neighbour(key, &flow, answer.ok());
            }
            Ask::Use(key) => {
                // Nothing depends on it: without the capability, or if the
                // kernel just forgot it, it is as if nothing had been sent.
                let answer = kernel(self.tables.neighbour_in_use(key).await)?;
                self.table.borrow_mut().told_in_use(key);
                if let Err(errno) = answer {
                    let error = io::Error::from_raw_os_error(errno);
                    tracing::debug!(event = "neighbour_not_asked", neighbour = %key.addr, %error, "cannot have a neighbour asked");
                }
            }
        }
        Ok(())
    }
}

/// What the kernel answered, its error as a number; an error is a broken socket.
fn kernel<T>(answer: io::Result<T>) -> io::Result<Result<T, i32>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => error.raw_os_error().map(Err).ok_or(error),
    }
}

/// After `pause`; never without one.
async fn passed(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
