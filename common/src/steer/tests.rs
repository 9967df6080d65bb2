use super::*;
use crate::cursor::SliceCursor;
use crate::fixtures::{self, World, frames};
use crate::packet::{Network, mapped, parse};
use crate::verdict::{Verdict, judge};
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

fn packet(class: Class, key: u32) -> Packet {
    Packet {
        class,
        ip: true,
        destination_mac: [0; 6],
        network: Network {
            v4: true,
            source: mapped([192, 0, 2, 1]),
            destination: mapped([192, 0, 2, 2]),
            ..Network::default()
        },
        source_port: 0,
        destination_port: 0,
        syn: false,
        payload_len: 0,
        key,
    }
}

fn judged(frame: &[u8], world: &mut World) -> Verdict {
    let parsed = parse(&mut SliceCursor::new(frame));
    judge(&parsed, frame.len(), world).1
}

fn both() -> Steering {
    Steering::over(&[0, 1]).unwrap()
}

#[test]
fn every_fixture_of_a_steered_group_is_steered_and_no_other() {
    for group in Group::ALL {
        let mut world = World::with_socket();
        world.steer(*group, both());
        let mut steered = 0;
        for fixture in fixtures::all() {
            let verdict = judged(&fixture.frame, &mut world);
            let expected = fixture.verdict_steering(*group);
            assert_eq!(verdict, expected, "{group:?}: {}", fixture.name);
            steered += usize::from(verdict == Verdict::Steered);
        }
        assert!(steered > 0, "{group:?}");
    }
}

#[test]
fn what_names_a_cpu_that_is_not_there_passes() {
    let mut world = World::with_socket();
    world.steer(Group::Esp, Steering::over(&[World::CPUS]).unwrap());
    let frame = frames::over4(50, &[7; 40]);
    assert_eq!(judged(&frame, &mut world), Verdict::Foreign);
}

/// A tunnel's packets must not overtake each other: neither does what follows the
/// key matter, nor a port that a NAT has changed.
#[test]
fn nothing_but_addresses_and_key_matters_if_there_is_a_key() {
    for class in [Class::Esp, Class::NatTEsp, Class::GreV1] {
        let first = packet(class, 0x0102_0304);
        let mut other = first;
        other.class = Class::WireGuardData;
        other.source_port = 4711;
        other.destination_port = 4712;
        other.payload_len = 99;
        other.network.len = 99;
        assert_eq!(hash(&first), hash(&other));
        other.key ^= 1;
        assert_ne!(hash(&first), hash(&other));
        other = first;
        other.network.source[15] ^= 1;
        assert_ne!(hash(&first), hash(&other));
        other = first;
        other.network.destination[0] ^= 1;
        assert_ne!(hash(&first), hash(&other));
    }
    let mut keyless = packet(Class::OpenVpnDataV1, 0);
    let before = hash(&keyless);
    keyless.source_port = 1;
    assert_ne!(hash(&keyless), before);
}

/// Neither what a host counts up, nor what it aligns, nor random keys crowd; and
/// equal keys of different hosts spread too.
#[test]
fn keys_and_hosts_spread_over_any_number_of_cpus() {
    type Key = fn(u32) -> u32;
    let keys: [(&str, Key); 5] = [
        ("counted", |i| i + 1),
        ("aligned", |i| (i + 1) << 8),
        ("high", |i| (i + 1) << 22),
        ("steps of three", |i| 0xc000_0000 + 3 * i),
        ("random", |i| (i + 1).wrapping_mul(0x85eb_ca6b) ^ 0x1234),
    ];
    let mut series: Vec<(&str, Vec<Packet>)> = Vec::new();
    for (name, key) in keys {
        let packets = (0..1024).map(|i| packet(Class::Esp, key(i)));
        series.push((name, packets.collect()));
    }
    let hosts = (0..1024u16).map(|i| {
        let mut packet = packet(Class::GreV0, 7);
        let [a, b] = i.to_be_bytes();
        packet.network.source = mapped([10, 1, a, b]);
        packet
    });
    series.push(("hosts", hosts.collect()));
    let ports = (0..1024).map(|i| {
        let mut packet = packet(Class::OpenVpnDataV1, 0);
        packet.source_port = 32768 + i;
        packet
    });
    series.push(("ports", ports.collect()));
    for (name, packets) in &series {
        for cpus in [2u32, 3, 7, 16] {
            let steering = Steering::over(&Vec::from_iter(0..cpus)).unwrap();
            let mut got: HashMap<u32, u32> = HashMap::new();
            for packet in packets {
                *got.entry(steering.cpu(packet).unwrap()).or_default() += 1;
            }
            let share = 1024 / cpus;
            for cpu in 0..cpus {
                let got = got.get(&cpu).copied().unwrap_or(0);
                // Five standard deviations; of two CPUs 432 to 592, within 60/40.
                let deviation = 5.0 * f64::from(share).sqrt() * f64::from(cpus - 1).sqrt()
                    / f64::from(cpus).sqrt();
                let off = f64::from(got.abs_diff(share));
                assert!(
                    off <= deviation,
                    "{name}: {got} of 1024 on CPU {cpu} of {cpus}"
                );
            }
        }
    }
}

#[test]
fn lists_are_bounded_and_empty_ones_steer_nothing() {
    let packet = packet(Class::Esp, 1);
    assert_eq!(Steering::over(&[]).unwrap().cpu(&packet), None);
    assert_eq!(
        Steering::over(&[9; TARGETS_MAX]).unwrap().cpu(&packet),
        Some(9)
    );
    assert_eq!(Steering::over(&[9; TARGETS_MAX + 1]), None);
    let list = vec![5, 3, 5];
    assert_eq!(Steering::over(&list).unwrap().cpus(), &list[..]);
    // The map's memory is another process's to write.
    let broken = Steering {
        len: u32::MAX,
        cpus: [9; TARGETS_MAX],
    };
    assert!(broken.cpus().is_empty());
    assert!(matches!(broken.cpu(&packet), None | Some(9)));
}
