//! An agent that stands still, is killed, is started again.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use ringtun_lab::peers::local::Device;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::PORT;
use ringtun_lab::{Tunnel, names, wait};

use crate::e2e;
use crate::support::{
    FIRST, GOES_ON, XDP, options, passes_sockets_by, program_on, tunnel, until_on_rings,
};

const STOPPED_FOR: Duration = Duration::from_secs(10);

#[test]
fn an_agent_that_stands_still_for_ten_seconds_goes_on() {
    let tunnel = tunnel(&options());
    let address = SocketAddr::new(Tunnel::inside_v4(1).into(), 5001);
    let plan = Plan::paced(1 << 20, Duration::from_secs(20));
    let report = thread::scope(|scope| {
        let transfer =
            scope.spawn(|| stream::transfer(tunnel.ns(0), tunnel.ns(1), address, &plan).unwrap());
        // The time that it stands still is what is tested.
        thread::sleep(Duration::from_secs(2));
        tunnel.devices[1].process.signal(libc::SIGSTOP).unwrap();
        thread::sleep(STOPPED_FOR);
        tunnel.devices[1].process.signal(libc::SIGCONT).unwrap();
        transfer.join().unwrap()
    });
    assert_eq!(report.bytes, plan.bytes);
    assert!(report.longest_pause >= STOPPED_FOR / 2, "{report:?}");
    assert!(report.longest_pause < STOPPED_FOR + GOES_ON, "{report:?}");
    for at in [0, 1] {
        until_on_rings(&tunnel, at);
    }
    passes_sockets_by(&tunnel);
}

#[test]
fn a_killed_agent_leaves_nothing_on_the_card_and_the_next_one_goes_on() {
    let mut tunnel = tunnel(&options());
    let device = tunnel.pair.ends[0].device.clone();
    assert!(!program_on(tunnel.ns(0), &device).is_null());
    tunnel.devices[0].process.signal(libc::SIGKILL).unwrap();
    tunnel.devices[0].process.wait_exit(FIRST).unwrap();
    wait::until("the kernel to take the program off", FIRST, || {
        Ok(program_on(tunnel.ns(0), &device).is_null().then_some(()))
    })
    .unwrap();

    let name = names::unique("w");
    let again = Device::start_with(&e2e::ringtun(), tunnel.ns(0), &name, &XDP).unwrap();
    drop(std::mem::replace(&mut tunnel.devices[0], again));
    let endpoint = SocketAddr::new(tunnel.pair.ends[1].address(false), PORT);
    tunnel
        .configure(
            0,
            &format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n[Peer]\nPublicKey = {}\nAllowedIPs = {}/32, {}/128\nEndpoint = {endpoint}\n",
                tunnel.keys[0].private,
                tunnel.keys[1].public,
                Tunnel::inside_v4(1),
                Tunnel::inside_v6(1),
            ),
        )
        .unwrap();
    tunnel.up(tunnel.ns(0), 0).unwrap();
    let took = tunnel.reach(0, false, FIRST).unwrap();
    assert!(took < GOES_ON, "{took:?}");
    for at in [0, 1] {
        until_on_rings(&tunnel, at);
    }
    passes_sockets_by(&tunnel);
}

#[test]
fn an_agent_that_ends_takes_its_program_and_its_lock_along() {
    let tunnel = tunnel(&options());
    let device = tunnel.pair.ends[0].device.clone();
    tunnel.devices[0].process.stop(FIRST).unwrap();
    assert!(program_on(tunnel.ns(0), &device).is_null());
}
