//! Lines of the XDP programs in the agent's log.
//!
//! The programs write them into a ring buffer by `aya-log`, whose half on this
//! side reads them: whatever one says becomes an event of [`tracing`] with the
//! target [`TARGET`].

use super::BpfError;
use super::object::Object;
use aya::maps::{Array, MapData, ProgramArray};
use aya_log::EbpfLogger;
use nix::net::if_::if_indextoname;
use ringtun_common::notice::{
    LOG_PROGRAM, LOG_STEP, NOTICE_INTERVAL, NOTICE_INTERVAL_MAP, NOTICE_PROGRAM, NOTICE_STEP,
    NOTICE_STEPS_MAP, TARGET,
};
use ringtun_common::verdict::Verdict;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a loaded program needs to write lines.
pub(super) struct Writer {
    /// Held: the kernel empties it with its last descriptor, and then nothing is
    /// written.
    _steps: ProgramArray<MapData>,
    interval: Array<MapData, u64>,
}

impl Writer {
    /// Loads the programs that write. From now on there is a line about the same
    /// thing every [`NOTICE_INTERVAL`] at most.
    pub(super) fn new(object: &mut Object) -> Result<Self, BpfError> {
        let mut steps: ProgramArray<MapData> = object.take(NOTICE_STEPS_MAP)?;
        let mut this = Self {
            interval: object.take(NOTICE_INTERVAL_MAP)?,
            _steps: {
                steps.set(LOG_STEP, object.load_program(LOG_PROGRAM)?, 0)?;
                steps.set(NOTICE_STEP, object.load_program(NOTICE_PROGRAM)?, 0)?;
                steps
            },
        };
        this.set_interval(NOTICE_INTERVAL)?;
        Ok(this)
    }

    pub(super) fn set_interval(&mut self, interval: Duration) -> Result<(), BpfError> {
        let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Ok(self.interval.set(0, nanoseconds, 0)?)
    }
}

/// The lines that nobody has read yet.
pub struct Notices(EbpfLogger<Events>);

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

impl AsRawFd for Notices {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Notices {
    pub(super) fn new(object: &mut Object) -> Result<Self, BpfError> {
        Ok(Self(object.logger(Events)?))
    }

    /// Makes events of them. How many there can be is bounded by the ring buffer
    /// and by how seldom the programs write.
    pub fn tell(&mut self) {
        self.0.flush();
    }

    /// Makes events of them as they come. Needs a tokio runtime.
    ///
    /// # Errors
    /// Out of memory.
    pub fn follow(self) -> io::Result<FollowedNotices> {
        // SAFETY: the ring buffer keeps the same descriptor open for as long as it
        // lives, and the result owns it: it is deregistered before it is closed.
        let fd = unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) };
        Ok(FollowedNotices(fd?))
    }
}

/// Lines that are waited for.
#[derive(Debug)]
pub struct FollowedNotices(AsyncFd<Notices>);

impl FollowedNotices {
    /// Makes events of what is there; pending if there was nothing.
    ///
    /// # Errors
    /// The runtime is ending.
    pub fn poll_tell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ready = ready!(self.0.poll_read_ready_mut(context))?;
        ready.get_inner_mut().tell();
        // What came since tells so once more.
        ready.clear_ready();
        Poll::Ready(Ok(()))
    }
}

/// Takes what `aya-log` has read. No logger of the whole process: nothing else
/// here logs by the crate `log`.
struct Events;

impl log::Log for Events {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        match Notice::parse(&text) {
            Some(notice) => notice.tell(record.level()),
            None => tracing::info!(target: TARGET, event = "xdp_line", "{text}"),
        }
    }

    fn flush(&self) {}
}

/// A line, as `ebpf/src/notice.rs` writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Notice {
    verdict: Verdict,
    interface: u32,
    queue: u32,
    length: u32,
    /// Who sent the packet, as far as its headers could be read.
    source: Option<SocketAddr>,
    /// Packets without a line since the last one.
    suppressed: u64,
}

impl Notice {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut value = |name| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let verdict: usize = value("verdict")?.parse().ok()?;
        let notice = Self {
            verdict: *Verdict::ALL.get(verdict)?,
            interface: value("interface")?.parse().ok()?,
            queue: value("queue")?.parse().ok()?,
            length: value("length")?.parse().ok()?,
            source: {
                let address: Ipv6Addr = value("source")?.parse().ok()?;
                let address = IpAddr::from(address).to_canonical();
                let port = value("port")?.parse().ok()?;
                let known = !address.is_unspecified();
                known.then_some(SocketAddr::new(address, port))
            },
            suppressed: value("suppressed")?.parse().ok()?,
        };
        words.next().is_none().then_some(notice)
    }

    fn tell(&self, level: log::Level) {
        let name = if_indextoname(self.interface).ok();
        let name = name.as_ref().and_then(|name| name.to_str().ok());
        macro_rules! event {
            ($level:ident) => {
                tracing::event!(
                    target: TARGET,
                    tracing::Level::$level,
                    event = "xdp_notice",
                    verdict = self.verdict.label(),
                    // Absent if the interface is gone.
                    interface = name,
                    index = self.interface,
                    queue = self.queue,
                    length = self.length,
                    source = self.source.map(tracing::field::display),
                    suppressed = self.suppressed,
                    "{}",
                    explanation(self.verdict)
                )
            };
        }
        match level {
            log::Level::Error => event!(ERROR),
            log::Level::Warn => event!(WARN),
            log::Level::Info => event!(INFO),
            log::Level::Debug => event!(DEBUG),
            log::Level::Trace => event!(TRACE),
        }
    }
}

/// What it means, for people.
const fn explanation(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NoSocket => {
            "WireGuard data arrived on a queue without an AF_XDP socket; it goes by the UDP socket"
        }
        Verdict::Oversize => {
            "WireGuard data is longer than a frame of the rings; it goes by the UDP socket"
        }
        Verdict::Truncated => "a frame for this host ends before its headers do",
        Verdict::Malformed => "a frame for this host has headers that contradict each other",
        Verdict::TooDeep => {
            "a frame for this host has more tags or extension headers than are walked"
        }
        _ => "the XDP program saw what should be rare",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "verdict=1 interface=3 queue=7 length=138 source=::ffff:192.0.2.1 port=51820 suppressed=9999";

    #[test]
    fn a_line_is_read_to_its_last_word() {
        let notice = Notice {
            verdict: Verdict::NoSocket,
            interface: 3,
            queue: 7,
            length: 138,
            source: Some("192.0.2.1:51820".parse().unwrap()),
            suppressed: 9999,
        };
        assert_eq!(Notice::parse(LINE), Some(notice));
        let six = LINE.replace("::ffff:192.0.2.1", "2001:db8::1");
        let source = Some("[2001:db8::1]:51820".parse().unwrap());
        assert_eq!(Notice::parse(&six), Some(Notice { source, ..notice }));
        let unknown = LINE.replace("::ffff:192.0.2.1", "::");
        let source = None;
        assert_eq!(Notice::parse(&unknown), Some(Notice { source, ..notice }));
    }

    #[test]
    fn what_is_no_such_line_is_not_read() {
        for text in [
            String::new(),
            LINE.replace("verdict=1", "verdict=255"),
            LINE.replace("queue=7 ", ""),
            LINE.replace("queue", "cue"),
            LINE.replace("=138", "=-138"),
            format!("{LINE} more=1"),
            LINE.replace(" suppressed=9999", ""),
        ] {
            assert_eq!(Notice::parse(&text), None, "{text}");
        }
    }
}
