//! The extension `ringtun=1`: what `ringtun show` prints and `wg` never asks
//! for. It is an operation of its own on the UAPI socket, so that no second
//! socket has to be guarded, watched and cleaned up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::nics::report::{CardReport, LanReport};
use crate::control::nics::steer::SteerReport;

/// What ringtun knows about a device beyond the UAPI. Fields are only ever
/// added; a client ignores what it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// Version of the daemon.
    pub version: String,
    /// Process of the daemon.
    pub pid: u32,
    /// How outer packets travel: `udp`, `xdp`.
    pub io: String,
    /// Why that one was chosen.
    pub io_reason: String,
    /// What was asked for: `auto`, `xdp`, `udp`.
    pub io_asked: String,
    /// What was asked for last is not carried out yet.
    pub io_pending: bool,
    /// Rings come with the first peer that has an endpoint.
    pub io_waits: bool,
    /// Endpoints that are reached by the socket although rings are in use, and why.
    pub by_socket: Vec<String>,
    /// Network cards of the process that carry the XDP program.
    pub cards: Vec<CardReport>,
    /// Slots of each ring of these cards, by its kind: `rx`, `tx`, `fill`, `completion`.
    pub ring_slots: BTreeMap<String, u64>,
    /// What left the XDP program, by verdict; empty while there is none.
    pub verdicts: BTreeMap<String, CountInfo>,
    /// What it saw, by class.
    pub classes: BTreeMap<String, CountInfo>,
    /// Interfaces with clients, whose TCP connections are clamped.
    pub lan: Vec<LanReport>,
    /// What left the XDP program there, by verdict; empty while there is none.
    pub lan_verdicts: BTreeMap<String, CountInfo>,
    /// Tunnels of others that are spread over CPUs.
    pub steering: Vec<SteerReport>,
    /// What was handed to each of these CPUs, by its number.
    pub steered: BTreeMap<u32, CountInfo>,
    /// The device's MTU in bytes.
    pub mtu: u32,
    /// Whether the link is up.
    pub up: bool,
    /// Address of the metrics endpoint.
    pub metrics: Option<String>,
    /// One per worker thread.
    pub workers: Vec<WorkerInfo>,
    /// Packets not delivered, by reason; every reason is there.
    pub drops: BTreeMap<String, u64>,
    /// Queues between threads, by name.
    pub queues: BTreeMap<String, QueueInfo>,
}

/// What a worker moved since the device was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerInfo {
    /// Packets received outside.
    pub rx_packets: u64,
    /// Bytes received outside.
    pub rx_bytes: u64,
    /// Packets sent outside.
    pub tx_packets: u64,
    /// Bytes sent outside.
    pub tx_bytes: u64,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CountInfo {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueueInfo {
    /// Entries now.
    pub length: u64,
    /// Entries at most.
    pub capacity: u64,
}
