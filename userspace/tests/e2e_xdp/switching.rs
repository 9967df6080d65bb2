//! From rings to sockets and back, with traffic.

use std::net::SocketAddr;
use std::thread;

use ringtun_lab::Tunnel;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::Options;

use crate::support::{
    GOES_ON, io_of, latest_handshake, options, passes_sockets_by, program_on, switch, tunnel,
    until_on_rings,
};

#[test]
fn data_passes_the_sockets_by_in_both_families_and_with_several_queues() {
    for (v6, queues) in [(false, 1), (true, 4)] {
        let tunnel = tunnel(&Options {
            v6,
            queues,
            ..options()
        });
        passes_sockets_by(&tunnel);
        let io = io_of(&tunnel, 0);
        let card = &io["cards"][0];
        assert_eq!(card["xdp"], "native", "{io}");
        assert_eq!(card["transfer"], "copy", "a veth has no other: {io}");
        assert_eq!(card["queues"].as_array().unwrap().len(), queues as usize);
    }
}

#[test]
fn a_transfer_that_switches_ten_times_loses_no_session() {
    let tunnel = tunnel(&options());
    let sessions = [0, 1].map(|at| latest_handshake(&tunnel, at));
    let address = SocketAddr::new(Tunnel::inside_v4(1).into(), 5001);
    let plan = Plan {
        rate: Some(8 << 20),
        ..Plan::bulk(64 << 20)
    };
    let report = thread::scope(|scope| {
        let transfer =
            scope.spawn(|| stream::transfer(tunnel.ns(0), tunnel.ns(1), address, &plan).unwrap());
        for number in 0..10 {
            let (at, mode) = (number % 2, if number % 4 < 2 { "udp" } else { "xdp" });
            let io = switch(&tunnel, at, mode);
            assert_eq!(io["io"], mode, "{io}");
            let carries = !program_on(tunnel.ns(at), &tunnel.pair.ends[at].device).is_null();
            assert_eq!(carries, mode == "xdp", "what the kernel says");
        }
        assert!(!transfer.is_finished(), "it was to be switched under way");
        transfer.join().unwrap()
    });
    assert_eq!(report.bytes, plan.bytes);
    assert!(report.longest_pause < GOES_ON, "{report:?}");
    assert_eq!(
        sessions,
        [0, 1].map(|at| latest_handshake(&tunnel, at)),
        "no handshake was needed"
    );
    for at in [0, 1] {
        switch(&tunnel, at, "xdp");
        until_on_rings(&tunnel, at);
    }
    passes_sockets_by(&tunnel);
}

#[test]
fn auto_stays_with_sockets_where_there_is_no_zero_copy_and_says_why() {
    let tunnel = tunnel(&options());
    let io = switch(&tunnel, 0, "auto");
    assert_eq!(io["io"], "udp", "{io}");
    let reason = io["reason"].as_str().unwrap();
    assert!(reason.contains("no zero-copy"), "{reason}");
    assert!(program_on(tunnel.ns(0), &tunnel.pair.ends[0].device).is_null());
    tunnel.reach(0, false, GOES_ON).unwrap();
}
