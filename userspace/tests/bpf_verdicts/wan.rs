//! The program for WAN interfaces.

use std::os::fd::AsFd as _;

use ringtun::bpf::{CardProgram as _, WanProgram};
use ringtun_common::class::Class;
use ringtun_common::cursor::SliceCursor;
use ringtun_common::fixtures::{self, World, frames};
use ringtun_common::packet::{self, mapped};
use ringtun_common::seats::Key as _;
use ringtun_common::tables::LocalEndpoint;
use ringtun_common::verdict::{Verdict, judge};

use crate::support::{self, LOOPBACK, Random, SHORTEST_FRAME, XDP_PASS, mutated};

pub fn host(frame: &[u8], mut world: World) -> (Class, Verdict) {
    let parsed = packet::parse(&mut SliceCursor::new(frame));
    judge(&parsed, frame.len(), &mut world)
}

/// The program with the tables of [`World`].
pub struct Kernel(support::Kernel<WanProgram>);

impl Kernel {
    pub fn new() -> Self {
        let mut program = match support::object() {
            Some(object) => WanProgram::load_object(&object),
            None => WanProgram::load(),
        }
        .unwrap();
        program
            .cards()
            .set_interface(LOOPBACK, World::INTERFACE)
            .unwrap();
        for endpoint in World::ENDPOINTS {
            program.add_endpoint(endpoint).unwrap();
        }
        Self(support::Kernel::new(program))
    }

    pub fn program(&mut self) -> &mut WanProgram {
        &mut self.0.program
    }

    /// The frame is left alone, whatever is said of it.
    #[track_caller]
    pub fn run(&mut self, frame: &[u8], expected: (Class, Verdict), name: &str) {
        self.0.run(frame, expected, frame, name);
    }

    #[track_caller]
    pub fn finish(&self) {
        self.0.finish();
    }
}

pub fn long_enough() -> Vec<fixtures::Fixture> {
    let mut fixtures = fixtures::all();
    fixtures.retain(|fixture| fixture.frame.len() >= SHORTEST_FRAME);
    assert!(fixtures.len() >= 150);
    fixtures
}

#[test]
fn every_fixture_gets_its_class_verdict_and_action_and_is_left_alone() {
    let mut kernel = Kernel::new();
    for fixture in long_enough() {
        let expected = (fixture.class, fixture.verdict_without_socket());
        kernel.run(&fixture.frame, expected, &fixture.name);
    }
    let socket = ringtun_lab::xdp_socket().unwrap();
    let place = World::INTERFACE.first_socket;
    kernel
        .program()
        .cards()
        .set_socket(place, socket.as_fd())
        .unwrap();
    for fixture in long_enough() {
        let expected = (fixture.class, fixture.verdict);
        kernel.run(&fixture.frame, expected, &fixture.name);
    }
    kernel.finish();
}

#[test]
fn what_is_taken_from_the_tables_is_ours_no_more() {
    let mut kernel = Kernel::new();
    let socket = ringtun_lab::xdp_socket().unwrap();
    let place = World::INTERFACE.first_socket;
    let data = frames::udp(&fixtures::message(4, 96));
    let (four, six) = (frames::over4(17, &data), frames::over6(17, &data));
    let says = |kernel: &mut Kernel, frame: &[u8], verdict, name: &str| {
        kernel.run(frame, (Class::WireGuardData, verdict), name);
    };
    says(&mut kernel, &four, Verdict::NoSocket, "no socket yet");
    kernel
        .program()
        .cards()
        .set_socket(place, socket.as_fd())
        .unwrap();
    says(&mut kernel, &four, Verdict::Ours, "all is there");
    kernel.program().cards().remove_socket(place).unwrap();
    says(&mut kernel, &four, Verdict::NoSocket, "its place is empty");
    kernel
        .program()
        .cards()
        .set_socket(place, socket.as_fd())
        .unwrap();

    let mut interface = World::INTERFACE;
    interface.sockets = 0;
    kernel
        .program()
        .cards()
        .set_interface(LOOPBACK, interface)
        .unwrap();
    says(
        &mut kernel,
        &four,
        Verdict::NoSocket,
        "a queue without a place",
    );
    interface = World::INTERFACE;
    interface.frame_max = four.len() as u32 - 1;
    kernel
        .program()
        .cards()
        .set_interface(LOOPBACK, interface)
        .unwrap();
    says(&mut kernel, &four, Verdict::Oversize, "smaller chunks");
    interface = World::INTERFACE;
    interface.mac[5] ^= 1;
    kernel
        .program()
        .cards()
        .set_interface(LOOPBACK, interface)
        .unwrap();
    says(
        &mut kernel,
        &four,
        Verdict::Foreign,
        "another hardware address",
    );
    interface = World::INTERFACE;
    kernel
        .program()
        .cards()
        .set_interface(LOOPBACK, interface)
        .unwrap();
    says(&mut kernel, &four, Verdict::Ours, "all is there again");

    kernel
        .program()
        .remove_endpoint(World::ENDPOINTS[0])
        .unwrap();
    says(
        &mut kernel,
        &four,
        Verdict::Foreign,
        "the IPv4 address went",
    );
    says(&mut kernel, &six, Verdict::Ours, "the IPv6 address did not");
    kernel
        .program()
        .remove_endpoint(World::ENDPOINTS[1])
        .unwrap();
    says(
        &mut kernel,
        &six,
        Verdict::Foreign,
        "the port is nobody's now",
    );
    kernel.program().add_endpoint(World::ENDPOINTS[1]).unwrap();
    says(&mut kernel, &six, Verdict::Ours, "the IPv6 address is back");
    drop(socket);
    says(
        &mut kernel,
        &six,
        Verdict::NoSocket,
        "a closed socket leaves its place",
    );
    kernel.program().cards().remove_interface(LOOPBACK).unwrap();
    says(&mut kernel, &six, Verdict::Foreign, "the interface went");

    // What is not there can be removed again.
    kernel
        .program()
        .remove_endpoint(World::ENDPOINTS[0])
        .unwrap();
    kernel.program().cards().remove_interface(LOOPBACK).unwrap();
    kernel.program().cards().remove_socket(place).unwrap();
    kernel.finish();
}

#[test]
fn the_kernel_says_of_every_truncation_what_the_host_says() {
    let mut kernel = Kernel::new();
    for fixture in long_enough() {
        // No header reaches farther, but for the longest of IPv6.
        for len in SHORTEST_FRAME..fixture.frame.len().min(200) {
            let frame = &fixture.frame[..len];
            kernel.run(frame, host(frame, World::without_socket()), &fixture.name);
        }
    }
    kernel.finish();
}

#[test]
fn host_and_kernel_agree_on_100_000_random_frames() {
    let mut kernel = Kernel::new();
    let frames: Vec<_> = long_enough().into_iter().map(|f| f.frame).collect();
    let mut random = Random(0x9e37_79b9);
    for _ in 0..100_000 {
        let frame = mutated(&mut random, &frames);
        kernel.run(&frame, host(&frame, World::without_socket()), "random");
    }
    kernel.finish();
    assert!(kernel.0.has_seen_every_class());
    for verdict in Verdict::ALL {
        let possible = match verdict {
            // No socket is there, and no frame is longer than 400 bytes.
            Verdict::Ours | Verdict::Oversize => false,
            // Nothing is steered.
            Verdict::Steered => false,
            // Of the LAN side.
            Verdict::Clamped
            | Verdict::ClampFits
            | Verdict::ClampBadChecksum
            | Verdict::ClampOutOfReach
            | Verdict::Forwarded
            | Verdict::ForwardElsewhere
            | Verdict::ForwardExpires
            | Verdict::ForwardTooLong
            | Verdict::ForwardSpecial => false,
            _ => true,
        };
        assert_eq!(kernel.0.has_seen(*verdict), possible, "{}", verdict.label());
    }
}

#[test]
fn repeated_runs_are_counted_one_by_one() {
    let mut kernel = Kernel::new();
    let frame = &fixtures::all()[0];
    let outcome = kernel.program().test_run(&frame.frame, 1000).unwrap();
    assert_eq!(outcome.action, XDP_PASS);
    let counts = kernel.program().counts().unwrap();
    assert_eq!(counts.verdict(frame.verdict).packets, 1000);
    assert_eq!(counts.class(frame.class).packets, 1000);
    assert_eq!(counts.packets(), 1000);
}

/// Where several endpoints want one seat, the hash map is asked.
#[test]
fn endpoints_that_crowd_at_a_seat_are_all_ours_and_no_other_is() {
    let mut kernel = Kernel::new();
    let ours = World::ENDPOINTS[0];
    let rival = (1..=u16::MAX)
        .map(|port| LocalEndpoint::new(ours.address, port))
        .find(|other| *other != ours && other.seat() == ours.seat())
        .expect("65,535 ports and 4,096 seats");
    let to = |port: u16| {
        let mut data = frames::udp(&fixtures::message(4, 96));
        data[2..4].copy_from_slice(&port.to_be_bytes());
        frames::over4(17, &data)
    };
    let (mine, its) = (to(ours.port()), to(rival.port()));
    let data = Class::WireGuardData;
    kernel.run(&mine, (data, Verdict::NoSocket), "alone");
    kernel.run(&its, (data, Verdict::Foreign), "not yet there");
    // A device listens on the port of the other at another address: the seat decides.
    let elsewhere = LocalEndpoint::new(mapped([203, 0, 113, 77]), rival.port());
    kernel.program().add_endpoint(elsewhere).unwrap();
    kernel.run(&its, (data, Verdict::Foreign), "another has its seat");
    kernel.program().add_endpoint(rival).unwrap();
    kernel.run(&mine, (data, Verdict::NoSocket), "in a crowd");
    kernel.run(&its, (data, Verdict::NoSocket), "the other one, too");
    kernel.program().remove_endpoint(ours).unwrap();
    kernel.run(&mine, (data, Verdict::Foreign), "it went");
    kernel.run(&its, (data, Verdict::NoSocket), "alone again");
    kernel.program().remove_endpoint(rival).unwrap();
    kernel.run(&its, (data, Verdict::Foreign), "nobody is left");
    kernel.finish();
}

/// The same of interfaces: the test frames come in by the loopback device.
#[test]
fn interfaces_that_crowd_at_a_seat_are_told_apart() {
    let mut kernel = Kernel::new();
    let mut other = World::INTERFACE;
    other.mac[5] ^= 1;
    let frame = frames::over4(17, &frames::udp(&fixtures::message(4, 96)));
    let data = Class::WireGuardData;
    let rival = LOOPBACK + u32::SEATS;
    kernel
        .program()
        .cards()
        .set_interface(rival, other)
        .unwrap();
    kernel.run(&frame, (data, Verdict::NoSocket), "in a crowd");
    kernel.program().cards().remove_interface(LOOPBACK).unwrap();
    kernel.run(&frame, (data, Verdict::Foreign), "the other has the seat");
    let back = World::INTERFACE;
    kernel
        .program()
        .cards()
        .set_interface(LOOPBACK, back)
        .unwrap();
    kernel.program().cards().remove_interface(rival).unwrap();
    kernel.run(&frame, (data, Verdict::NoSocket), "alone again");
    kernel.finish();
}
