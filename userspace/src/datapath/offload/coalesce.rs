//! Decrypted packets into super-packets for the TUN device.
//!
//! Consecutive segments of one TCP connection, or datagrams of one UDP flow,
//! become one write: a vnet header, the first packet's headers with lengths
//! and partial checksum rewritten, and the payloads gathered from where they
//! lie. The rules are those of the kernel's GRO (`inet_gro_receive`,
//! `tcp_gro_receive`, `udp_gro_receive`), so that whoever forwards the
//! super-packet cuts it into the very packets that came: see [`super::rules`].
//!
//! Order: packets of one flow leave in the order in which they came. A packet
//! that cannot be merged ends its flow's super-packet, and one whose flow
//! cannot be told (a fragment, extension headers) ends all of them.
//!
//! A packet that is not merged is passed on untouched, its checksum unjudged:
//! the kernel counts bad ones. A bad one is never merged.

use std::io::IoSlice;

use super::rules::{self, Candidate, FlowKey, HEADERS_MAX};
use super::vnet::{Gso, VNET_LEN, VnetHeader};
use ringtun_common::checksum::Sum;
use ringtun_common::ip::{self, IPV6_LEN, Ipv4, Ipv6, TCP_FIN, TCP_PSH, Tcp, Udp};

/// Most packets in one super-packet. 64 KiB hold 47 of a full MTU; the
/// kernel's own limit for UDP is 64 (`UDP_GRO_CNT_MAX`).
pub const SEGMENTS_MAX: usize = 64;
/// Longest super-packet: the largest IPv4 total length.
const LENGTH_MAX: usize = 65_535;
/// Slots looked at before a flow is left alone.
const PROBES: usize = 8;
const NONE: u16 = u16::MAX;

/// What goes to the TUN device in one write.
#[derive(Debug)]
pub struct Merged<'a> {
    /// The vnet header, the packet's headers and its payloads, in this order.
    pub slices: &'a [IoSlice<'a>],
    /// How many of the packets handed in are in it.
    pub packets: usize,
    /// Bytes of those packets as they were handed in, for counters.
    pub bytes: usize,
}

/// A packet of the batch: where its payload lies and which one follows in its group.
#[derive(Clone, Copy, Debug)]
struct Member {
    next: u16,
    payload: u16,
}

/// A super-packet in the making; a lone packet is one, too.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: u16,
    last: u16,
    count: u16,
    /// Takes no more packets.
    closed: bool,
    /// The first packet's checksums were found right.
    verified: bool,
    /// IPv4: DF is set and the identification stands still.
    fixed_id: bool,
    /// FIN and PSH of the last packet.
    flags: u8,
    /// Bytes of all packets.
    bytes: u32,
    /// What the headers of the first packet say.
    shape: Candidate,
}

/// A slot of the flow table.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The time between two calls of `forget_flows` in which this slot was
    /// filled; any other means empty.
    epoch: u32,
    /// The flow's newest group.
    group: u16,
    key: FlowKey,
}

/// The merging stage of one worker: its memory, made once.
#[derive(Debug)]
pub struct Coalescer {
    members: Box<[Member]>,
    groups: Vec<Group>,
    /// The group that the packet before went to: the newest of its flow.
    recent: u16,
    slots: Box<[Slot]>,
    epoch: u32,
    udp: bool,
}

impl Coalescer {
    /// For batches of at most `batch` packets. UDP is merged only if `udp`:
    /// where the TUN device took `TUN_F_USO4` and `TUN_F_USO6`.
    ///
    /// # Panics
    /// If `batch` is 0 or more than 32,768.
    #[must_use]
    pub fn new(batch: usize, udp: bool) -> Self {
        assert!((1..=32_768).contains(&batch), "batch of {batch} packets");
        let empty = Slot {
            epoch: 0,
            group: NONE,
            key: FlowKey::default(),
        };
        Self {
            members: vec![
                Member {
                    next: NONE,
                    payload: 0
                };
                batch
            ]
            .into(),
            groups: Vec::with_capacity(batch),
            recent: NONE,
            slots: vec![empty; (2 * batch).next_power_of_two()].into(),
            epoch: 0,
            udp,
        }
    }

    /// The most packets that one batch can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.members.len()
    }

    /// Takes a batch of `count` whole IP packets, `packet(i)` the i-th in
    /// order of arrival, and calls `emit` for each write to be made. Every
    /// packet is in exactly one of them.
    ///
    /// # Panics
    /// If `count` is more than [`capacity`](Self::capacity).
    pub fn run<'p>(
        &mut self,
        count: usize,
        packet: impl Fn(usize) -> &'p [u8],
        mut emit: impl FnMut(Merged<'_>),
    ) {
        assert!(count <= self.capacity(), "{count} packets in a batch");
        self.groups.clear();
        self.recent = NONE;
        self.forget_flows();
        for index in 0..count {
            self.add(index, &packet);
        }
        for group in &self.groups {
            emit_group(group, &self.members, &packet, &mut emit);
        }
    }

    /// Ends all groups: no packet finds one any more.
    fn forget_flows(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // Once in 2^32 times: slots of long ago would look filled.
            self.slots.iter_mut().for_each(|slot| slot.epoch = 0);
            self.epoch = 1;
        }
    }

    /// Finds the packet's group, or starts one.
    fn add<'p>(&mut self, index: usize, packet: &impl Fn(usize) -> &'p [u8]) {
        let bytes = packet(index);
        let candidate = Candidate::of(bytes, self.udp);
        let payload = candidate.headers;
        self.members[index] = Member {
            next: NONE,
            payload,
        };
        if candidate.kind.is_none() {
            if !candidate.bystander {
                self.forget_flows();
            }
            self.start(index, bytes, candidate);
            return;
        }
        // Most packets follow one of their own flow: no need to look it up.
        if candidate.joins && self.append(self.recent, index, bytes, &candidate, packet) {
            return;
        }
        let key = FlowKey::of(bytes, &candidate);
        let Some(slot) = self.slot(&key) else {
            self.start(index, bytes, candidate);
            return;
        };
        if self.slots[slot].epoch == self.epoch {
            let newest = self.slots[slot].group;
            if newest != self.recent && self.append(newest, index, bytes, &candidate, packet) {
                return;
            }
        }
        let group = self.start(index, bytes, candidate);
        self.slots[slot] = Slot {
            epoch: self.epoch,
            group,
            key,
        };
    }

    /// Appends the packet to that group, if there is one and the rules allow it.
    fn append<'p>(
        &mut self,
        at: u16,
        index: usize,
        bytes: &'p [u8],
        candidate: &Candidate,
        packet: &impl Fn(usize) -> &'p [u8],
    ) -> bool {
        let Some(group) = self.groups.get_mut(usize::from(at)) else {
            return false;
        };
        if !merge(group, bytes, candidate, packet) {
            return false;
        }
        self.members[usize::from(group.last)].next = index as u16;
        group.last = index as u16;
        self.recent = at;
        true
    }

    /// The flow's slot, or an empty one for it; `None` if its neighbourhood is full.
    ///
    /// Slots are not freed one by one, so a flow that found none finds none
    /// later either, and its packets stay in order as lone groups.
    fn slot(&self, key: &FlowKey) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let start = key.hash();
        (0..PROBES)
            .map(|probe| start.wrapping_add(probe) & mask)
            .find(|&at| {
                let slot = &self.slots[at];
                slot.epoch != self.epoch || slot.key == *key
            })
    }

    fn start(&mut self, index: usize, bytes: &[u8], shape: Candidate) -> u16 {
        let index = index as u16;
        self.groups.push(Group {
            first: index,
            last: index,
            count: 1,
            closed: !shape.opens,
            verified: false,
            fixed_id: false,
            flags: 0,
            bytes: bytes.len() as u32,
            shape,
        });
        self.recent = (self.groups.len() - 1) as u16;
        self.recent
    }
}

/// Appends the packet to the group if the rules allow it.
fn merge<'p>(
    group: &mut Group,
    bytes: &'p [u8],
    candidate: &Candidate,
    packet: &impl Fn(usize) -> &'p [u8],
) -> bool {
    if group.closed || usize::from(group.count) >= SEGMENTS_MAX {
        return false;
    }
    let size = group.shape.payload;
    let payload_so_far = group.bytes - u32::from(group.count) * u32::from(group.shape.headers);
    let total =
        usize::from(group.shape.headers) + payload_so_far as usize + usize::from(candidate.payload);
    if !candidate.joins || candidate.payload > size || total > LENGTH_MAX {
        return false;
    }
    let first = packet(usize::from(group.first));
    let Some(fixed_id) = rules::follows(
        first,
        &group.shape,
        bytes,
        candidate,
        group.count,
        group.fixed_id,
        payload_so_far,
    ) else {
        return false;
    };
    // Last, because it reads the payload; the first packet's is summed only
    // now that there is something to merge it with.
    if !rules::checksums_are_valid(bytes, candidate) {
        return false;
    }
    if !group.verified {
        if !rules::checksums_are_valid(first, &group.shape) {
            return false;
        }
        group.verified = true;
    }
    group.fixed_id = fixed_id;
    group.count += 1;
    group.bytes += bytes.len() as u32;
    group.flags = candidate.flags & (TCP_FIN | TCP_PSH);
    group.closed = candidate.payload < size || group.flags != 0;
    true
}

fn emit_group<'p>(
    group: &Group,
    members: &[Member],
    packet: &impl Fn(usize) -> &'p [u8],
    emit: &mut impl FnMut(Merged<'_>),
) {
    let first = packet(usize::from(group.first));
    if group.count == 1 {
        emit(Merged {
            slices: &[IoSlice::new(&[0; VNET_LEN]), IoSlice::new(first)],
            packets: 1,
            bytes: first.len(),
        });
        return;
    }
    let mut front = [0; VNET_LEN + HEADERS_MAX];
    let Some(front) = headers(group, first, &mut front) else {
        debug_assert!(false, "a group of more than one packet has headers");
        return;
    };
    let mut slices = [IoSlice::new(&[]); SEGMENTS_MAX + 1];
    slices[0] = IoSlice::new(front);
    let mut used = 1;
    let mut at = group.first;
    while let (Some(member), Some(slice)) = (members.get(usize::from(at)), slices.get_mut(used)) {
        *slice = IoSlice::new(&packet(usize::from(at))[usize::from(member.payload)..]);
        used += 1;
        at = member.next;
    }
    debug_assert_eq!(used, usize::from(group.count) + 1);
    emit(Merged {
        slices: &slices[..used],
        packets: usize::from(group.count),
        bytes: group.bytes as usize,
    });
}

/// The vnet header and the super-packet's headers.
fn headers<'b>(
    group: &Group,
    first: &[u8],
    buffer: &'b mut [u8; VNET_LEN + HEADERS_MAX],
) -> Option<&'b [u8]> {
    let shape = &group.shape;
    let len = usize::from(shape.headers);
    let transport_at = usize::from(shape.transport);
    let payload = group.bytes as usize - usize::from(group.count) * len;
    let total = len + payload;
    let transport_len = total - transport_at;
    let tcp = shape.kind? != Gso::Udp;
    let vnet = VnetHeader {
        needs_csum: true,
        gso: shape.kind,
        ecn: tcp && shape.flags & ip::TCP_CWR != 0,
        hdr_len: shape.headers,
        gso_size: shape.payload,
        csum_start: shape.transport,
        csum_offset: if tcp { 16 } else { 6 },
    };
    buffer[..VNET_LEN].copy_from_slice(&vnet.to_bytes());
    let packet = &mut buffer[VNET_LEN..VNET_LEN + len];
    packet.copy_from_slice(&first[..len]);
    let (network, transport) = packet.split_at_mut(transport_at);
    // `total` is at most `LENGTH_MAX`, so that every length fits 16 bits.
    let protocol = if tcp { ip::TCP } else { ip::UDP };
    let pseudo = if shape.v4 {
        let mut ipv4 = Ipv4(network.first_chunk_mut()?);
        ipv4.set_total_len(total as u16);
        ipv4.set_checksum([0, 0]);
        let sum = Sum::pseudo_header(ipv4.addresses(), protocol, transport_len as u32);
        let checksum = Sum::of(network).finish();
        Ipv4(network.first_chunk_mut()?).set_checksum(checksum);
        sum
    } else {
        let mut ipv6 = Ipv6(network.first_chunk_mut()?);
        ipv6.set_payload_len((total - IPV6_LEN) as u16);
        Sum::pseudo_header(ipv6.addresses(), protocol, transport_len as u32)
    };
    if tcp {
        let mut tcp = Tcp(transport.first_chunk_mut()?);
        tcp.set_flags(shape.flags | group.flags);
        tcp.set_checksum(pseudo.partial());
    } else {
        let mut udp = Udp(transport.first_chunk_mut()?);
        udp.set_len(transport_len as u16);
        udp.set_checksum(pseudo.partial());
    }
    Some(&buffer[..VNET_LEN + len])
}
