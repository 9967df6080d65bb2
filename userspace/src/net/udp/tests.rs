//! The sockets over loopback, without any privilege.

use super::*;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ringtun_lab::wait;

/// The two sockets of one worker, on a free port.
fn pair() -> UdpSockets {
    let mut all = UdpSockets::bind(0, 1, 0).expect("a free port");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn wait_for_one(socket: &UdpSocket) {
    wait::ready(&[socket.as_fd()], Duration::from_secs(60)).expect("a packet");
}

/// Receives until `count` packets came, and gives them with what is known of each.
fn receive(socket: &UdpSocket, count: usize) -> Vec<(Vec<u8>, Received)> {
    let mut batch = RecvBatch::new(8);
    let mut buffers = vec![vec![0; 65_536]; 8];
    let mut packets = Vec::new();
    while packets.len() < count {
        wait_for_one(socket);
        let got = socket
            .recv_batch(&mut batch, &mut buffers)
            .expect("receive");
        for (i, buffer) in buffers.iter_mut().enumerate().take(got) {
            let received = batch.get(i).expect("told");
            packets.extend(received.packets(buffer).map(|p| (p.to_vec(), received)));
        }
        assert_eq!(batch.get(got), None);
    }
    assert_eq!(packets.len(), count, "more came than was sent");
    packets
}

fn loopback(v6: bool, port: u16) -> SocketAddr {
    if v6 {
        (Ipv6Addr::LOCALHOST, port).into()
    } else {
        (Ipv4Addr::LOCALHOST, port).into()
    }
}

fn socket(sockets: &UdpSockets, v6: bool) -> &UdpSocket {
    sockets
        .for_address(loopback(v6, 1))
        .expect("this machine has both families")
}

#[test]
fn both_families_get_the_same_free_port_which_is_then_taken() {
    let sockets = pair();
    assert!(sockets.v4().is_some() && sockets.v6().is_some());
    assert_ne!(sockets.port(), 0);
    for v6 in [false, true] {
        let name = sys::local_name(socket(&sockets, v6).as_fd()).expect("name");
        let addr = wire::decode_name(&name.bytes[..name.len]).expect("address");
        assert_eq!((addr.port(), addr.is_ipv6()), (sockets.port(), v6));
    }
    let error = UdpSockets::bind(sockets.port(), 1, 0).expect_err("taken");
    assert!(
        matches!(error, BindError::InUse { port, family: "IPv4" } if port == sockets.port()),
        "{error}"
    );
}

#[test]
fn a_port_that_somebody_shares_with_others_is_taken_all_the_same() {
    // As a program that would hijack the group, or another ringtun's workers.
    let other = UdpSockets::bind(0, 2, 0).expect("a free port");
    let error = UdpSockets::bind(other[0].port(), 2, 0).expect_err("taken");
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
}

#[test]
fn a_port_taken_over_ipv6_alone_is_told_as_such() {
    let other = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
    let port = other.local_addr().expect("address").port();
    let error = UdpSockets::bind(port, 1, 0).expect_err("taken");
    assert!(
        matches!(error, BindError::InUse { family: "IPv6", .. }),
        "{error}"
    );
}

#[test]
fn the_kernel_spreads_senders_over_the_workers_and_keeps_each_with_one() {
    let workers = UdpSockets::bind(0, 2, 0).expect("a free port");
    let port = workers[0].port();
    assert_eq!(port, workers[1].port());
    for v6 in [false, true] {
        for _ in 0..32 {
            let sender = std::net::UdpSocket::bind(loopback(v6, 0)).expect("bind");
            for _ in 0..2 {
                sender.send_to(b"x", loopback(v6, port)).expect("send");
            }
        }
        let mut batch = RecvBatch::new(80);
        let mut buffers = vec![vec![0; 2048]; 80];
        let mut total = 0;
        for worker in &workers {
            let socket = socket(worker, v6);
            let got = socket
                .recv_batch(&mut batch, &mut buffers)
                .expect("receive");
            let mut from: Vec<_> = (0..got).map(|i| batch.get(i).expect("told").from).collect();
            from.sort();
            for twice in from.chunks(2) {
                assert_eq!(
                    twice[0], twice[1],
                    "one sender's packets went to two workers"
                );
            }
            assert!(got > 8, "{got} of 64 packets");
            total += got;
        }
        assert_eq!(total, 64);
    }
}

#[test]
fn a_datagram_comes_with_its_sender_its_destination_and_its_tos() {
    for v6 in [false, true] {
        let (a, b) = (pair(), pair());
        let to = loopback(v6, b.port());
        let sent = socket(&a, v6).send(&Outgoing {
            to,
            source: None,
            tos: 0x88 | 2,
            bytes: b"hello",
            segment: 0,
        });
        assert!(sent.stopped.is_none());
        assert_eq!((sent.packets, sent.source_refused), (1, false));
        let packets = receive(socket(&b, v6), 1);
        let (bytes, received) = &packets[0];
        assert_eq!(bytes, b"hello");
        assert_eq!(received.from, loopback(v6, a.port()));
        assert_eq!(received.tos, 0x8a);
        let local = received.local.expect("packet info");
        assert_eq!(local.addr, to.ip());
        assert_ne!(local.ifindex, 0);
        assert!(!received.truncated);
    }
}

#[test]
fn a_burst_is_cut_into_its_packets_and_joined_again() {
    for v6 in [false, true] {
        let (a, b) = (pair(), pair());
        // More than one system call's worth, and a shorter last packet.
        let bytes: Vec<u8> = (0..150 * 1400 + 77).map(|i| (i / 1400) as u8).collect();
        let out = Outgoing {
            to: loopback(v6, b.port()),
            source: None,
            tos: 0,
            bytes: &bytes,
            segment: 1400,
        };
        assert_eq!(out.packets(), 151);
        let sent = socket(&a, v6).send(&out);
        assert!(sent.stopped.is_none());
        assert_eq!(sent.packets, 151);
        let packets = receive(socket(&b, v6), 151);
        let joined: Vec<u8> = packets
            .iter()
            .flat_map(|(bytes, _)| bytes.clone())
            .collect();
        assert_eq!(joined, bytes);
        assert!(
            packets
                .iter()
                .take(150)
                .all(|(bytes, _)| bytes.len() == 1400)
        );
        assert!(packets[0].1.len > 1400, "the kernel joined none");
    }
}

#[test]
fn a_batch_goes_to_each_of_its_destinations() {
    for v6 in [false, true] {
        let a = pair();
        let others: Vec<UdpSockets> = (0..5).map(|_| pair()).collect();
        let bytes = [7; 3000];
        let mut reported = Vec::new();
        socket(&a, v6).send_batch(
            // Less than the items: several system calls.
            &mut SendBatch::new(3),
            10,
            |i| Outgoing {
                to: loopback(v6, others[i % 5].port()),
                source: None,
                tos: 0,
                bytes: &bytes[..if i < 5 { 100 + i } else { 3000 }],
                segment: if i < 5 { 0 } else { 1000 },
            },
            |i, sent| {
                assert!(sent.stopped.is_none());
                reported.push((i, sent.packets));
            },
        );
        let expected: Vec<_> = (0..10).map(|i| (i, if i < 5 { 1 } else { 3 })).collect();
        assert_eq!(reported, expected);
        for (i, other) in others.iter().enumerate() {
            let lens: Vec<_> = receive(socket(other, v6), 4)
                .iter()
                .map(|(bytes, _)| bytes.len())
                .collect();
            assert_eq!(lens, [100 + i, 1000, 1000, 1000]);
        }
    }
}

#[test]
fn one_refused_item_of_a_batch_does_not_stop_the_others() {
    let (a, b) = (pair(), pair());
    let too_long = vec![0; 66_000];
    let mut outcome = Vec::new();
    socket(&a, false).send_batch(
        &mut SendBatch::new(8),
        3,
        |i| Outgoing {
            to: loopback(false, b.port()),
            source: None,
            tos: 0,
            bytes: if i == 1 { &too_long } else { b"fine" },
            segment: 0,
        },
        |i, sent| {
            outcome.push((
                i,
                sent.packets,
                matches!(sent.stopped, Some(Stop::Refused(_))),
            ))
        },
    );
    assert_eq!(outcome, [(0, 1, false), (1, 0, true), (2, 1, false)]);
    assert_eq!(receive(socket(&b, false), 2).len(), 2);
}

#[test]
fn a_source_that_is_no_local_address_is_replaced_and_reported() {
    for v6 in [false, true] {
        let (a, b) = (pair(), pair());
        // Documentation addresses: nobody has them (RFC 5737, RFC 3849).
        let addr = if v6 { "2001:db8::1" } else { "192.0.2.1" };
        let bytes = [0; 2500];
        for segment in [0, 1000] {
            let out = Outgoing {
                to: loopback(v6, b.port()),
                source: Some(Source {
                    addr: addr.parse().expect("address"),
                    ifindex: 1,
                }),
                tos: 0,
                bytes: &bytes,
                segment,
            };
            let sent = socket(&a, v6).send(&out);
            assert!(sent.stopped.is_none(), "{:?}", sent.stopped);
            assert!(sent.source_refused);
            assert_eq!(sent.packets, out.packets());
            let packets = receive(socket(&b, v6), out.packets());
            assert_eq!(packets[0].1.from, loopback(v6, a.port()));
        }
        // The burst was not at fault: it is tried again next time.
        let key = send::GsoState::key(loopback(v6, b.port()));
        assert!(socket(&a, v6).gso.borrow().would_try(key, 1000));
    }
}

#[test]
fn a_pinned_source_is_used() {
    let (a, b) = (pair(), pair());
    let source = Source {
        addr: "127.0.0.53".parse().expect("address"),
        ifindex: 1,
    };
    let sent = socket(&a, false).send(&Outgoing {
        to: loopback(false, b.port()),
        source: Some(source),
        tos: 0,
        bytes: b"x",
        segment: 0,
    });
    assert!(!sent.source_refused && sent.packets == 1);
    let packets = receive(socket(&b, false), 1);
    assert_eq!(packets[0].1.from.ip(), source.addr);
}

#[test]
fn a_source_of_the_other_family_is_not_used() {
    let (a, b) = (pair(), pair());
    let sent = socket(&a, true).send(&Outgoing {
        to: loopback(true, b.port()),
        source: Some(Source {
            addr: "127.0.0.1".parse().expect("address"),
            ifindex: 1,
        }),
        tos: 0,
        bytes: b"x",
        segment: 0,
    });
    assert!(!sent.source_refused && sent.packets == 1);
    assert_eq!(receive(socket(&b, true), 1).len(), 1);
}

#[test]
fn nobody_at_the_other_end_is_no_error() {
    let a = pair();
    let port = pair().port();
    for v6 in [false, true] {
        let out = Outgoing {
            to: loopback(v6, port),
            source: None,
            tos: 0,
            bytes: b"anybody there?",
            segment: 0,
        };
        let mut batch = RecvBatch::new(1);
        for _ in 0..3 {
            assert!(socket(&a, v6).send(&out).stopped.is_none());
            let got = socket(&a, v6).recv_batch(&mut batch, &mut [vec![0; 2048]]);
            assert_eq!(got.expect("no error"), 0);
        }
    }
}

#[test]
fn a_datagram_longer_than_its_buffer_is_told() {
    let (a, b) = (pair(), pair());
    let _ = socket(&a, false).send(&Outgoing {
        to: loopback(false, b.port()),
        source: None,
        tos: 0,
        bytes: &[1; 500],
        segment: 0,
    });
    let mut batch = RecvBatch::new(1);
    wait_for_one(socket(&b, false));
    let got = socket(&b, false).recv_batch(&mut batch, &mut [vec![0; 100]]);
    assert_eq!(got.expect("receive"), 1);
    let received = batch.get(0).expect("told");
    assert_eq!((received.len, received.truncated), (100, true));
}

#[test]
fn an_empty_datagram_is_one_packet() {
    let (a, b) = (pair(), pair());
    let sent = socket(&a, false).send(&Outgoing {
        to: loopback(false, b.port()),
        source: None,
        tos: 0,
        bytes: &[],
        segment: 0,
    });
    assert_eq!(sent.packets, 1);
    let mut batch = RecvBatch::new(1);
    let mut buffer = vec![0; 100];
    wait_for_one(socket(&b, false));
    let got = socket(&b, false).recv_batch(&mut batch, std::slice::from_mut(&mut buffer));
    assert_eq!(got.expect("receive"), 1);
    let received = batch.get(0).expect("told");
    assert_eq!(received.len, 0);
    assert_eq!(received.packets(&mut buffer).count(), 0);
}
