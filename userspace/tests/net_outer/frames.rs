//! Frames with these headers, sent as they are, reach a UDP socket.

use crate::netlink::inside;
use crate::support::{Host, PATIENCE, PEER_PORT, PORT, flow, resolved};
use ringtun::net::checksum;
use ringtun::net::hops::Hops;
use ringtun::net::outer::{Checksum, HEADERS_MAX, Hop, Identifications, Outer, Template};
use ringtun_lab::PacketSocket;
use std::net::SocketAddr;

/// Bytes of the longest payload: MTU 9000 less IPv6 and UDP.
const LONGEST: usize = 9000 - 48;

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + len) as u8).collect()
}

fn frame(template: &Template, ids: &mut Identifications, payload: &[u8], zero: bool) -> Vec<u8> {
    let mut room = vec![0; HEADERS_MAX];
    let outer = Outer {
        payload_len: payload.len(),
        traffic_class: 1,
        id: ids.take(),
    };
    let checksum = if zero {
        Checksum::Zero
    } else {
        Checksum::Complete(checksum::sum(payload))
    };
    let offload = template.write(&mut room, outer, checksum).expect("it fits");
    assert_eq!(offload, None);
    let mut frame = room.split_off(HEADERS_MAX - template.len());
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn a_socket_at_the_far_end_receives_the_payload_of_either_family() {
    let host = Host::new();
    let wire = host.wire(1);
    for (ns, device) in [(&host.ns, &wire.device), (&wire.far, &wire.far_device)] {
        ns.ip(&format!("link set {device} mtu 9000\n"))
            .expect("MTU");
    }
    for (to, source) in [("10.0.1.2", "10.0.1.1"), ("fd00:1::2", "fd00:1::1")] {
        let flow = flow(to);
        let socket = wire.far.udp(flow.to).expect("socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let from = SocketAddr::new(source.parse().expect("address"), PORT);
        let hop: Hop = inside(&host.ns, async || {
            let hops = Hops::open().expect("netlink");
            resolved(&host, &hops, &flow).await
        });
        // What the kernel was asked with.
        let mut buffer = vec![0; 10_000];
        socket.recv_from(&mut buffer).expect("the socket's packet");

        let template = Template::new(&hop, PORT, PEER_PORT);
        let mut ids = Identifications::new(0, 1, 1);
        let sender = host
            .ns
            .within(|| Ok(PacketSocket::open(&wire.device)?))
            .expect("packet socket");
        let send = |frame: Vec<u8>| assert_eq!(sender.send(&[frame]).expect("send"), 1);
        for len in [0, 1, 31, 32, 33, 1420, 1421, 4095, 8951, LONGEST] {
            let sent = payload(len);
            // The far end's kernel verifies checksums: one that is wrong by a
            // bit does not arrive, and what arrives was right.
            let mut broken = frame(&template, &mut ids, &sent, false);
            broken[template.len() - 1] ^= 1;
            send(broken);
            send(frame(&template, &mut ids, &sent, false));
            let mut expected = 1;
            if flow.to.is_ipv4() {
                send(frame(&template, &mut ids, &sent, true));
                expected = 2;
            }
            for _ in 0..expected {
                let (got, sender) = socket.recv_from(&mut buffer).expect("the payload");
                assert_eq!(sender, from);
                assert!(buffer[..got] == sent, "{len} bytes to {to}");
            }
        }
        // Nothing else came: the next is the last one sent.
        send(frame(&template, &mut ids, b"the end", false));
        let (got, _) = socket.recv_from(&mut buffer).expect("the end");
        assert_eq!(&buffer[..got], b"the end");
    }
}
