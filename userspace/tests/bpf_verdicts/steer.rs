//! Tunnels of others, spread over CPUs by the program for WAN interfaces.

use ringtun::bpf::BpfError;
use ringtun::bpf::steer::QUEUE_SIZE;
use ringtun_common::class::Class;
use ringtun_common::cursor::SliceCursor;
use ringtun_common::fixtures::{World, frames};
use ringtun_common::ip::{ESP, GRE, UDP};
use ringtun_common::packet;
use ringtun_common::steer::{Group, Steering, TARGETS_MAX};
use ringtun_common::verdict::{Verdict, judge};

use crate::support::{Random, mutated};
use crate::wan::{self, Kernel, long_enough};

const BOTH: [u32; 2] = [0, 1];

/// The program, and what the host says of the same configuration.
struct Steered {
    kernel: Kernel,
    world: World,
    /// Packets of each CPU.
    expected: [u64; 2],
}

impl Steered {
    fn new() -> Self {
        Self {
            kernel: Kernel::new(),
            world: World::without_socket(),
            expected: [0; 2],
        }
    }

    fn steer(&mut self, group: Group, cpus: &[u32]) {
        let program = self.kernel.program();
        program.steer(group, cpus, QUEUE_SIZE).unwrap();
        self.world.steer(group, Steering::over(cpus).unwrap());
    }

    fn unsteer(&mut self, group: Group) {
        self.kernel.program().unsteer(group).unwrap();
        self.world.steer(group, Steering::OFF);
    }

    /// Class, verdict and CPU are those that the host says.
    #[track_caller]
    fn run(&mut self, frame: &[u8], name: &str) -> (Verdict, Option<u32>) {
        self.world.steered_to = None;
        let parsed = packet::parse(&mut SliceCursor::new(frame));
        let (class, verdict) = judge(&parsed, frame.len(), &mut self.world);
        self.kernel.run(frame, (class, verdict), name);
        let cpu = self.world.steered_to;
        if let Some(cpu) = cpu {
            self.expected[cpu as usize] += 1;
        }
        assert_eq!(self.packets(), self.expected, "{name}: {frame:02x?}");
        (verdict, cpu)
    }

    /// What the program says that it handed to each CPU.
    fn packets(&mut self) -> [u64; 2] {
        let counts = self.kernel.program().steered().unwrap();
        [counts[0].packets, counts[1].packets]
    }
}

#[test]
fn each_group_is_steered_while_it_is_configured_and_no_other() {
    let mut steered = Steered::new();
    for group in Group::ALL {
        steered.steer(*group, &BOTH);
        let mut seen = 0;
        for fixture in long_enough() {
            let (verdict, _) = steered.run(&fixture.frame, &fixture.name);
            let expected = match fixture.verdict_steering(*group) {
                Verdict::Ours => Verdict::NoSocket,
                other => other,
            };
            assert_eq!(verdict, expected, "{group:?}: {}", fixture.name);
            seen += usize::from(verdict == Verdict::Steered);
        }
        assert!(seen > 0, "{group:?}");
        steered.unsteer(*group);
        for fixture in long_enough() {
            let (verdict, _) = steered.run(&fixture.frame, &fixture.name);
            assert_eq!(
                verdict,
                fixture.verdict_without_socket(),
                "{group:?} no more"
            );
        }
    }
    steered.kernel.finish();
}

#[test]
fn host_and_kernel_choose_the_same_cpu_for_20_000_random_frames() {
    let mut steered = Steered::new();
    for group in Group::ALL {
        steered.steer(*group, &BOTH);
    }
    let frames: Vec<_> = long_enough().into_iter().map(|f| f.frame).collect();
    let mut random = Random(0x51ee_7e12);
    for _ in 0..20_000 {
        steered.run(&mutated(&mut random, &frames), "random");
    }
    assert!(steered.expected.iter().all(|packets| *packets > 1000));
    steered.kernel.finish();
}

/// A frame of each group with this key.
fn keyed(group: Group, key: u32) -> Vec<u8> {
    let bytes = key.to_be_bytes();
    match group {
        Group::Esp => frames::over4(ESP, &[&bytes[..], &[0; 36]].concat()),
        Group::NatTEsp => {
            let payload = [&bytes[..], &[0; 36]].concat();
            frames::over4(UDP, &frames::udp_between(4500, 4500, &payload))
        }
        Group::Gre => frames::over4(GRE, &[&[0x20, 0, 8, 0][..], &bytes, &[0; 32]].concat()),
        Group::WireGuard => {
            let mut message = ringtun_common::fixtures::message(4, 96);
            message[4..8].copy_from_slice(&key.to_le_bytes());
            frames::over6(UDP, &frames::udp_between(4711, 4712, &message))
        }
        Group::OpenVpn => {
            let mut payload = vec![0x55; 40];
            payload[..4].copy_from_slice(&[9 << 3, bytes[1], bytes[2], bytes[3]]);
            frames::over6(UDP, &frames::udp_between(4711, 1194, &payload))
        }
    }
}

#[test]
fn a_thousand_keys_spread_evenly_and_each_stays_on_its_cpu() {
    for group in Group::ALL {
        let mut steered = Steered::new();
        steered.steer(*group, &BOTH);
        let cpus = |steered: &mut Steered| {
            let mut cpus = Vec::new();
            for key in 1..=1024 {
                let (verdict, cpu) = steered.run(&keyed(*group, key), group.label());
                assert_eq!(verdict, Verdict::Steered);
                cpus.push(cpu);
            }
            cpus
        };
        let first = cpus(&mut steered);
        let [a, b] = steered.packets();
        assert_eq!(a + b, 1024);
        assert!(a.max(b) * 100 <= 1024 * 60, "{group:?}: {a} and {b}");
        let again = cpus(&mut steered);
        assert!(again == first, "{group:?}: a key has moved");
        steered.kernel.finish();
    }
}

/// Only the first fragment has the key: they stay together.
#[test]
fn fragments_stay_where_they_arrive() {
    let mut steered = Steered::new();
    for group in Group::ALL {
        steered.steer(*group, &BOTH);
        let whole = keyed(*group, 7);
        assert_eq!(steered.run(&whole, "whole").0, Verdict::Steered);
    }
    for group in [Group::Esp, Group::NatTEsp, Group::Gre] {
        let whole = keyed(group, 7);
        for (flags, name) in [(0x20, "first"), (0, "later")] {
            let mut frame = frames::with_byte(whole.clone(), 14 + 6, flags);
            frame[14 + 7] = u8::from(flags == 0);
            assert_eq!(steered.run(&frame, name), (Verdict::Fragment, None));
        }
    }
    steered.kernel.finish();
}

#[test]
fn what_cannot_be_is_refused_and_leaves_all_as_it_was() {
    let mut steered = Steered::new();
    steered.steer(Group::Esp, &[1]);
    let frame = keyed(Group::Esp, 9);
    assert_eq!(steered.run(&frame, "CPU 1").1, Some(1));
    let program = steered.kernel.program();
    let refused = |result: Result<(), BpfError>| result.unwrap_err();
    let none = refused(program.steer(Group::Esp, &[], QUEUE_SIZE));
    assert!(matches!(none, BpfError::Targets(0)), "{none}");
    let many = refused(program.steer(Group::Esp, &[0; TARGETS_MAX + 1], QUEUE_SIZE));
    assert!(many.to_string().contains("1 to 64 CPUs, not 65"), "{many}");
    let absent = refused(program.steer(Group::Esp, &[0, 9999], QUEUE_SIZE));
    assert!(
        matches!(absent, BpfError::Cpu { cpu: 9999, .. }),
        "{absent}"
    );
    assert_eq!(steered.run(&frame, "still CPU 1").1, Some(1));
    // A CPU that two groups use stays when one of them goes.
    steered.steer(Group::Gre, &[1]);
    steered.unsteer(Group::Gre);
    steered.unsteer(Group::Gre);
    assert_eq!(steered.run(&frame, "CPU 1 after all").1, Some(1));
    steered.steer(Group::Esp, &[0]);
    assert_eq!(steered.run(&frame, "CPU 0").1, Some(0));
    steered.kernel.finish();
}

/// Steering never takes what is for a device of ours.
#[test]
fn our_own_wireguard_is_not_steered() {
    let mut steered = Steered::new();
    steered.steer(Group::WireGuard, &BOTH);
    let data = frames::udp(&ringtun_common::fixtures::message(4, 96));
    let frame = frames::over4(UDP, &data);
    let expected = (Class::WireGuardData, Verdict::NoSocket);
    assert_eq!(wan::host(&frame, World::without_socket()), expected);
    assert_eq!(steered.run(&frame, "ours").0, Verdict::NoSocket);
    steered.kernel.finish();
}
