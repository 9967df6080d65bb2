//! A gateway: the device that control has, and what all its threads share.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use ringtun::crypto::{PrivateKey, PublicKey, os_rng};
use ringtun::datapath::frames::FramePool;
use ringtun::datapath::handshakes::Queues;
use ringtun::datapath::inbound::{Datagram, Inbound};
use ringtun::datapath::mss::MssClamp;
use ringtun::datapath::port::Tunnel;
use ringtun::datapath::stats::WorkerStats;
use ringtun::tunnel::allowed_ips::Prefix;
use ringtun::tunnel::cell::PeerId;
use ringtun::tunnel::device::{AddPeer, Device};
use ringtun::tunnel::endpoint::Endpoint;
use ringtun::tunnel::gate::GateOutcome;
use ringtun::tunnel::messages::KEEPALIVE_LEN;
use ringtun::tunnel::output::{HandshakeBytes, Output};
use ringtun::tunnel::time::{BootTime, Now, WallTime};
use ringtun::tunnel::transport::Ecn;

use super::client::{Client, Session};

/// A gateway that is up.
pub struct Gateway {
    device: Device,
    /// What workers see.
    pub tunnel: Arc<Tunnel>,
    public: PublicKey,
}

/// Both clocks at this time since boot.
pub fn at(boot: BootTime) -> Now {
    let nanos = boot.as_nanos();
    Now {
        boot,
        wall: WallTime {
            secs: nanos / 1_000_000_000,
            nanos: (nanos % 1_000_000_000) as u32,
        },
    }
}

impl Gateway {
    /// A gateway without peers.
    pub fn new(now: BootTime, mtu: usize, key: PrivateKey) -> Gateway {
        let public = key.public();
        // Nobody waits for signals: no timer runs here.
        let mut device = Device::new(now, &mut os_rng(), Arc::new(|_: PeerId| {}));
        device.set_private_key(now, Some(key));
        device.set_up(now, true);
        device.publish();
        let (tunnel, _) = Tunnel::new("bench", device.shared(), mtu, MssClamp::Mtu, 1);
        Gateway {
            device,
            tunnel,
            public,
        }
    }

    /// Who it is.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Adds a peer; seen by others after [`publish`](Self::publish).
    pub fn add(&mut self, client: &PublicKey, prefixes: &[Prefix]) -> Result<()> {
        let added = self.device.add_peer(*client);
        ensure!(added == AddPeer::Added, "a key that is there already");
        for prefix in prefixes {
            self.device.add_allowed_ip(client, *prefix);
        }
        Ok(())
    }

    /// Shows all peers to the other threads.
    pub fn publish(&mut self) {
        self.device.publish();
    }

    /// Answers an initiation, as a handshake thread and control do.
    pub fn answer(
        &mut self,
        now: Now,
        from: SocketAddr,
        initiation: &[u8],
    ) -> Result<HandshakeBytes> {
        let shared = &self.tunnel.shared;
        let outcome = shared.gate.process(
            shared,
            now.boot,
            false,
            &Endpoint::new(from),
            initiation,
            &mut os_rng(),
            &mut os_rng(),
        );
        let GateOutcome::Commit(commit) = outcome else {
            bail!("an initiation was refused: {outcome:?}");
        };
        if let Err(reason) = self.device.handle_commit(now, commit) {
            bail!("an initiation was not answered: {reason:?}");
        }
        let mut response = None;
        while let Some(output) = self.device.poll_output() {
            if let Output::Send { bytes, .. } = output {
                response = Some(bytes);
            }
        }
        response.context("an initiation without a response")
    }

    /// A session with a client that either side can send with.
    pub fn connect(&mut self, now: Now, client: &mut Client, index: u32) -> Result<Session> {
        let (initiation, sent) = client.initiate(now.boot, index)?;
        let response = self.answer(now, client.address, &initiation)?;
        let session = client.accept(&sent, response.as_bytes())?;
        self.confirm(now, client, &session)?;
        Ok(session)
    }

    /// The first packet of a session, a keepalive, lets the gateway send with it.
    fn confirm(&self, now: Now, client: &Client, session: &Session) -> Result<()> {
        let frames = FramePool::new(1);
        let mut inbound = Inbound::new(Arc::clone(&frames), Queues::new(1));
        let mut frame = frames.take().context("a new pool has a frame")?;
        let keepalive = &mut frame.bytes_mut()[..KEEPALIVE_LEN];
        session.seal(session.reserve(1), keepalive);
        let datagram = Datagram {
            from: Endpoint::new(client.address),
            ecn: Ecn::NotEct,
            len: KEEPALIVE_LEN,
            segment: KEEPALIVE_LEN,
        };
        let stats = WorkerStats::default();
        inbound.sort(&self.tunnel, &stats, frame, &datagram, now.boot);
        inbound.deliver(&self.tunnel, &stats, now.boot, |_| {});
        let snapshot = self.tunnel.shared.snapshot();
        let cell = snapshot.peers.get(client.public());
        let cell = cell.context("a peer that is not there")?;
        ensure!(cell.current().is_some(), "a session was not confirmed");
        Ok(())
    }
}
