use super::*;
use proptest::prelude::*;

/// What a reader finds in a file.
#[derive(Debug, Default, PartialEq)]
struct File {
    /// Name, link type, snap length.
    interfaces: Vec<(String, u16, u32)>,
    packets: Vec<Read>,
    /// Interface, packets that passed, packets missed.
    statistics: Vec<(u32, u64, u64)>,
}

/// A packet as a reader sees it.
#[derive(Clone, Debug, PartialEq)]
struct Read {
    interface: u32,
    /// Nanoseconds since 1970.
    time: u64,
    bytes: Vec<u8>,
    len: u32,
    flags: u32,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a word"))
}

/// The options from the start of `bytes` on, up to their end.
fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let head = word(bytes, 0);
        let (number, len) = (head as u16, (head >> 16) as usize);
        if number == OPTION_END {
            assert_eq!(bytes, [0; 4], "nothing is behind the end");
            return all;
        }
        all.push((number, bytes[4..4 + len].to_vec()));
        bytes = &bytes[4 + len.next_multiple_of(4)..];
    }
}

fn option(options: &[(u16, Vec<u8>)], wanted: u16) -> &[u8] {
    let found = options.iter().find(|(number, _)| *number == wanted);
    &found.expect("the option").1
}

/// Reads a file as the specification says, and fails at anything odd.
fn read(mut bytes: &[u8]) -> File {
    let mut file = File::default();
    let mut first = true;
    while !bytes.is_empty() {
        let (kind, len) = (word(bytes, 0), word(bytes, 4) as usize);
        assert_eq!(len % 4, 0);
        assert_eq!(word(bytes, len - 4) as usize, len, "the length comes twice");
        let body = &bytes[8..len - 4];
        assert_eq!(kind == SECTION_HEADER, first);
        first = false;
        match kind {
            SECTION_HEADER => {
                assert_eq!(word(body, 0), BYTE_ORDER);
                assert_eq!(word(body, 4), 1, "version 1.0");
                assert_eq!(body[8..16], [0xff; 8]);
                assert!(option(&options(&body[16..]), SHB_USERAPPL).starts_with(b"ringtun "));
            }
            INTERFACE_DESCRIPTION => {
                let options = options(&body[8..]);
                assert_eq!(option(&options, IF_TSRESOL), [9]);
                let name = option(&options, IF_NAME).to_vec();
                file.interfaces.push((
                    String::from_utf8(name).expect("UTF-8"),
                    word(body, 0) as u16,
                    word(body, 4),
                ));
            }
            ENHANCED_PACKET => {
                let kept = word(body, 12) as usize;
                let options = options(&body[20 + kept.next_multiple_of(4)..]);
                file.packets.push(Read {
                    interface: word(body, 0),
                    time: u64::from(word(body, 4)) << 32 | u64::from(word(body, 8)),
                    bytes: body[20..20 + kept].to_vec(),
                    len: word(body, 16),
                    flags: word(option(&options, EPB_FLAGS), 0),
                });
            }
            STATISTICS => {
                let options = options(&body[12..]);
                let number = |wanted| {
                    let value = option(&options, wanted).try_into().expect("eight bytes");
                    u64::from_le_bytes(value)
                };
                let counts = (word(body, 0), number(ISB_IFRECV), number(ISB_IFDROP));
                file.statistics.push(counts);
            }
            other => panic!("a block of type {other:#x}"),
        }
        bytes = &bytes[len..];
    }
    file
}

fn sides(snap: u32) -> Sides<'static> {
    Sides {
        outer: "eth0",
        inner: "wg0",
        snap,
    }
}

/// A packet to be written; `len` is what is missing of it.
fn packet() -> impl Strategy<Value = (Packet<'static>, Vec<u8>)> {
    let secs = 0..18_000_000_000u64;
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let choices = any::<(bool, bool, bool)>();
    (choices, secs, 0..1_000_000_000u32, bytes, 0usize..2000).prop_map(
        |((inner, out, ip), secs, nanos, bytes, len)| {
            let packet = Packet {
                side: if inner { Side::Inner } else { Side::Outer },
                direction: if out { Direction::Out } else { Direction::In },
                start: if ip { Start::Ip } else { Start::Ethernet },
                time: WallTime { secs, nanos },
                bytes: &[],
                len,
            };
            (packet, bytes)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        snap in 0u32..400,
        packets in proptest::collection::vec(packet(), 0..20),
    ) {
        let mut writer = Writer::new(Vec::new(), &sides(snap)).expect("memory");
        let snap = snap.max(14);
        let mut expected = Vec::new();
        for (packet, bytes) in &packets {
            let packet = Packet { bytes, len: bytes.len() + packet.len, ..*packet };
            writer.write(&packet).expect("memory");
            let mut frame = bytes.clone();
            let mut len = packet.len;
            if packet.start == Start::Ip {
                frame.splice(..0, made_up_header(&packet));
                len += 14;
            }
            frame.truncate(snap as usize);
            expected.push(Read {
                interface: u32::from(packet.side == Side::Inner),
                time: packet.time.secs * 1_000_000_000 + u64::from(packet.time.nanos),
                bytes: frame,
                len: len as u32,
                flags: if packet.direction == Direction::Out { 2 } else { 1 },
            });
        }
        let file = read(&writer.finish().expect("memory"));
        prop_assert_eq!(file.packets, expected);
        let interfaces = [("eth0", 1, snap), ("wg0", 1, snap)]
            .map(|(name, link, snap)| (name.to_owned(), link, snap));
        prop_assert_eq!(file.interfaces, interfaces);
    }
}

#[test]
fn a_packet_without_a_link_header_gets_one() {
    let mut writer = Writer::new(Vec::new(), &sides(1500)).expect("memory");
    for bytes in [&[0x45, 1][..], &[0x60, 2], &[0x10, 3], &[]] {
        let time = WallTime { secs: 1, nanos: 2 };
        writer
            .write(&Packet {
                side: Side::Inner,
                direction: Direction::In,
                start: Start::Ip,
                time,
                bytes,
                len: bytes.len(),
            })
            .expect("memory");
    }
    let file = read(&writer.finish().expect("memory"));
    let ends: Vec<_> = file
        .packets
        .iter()
        .map(|packet| {
            assert_eq!(packet.bytes[..12], [0; 12]);
            &packet.bytes[12..]
        })
        .collect();
    let expected: [&[u8]; 4] = [
        &[0x08, 0x00, 0x45, 1],
        &[0x86, 0xdd, 0x60, 2],
        &[0x88, 0xb5, 0x10, 3],
        &[0x88, 0xb5],
    ];
    assert_eq!(ends, expected);
}

#[test]
fn odd_values_are_bounded() {
    let long = "ü".repeat(100);
    let odd = Sides {
        outer: &long,
        inner: "",
        snap: u32::MAX,
    };
    let mut writer = Writer::new(Vec::new(), &odd).expect("memory");
    writer
        .write(&Packet {
            side: Side::Outer,
            direction: Direction::In,
            start: Start::Ip,
            time: WallTime {
                secs: u64::MAX,
                nanos: u32::MAX,
            },
            bytes: &vec![7; SNAP_MAX as usize + 1],
            // Fewer than there are: what is there counts.
            len: 0,
        })
        .expect("memory");
    let file = read(&writer.finish().expect("memory"));
    let interfaces = [("ü".repeat(32), 1, SNAP_MAX), (String::new(), 1, SNAP_MAX)];
    assert_eq!(file.interfaces, interfaces);
    let packet = &file.packets[0];
    assert_eq!(packet.bytes.len(), SNAP_MAX as usize);
    assert_eq!((packet.len, packet.time), (SNAP_MAX + 15, u64::MAX));
}

#[test]
fn an_error_of_the_file_is_told() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let kind = |room| Writer::new(Full(room), &sides(96)).map_err(|error| error.kind());
    assert_eq!(kind(10).err(), Some(io::ErrorKind::StorageFull));
    assert!(kind(10_000).is_ok());
}

/// With the tests that have the distribution's programs.
#[cfg(feature = "privileged")]
#[test]
fn tcpdump_reads_it() {
    use ringtun_common::fixtures;
    use std::process::{Command, Stdio};

    let mut writer = Writer::new(Vec::new(), &sides(1500)).expect("memory");
    let datagram = fixtures::ipv4(&[], 17, &[0, 7, 0, 9, 0, 8, 0, 0]);
    let frame = fixtures::ethernet(&[], 0x0800, &datagram);
    for (side, start, bytes, nanos) in [
        (Side::Outer, Start::Ethernet, &frame, 5),
        (Side::Outer, Start::Ip, &datagram, 6),
        (Side::Inner, Start::Ip, &datagram, 123_456_789),
    ] {
        writer
            .write(&Packet {
                side,
                direction: Direction::Out,
                start,
                time: WallTime {
                    secs: 1_700_000_000,
                    nanos,
                },
                bytes,
                len: bytes.len(),
            })
            .expect("memory");
    }
    let bytes = writer.finish().expect("memory");
    let mut tcpdump = Command::new("tcpdump")
        .args(["-r", "-", "-tt", "-n", "--nano"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tcpdump");
    let mut stdin = tcpdump.stdin.take().expect("a pipe");
    stdin.write_all(&bytes).expect("less than a pipe holds");
    drop(stdin);
    let output = tcpdump.wait_with_output().expect("its end");
    let [text, trouble] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{trouble}");
    assert!(trouble.contains("EN10MB"), "{trouble}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, time) in lines.iter().zip(["000000005", "000000006", "123456789"]) {
        assert!(line.starts_with(&format!("1700000000.{time} ")), "{line}");
        assert!(line.contains(".7 > ") && line.contains("UDP"), "{line}");
    }
}

#[test]
fn what_was_missed_is_told_of_each_side() {
    let mut writer = Writer::new(Vec::new(), &sides(1500)).expect("memory");
    let now = WallTime { secs: 1, nanos: 2 };
    for (side, passed, missed) in [(Side::Inner, 7, 0), (Side::Outer, u64::MAX, 3)] {
        writer
            .statistics(side, now, passed, missed)
            .expect("memory");
    }
    let file = read(&writer.finish().expect("memory"));
    assert_eq!(file.statistics, [(1, 7, 0), (0, u64::MAX, 3)]);
}
