//! However it ends, the terminal is as it was.

use std::time::Instant;

use nix::sys::signal::Signal;
use ringtun_lab::peers::local::Device;
use ringtun_lab::{NetNs, names};

use crate::screen::{Place, Top};
use crate::{SOON, e2e};

fn device() -> (NetNs, Device, Place) {
    let ns = NetNs::new("t").unwrap();
    let name = names::unique("w");
    let device = Device::start_with(&e2e::ringtun(), &ns, &name, &["--io", "udp"]).unwrap();
    let place = Place::new(&[&name]);
    (ns, device, place)
}

#[test]
fn a_key_or_a_signal_ends_it_and_restores_the_terminal() {
    let (_ns, device, place) = device();
    for key in ["q", "\u{1b}", "\u{3}"] {
        let mut top = Top::start(&place, (80, 24), &[]);
        top.sees(&[&device.name, "no peers"]);
        assert!(top.parser.screen().alternate_screen() && top.parser.screen().hide_cursor());
        top.press(key);
        assert!(top.ended().success(), "{key:?}");
        top.is_restored();
    }
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut top = Top::start(&place, (80, 24), &[]);
        top.sees(&[&device.name, "no peers"]);
        top.signal(signal);
        assert_eq!(top.ended().code(), Some(128 + signal as i32));
        top.is_restored();
    }
}

#[test]
fn it_ends_when_its_terminal_is_closed() {
    let (_ns, device, place) = device();
    let mut top = Top::start(&place, (80, 24), &[]);
    top.sees(&[&device.name]);
    let mut child = top.hang_up();
    let end = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it still runs");
        std::thread::yield_now();
    }
}
