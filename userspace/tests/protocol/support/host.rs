//! One end of a tunnel: a real core with the smallest data path around it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use ringtun::crypto::os_rng;
use ringtun::crypto::{PrivateKey, PublicKey};
use ringtun::drops::DropReason;
use ringtun::tunnel::cell::{PeerCell, PeerId};
use ringtun::tunnel::device::Device;
use ringtun::tunnel::endpoint::{Endpoint, Source};
use ringtun::tunnel::gate::GateOutcome;
use ringtun::tunnel::keypair::padded_len;
use ringtun::tunnel::messages::{DATA_HEADER_LEN, DataHeader, KEEPALIVE_LEN};
use ringtun::tunnel::output::{Output, PeerEvent};
use ringtun::tunnel::owners::Owners;
use ringtun::tunnel::snapshot::Shared;
use ringtun::tunnel::time::{BootTime, Now, WallTime};
use ringtun::tunnel::transport::{self, Amount, Ecn};

use super::link::Datagram;
use super::rng::SeededRng;

const MTU: usize = 1420;
/// 2025-01-01.
pub const EPOCH: u64 = 1_735_689_600;

pub struct Host {
    pub device: Device,
    pub shared: Arc<Shared>,
    pub public: PublicKey,
    /// Where it sends from and is reached at; a test may change it.
    pub addr: SocketAddr,
    /// Seconds that its wall clock is off.
    pub wall_offset: i64,
    /// What the gauge of load says.
    pub under_load: bool,
    /// Initiations are computed but held back.
    pub hold_jobs: bool,
    pub held: Vec<ringtun::tunnel::initiation::InitiationJob>,
    pub rng: SeededRng,
    pub delivered: Vec<Vec<u8>>,
    pub keepalives: usize,
    pub drops: HashMap<DropReason, usize>,
    pub events: Vec<(BootTime, PeerEvent)>,
    pub purged: usize,
    /// ECN of the outer header of what arrives.
    pub outer_ecn: Ecn,
    /// How often workers called the control thread.
    pub signals: usize,
    raised: Arc<Mutex<Vec<PeerId>>>,
}

impl Host {
    pub fn new(seed: u64, addr: SocketAddr, now: BootTime) -> Self {
        let mut rng = SeededRng::new(seed);
        let private = PrivateKey::generate(&mut rng);
        Self::with_key(private, rng, addr, now)
    }

    pub fn with_key(key: PrivateKey, mut rng: SeededRng, addr: SocketAddr, now: BootTime) -> Self {
        let raised = Arc::new(Mutex::new(Vec::new()));
        let notify = Arc::clone(&raised);
        let notifier = Arc::new(move |id: PeerId| notify.lock().unwrap().push(id));
        let mut device = Device::new(now, &mut rng, notifier);
        let public = key.public();
        device.set_private_key(now, Some(key));
        device.set_up(now, true);
        device.publish();
        Self {
            shared: device.shared(),
            device,
            public,
            addr,
            wall_offset: 0,
            under_load: false,
            hold_jobs: false,
            held: Vec::new(),
            rng,
            delivered: Vec::new(),
            keepalives: 0,
            drops: HashMap::new(),
            events: Vec::new(),
            purged: 0,
            outer_ecn: Ecn::NotEct,
            signals: 0,
            raised,
        }
    }

    pub fn now(&self, boot: BootTime) -> Now {
        let nanos = boot.as_nanos();
        Now {
            boot,
            wall: WallTime {
                secs: (EPOCH + nanos / 1_000_000_000)
                    .checked_add_signed(self.wall_offset)
                    .unwrap(),
                nanos: (nanos % 1_000_000_000) as u32,
            },
        }
    }

    pub fn cell(&self, peer: &PublicKey) -> Arc<PeerCell> {
        Arc::clone(self.device.peer(peer).expect("a known peer").cell())
    }

    /// A packet from the TUN: sealed and returned, or staged.
    pub fn route(&mut self, now: BootTime, packet: &[u8], out: &mut Vec<Datagram>) {
        let snapshot = self.shared.snapshot();
        let to: IpAddr = if packet[0] >> 4 == 4 {
            <[u8; 4]>::try_from(&packet[16..20]).unwrap().into()
        } else {
            <[u8; 16]>::try_from(&packet[24..40]).unwrap().into()
        };
        let Some(cell) = snapshot.allowed_ips.lookup(to) else {
            drop(snapshot);
            self.count(DropReason::NoPeerForDestination);
            return;
        };
        let cell = Arc::clone(cell);
        drop(snapshot);
        // What is staged goes first.
        if !cell.staged.is_empty() || self.seal(now, &cell, packet, out).is_err() {
            if cell.stage(packet.into()).is_some() {
                self.count(DropReason::StagedOverflow);
            }
            cell.want_handshake(now);
        }
    }

    /// Seals one packet (or a keepalive: empty) with the current key.
    pub fn seal(
        &mut self,
        now: BootTime,
        cell: &Arc<PeerCell>,
        packet: &[u8],
        out: &mut Vec<Datagram>,
    ) -> Result<(), ()> {
        let current = cell.current();
        let keypair = current.as_ref().ok_or(())?;
        let counter = keypair.reserve(now, 1).map_err(|_| ())?;
        let len = padded_len(packet.len(), MTU);
        let mut bytes = vec![0; len + KEEPALIVE_LEN];
        bytes[DATA_HEADER_LEN..DATA_HEADER_LEN + packet.len()].copy_from_slice(packet);
        keypair.seal(counter, &mut bytes);
        let Some(to) = cell.endpoint.get() else {
            return Err(());
        };
        let outer = Amount::one(bytes.len() as u64);
        transport::sent(cell, keypair, now, outer, !packet.is_empty());
        out.push(Datagram {
            from: self.addr,
            to: to.addr,
            bytes,
        });
        Ok(())
    }

    /// A datagram from the socket.
    pub fn receive(
        &mut self,
        now: BootTime,
        datagram: &Datagram,
        out: &mut Vec<Datagram>,
    ) -> Result<(), DropReason> {
        let from = Endpoint {
            addr: datagram.from,
            source: Some(Source {
                addr: datagram.to.ip(),
                ifindex: 2,
            }),
        };
        let result = if DataHeader::read(&datagram.bytes).is_some() {
            self.receive_data(now, &from, datagram.bytes.clone())
        } else {
            self.receive_handshake(now, &from, &datagram.bytes, out)
        };
        if let Err(reason) = result {
            self.count(reason);
        }
        result
    }

    fn receive_handshake(
        &mut self,
        now: BootTime,
        from: &Endpoint,
        bytes: &[u8],
        out: &mut Vec<Datagram>,
    ) -> Result<(), DropReason> {
        let shared = Arc::clone(&self.shared);
        let load = self.under_load;
        match shared.gate.process(
            &shared,
            now,
            load,
            from,
            bytes,
            &mut os_rng(),
            &mut self.rng,
        ) {
            GateOutcome::Drop(reason) => Err(reason),
            GateOutcome::CookieReply(reply) => {
                out.push(Datagram {
                    from: self.addr,
                    to: from.addr,
                    bytes: reply.to_vec(),
                });
                Err(DropReason::CookieRequired)
            }
            GateOutcome::Commit(commit) => self.device.handle_commit(self.now(now), commit),
        }
    }

    fn receive_data(
        &mut self,
        now: BootTime,
        from: &Endpoint,
        mut bytes: Vec<u8>,
    ) -> Result<(), DropReason> {
        let header = DataHeader::read(&bytes).ok_or(DropReason::Malformed)?;
        let keypair = self
            .shared
            .session(header.receiver)
            .ok_or(DropReason::UnknownIndex)?;
        let cell = keypair.peer().ok_or(DropReason::UnknownIndex)?;
        let opened = keypair.open(now, &mut bytes)?;
        if !keypair.admit().accept(opened.counter) {
            return Err(DropReason::Replay);
        }
        let data = opened.len > 0;
        let outer = Amount::one(bytes.len() as u64);
        transport::received(&cell, &keypair, now, from, outer, data);
        if !data {
            self.keepalives += 1;
            return Ok(());
        }
        let inner = &mut bytes[DATA_HEADER_LEN..DATA_HEADER_LEN + opened.len];
        let snapshot = self.shared.snapshot();
        let owners = Owners::new(&snapshot);
        let len = transport::check_inner(&owners, &cell, inner, self.outer_ecn)?;
        self.delivered.push(inner[..len].to_vec());
        Ok(())
    }

    /// Lets the control thread do all it has to.
    pub fn drive(&mut self, now: BootTime, out: &mut Vec<Datagram>) {
        let at = self.now(now);
        loop {
            let raised = std::mem::take(&mut *self.raised.lock().unwrap());
            self.signals += raised.len();
            for id in &raised {
                self.device.handle_signal(at, *id);
            }
            let mut idle = raised.is_empty();
            while let Some(output) = self.device.poll_output() {
                idle = false;
                self.act(now, output, out);
            }
            if idle {
                return;
            }
        }
    }

    fn act(&mut self, now: BootTime, output: Output, out: &mut Vec<Datagram>) {
        match output {
            Output::Initiate(job) if self.hold_jobs => self.held.push(job),
            Output::Initiate(job) => {
                let done = job.run(now, &mut self.rng);
                if let Err(reason) = self.device.handle_initiated(self.now(now), done) {
                    self.count(reason);
                }
            }
            Output::Send { to, bytes, .. } => out.push(Datagram {
                from: self.addr,
                to: to.addr,
                bytes: bytes.as_bytes().to_vec(),
            }),
            Output::Flush { cell, keepalive } => self.flush(now, &cell, keepalive, out),
            Output::Purged { packets, .. } => self.purged += packets.len(),
            Output::Event { event, .. } => self.events.push((now, event)),
        }
    }

    fn flush(
        &mut self,
        now: BootTime,
        cell: &Arc<PeerCell>,
        keepalive: bool,
        out: &mut Vec<Datagram>,
    ) {
        let staged = cell.take_staged();
        if staged.is_empty() && keepalive && self.seal(now, cell, &[], out).is_err() {
            cell.want_handshake(now);
        }
        for packet in staged {
            if self.seal(now, cell, &packet, out).is_err() {
                let dropped = cell.stage(packet);
                assert!(dropped.is_none(), "they had room before");
                cell.want_handshake(now);
            }
        }
    }

    pub fn count(&mut self, reason: DropReason) {
        *self.drops.entry(reason).or_default() += 1;
    }

    pub fn dropped(&self, reason: DropReason) -> usize {
        self.drops.get(&reason).copied().unwrap_or(0)
    }

    /// Everything that a message could change and a test can see.
    pub fn state(&self) -> String {
        let mut text = format!(
            "indices {} timeout {:?} delivered {} keepalives {}",
            self.shared.indices.taken(),
            self.device.poll_timeout(),
            self.delivered.len(),
            self.keepalives,
        );
        for peer in self.device.peers() {
            let cell = peer.cell();
            let current = cell.current();
            text += &format!(
                "\n{} {:?} {:?} rx {} tx {} last {:?} staged {} current {:?}",
                peer.public(),
                cell.endpoint.get(),
                cell.activity,
                peer.rx_bytes(),
                peer.tx_bytes(),
                peer.last_handshake(),
                cell.staged.len(),
                current
                    .as_ref()
                    .map(|k| (k.local_index(), k.sent(), k.is_confirmed())),
            );
        }
        text
    }
}
