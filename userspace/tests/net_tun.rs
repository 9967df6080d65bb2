//! TUN devices and offloads with the kernel's own TCP and UDP at both ends.
//! Needs root.

mod net;

use net::{Counts, End, Joined, counter};
use ringtun::datapath::offload::VNET_LEN;
use ringtun::net::tun::{self, READ_MAX, Tun, TunError};
use ringtun_lab::stream::{Plan, transfer};
use ringtun_lab::{NetNs, names, wait};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long to wait for what must come, on a machine whose processors are taken.
const PATIENCE: Duration = Duration::from_secs(60);

fn address(end: u8, v6: bool, port: u16) -> SocketAddr {
    let text = if v6 {
        format!("[fd66::{end}]:{port}")
    } else {
        format!("10.66.0.{end}:{port}")
    };
    text.parse().expect("address")
}

#[test]
fn tcp_crosses_in_super_packets_with_every_byte_intact() {
    let joined = Joined::new(true);
    let [a, b] = &joined.ends;
    for v6 in [false, true] {
        // Both directions; 64 MiB are a thousand super-packets.
        for (from, to, number) in [(a, b, 2), (b, a, 1)] {
            let plan = Plan::bulk(64 << 20);
            transfer(&from.ns, &to.ns, address(number, v6, 0), &plan).expect("transfer");
        }
    }
    for (end, counts) in joined.ends.iter().zip(joined.counts.iter()) {
        let Counts {
            reads,
            packets,
            writes,
            largest_read,
            largest_write,
        } = counts;
        let [reads, packets, writes] = [reads, packets, writes].map(|n| n.load(Relaxed));
        assert!(packets > 4 * reads, "{packets} packets in {reads} reads");
        assert!(packets > 4 * writes, "{packets} packets in {writes} writes");
        for largest in [largest_read, largest_write] {
            assert!(largest.load(Relaxed) > 32_768);
        }
        assert_eq!(counter(&end.ns, "Tcp:", "InCsumErrors"), 0);
        assert_eq!(counter(&end.ns, "Tcp:", "InErrs"), 0);
        assert_eq!(counter(&end.ns, "Ip:", "InHdrErrors"), 0);
        assert_eq!(counter(&end.ns, "Ip:", "InDiscards"), 0);
    }
}

#[test]
fn udp_bursts_cross_as_super_packets_and_arrive_one_by_one() {
    use ringtun::net::udp::{Outgoing, UdpSockets};

    let joined = Joined::new(true);
    let [a, b] = &joined.ends;
    for v6 in [false, true] {
        let receiver = b.ns.udp(address(2, v6, 0)).expect("socket");
        let to = receiver.local_addr().expect("address");
        receiver.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let sender =
            a.ns.within(|| Ok(UdpSockets::bind(0, 1, 0)?))
                .expect("bind");
        let bytes: Vec<u8> = (0..40 * 1200 + 5).map(|i| (i / 1200) as u8).collect();
        let sent = sender[0].for_address(to).expect("family").send(&Outgoing {
            to,
            source: None,
            tos: 0,
            bytes: &bytes,
            segment: 1200,
        });
        assert_eq!(sent.packets, 41);
        let mut buffer = [0; 2048];
        for chunk in bytes.chunks(1200) {
            let (len, _) = receiver.recv_from(&mut buffer).expect("receive");
            assert_eq!(&buffer[..len], chunk);
        }
    }
    let counts = &joined.counts[0];
    assert!(
        counts.largest_read.load(Relaxed) > 40_000,
        "the kernel cut the burst itself"
    );
    assert!(
        counts.largest_write.load(Relaxed) > 40_000,
        "nothing was merged"
    );
    assert_eq!(counter(&b.ns, "Udp:", "InCsumErrors"), 0);
    assert_eq!(counter(&b.ns, "Udp:", "InErrors"), 0);
}

#[test]
fn ping_crosses_whatever_its_size() {
    let joined = Joined::new(true);
    for (to, size) in [
        ("10.66.0.2", "56"),
        ("10.66.0.2", "8000"),
        ("fd66::2", "56"),
        ("fd66::2", "8000"),
    ] {
        let arguments = ["-c", "3", "-i", "0.01", "-W", "60", "-s", size, to];
        joined.ends[0].ns.run("ping", arguments).expect("ping");
    }
}

#[test]
fn a_taken_name_is_refused_before_anything_is_changed() {
    let end = End::new("tn", 1, 1);
    let before = end.ns.run("ip", ["-j", "link"]).expect("ip");
    let error = end
        .ns
        .within(|| Ok(Tun::create(end.tun.name(), 2).expect_err("taken")))
        .expect("enter");
    assert!(matches!(&error, TunError::NameTaken(name) if name == end.tun.name()));
    assert_eq!(end.ns.run("ip", ["-j", "link"]).expect("ip"), before);
}

#[test]
fn a_device_is_gone_with_its_last_queue() {
    let mut end = End::new("tq", 1, 4);
    let queues = end.tun.take_queues();
    assert_eq!(queues.len(), 4);
    let name = end.tun.name().to_owned();
    let End { ns, tun } = end;
    drop(tun);
    ns.run("ip", ["link", "show", &name])
        .expect("held by its queues");
    drop(queues);
    // A process that another test starts at this moment has them too, until it
    // executes its program.
    wait::until("nobody holds it", PATIENCE, || {
        Ok(ns.run("ip", ["link", "show", &name]).is_err().then_some(()))
    })
    .expect("gone");
}

#[test]
fn packets_of_one_flow_stay_on_one_queue_and_flows_are_spread() {
    let mut end = End::new("tm", 1, 4);
    let queues = end.tun.take_queues();
    let mut hits = [0; 4];
    let mut buffer = vec![0; READ_MAX];
    let fds: Vec<_> = queues.iter().map(AsFd::as_fd).collect();
    // Of each flow; not router solicitations and the like of the device's start.
    let mut drain = || -> Vec<usize> {
        let mut got = vec![0; queues.len()];
        while got.iter().sum::<usize>() < 3 {
            wait::ready(&fds, PATIENCE).unwrap_or_else(|error| panic!("{got:?} of 3: {error}"));
            for (queue, got) in queues.iter().zip(&mut got) {
                *got += std::iter::from_fn(|| queue.read(&mut buffer).expect("read"))
                    .filter(|len| *len == VNET_LEN + 28 + 1)
                    .count();
            }
        }
        got
    };
    for _ in 0..64 {
        let sender = end.ns.udp(address(1, false, 0)).expect("socket");
        for _ in 0..3 {
            sender.send_to(b"x", address(9, false, 9)).expect("send");
        }
        let got = drain();
        let used: Vec<usize> = (0..4).filter(|i| got[*i] > 0).collect();
        assert_eq!((got.iter().sum::<usize>(), used.len()), (3, 1), "{got:?}");
        hits[used[0]] += 1;
    }
    assert!(hits.iter().all(|n| *n > 0), "{hits:?}");
}

#[test]
fn mtu_and_state_are_set_and_read() {
    let end = End::new("ts", 1, 1);
    assert!(end.tun.is_up().expect("up"));
    assert_eq!(end.tun.mtu().expect("mtu"), net::MTU);
    end.tun.set_up(false).expect("down");
    assert!(!end.tun.is_up().expect("up"));
    for mtu in [*tun::MTU_RANGE.start(), *tun::MTU_RANGE.end()] {
        end.tun.set_mtu(mtu).expect("mtu");
        assert_eq!(end.tun.mtu().expect("mtu"), mtu);
    }
    for mtu in [tun::MTU_RANGE.start() - 1, tun::MTU_RANGE.end() + 1] {
        end.tun.set_mtu(mtu).expect_err("out of range");
    }
}

#[test]
fn writing_to_a_device_that_is_down_is_told_as_such() {
    let mut end = End::new("td", 1, 1);
    end.tun.set_up(false).expect("down");
    let queue = end.tun.take_queues().remove(0);
    let packet = [0x45; 60];
    let error = queue
        .write_vectored(&[IoSlice::new(&[0; VNET_LEN]), IoSlice::new(&packet)])
        .expect_err("down");
    assert!(tun::is_down(&error) && !tun::is_gone(&error), "{error}");
}

#[test]
fn a_removed_device_is_told_to_whoever_waits_and_by_every_call() {
    let mut end = End::new("tr", 1, 2);
    let queues = end.tun.take_queues();
    let mut buffer = vec![0; READ_MAX];
    end.ns
        .run("ip", ["link", "delete", end.tun.name()])
        .expect("delete");
    let fds: Vec<_> = queues.iter().map(AsFd::as_fd).collect();
    let ready = wait::ready(&fds, PATIENCE).expect("told");
    assert!(
        ready.len() == 2 && ready.iter().all(|ready| ready.error),
        "{ready:?}"
    );
    for queue in &queues {
        assert!(tun::is_gone(&queue.read(&mut buffer).expect_err("gone")));
        let slices = [IoSlice::new(&[0; VNET_LEN + 20])];
        assert!(tun::is_gone(
            &queue.write_vectored(&slices).expect_err("gone")
        ));
    }
    assert!(tun::is_gone(&end.tun.mtu().expect_err("gone")));
    assert!(tun::is_gone(&end.tun.namespace().expect_err("gone")));
}

#[test]
fn a_moved_or_renamed_device_is_not_gone() {
    let mut end = End::new("tv", 1, 1);
    let other = NetNs::new("tw").expect("namespace");
    let queue = end.tun.take_queues().remove(0);
    let home = end.tun.namespace().expect("namespace");
    let (old, new) = (end.tun.name().to_owned(), names::unique("tx"));
    let target = other.path().display().to_string();
    end.ns
        .run("ip", ["link", "set", &old, "netns", &target, "name", &new])
        .expect("move");
    assert_ne!(end.tun.namespace().expect("namespace"), home);
    assert_eq!(end.tun.current_name().expect("name"), new);
    assert_eq!(end.tun.mtu().expect("mtu"), net::MTU);
    // Moving takes it down.
    assert!(!end.tun.is_up().expect("up"));
    end.tun.set_up(true).expect("up");
    other
        .ip(&format!("address add 10.66.0.7/24 dev {new}\n"))
        .expect("address");
    let socket = other
        .udp("10.66.0.7:0".parse().expect("address"))
        .expect("socket");
    socket.send_to(b"marker", "10.66.0.8:9").expect("send");
    let mut buffer = vec![0; READ_MAX];
    let mut found = false;
    while !found {
        wait::ready(&[queue.as_fd()], PATIENCE).expect("the packet did not come");
        while let Some(len) = queue.read(&mut buffer).expect("not gone") {
            found |= buffer[..len].ends_with(b"marker");
        }
    }
}

#[test]
fn without_the_capability_the_error_names_it() {
    // The capability is the process's: the program itself is run without it.
    let ns = NetNs::new("tc").expect("namespace");
    let name = names::unique("tc");
    let program = env!("CARGO_BIN_EXE_ringtun");
    let output = ns
        .command("setpriv")
        .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"])
        .args([program, "run", "--foreground", &name])
        .output()
        .expect("setpriv, of util-linux");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("CAP_NET_ADMIN"), "{text}");
    ns.run("ip", ["link", "show", &name])
        .expect_err("nothing was made");
}
