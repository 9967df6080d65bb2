//! Two namespaces joined by a veth pair: AF_XDP at the near end, the kernel's
//! sockets at the far one.

use crate::frames::Flow;
use ringtun::bpf::{Link, Mode, RingProgram};
use ringtun::xsk::{Frame, Socket, SocketConfig, Umem, XskError};
use ringtun_lab::{NetNs, flood, link, names, wait};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for what must come, on a machine whose processors are taken.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const PORT: u16 = 7000;

/// One veth pair. The far end knows the near one's MAC address and the other way
/// round: nobody answers ARP on a ring.
pub struct Wire {
    pub near: Arc<NetNs>,
    pub far: NetNs,
    pub device: String,
    pub far_device: String,
    pub macs: [[u8; 6]; 2],
    net: u8,
}

impl Wire {
    pub fn new() -> Self {
        let near = NetNs::new("n").expect("a namespace: these tests need root");
        Self::between(Arc::new(near), 1)
    }

    /// A second pair with the same near namespace, and other addresses.
    pub fn beside(&self) -> Self {
        Self::between(Arc::clone(&self.near), self.net + 1)
    }

    fn between(near: Arc<NetNs>, net: u8) -> Self {
        let far = NetNs::new("f").expect("a namespace");
        let (device, far_device) = (names::unique("n"), names::unique("f"));
        link::veth(&near, &device, &far, &far_device).expect("veth");
        let ends = [(&*near, &device, 1), (&far, &far_device, 2)];
        let macs = ends.map(|(ns, device, _)| flood::hardware_address(ns, device).expect("MAC"));
        for (at, (ns, device, host)) in ends.into_iter().enumerate() {
            let mac = macs[1 - at].map(|byte| format!("{byte:02x}")).join(":");
            let other = 3 - host;
            ns.ip(&format!(
                "addr add 10.78.{net}.{host}/24 dev {device}\n\
                 addr add fd78:{net:x}::{host}/64 dev {device} nodad\n\
                 neigh replace 10.78.{net}.{other} lladdr {mac} nud permanent dev {device}\n\
                 neigh replace fd78:{net:x}::{other} lladdr {mac} nud permanent dev {device}\n"
            ))
            .expect("addresses");
            link::addressed(ns, device).expect("addresses that receive");
        }
        Self {
            near,
            far,
            device,
            far_device,
            macs,
            net,
        }
    }

    pub fn address(&self, host: u8, v6: bool) -> IpAddr {
        let net = self.net;
        let text = if v6 {
            format!("fd78:{net:x}::{host}")
        } else {
            format!("10.78.{net}.{host}")
        };
        text.parse().expect("an address")
    }

    /// From the near end to the far one.
    pub fn outward(&self, v6: bool) -> Flow {
        Flow {
            macs: self.macs,
            addresses: [self.address(1, v6), self.address(2, v6)],
            port: PORT,
        }
    }

    /// A UDP socket at the far end, connected to the near one.
    pub fn far_socket(&self, v6: bool) -> UdpSocket {
        let at = |host| SocketAddr::from((self.address(host, v6), PORT));
        let socket = self.far.udp(at(2)).expect("bind");
        socket.connect(at(1)).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        socket
    }

    pub fn near_index(&self) -> u32 {
        index(&self.near, &self.device)
    }

    /// Opens an AF_XDP socket on queue 0 of the near device.
    pub fn bind(&self, umem: &mut Umem, config: &SocketConfig) -> Result<Socket, XskError> {
        self.bind_to(umem, self.near_index(), 0, config)
    }

    pub fn bind_to(
        &self,
        umem: &mut Umem,
        ifindex: u32,
        queue: u32,
        config: &SocketConfig,
    ) -> Result<Socket, XskError> {
        self.near
            .within(|| Ok(Socket::bind(umem, ifindex, queue, config)))
            .expect("the namespace")
    }

    /// Takes the frames of queue 0 of the near device into `socket`.
    pub fn redirect(&self, socket: &Socket, mode: Mode) -> Redirect {
        let mut program = RingProgram::load().expect("the program");
        let link = self.attach(&program, mode);
        program
            .insert(0, socket.fd().expect("the kernel's"))
            .expect("a socket of this queue");
        Redirect {
            _program: program,
            _link: link,
        }
    }

    pub fn attach(&self, program: &RingProgram, mode: Mode) -> Link {
        let index = self.near_index();
        self.near
            .within(|| Ok(program.attach(index, mode)?))
            .expect("attach")
    }
}

/// A program that redirects, for as long as it lives.
pub struct Redirect {
    _program: RingProgram,
    _link: Link,
}

pub fn index(ns: &NetNs, device: &str) -> u32 {
    let json = ns
        .run("ip", ["-j", "link", "show", "dev", device])
        .expect("ip");
    let links: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    u32::try_from(links[0]["ifindex"].as_u64().expect("an index")).expect("small")
}

/// Waits until `socket` has something, and receives it.
pub fn receive(socket: &mut Socket, umem: &mut Umem, frames: &mut Vec<Frame>) -> usize {
    let fd = socket.fd().expect("the kernel's");
    wait::ready(&[fd], PATIENCE).expect("a frame");
    socket.rx.receive(umem, frames).expect("sane")
}

/// Waits until the kernel has given back all that was sent.
pub fn complete(socket: &mut Socket, umem: &mut Umem) {
    wait::until("every sent frame comes back", PATIENCE, || {
        socket.wake_tx()?;
        socket.completion.complete(umem, u32::MAX)?;
        Ok((umem.audit().sent == 0).then_some(()))
    })
    .expect("completions");
}
