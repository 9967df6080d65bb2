//! The program for LAN interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;

use aya::programs::{ProgramInfo, loaded_programs};
use ringtun::bpf::{CardProgram as _, LanProgram};
use ringtun_common::class::Class;
use ringtun_common::fixtures::World;
use ringtun_common::fixtures::forward::{self, ELSEWHERE4, ELSEWHERE6, MTU};
use ringtun_common::fixtures::frames::{self, HOST4, HOST6};
use ringtun_common::fixtures::lan::{self, LIMITS, NETWORK4, NETWORK6};
use ringtun_common::fixtures::syn::{Syn, option};
use ringtun_common::mss::{Limits, PAYLOAD_MAX};
use ringtun_common::verdict::Verdict;
use ringtun_lab::{NetNs, link, names};

use crate::support::{self, Kernel, LOOPBACK, Random, SHORTEST_FRAME, XDP_PASS, mutated};

/// Instructions that the verifier walks before it gives up.
const LIMIT: u32 = 1_000_000;

fn load() -> LanProgram {
    let program = match support::object() {
        Some(object) => LanProgram::load_object(&object),
        None => LanProgram::load(),
    }
    .unwrap();
    if let Some(why) = program.not_clamping() {
        panic!("{why}");
    }
    program
}

/// The program with the networks of the fixtures inside a tunnel.
fn kernel() -> Kernel<LanProgram> {
    let mut program = load();
    let (v4, v6) = (IpAddr::from(NETWORK4.0), IpAddr::from(NETWORK6.0));
    program.insert(v4, NETWORK4.1, LIMITS).unwrap();
    program.insert(v6, NETWORK6.1, LIMITS).unwrap();
    Kernel::new(program)
}

fn long_enough() -> Vec<lan::LanFixture> {
    let mut fixtures = lan::all();
    fixtures.retain(|fixture| fixture.frame.len() >= SHORTEST_FRAME);
    assert!(fixtures.len() >= 350, "{} fixtures", fixtures.len());
    fixtures
}

fn syn(v6: bool, mss: u16) -> Vec<u8> {
    let packet = Syn::new(v6, &option(mss)).packet();
    frames::ethernet(&[], if v6 { 0x86dd } else { 0x0800 }, &packet)
}

#[test]
fn every_fixture_becomes_what_it_must() {
    let mut kernel = kernel();
    for fixture in long_enough() {
        let expected = (fixture.class, fixture.verdict);
        kernel.run(&fixture.frame, expected, &fixture.after, &fixture.name);
    }
    kernel.finish();
}

#[test]
fn without_a_network_inside_a_tunnel_every_frame_is_left_alone() {
    let mut kernel = Kernel::new(load());
    for fixture in long_enough() {
        let verdict = match fixture.verdict {
            Verdict::Clamped
            | Verdict::ClampFits
            | Verdict::ClampBadChecksum
            | Verdict::ClampOutOfReach => match fixture.class {
                Class::Tcp => Verdict::Other,
                _ => Verdict::Foreign,
            },
            verdict => verdict,
        };
        let (frame, expected) = (&fixture.frame, (fixture.class, verdict));
        kernel.run(frame, expected, frame, &fixture.name);
    }
    kernel.finish();
}

#[test]
fn the_longest_prefix_counts_and_families_are_apart() {
    let mut kernel = Kernel::new(load());
    let fixed = Limits::fixed;
    let (four, six) = (syn(false, 9000), syn(true, 9000));
    let says = |kernel: &mut Kernel<LanProgram>, frame: &[u8], mss: Option<u16>, name: &str| {
        let (verdict, after) = match mss {
            Some(mss) => (Verdict::Clamped, syn(frame[12] == 0x86, mss)),
            None => (Verdict::Other, frame.to_vec()),
        };
        kernel.run(frame, (Class::Tcp, verdict), &after, name);
    };
    let any4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let any6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    kernel.program.insert(any6, 0, fixed(600)).unwrap();
    says(&mut kernel, &six, Some(600), "the default route");
    says(&mut kernel, &four, None, "IPv6's is none of IPv4");
    kernel.program.insert(any4, 0, fixed(500)).unwrap();
    says(&mut kernel, &four, Some(500), "IPv4 has one of its own");
    for (len, mss) in [(8, 1001), (32, 1003), (24, 1002)] {
        kernel
            .program
            .insert(HOST4.into(), len, fixed(mss))
            .unwrap();
    }
    for (len, mss) in [(32, 1011), (128, 1013), (64, 1012)] {
        kernel
            .program
            .insert(HOST6.into(), len, fixed(mss))
            .unwrap();
    }
    for (lens, mss) in [((32, 128), 1003), ((24, 64), 1002), ((8, 32), 1001)] {
        says(&mut kernel, &four, Some(mss), "a longer prefix");
        says(&mut kernel, &six, Some(mss + 10), "a longer prefix");
        kernel.program.remove(HOST4.into(), lens.0).unwrap();
        kernel.program.remove(HOST6.into(), lens.1).unwrap();
        // What is not there can be removed again.
        kernel.program.remove(HOST4.into(), lens.0).unwrap();
    }
    says(&mut kernel, &four, Some(500), "the default route is left");
    kernel.program.insert(any4, 0, fixed(700)).unwrap();
    says(&mut kernel, &four, Some(700), "a limit that changed");
    kernel.program.remove(any4, 0).unwrap();
    kernel.program.remove(any6, 0).unwrap();
    says(&mut kernel, &four, None, "nothing is left");
    says(&mut kernel, &six, None, "nothing is left");
    assert!(kernel.program.insert(any4, 33, fixed(700)).is_err());
    kernel.finish();
}

/// The kernel keeps what is behind the first few thousand bytes elsewhere.
#[test]
fn a_syn_with_data_in_several_buffers_is_verified_to_its_last_byte() {
    let mut kernel = kernel();
    for len in [
        511,
        512,
        513,
        1023,
        1025,
        5000,
        5001,
        PAYLOAD_MAX - 1,
        PAYLOAD_MAX,
    ] {
        let of = |mss, last| {
            let mut syn = Syn::new(true, &option(mss));
            syn.payload = vec![0xa7; len];
            let mut frame = frames::ethernet(&[], 0x86dd, &syn.packet());
            *frame.last_mut().unwrap() ^= last;
            frame
        };
        let expected = (Class::Tcp, Verdict::Clamped);
        kernel.run(&of(1460, 0), expected, &of(1360, 0), "right");
        let (wrong, expected) = (of(1460, 1), (Class::Tcp, Verdict::ClampBadChecksum));
        kernel.run(&wrong, expected, &wrong, "the last byte is wrong");
    }
    kernel.finish();
}

#[test]
fn the_kernel_makes_of_every_truncation_what_the_host_makes() {
    let mut kernel = kernel();
    for fixture in long_enough() {
        for len in SHORTEST_FRAME..fixture.frame.len().min(180) {
            let frame = &fixture.frame[..len];
            let mut after = frame.to_vec();
            let expected = lan::judge(&mut after);
            kernel.run(frame, expected, &after, &fixture.name);
        }
    }
    kernel.finish();
}

#[test]
fn host_and_kernel_agree_on_100_000_random_frames() {
    let mut kernel = kernel();
    let frames: Vec<_> = long_enough().into_iter().map(|f| f.frame).collect();
    let mut random = Random(0x7f4a_7c15);
    for _ in 0..100_000 {
        let frame = mutated(&mut random, &frames);
        let mut after = frame.clone();
        let expected = lan::judge(&mut after);
        kernel.run(&frame, expected, &after, "random");
    }
    kernel.finish();
    assert!(kernel.has_seen_every_class());
    for verdict in [
        Verdict::Clamped,
        Verdict::ClampFits,
        Verdict::ClampBadChecksum,
        Verdict::Fragment,
        Verdict::Malformed,
        Verdict::TooDeep,
    ] {
        assert!(kernel.has_seen(verdict), "{}", verdict.label());
    }
}

#[test]
fn repeated_runs_lower_once_and_are_counted_one_by_one() {
    let kernel = kernel();
    let outcome = kernel.program.test_run(&syn(true, 1460), 1000).unwrap();
    assert_eq!(outcome.action, XDP_PASS);
    assert_eq!(outcome.frame, syn(true, 1360));
    let counts = kernel.program.counts().unwrap();
    // The kernel does not restore the frame.
    assert_eq!(counts.verdict(Verdict::Clamped).packets, 1);
    assert_eq!(counts.verdict(Verdict::ClampFits).packets, 999);
    assert_eq!(counts.class(Class::Tcp).packets, 1000);
}

/// A namespace whose kernel routes as the fixtures' gateway does.
struct Gateway {
    ns: NetNs,
    /// Index of the device that stands for the tunnel's.
    tunnel: u32,
}

impl Gateway {
    fn new() -> Self {
        let ns = NetNs::new("f").unwrap();
        let device = names::unique("t");
        let (net4, net6) = (Ipv4Addr::from(NETWORK4.0), Ipv6Addr::from(NETWORK6.0));
        let (no4, no6) = (Ipv4Addr::from(ELSEWHERE4.0), Ipv6Addr::from(ELSEWHERE6.0));
        ns.ip(&format!(
            "tuntap add mode tun dev {device}\nlink set lo up\nlink set {device} mtu {MTU} up\n\
             route add {net4}/{} dev {device}\nroute add {net6}/{} dev {device}\n\
             route add blackhole {no4}/{}\nroute add unreachable {no6}/{}\n",
            NETWORK4.1, NETWORK6.1, ELSEWHERE4.1, ELSEWHERE6.1
        ))
        .unwrap();
        ns.sysctl("net.ipv4.ip_forward", "1").unwrap();
        ns.sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
        let tunnel = link::index(&ns, &device).unwrap();
        Self { ns, tunnel }
    }

    /// The program with the networks of the fixtures inside the tunnel, and an
    /// interface that it forwards from.
    fn kernel(&self, tunnel: u32) -> Kernel<LanProgram> {
        let mut program = load();
        for (address, len, inside) in forward::inside(tunnel) {
            let address = Ipv6Addr::from(address);
            let address = address
                .to_ipv4_mapped()
                .map_or(address.into(), IpAddr::from);
            program.insert(address, len, inside).unwrap();
        }
        let cards = program.cards();
        cards.set_interface(LOOPBACK, World::INTERFACE).unwrap();
        Kernel::new(program)
    }

    /// Runs in the namespace, as the kernel's routes are those of it, with an AF_XDP
    /// socket in its place.
    fn within(&self, run: impl FnOnce(&mut Kernel<LanProgram>) + Send) {
        self.within_with(self.tunnel, run);
    }

    /// As [`within`](Self::within), with another device as the tunnel's.
    fn within_with(&self, tunnel: u32, run: impl FnOnce(&mut Kernel<LanProgram>) + Send) {
        let tested = || {
            let mut kernel = self.kernel(tunnel);
            let socket = ringtun_lab::xdp_socket()?;
            kernel.program.cards().set_socket(PLACE, socket.as_fd())?;
            run(&mut kernel);
            kernel.finish();
            Ok(())
        };
        self.ns.within(tested).unwrap();
    }
}

const PLACE: u32 = World::INTERFACE.first_socket;

#[test]
fn what_may_go_past_the_kernel_goes_and_nothing_else() {
    Gateway::new().within(|kernel| {
        for there in [true, false] {
            if !there {
                kernel.program.cards().remove_socket(PLACE).unwrap();
            }
            for fixture in forward::all() {
                let verdict = match fixture.verdict {
                    Verdict::Forwarded if !there => Verdict::NoSocket,
                    verdict => verdict,
                };
                let expected = (fixture.class, verdict);
                kernel.run(&fixture.frame, expected, &fixture.after, &fixture.name);
            }
        }
    });
}

#[test]
fn host_and_kernel_forward_the_same_of_100_000_random_frames() {
    Gateway::new().within(|kernel| {
        let mut fixtures = long_enough();
        fixtures.extend(forward::all());
        let frames: Vec<_> = fixtures.into_iter().map(|f| f.frame).collect();
        let mut random = Random(0x2545_f491);
        for _ in 0..100_000 {
            let frame = mutated(&mut random, &frames);
            let mut after = frame.clone();
            let expected = forward::judge(&mut after, true);
            kernel.run(&frame, expected, &after, "random");
        }
        for verdict in [
            Verdict::Forwarded,
            Verdict::ForwardElsewhere,
            Verdict::ForwardExpires,
            Verdict::ForwardSpecial,
        ] {
            assert!(kernel.has_seen(verdict), "{}", verdict.label());
        }
    });
}

#[test]
fn what_the_kernel_routes_to_another_device_is_its_own() {
    let gateway = Gateway::new();
    gateway.within_with(gateway.tunnel + 1, |kernel| {
        let passing = forward::all();
        let passing = passing.iter().filter(|f| f.verdict == Verdict::Forwarded);
        for fixture in passing {
            let expected = (fixture.class, Verdict::ForwardElsewhere);
            kernel.run(&fixture.frame, expected, &fixture.after, &fixture.name);
        }
    });
}

#[test]
fn a_host_that_does_not_forward_forwards_nothing_past_its_kernel_either() {
    let gateway = Gateway::new();
    gateway.within(|kernel| {
        let passing = forward::all();
        let passing = passing.iter().filter(|f| f.verdict == Verdict::Forwarded);
        for (on, verdict) in [(0, Verdict::ForwardElsewhere), (1, Verdict::Forwarded)] {
            for switch in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
                gateway.ns.sysctl(switch, &on.to_string()).unwrap();
            }
            for fixture in passing.clone() {
                let expected = (fixture.class, verdict);
                kernel.run(&fixture.frame, expected, &fixture.after, &fixture.name);
            }
        }
    });
}

/// Kernels differ in what they can leave out: this is what 6.18 walks, and 6.1, which
/// walks more, has the same limit.
#[test]
fn the_verifier_is_far_from_its_limit() {
    let loaded = || -> BTreeMap<u32, ProgramInfo> {
        let all = loaded_programs().filter_map(Result::ok);
        let all = all.filter(|info| info.name().starts_with(b"ringtun_"));
        all.map(|info| (info.id(), info)).collect()
    };
    let before = loaded();
    let _programs = (load(), crate::wan::Kernel::new());
    let mut names = BTreeSet::new();
    for (id, info) in loaded() {
        if before.contains_key(&id) {
            continue;
        }
        let name = info.name_as_str().unwrap().to_owned();
        let walked = info.verified_instruction_count().unwrap();
        assert!(walked < LIMIT / 3, "{name}: {walked} instructions");
        names.insert(name);
    }
    assert!(names.len() >= 7, "{names:?}");
}
