//! Clocks that jump.

use ringtun::drops::DropReason;

use crate::support::{World, ms, secs};

const TEN_YEARS: i64 = 10 * 365 * 86_400;

/// Section 7: forward clock jump kills keys (CVE-2021-46873). The wall clock
/// times nothing; it only goes into initiations.
#[test]
fn wall_clock_jumps_disturb_no_session_and_no_timer() {
    for jump in [TEN_YEARS, -TEN_YEARS] {
        let mut w = World::pair(120);
        w.connect(0, 1);
        for host in [0, 1] {
            let before = w.current(0, 1).unwrap().local_index();
            let timeout = w.hosts[host].device.poll_timeout();
            w.hosts[host].wall_offset += jump;
            assert_eq!(w.hosts[host].device.poll_timeout(), timeout);
            w.assert_connected(0, 1);
            assert_eq!(w.current(0, 1).unwrap().local_index(), before);
            w.run(secs(20));
        }
    }
}

#[test]
fn after_the_wall_clock_was_set_back_handshakes_still_work() {
    let mut w = World::pair(121);
    w.connect(0, 1);
    for offset in [TEN_YEARS, -TEN_YEARS, 0, -1, TEN_YEARS, TEN_YEARS - 1] {
        w.hosts[0].wall_offset = offset;
        w.run(secs(200));
        let handshakes = w.count(1, 2);
        w.send(0, 1, b"x");
        w.run(secs(1));
        assert!(w.agree(0, 1), "{offset}");
        assert_eq!(w.count(1, 2), handshakes + 1, "{offset}: answered at once");
    }
    assert_eq!(w.hosts[1].dropped(DropReason::TimestampReplay), 0);
}

/// A forged time source at the initiator must not lock it out afterwards; the
/// responder's clock matters for nothing.
#[test]
fn many_initiations_within_one_tick_of_the_wall_clock_are_all_new() {
    let mut w = World::pair(122);
    for i in 0..10 {
        w.run(secs(200));
        // The wall clock stands still.
        w.hosts[0].wall_offset = -((w.now.as_nanos() / 1_000_000_000) as i64);
        w.send(0, 1, b"x");
        w.run(secs(1));
        assert!(w.agree(0, 1), "{i}");
    }
    assert_eq!(w.hosts[1].dropped(DropReason::TimestampReplay), 0);
}

/// Suspend: boot time goes on. Keys that died meanwhile are dead.
#[test]
fn after_ten_years_of_suspend_keys_are_dead_and_a_packet_connects() {
    let mut w = World::pair(123);
    w.connect(0, 1);
    let peer = w.hosts[1].public;
    let now = w.now;
    w.hosts[0].device.set_keepalive(now, &peer, 25);
    w.settle(0, Vec::new());
    let old = w.last(0, 4);
    w.link.clear();
    w.jump(secs(TEN_YEARS as u64));
    w.run(secs(1));
    assert!(w.deliver(1, &old).is_err());
    w.send(0, 1, b"awake");
    w.run(secs(10));
    assert!(w.agree(0, 1));
    assert!(w.payloads(1).contains(&b"awake".to_vec()));
    w.assert_connected(0, 1);
}

#[test]
fn after_a_short_suspend_an_expired_key_is_not_used_before_its_timer_runs() {
    let mut w = World::pair(124);
    w.connect(0, 1);
    w.run(secs(30));
    // The clock jumps; a worker is faster than the control thread's timers.
    w.now = w.now + secs(170);
    w.send(0, 1, b"x");
    assert_eq!(w.count(0, 4), 1, "nothing sealed under the dead key");
    assert_eq!(w.count(0, 1), 2);
    w.run(ms(200));
    assert!(w.agree(0, 1));
}

/// Batches read the clock once, so a stamp may be a little older than one
/// taken before it elsewhere.
#[test]
fn a_clock_that_is_read_late_does_no_harm() {
    let mut w = World::pair(125);
    w.connect(0, 1);
    let present = w.now;
    for back in [1, 50, 5000] {
        w.now = ringtun::tunnel::time::BootTime::from_nanos(present.as_nanos() - back * 1_000_000);
        w.send(0, 1, b"late");
        w.link.clear();
        let d = w.last(0, 4);
        assert_eq!(w.deliver(1, &d), Ok(()));
    }
    w.now = present;
    w.assert_connected(0, 1);
}

/// The latest handshake is told by the wall clock, also across a jump.
#[test]
fn the_latest_handshake_is_wall_clock_time() {
    let mut w = World::pair(126);
    w.hosts[0].wall_offset = -TEN_YEARS;
    w.connect(0, 1);
    let at = |w: &World, a, b| w.cell(a, b).last_handshake().unwrap().secs as i64;
    let difference = at(&w, 1, 0) - at(&w, 0, 1);
    assert!((TEN_YEARS - 1..=TEN_YEARS + 1).contains(&difference));
}
