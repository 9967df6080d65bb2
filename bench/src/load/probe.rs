//! Sender and receiver, for a time at a rate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use ringtun_lab::NetNs;

use super::mix::Mix;
use super::receiver::{self, SENDING};
use super::sender::{self, Traffic};

/// Lost of all that was sent, at most, for a rate to be held.
const LOSS_MAX: f64 = 0.001;
/// Sent of what was asked for, at least: a sender that is kept from sending loses nothing. What is
/// told is the rate that arrived, so that less than all of it may be missing.
const SENT_MIN: f64 = 0.9;
/// The generator's priority: it stands for other machines, which nothing here keeps from sending.
const NICE: libc::c_int = -15;
/// Bytes that wait in a socket, at most.
const BUFFER: libc::c_int = 32 << 20;

/// The two sockets of a path through what is measured.
#[derive(Debug)]
pub struct Path {
    from: UdpSocket,
    to: UdpSocket,
    train: u8,
    probes: AtomicU64,
}

/// What one probe saw.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Packets per second that were asked for.
    pub asked: f64,
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that arrived.
    pub received: u64,
    /// Bytes that those carried.
    pub bytes: u64,
    /// How long was sent.
    pub time: Duration,
}

impl Outcome {
    /// Whether the rate was sent, and next to nothing of it lost.
    pub fn holds(&self) -> bool {
        let sent = self.sent as f64;
        let lost = self.sent.saturating_sub(self.received) as f64;
        sent >= SENT_MIN * self.asked * self.time.as_secs_f64() && lost <= LOSS_MAX * sent
    }

    /// Packets per second that arrived.
    pub fn rate(&self) -> f64 {
        self.received as f64 / self.time.as_secs_f64()
    }
}

impl Path {
    /// From one namespace to the other, whose address is `to`, in trains of so many packets.
    ///
    /// # Errors
    /// A socket cannot be had.
    pub fn new(ends: [&NetNs; 2], to: IpAddr, train: u8) -> Result<Path> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let [from, receiver] = [ends[0].udp(any)?, ends[1].udp(any)?];
        from.connect((to, receiver.local_addr()?.port()))?;
        set(&from, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER)?;
        set(&receiver, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
        if train > 1 {
            set(&receiver, libc::SOL_UDP, libc::UDP_GRO, 1)?;
        }
        Ok(Path {
            from,
            to: receiver,
            train,
            probes: AtomicU64::new(1),
        })
    }

    /// Sends at `rate` packets per second for `time`.
    ///
    /// # Errors
    /// A socket fails.
    pub fn probe(&self, mix: Mix, rate: f64, time: Duration) -> Result<Outcome> {
        let probe = self.probes.fetch_add(1, Ordering::Relaxed);
        let traffic = Traffic {
            mix,
            train: self.train,
            rate,
            time,
        };
        let total = AtomicU64::new(SENDING);
        let (sent, received) = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                prefer();
                receiver::receive(&self.to, probe, &total)
            });
            let sender = scope.spawn(|| {
                prefer();
                sender::send(&self.from, traffic, probe)
            });
            let sent = sender
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the sender panicked")));
            let packets = sent.as_ref().map_or(0, |sent| sent.packets);
            total.store(packets, Ordering::Release);
            let received = receiver
                .join()
                .map_err(|_| anyhow!("the receiver panicked"));
            (sent, received)
        });
        let (sent, received) = (sent?, received??);
        Ok(Outcome {
            asked: rate,
            sent: sent.packets,
            received: received.packets,
            bytes: received.bytes,
            time: sent.time,
        })
    }
}

/// Gives the calling thread the generator's priority; without the right to it, it stays as it is.
pub fn prefer() {
    // SAFETY: takes numbers only; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

fn set(socket: &UdpSocket, level: i32, name: i32, value: libc::c_int) -> Result<()> {
    // SAFETY: `value` is what these options take, and is read during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as u32,
        )
    };
    let error = || std::io::Error::last_os_error();
    ensure!(result == 0, "socket option {level}/{name}: {}", error());
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn outcome(sent: u64, received: u64) -> Outcome {
        Outcome {
            asked: 100_000.0,
            sent,
            received,
            bytes: 0,
            time: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_rate_is_held_when_it_was_sent_and_one_in_a_thousand_lost() {
        assert!(outcome(100_000, 99_900).holds());
        assert!(!outcome(100_000, 99_899).holds(), "lost");
        assert!(outcome(90_000, 90_000).holds());
        assert!(!outcome(89_999, 89_999).holds(), "not sent");
    }

    #[test]
    fn every_packet_of_every_size_arrives_on_loopback() -> Result<()> {
        for train in [1, 16] {
            let loopback = |socket: &UdpSocket| socket.local_addr();
            let [from, to] = [
                UdpSocket::bind("127.0.0.1:0")?,
                UdpSocket::bind("127.0.0.1:0")?,
            ];
            from.connect(loopback(&to)?)?;
            if train > 1 {
                set(&to, libc::SOL_UDP, libc::UDP_GRO, 1).context("GRO")?;
            }
            let path = Path {
                from,
                to,
                train,
                probes: AtomicU64::new(1),
            };
            for mix in [Mix::SMALL, Mix::IMIX] {
                let outcome = path.probe(mix, 2000.0, Duration::from_millis(300))?;
                assert!(
                    outcome.sent > 100 && outcome.received == outcome.sent,
                    "{outcome:?}"
                );
                assert!(outcome.bytes >= 56 * outcome.received);
            }
        }
        Ok(())
    }
}
