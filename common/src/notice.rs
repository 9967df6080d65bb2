//! What the XDP programs say in words: packets that an operator should know of
//! and that must be rare. The program for the WAN side hands them over, so that
//! all others pay one comparison:
//!
//! ```text
//! WAN_PROGRAM ─ verdict is noticed, not too often ─▶ NOTICE_PROGRAM ─ is for us ─▶ LOG_PROGRAM ─▶ the agent
//! ```
//!
//! Whoever floods a host with such packets gets one line, and one look each
//! [`LOOK_EVERY`] that costs more than a comparison of times.

use crate::ip::UDP;
use crate::packet::Packet;
use crate::tables::Tables;
use crate::verdict::Verdict;
use core::time::Duration;

/// Name of the XDP program that looks at a frame once more and decides whether
/// it gets a line.
pub const NOTICE_PROGRAM: &str = "ringtun_notice";
/// Name of the program that writes the line: the stack of one has no room for both.
pub const LOG_PROGRAM: &str = "ringtun_log";
/// Name of the array of programs by which a frame is handed over.
pub const NOTICE_STEPS_MAP: &str = "NOTICE_STEPS";
/// Place of [`NOTICE_PROGRAM`] in it.
pub const NOTICE_STEP: u32 = 0;
/// Place of [`LOG_PROGRAM`] in it.
pub const LOG_STEP: u32 = 1;
/// Programs in it.
pub const NOTICE_STEPS: u32 = 2;
/// Name of the array whose one `u64` says how many nanoseconds are between two
/// lines about the same verdict on one CPU.
pub const NOTICE_INTERVAL_MAP: &str = "NOTICE_INTERVAL";

/// What that is, unless somebody wants it otherwise.
pub const NOTICE_INTERVAL: Duration = Duration::from_secs(10);
/// How often a packet is looked at while none gets a line.
pub const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The target of the lines in the agent's log.
pub const TARGET: &str = "ringtun::xdp";

/// How often there was a line about one verdict, on one CPU. Times are in
/// nanoseconds; 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Limit {
    /// When the last line was.
    last: u64,
    /// When a packet was looked at.
    looked: u64,
    /// Packets without a line since the last one, for us or not.
    suppressed: u64,
}

impl Limit {
    /// Whether a packet at `now` is looked at: `interval` nanoseconds after the
    /// last line. Else it is counted.
    #[inline(always)]
    pub fn may_look(&mut self, now: u64, interval: u64) -> bool {
        // Not more than fits.
        let every = LOOK_EVERY.as_nanos() as u64;
        let every = if every < interval { every } else { interval };
        let told = self.last != 0 && now.wrapping_sub(self.last) < interval;
        let looked = self.looked != 0 && now.wrapping_sub(self.looked) < every;
        if told || looked {
            self.pass_over();
            return false;
        }
        self.looked = now;
        true
    }

    /// Counts a packet that gets no line.
    #[inline(always)]
    pub fn pass_over(&mut self) {
        self.suppressed = self.suppressed.wrapping_add(1);
    }

    /// There is a line now, which says how many packets had none since the last.
    #[inline(always)]
    pub fn tell(&mut self, now: u64) -> u64 {
        self.last = now;
        core::mem::take(&mut self.suppressed)
    }
}

/// Whether a packet with this verdict gets a line, if there was none of late.
/// Of one that cannot be read, `packet` is what was read before the parser gave
/// up: it counts if it is to this host and, as far as anybody can say, to a port
/// of ours.
#[must_use]
#[inline(always)]
pub fn is_worth_a_line(verdict: Verdict, packet: &Packet, tables: &impl Tables) -> bool {
    match verdict {
        Verdict::Truncated | Verdict::Malformed | Verdict::TooDeep => {
            let may_be_udp = matches!(packet.network.protocol, 0 | UDP);
            let port = packet.destination_port;
            may_be_udp
                && (port == 0 || tables.has_port(port))
                && tables
                    .interface()
                    .is_some_and(|interface| interface.mac == packet.destination_mac)
        }
        verdict => verdict.is_noticed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::SliceCursor;
    use crate::fixtures::{self, World, frames};
    use crate::packet;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// What the programs do with a packet at `now` that is for us, or not.
    fn admit(limit: &mut Limit, now: u64, interval: u64, for_us: bool) -> Option<u64> {
        if !limit.may_look(now, interval) {
            return None;
        }
        if !for_us {
            limit.pass_over();
            return None;
        }
        Some(limit.tell(now))
    }

    #[test]
    fn a_flood_gets_one_line_per_interval_with_what_was_left_out() {
        let mut limit = Limit::default();
        let start = 7 * SECOND;
        let mut at = |now| admit(&mut limit, now, SECOND, true);
        assert_eq!(at(start), Some(0));
        for n in 1..SECOND / 1000 {
            assert_eq!(at(start + n * 1000), None);
        }
        let left_out = SECOND / 1000 - 1;
        assert_eq!(at(start + SECOND), Some(left_out));
        assert_eq!(at(start + 2 * SECOND - 1), None);
        assert_eq!(at(start + 2 * SECOND), Some(1));
        assert_eq!(at(start + 9 * SECOND), Some(0));
    }

    #[test]
    fn a_flood_to_others_is_looked_at_now_and_then_and_hides_nobody_for_long() {
        let mut limit = Limit::default();
        let mut looks = 0;
        for n in 1..10_000 {
            looks += u64::from(limit.may_look(n * 1000, SECOND));
        }
        assert_eq!(looks, 10);
        // The next millisecond, whose first packet is for us.
        assert!(limit.may_look(11_000_000, SECOND));
        assert_eq!(limit.tell(11_000_000), 9_999 - looks);
    }

    proptest! {
        /// Whatever the times: each packet has a line or is told in a later one.
        #[test]
        fn no_packet_is_forgotten(steps: Vec<(u16, bool)>, interval: u16) {
            let (mut limit, mut now, mut told) = (Limit::default(), 1, 0);
            for (step, for_us) in &steps {
                now += u64::from(*step);
                let line = admit(&mut limit, now, interval.into(), *for_us);
                told += line.map_or(0, |more| more + 1);
            }
            prop_assert_eq!(told + limit.suppressed, steps.len() as u64);
        }
    }

    /// What the programs do with a frame.
    fn is_logged(frame: &[u8], world: &World) -> bool {
        let (packet, why) = packet::parse_partly(&mut SliceCursor::new(frame));
        let parsed = why.map_or(Ok(packet), Err);
        let (_, verdict) = crate::verdict::judge(&parsed, frame.len(), &mut world.clone());
        verdict.is_noticed() && is_worth_a_line(verdict, &packet, world)
    }

    #[test]
    fn ordinary_packets_get_no_line_and_those_without_a_socket_do() {
        let (with, without) = (World::with_socket(), World::without_socket());
        for fixture in fixtures::all() {
            let noticed = match fixture.verdict {
                Verdict::Ours => {
                    assert!(is_logged(&fixture.frame, &without), "{}", fixture.name);
                    false
                }
                Verdict::Oversize => true,
                Verdict::Truncated | Verdict::Malformed | Verdict::TooDeep => continue,
                _ => false,
            };
            assert_eq!(
                is_logged(&fixture.frame, &with),
                noticed,
                "{}",
                fixture.name
            );
        }
    }

    #[test]
    fn what_cannot_be_read_gets_a_line_if_it_may_be_for_us() {
        let data = frames::udp(&frames::message(4, 96));
        let four = frames::over4(UDP, &data);
        let short = |frame: &[u8]| frame[..frame.len() - 1].to_vec();
        let of_length = |from, to, len: u8| {
            let mut datagram = frames::udp_between(from, to, &[0; 32]);
            datagram[5] = len;
            frames::over4(UDP, &datagram)
        };
        let deep = frames::behind(&[(60, 1); 9], UDP, &data);
        for (name, frame, expected) in [
            ("a length of 7 to our port", of_length(9, 51820, 7), true),
            (
                "a length of 7 to another port",
                of_length(51820, 9, 7),
                false,
            ),
            ("cut off: nobody knows its port", short(&four), true),
            (
                "cut off, to another host",
                frames::with_byte(short(&four), 5, 9),
                false,
            ),
            ("an IPv4 header alone", four[..33].to_vec(), true),
            ("TCP of 19 bytes", frames::over4(6, &[0; 19]), false),
            (
                "nine extension headers",
                frames::ethernet(&[], 0x86dd, &deep),
                true,
            ),
            (
                "three VLAN tags",
                frames::ethernet(&[0x88a8, 0x8100, 0x8100], 0x0800, &[]),
                true,
            ),
        ] {
            assert_eq!(is_logged(&frame, &World::with_socket()), expected, "{name}");
        }
    }
}
