//! The XDP program on a device: attached natively, it counts what arrives and
//! lets it through, and it is gone with its link. Needs root and a build with
//! the BPF object, as `cargo xtask test` makes it.
#![cfg(ringtun_bpf)]

use ringtun::bpf::{BpfError, CardProgram as _, Link, Mode, WanProgram};
use ringtun_common::class::Class;
use ringtun_common::fixtures;
use ringtun_common::verdict::Verdict;
use ringtun_lab::link;
use ringtun_lab::{NetNs, wait};
use std::net::SocketAddr;
use std::time::Duration;

/// A namespace with an XDP device, and one that sends to it.
struct Wire {
    gateway: NetNs,
    sender: NetNs,
    device: String,
}

/// How long to wait for what must come, on a machine whose processors are taken.
const PATIENCE: Duration = Duration::from_secs(60);
const GATEWAY: &str = "192.0.2.1:51820";
const SENDER: &str = "192.0.2.2:51820";

impl Wire {
    fn new() -> Self {
        let (gateway, sender) = (NetNs::new("g").unwrap(), NetNs::new("s").unwrap());
        let device = ringtun_lab::names::unique("v");
        link::veth(&gateway, &device, &sender, "wan").unwrap();
        gateway
            .ip(&format!("address add 192.0.2.1/24 dev {device}\n"))
            .unwrap();
        sender.ip("address add 192.0.2.2/24 dev wan\n").unwrap();
        Self {
            gateway,
            sender,
            device,
        }
    }

    /// What `ip` says of the device.
    fn describe(&self) -> serde_json::Value {
        let json = self
            .gateway
            .run("ip", ["-j", "link", "show", "dev", &self.device])
            .unwrap();
        serde_json::from_str::<serde_json::Value>(&json).unwrap()[0].take()
    }

    fn attach(&self, program: &WanProgram, mode: Mode) -> Result<Link, BpfError> {
        let index = u32::try_from(self.describe()["ifindex"].as_u64().unwrap()).unwrap();
        self.gateway
            .within(|| Ok(program.attach(index, mode)))
            .unwrap()
    }

    /// Sends each payload as a datagram and waits until it has arrived.
    fn deliver(&self, payloads: &[Vec<u8>]) {
        let to: SocketAddr = GATEWAY.parse().unwrap();
        let receiver = self.gateway.udp(to).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let sender = self.sender.udp(SENDER.parse().unwrap()).unwrap();
        let mut buffer = [0; 16 * 1024];
        for payload in payloads {
            sender.send_to(payload, to).unwrap();
            let len = receiver.recv(&mut buffer).unwrap();
            assert!(buffer[..len] == payload[..], "{len} other bytes arrived");
        }
    }
}

#[test]
fn each_mode_counts_what_arrives_and_lets_it_through() {
    for (mode, flag) in [(Mode::Native, 1), (Mode::Generic, 2)] {
        let wire = Wire::new();
        let program = WanProgram::load().unwrap();
        let link = wire.attach(&program, mode).unwrap();
        assert_eq!(link.mode(), mode);
        assert_eq!(wire.describe()["xdp"]["mode"], flag, "{}", wire.describe());

        wire.deliver(&[
            fixtures::message(1, 148),
            fixtures::message(2, 92),
            fixtures::message(3, 64),
            fixtures::message(4, 32),
            fixtures::message(4, 1452),
            fixtures::message(4, 33),
            fixtures::message(9, 100),
        ]);
        let counts = program.counts().unwrap();
        for (class, expected) in [
            (Class::WireGuardInitiation, 1),
            (Class::WireGuardResponse, 1),
            (Class::WireGuardCookieReply, 1),
            (Class::WireGuardData, 3),
            (Class::Udp, 1),
            (Class::Unreadable, 0),
        ] {
            assert_eq!(counts.class(class).packets, expected, "{}", class.label());
        }
        // The tables are empty: all are somebody else's.
        assert_eq!(counts.verdict(Verdict::Foreign).packets, 6);
        let data: u64 = [32, 1452, 33].iter().map(|len| len + 14 + 20 + 8).sum();
        assert_eq!(counts.class(Class::WireGuardData).bytes, data);
        // The sender had to ask for the address, too.
        assert!(counts.class(Class::Arp).packets >= 1);

        drop(link);
        // A process that another test starts at this moment has the link too,
        // until it executes its program.
        wait::until("the program is off", PATIENCE, || {
            Ok(wire.describe()["xdp"].is_null().then_some(()))
        })
        .unwrap();
        wire.deliver(&[fixtures::message(4, 32)]);
        assert_eq!(
            program.class(Class::WireGuardData).unwrap(),
            counts.class(Class::WireGuardData),
            "a detached program counts nothing"
        );
    }
}

#[test]
fn a_device_carries_one_program_and_says_so() {
    let wire = Wire::new();
    let first = WanProgram::load().unwrap();
    let second = WanProgram::load().unwrap();
    let link = wire.attach(&first, Mode::Native).unwrap();
    let refused = wire.attach(&second, Mode::Native).unwrap_err();
    assert!(matches!(refused, BpfError::Busy { .. }), "{refused}");
    drop(link);
    // As above: somebody else may hold it for a moment.
    wait::until("the device is free", PATIENCE, || {
        match wire.attach(&second, Mode::Native) {
            Err(BpfError::Busy { .. }) => Ok(None),
            other => Ok(Some(other?)),
        }
    })
    .unwrap();
}

#[test]
fn a_device_above_the_mtu_of_one_buffer_takes_the_program() {
    let wire = Wire::new();
    wire.gateway
        .ip(&format!("link set {} mtu 9000\n", wire.device))
        .unwrap();
    wire.sender.ip("link set wan mtu 9000\n").unwrap();
    let program = WanProgram::load().unwrap();
    let _link = wire.attach(&program, Mode::Native).unwrap();
    wire.deliver(&[fixtures::message(4, 8000 - 28)]);
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let program = WanProgram::load().unwrap();
    let error = program.attach(0x7fff_0000, Mode::Native).unwrap_err();
    assert!(matches!(error, BpfError::Attach { .. }), "{error}");
    assert!(error.to_string().contains("2147418112"), "{error}");
}
