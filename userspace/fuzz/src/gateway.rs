//! A worker's part of a real device: real sockets on loopback, a socket pair
//! for the TUN queue, and a peer that the fuzzer plays.

use crate::SeededRng;
use crate::ends::NOW;
use ringtun::crypto::{PrivateKey, PublicKey};
use ringtun::datapath::frames::FramePool;
use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::inbound::Inbound;
use ringtun::datapath::mss::MssClamp;
use ringtun::datapath::port::{Port, Tunnel};
use ringtun::datapath::rings::Rings;
use ringtun::net::tun::TunQueue;
use ringtun::net::udp::UdpSockets;
use ringtun::tunnel::cell::{PeerCell, PeerId};
use ringtun::tunnel::device::Device;
use ringtun::tunnel::endpoint::Endpoint;
use ringtun::tunnel::gate::GateOutcome;
use ringtun::tunnel::keypair::Keypair;
use ringtun::tunnel::messages::KEEPALIVE_LEN;
use ringtun::tunnel::output::Output;
use ringtun::tunnel::time::{Now, WallTime};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

/// MTU of the device.
pub const MTU: usize = 1420;
/// Frames of the worker.
pub const FRAMES: usize = 24;

const AT: Now = Now {
    boot: NOW,
    wall: WallTime {
        secs: 1_700_000_000,
        nanos: 0,
    },
};

/// One end of the protocol, driven by hand.
struct End {
    device: Device,
    public: PublicKey,
    raised: Arc<Mutex<Vec<PeerId>>>,
}

impl End {
    fn new(rng: &mut SeededRng) -> Self {
        let raised: Arc<Mutex<Vec<PeerId>>> = Arc::default();
        let list = Arc::clone(&raised);
        let notifier = Arc::new(move |id| list.lock().expect("one thread").push(id));
        let mut device = Device::new(NOW, rng, notifier);
        let key = PrivateKey::generate(rng);
        let public = key.public();
        device.set_private_key(NOW, Some(key));
        device.set_up(NOW, true);
        Self {
            device,
            public,
            raised,
        }
    }

    fn add(&mut self, peer: PublicKey, endpoint: SocketAddr) {
        self.device.add_peer(peer);
        self.device.set_endpoint(NOW, &peer, endpoint);
        for prefix in ["10.0.0.0/24", "fd00::/64"] {
            let prefix = prefix.parse().expect("a prefix");
            self.device.add_allowed_ip(&peer, prefix);
        }
        self.device.publish();
    }

    /// Lets control work; gives the handshake messages that it wants sent.
    fn drive(&mut self, rng: &mut SeededRng) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        loop {
            let raised = std::mem::take(&mut *self.raised.lock().expect("one thread"));
            let mut idle = raised.is_empty();
            for id in raised {
                self.device.handle_signal(AT, id);
            }
            while let Some(output) = self.device.poll_output() {
                idle = false;
                match output {
                    Output::Initiate(job) => {
                        let done = job.run(NOW, rng);
                        self.device
                            .handle_initiated(AT, done)
                            .expect("it is wanted");
                    }
                    Output::Send { bytes, .. } => messages.push(bytes.as_bytes().to_vec()),
                    Output::Flush { .. } | Output::Purged { .. } | Output::Event { .. } => {}
                }
            }
            if idle {
                return messages;
            }
        }
    }

    fn take(&mut self, message: &[u8], from: SocketAddr, rng: &mut SeededRng) {
        let shared = self.device.shared();
        let from = Endpoint::new(from);
        match shared
            .gate
            .process(&shared, NOW, false, &from, message, &mut SeededRng(12), rng)
        {
            GateOutcome::Commit(commit) => {
                self.device
                    .handle_commit(AT, commit)
                    .expect("it is current");
            }
            other => panic!("a true handshake was refused: {other:?}"),
        }
    }
}

/// The gateway under test and what the fuzzer holds around it.
pub struct Gateway {
    /// The worker's part of the device; a case may take it and gives it back.
    pub port: Option<Box<Port>>,
    /// The worker's frames.
    pub frames: Arc<FramePool>,
    /// Where handshake messages go.
    pub queues: Arc<Queues>,
    /// The other side of the TUN queue.
    pub tun: UnixDatagram,
    /// The peer's socket, connected to the gateway's.
    pub wire: UdpSocket,
    /// The peer's end of the session.
    pub peer: Arc<Keypair>,
    /// The next counter that the peer has not used.
    pub counter: u64,
    /// What the gateway knows of the peer.
    pub cell: Arc<PeerCell>,
    _ends: [End; 2],
}

impl Gateway {
    /// Made once per process: a handshake in memory, then everything real.
    #[must_use]
    pub fn new() -> Self {
        let rng = &mut SeededRng(11);
        let (mut a, mut b) = (End::new(rng), End::new(rng));
        let sockets = UdpSockets::bind(0, 1, 0).expect("a UDP port").remove(0);
        let wire = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
        let at = wire.local_addr().expect("bound");
        let gateway: SocketAddr = ([127, 0, 0, 1], sockets.port()).into();
        wire.connect(gateway).expect("loopback");
        wire.set_nonblocking(true).expect("a socket");
        a.add(b.public, at);
        b.add(a.public, gateway);

        let cell = Arc::clone(b.device.peer(&a.public).expect("it was added").cell());
        cell.want_handshake(NOW);
        for initiation in b.drive(rng) {
            a.take(&initiation, at, rng);
        }
        for response in a.drive(rng) {
            b.take(&response, gateway, rng);
        }
        let current = cell.current();
        let peer = Arc::clone(current.as_ref().expect("a session"));
        drop(current);

        let (near, far) = UnixDatagram::pair().expect("a socket pair");
        near.set_nonblocking(true).expect("a socket");
        far.set_nonblocking(true).expect("a socket");
        let (tunnel, _events) = Tunnel::new("fuzz", a.device.shared(), MTU, MssClamp::Off, 1);
        let queue = TunQueue::from(OwnedFd::from(near));
        let mut port = Port::new(&tunnel, 0, queue, true);
        port.sockets = Some(sockets);
        let mut gateway = Self {
            port: Some(Box::new(port)),
            frames: FramePool::new(FRAMES),
            queues: Queues::new(0),
            tun: far,
            wire,
            peer,
            counter: 0,
            cell: Arc::clone(a.device.peer(&b.public).expect("it was added").cell()),
            _ends: [a, b],
        };
        gateway.confirm();
        gateway
    }

    /// The worker's part of the device, where no case has it.
    pub fn port(&mut self) -> &mut Port {
        self.port.as_deref_mut().expect("no case has it")
    }

    /// The UDP port of a port's sockets.
    #[must_use]
    pub fn listens_on(&self, port: &Port) -> u16 {
        port.sockets.as_ref().map_or(0, UdpSockets::port)
    }

    /// The initiator's first packet makes the session usable for the gateway, too.
    fn confirm(&mut self) {
        let mut keepalive = vec![0; KEEPALIVE_LEN];
        self.peer.seal(self.counter, &mut keepalive);
        self.counter += 1;
        self.wire.send(&keepalive).expect("loopback takes it");
        let (frames, queues) = (self.frames.clone(), self.queues.clone());
        let port = self.port();
        port.v4_ready = true;
        Inbound::new(frames, queues).serve(port, &mut Rings::default(), NOW);
        let received = port.stats.outer_rx_packets.get();
        assert_eq!(received, 1, "the keepalive arrived");
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}
