//! What the kernel tells of devices in namespaces of our own. Needs root.

use ringtun::net::nic::{self, Channels, XdpProgram};
use ringtun_lab::{NetNs, names};

/// A veth pair in a namespace of its own.
struct Nic {
    ns: NetNs,
    device: String,
    index: u32,
}

impl Nic {
    fn new(queues: u32) -> Self {
        let ns = NetNs::new("ni").expect("a namespace: these tests need root");
        let device = names::unique("ni");
        let each = format!("numrxqueues {queues} numtxqueues {queues}");
        ns.ip(&format!(
            "link add {device} {each} type veth peer name peer {each}\nlink set {device} up\nlink set peer up\n"
        ))
        .expect("veth");
        // `/sys` shows the namespace that it was mounted in, so `ip` is asked.
        let text = ns
            .run("ip", ["-o", "link", "show", &device])
            .expect("such a device");
        let index = text.split(':').next().expect("an index");
        let index = index.parse().expect("a number");
        Self { ns, device, index }
    }

    fn ask<T: Send>(&self, question: impl FnOnce() -> std::io::Result<T> + Send) -> T {
        self.ns.within(|| Ok(question()?)).expect("an answer")
    }

    fn program(&self) -> Option<XdpProgram> {
        self.ask(|| nic::xdp_program(self.index))
    }
}

#[test]
fn driver_and_queues_are_those_of_the_device() {
    for queues in [1, 4] {
        let nic = Nic::new(queues);
        assert_eq!(nic.ask(|| nic::driver(&nic.device)), "veth");
        let expected = Channels {
            rx: queues,
            tx: queues,
        };
        assert_eq!(nic.ask(|| nic::channels(&nic.device)), expected);
        if queues == 4 {
            let fewer = ["-L", &nic.device, "rx", "2"];
            nic.ns.run("ethtool", fewer).expect("ethtool");
            let expected = Channels { rx: 2, tx: 4 };
            assert_eq!(nic.ask(|| nic::channels(&nic.device)), expected);
        }
    }
}

#[test]
fn a_device_is_one_of_this_namespace_only() {
    let (here, elsewhere) = (Nic::new(1), Nic::new(1));
    let error = |answer: std::io::Result<()>| answer.expect_err("no device").raw_os_error();
    let name = elsewhere.device.as_str();
    let answers = here
        .ns
        .within(|| {
            Ok([
                error(nic::driver(name).map(drop)),
                error(nic::channels(name).map(drop)),
                error(nic::xdp_features(0x7fff_0000).map(drop)),
                error(nic::xdp_program(0x7fff_0000).map(drop)),
            ])
        })
        .expect("the namespace");
    assert_eq!(answers, [Some(libc::ENODEV); 4]);
}

#[test]
fn a_veth_says_what_it_can() {
    let nic = Nic::new(1);
    let Some(features) = nic.ask(|| nic::xdp_features(nic.index)) else {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
        let mut numbers = release
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        assert!(version < (6, 3), "Linux {release} has the family `netdev`");
        return;
    };
    assert!(features.basic && features.redirect && features.rx_sg);
    assert!(!features.xsk_zerocopy);
    assert_eq!(features.zerocopy_segments, 1);
}

/// Both ends in one namespace: one takes redirected frames once the other has a
/// program, or receives by GRO.
#[test]
fn a_veth_takes_redirected_frames_once_its_peer_has_gro() {
    let nic = Nic::new(1);
    let Some(before) = nic.ask(|| nic::xdp_features(nic.index)) else {
        return;
    };
    assert!(!before.ndo_xmit);
    nic.ns
        .run("ethtool", ["-K", "peer", "gro", "on"])
        .expect("ethtool");
    let after = nic.ask(|| nic::xdp_features(nic.index)).expect("known");
    assert!(after.ndo_xmit);
}

#[test]
fn a_device_without_a_program_carries_none() {
    assert_eq!(Nic::new(1).program(), None);
}

#[cfg(ringtun_bpf)]
#[test]
fn a_program_is_told_with_its_mode_and_name_until_it_is_gone() {
    use ringtun::bpf::{Mode, RingProgram};
    use ringtun::net::nic::XdpMode;

    let nic = Nic::new(1);
    let program = RingProgram::load().expect("the program");
    for (mode, expected) in [
        (Mode::Native, XdpMode::Native),
        (Mode::Generic, XdpMode::Generic),
    ] {
        let link = nic
            .ns
            .within(|| Ok(program.attach(nic.index, mode)?))
            .expect("attach");
        let told = nic.program().expect("a program");
        assert_eq!(told.mode, expected);
        assert_eq!(told.name, "ringtun_ring");
        assert!(told.id > 0);
        drop(link);
        assert_eq!(nic.program(), None);
    }
}
