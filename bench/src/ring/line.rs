//! A veth pair between two namespaces.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ringtun::bpf::{Link, Mode, RingProgram};
use ringtun::xsk::{Socket, SocketConfig, Umem};
use ringtun_lab::{NetNs, flood, link, names};

/// Bytes before the payload of a frame: Ethernet, IPv4, UDP.
const HEADERS: usize = 14 + 20 + 8;

/// A link; frames go from the near end to the far one.
pub struct Line {
    near: End,
    far: End,
}

/// One end of a link.
pub struct End {
    pub ns: Arc<NetNs>,
    pub device: String,
    index: u32,
}

impl Line {
    /// Between two new namespaces.
    pub fn new() -> Result<Line> {
        Line::from(Arc::new(NetNs::new("g")?))
    }

    /// Between the far end of another link and a new namespace.
    pub fn after(&self) -> Result<Line> {
        Line::from(Arc::clone(&self.far.ns))
    }

    fn from(near: Arc<NetNs>) -> Result<Line> {
        let far = Arc::new(NetNs::new("s")?);
        let devices = [names::unique("g"), names::unique("s")];
        link::veth(&near, &devices[0], &far, &devices[1])?;
        let [near_device, far_device] = devices;
        Ok(Line {
            near: End::new(near, near_device)?,
            far: End::new(far, far_device)?,
        })
    }

    pub const fn near(&self) -> &End {
        &self.near
    }

    pub const fn far(&self) -> &End {
        &self.far
    }

    /// Hardware addresses of a frame from the near end to the far one: to, from.
    pub fn macs(&self) -> Result<[[u8; 6]; 2]> {
        let far = flood::hardware_address(&self.far.ns, &self.far.device)?;
        let near = flood::hardware_address(&self.near.ns, &self.near.device)?;
        Ok([far, near])
    }

    /// A UDP datagram to the far end, in a frame of `size` bytes.
    pub fn frame(&self, size: usize) -> Result<Vec<u8>> {
        let target = flood::Target {
            hardware: self.macs()?[0],
            address: Ipv4Addr::new(192, 0, 2, 2),
            port: 9,
        };
        let payload = size.checked_sub(HEADERS).context("a size below headers")?;
        let source = Ipv4Addr::new(192, 0, 2, 1);
        let frame = flood::frame(&target, source, 9, &vec![0xa5; payload]);
        ensure!(frame.len() == size, "a frame of {} bytes", frame.len());
        Ok(frame)
    }
}

impl End {
    fn new(ns: Arc<NetNs>, device: String) -> Result<End> {
        Ok(End {
            index: link::index(&ns, &device)?,
            ns,
            device,
        })
    }

    /// Opens an AF_XDP socket on the only queue of this end.
    pub fn bind(&self, umem: &mut Umem, config: &SocketConfig) -> Result<Socket> {
        self.ns
            .within(|| Ok(Socket::bind(umem, self.index, 0, config)?))
    }

    /// Takes every frame that arrives at this end into `socket`.
    pub fn redirect(&self, socket: &Socket) -> Result<Redirect> {
        let mut program = RingProgram::load()?;
        let link = self
            .ns
            .within(|| Ok(program.attach(self.index, Mode::Native)?))?;
        program.insert(0, socket.fd().context("a socket of the kernel")?)?;
        Ok(Redirect {
            _program: program,
            _link: link,
        })
    }
}

/// A program that redirects, for as long as it lives.
pub struct Redirect {
    _program: RingProgram,
    _link: Link,
}
