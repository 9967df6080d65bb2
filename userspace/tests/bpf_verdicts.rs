//! The XDP program says of each frame what the parser says on the host, and
//! does what its verdict names. Needs root and a build with the BPF object, as
//! `cargo xtask test` makes it.
#![cfg(ringtun_bpf)]

use std::os::fd::AsFd as _;

use ringtun::bpf::WanProgram;
use ringtun_common::class::Class;
use ringtun_common::cursor::SliceCursor;
use ringtun_common::fixtures::{self, World, frames};
use ringtun_common::packet;
use ringtun_common::tables::Counter;
use ringtun_common::verdict::{Action, Verdict, judge};

const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The kernel runs no program on less than an Ethernet header; the host parser
/// sees those fixtures.
const SHORTEST_FRAME: usize = 14;

/// The kernel says of every test run that its frame came in by queue 0 of this.
const LOOPBACK: u32 = 1;

fn action(verdict: Verdict) -> u32 {
    match verdict.action() {
        Action::Pass => XDP_PASS,
        Action::Redirect => XDP_REDIRECT,
    }
}

fn host(frame: &[u8], mut world: World) -> (Class, Verdict) {
    let parsed = packet::parse(&mut SliceCursor::new(frame));
    judge(&parsed, frame.len(), &mut world)
}

/// The embedded program, or the one of the object that `$RINGTUN_TEST_BPF` names:
/// one that was broken on purpose.
fn load() -> WanProgram {
    match std::env::var_os("RINGTUN_TEST_BPF") {
        Some(object) => WanProgram::load_object(&std::fs::read(object).unwrap()),
        None => WanProgram::load(),
    }
    .unwrap()
}

/// The program with the tables of [`World`], and what it must have counted.
struct Kernel {
    program: WanProgram,
    verdicts: [Counter; Verdict::COUNT],
    classes: [Counter; Class::COUNT],
}

impl Kernel {
    fn new() -> Self {
        let mut program = load();
        program.set_interface(LOOPBACK, World::INTERFACE).unwrap();
        for endpoint in World::ENDPOINTS {
            program.add_endpoint(endpoint).unwrap();
        }
        Self {
            program,
            verdicts: [Counter::default(); Verdict::COUNT],
            classes: [Counter::default(); Class::COUNT],
        }
    }

    /// Runs the program once. Had it said anything else, the counters of what was
    /// expected would not have grown.
    #[track_caller]
    fn run(&mut self, frame: &[u8], (class, verdict): (Class, Verdict), name: &str) {
        let outcome = self.program.test_run(frame, 1).unwrap();
        let of_verdict = &mut self.verdicts[verdict.index() as usize];
        let of_class = &mut self.classes[class.index() as usize];
        for counter in [&mut *of_verdict, &mut *of_class] {
            counter.packets += 1;
            counter.bytes += frame.len() as u64;
        }
        let counted = self.program.verdict(verdict).unwrap();
        assert_eq!(counted, *of_verdict, "{name}: {verdict:?} of {frame:02x?}");
        let counted = self.program.class(class).unwrap();
        assert_eq!(counted, *of_class, "{name}: {class:?} of {frame:02x?}");
        assert_eq!(outcome.action, action(verdict), "{name}");
        assert_eq!(outcome.frame, frame, "{name}: the frame is left alone");
    }

    /// Nothing was counted besides.
    #[track_caller]
    fn finish(&self) {
        let counts = self.program.counts().unwrap();
        for verdict in Verdict::ALL {
            let expected = self.verdicts[verdict.index() as usize];
            assert_eq!(counts.verdict(*verdict), expected, "{}", verdict.label());
        }
        for class in Class::ALL {
            let expected = self.classes[class.index() as usize];
            assert_eq!(counts.class(*class), expected, "{}", class.label());
        }
    }
}

fn long_enough() -> Vec<fixtures::Fixture> {
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
    kernel.program.set_socket(place, socket.as_fd()).unwrap();
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
    kernel.program.set_socket(place, socket.as_fd()).unwrap();
    says(&mut kernel, &four, Verdict::Ours, "all is there");
    kernel.program.remove_socket(place).unwrap();
    says(&mut kernel, &four, Verdict::NoSocket, "its place is empty");
    kernel.program.set_socket(place, socket.as_fd()).unwrap();

    let mut interface = World::INTERFACE;
    interface.sockets = 0;
    kernel.program.set_interface(LOOPBACK, interface).unwrap();
    says(
        &mut kernel,
        &four,
        Verdict::NoSocket,
        "a queue without a place",
    );
    interface = World::INTERFACE;
    interface.frame_max = four.len() as u32 - 1;
    kernel.program.set_interface(LOOPBACK, interface).unwrap();
    says(&mut kernel, &four, Verdict::Oversize, "smaller chunks");
    interface = World::INTERFACE;
    interface.mac[5] ^= 1;
    kernel.program.set_interface(LOOPBACK, interface).unwrap();
    says(
        &mut kernel,
        &four,
        Verdict::Foreign,
        "another hardware address",
    );
    interface = World::INTERFACE;
    kernel.program.set_interface(LOOPBACK, interface).unwrap();
    says(&mut kernel, &four, Verdict::Ours, "all is there again");

    kernel.program.remove_endpoint(World::ENDPOINTS[0]).unwrap();
    says(
        &mut kernel,
        &four,
        Verdict::Foreign,
        "the IPv4 address went",
    );
    says(&mut kernel, &six, Verdict::Ours, "the IPv6 address did not");
    kernel.program.remove_endpoint(World::ENDPOINTS[1]).unwrap();
    says(
        &mut kernel,
        &six,
        Verdict::Foreign,
        "the port is nobody's now",
    );
    kernel.program.add_endpoint(World::ENDPOINTS[1]).unwrap();
    says(&mut kernel, &six, Verdict::Ours, "the IPv6 address is back");
    drop(socket);
    says(
        &mut kernel,
        &six,
        Verdict::NoSocket,
        "a closed socket leaves its place",
    );
    kernel.program.remove_interface(LOOPBACK).unwrap();
    says(&mut kernel, &six, Verdict::Foreign, "the interface went");

    // What is not there can be removed again.
    kernel.program.remove_endpoint(World::ENDPOINTS[0]).unwrap();
    kernel.program.remove_interface(LOOPBACK).unwrap();
    kernel.program.remove_socket(place).unwrap();
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

/// Fixtures with bytes changed, parts exchanged and ends cut off.
#[test]
fn host_and_kernel_agree_on_100_000_random_frames() {
    let mut kernel = Kernel::new();
    let fixtures = long_enough();
    let mut random = Random(0x9e37_79b9);
    for _ in 0..100_000 {
        let mut frame = fixtures[random.below(fixtures.len())].frame.clone();
        frame.truncate(400);
        for _ in 0..random.below(4) {
            // Headers are what decides.
            let at = random.below(frame.len().min(80));
            let other = &fixtures[random.below(fixtures.len())].frame;
            frame[at] = match random.below(3) {
                0 => random.below(256) as u8,
                1 => frame[at] ^ 1 << random.below(8),
                _ => other.get(at).copied().unwrap_or(0xff),
            };
        }
        if random.below(4) == 0 {
            frame.truncate(SHORTEST_FRAME + random.below(frame.len() - SHORTEST_FRAME + 1));
        }
        kernel.run(&frame, host(&frame, World::without_socket()), "random");
    }
    kernel.finish();
    let counted = |counter: &Counter| counter.packets > 0;
    assert!(kernel.classes.iter().all(counted));
    for verdict in Verdict::ALL {
        // No socket is there, and no frame is longer than 400 bytes.
        let possible = !matches!(verdict, Verdict::Ours | Verdict::Oversize);
        let counter = &kernel.verdicts[verdict.index() as usize];
        assert_eq!(counted(counter), possible, "{}", verdict.label());
    }
}

#[test]
fn repeated_runs_are_counted_one_by_one() {
    let kernel = Kernel::new();
    let frame = &fixtures::all()[0];
    let outcome = kernel.program.test_run(&frame.frame, 1000).unwrap();
    assert_eq!(outcome.action, XDP_PASS);
    let counts = kernel.program.counts().unwrap();
    assert_eq!(counts.verdict(frame.verdict).packets, 1000);
    assert_eq!(counts.class(frame.class).packets, 1000);
    assert_eq!(counts.packets(), 1000);
}

/// SplitMix64: the same frames in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
