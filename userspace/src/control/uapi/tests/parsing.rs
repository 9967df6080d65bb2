use proptest::prelude::*;

use crate::control::capture::{CaptureRequest, CaptureSides};
use crate::control::errno::Errno;
use crate::control::uapi::Operation;
use crate::control::uapi::parser::{Event, ParseError, Parser};

fn zone(_: &str) -> Option<u32> {
    Some(1)
}

/// All events of `pieces` as text, the end of input included.
fn events(pieces: &[&[u8]]) -> Vec<String> {
    let mut parser = Parser::new(zone);
    let mut out = Vec::new();
    for mut piece in pieces.iter().copied() {
        while let Some(event) = parser.next(&mut piece) {
            out.push(format!("{event:?}"));
        }
        assert!(piece.is_empty());
    }
    out.extend(parser.end_of_input().map(|e| format!("{e:?}")));
    out
}

/// The errors of a text, and how many operations ended well.
fn outcome(text: &[u8]) -> (Vec<(Option<Operation>, ParseError)>, usize) {
    let mut parser = Parser::new(zone);
    let (mut errors, mut ended) = (Vec::new(), 0);
    let mut input = text;
    let mut note = |event| match event {
        Event::End(_) => ended += 1,
        Event::Refused { operation, error } => errors.push((operation, error)),
        Event::Begin(_) | Event::Line(_) => {}
    };
    while let Some(event) = parser.next(&mut input) {
        note(event);
    }
    if let Some(event) = parser.end_of_input() {
        note(event);
    }
    (errors, ended)
}

fn key(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

fn long_conversation() -> String {
    format!(
        "get=1\n\nset=1\nprivate_key={a}\nlisten_port=51820\nfwmark=51820\nreplace_peers=true\n\
         public_key={b}\nprotocol_version=1\npreshared_key={a}\nendpoint=192.0.2.1:51820\n\
         persistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=10.0.0.0/8\n\
         allowed_ip=-fd00::/8\npublic_key={a}\nupdate_only=true\nendpoint=[fe80::1%eth0]:7\n\
         public_key={b}\nremove=true\n\nset=1\nlisten_port=nine\nfwmark=1\n\nring\n\n\
         set=1\npublic_key={b}\nlisten_port=1\n\nringtun=1\n\nget=1\nx\n\nget=1\n\n\
         ringtun_capture=both\nsnap=96\npublic_key={b}\n\nringtun_capture=all\n\n",
        a = key(0xaa),
        b = key(0xbb),
    )
}

#[test]
fn a_conversation_cut_at_every_byte_is_understood_the_same() {
    let text = long_conversation();
    let whole = events(&[text.as_bytes()]);
    assert!(whole.iter().any(|e| e.contains("RemoveAllowedIp")));
    assert_eq!(whole.iter().filter(|e| e.starts_with("Refused")).count(), 5);
    assert_eq!(whole.iter().filter(|e| e.starts_with("End")).count(), 5);
    for cut in 0..=text.len() {
        let (a, b) = text.as_bytes().split_at(cut);
        assert_eq!(events(&[a, b]), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    assert_eq!(events(&bytes), whole);
}

#[test]
fn each_bad_line_has_its_errno_and_the_next_operation_works() {
    let peer = format!("public_key={}\n", key(1));
    let cases: &[(&str, &str, Errno)] = &[
        ("", "nonsense", Errno::PROTOCOL),
        ("", "=", Errno::INVALID),
        ("", "nope=1", Errno::INVALID),
        ("", "private_key=", Errno::INVALID),
        ("", "private_key=00", Errno::INVALID),
        ("", "listen_port=65536", Errno::INVALID),
        ("", "listen_port=", Errno::INVALID),
        ("", "listen_port= 1", Errno::INVALID),
        ("", "fwmark=0x10", Errno::INVALID),
        ("", "fwmark=4294967296", Errno::INVALID),
        ("", "replace_peers=false", Errno::INVALID),
        ("", "replace_peers=", Errno::INVALID),
        ("", "endpoint=1.2.3.4:5", Errno::INVALID),
        ("", "remove=true", Errno::INVALID),
        ("", "rx_bytes=1", Errno::INVALID),
        ("", "public_key=zz", Errno::INVALID),
        ("", "set=1", Errno::INVALID),
        (&peer, "listen_port=1", Errno::INVALID),
        (&peer, "remove=1", Errno::INVALID),
        (&peer, "update_only=yes", Errno::INVALID),
        (&peer, "preshared_key=q", Errno::INVALID),
        (&peer, "endpoint=example.com:5", Errno::INVALID),
        (&peer, "persistent_keepalive_interval=65536", Errno::INVALID),
        (&peer, "persistent_keepalive_interval=-1", Errno::INVALID),
        (&peer, "replace_allowed_ips=0", Errno::INVALID),
        (&peer, "allowed_ip=10.0.0.0", Errno::INVALID),
        (&peer, "allowed_ip=10.0.0.0/33", Errno::INVALID),
        (&peer, "allowed_ip=--10.0.0.0/8", Errno::INVALID),
        (&peer, "protocol_version=2", Errno::INVALID),
        (&peer, "last_handshake_time_sec=1", Errno::INVALID),
        (&peer, "tx_bytes=1", Errno::INVALID),
    ];
    for (before, line, errno) in cases {
        let text = format!("set=1\n{before}{line}\nlisten_port=1\nwhatever\n\nget=1\n\n");
        let (errors, ended) = outcome(text.as_bytes());
        assert_eq!(errors.len(), 1, "{line}: {errors:?}");
        assert_eq!(errors[0].0, Some(Operation::Set), "{line}");
        assert_eq!(errors[0].1.errno, *errno, "{line}");
        let at = 2 + before.lines().count() as u64;
        assert_eq!(errors[0].1.line, at, "{line}");
        assert_eq!(ended, 1, "{line}: the get after it");
    }
}

/// The captures that a text asks for.
fn captures(text: &str) -> Vec<CaptureRequest> {
    let mut parser = Parser::new(zone);
    let mut input = text.as_bytes();
    std::iter::from_fn(|| parser.next(&mut input))
        .filter_map(|event| match event {
            Event::End(Operation::Capture(request)) => Some(request),
            _ => None,
        })
        .collect()
}

#[test]
fn a_capture_is_asked_for_by_lines_of_its_own() {
    for sides in [CaptureSides::Outer, CaptureSides::Inner, CaptureSides::Both] {
        let plain = CaptureRequest::new(sides);
        let text = format!("ringtun_capture={}\n\n", sides.label());
        assert_eq!(captures(&text), [plain]);
        let mut full = plain;
        full.line("snap", "96").unwrap();
        full.line("public_key", &key(7)).unwrap();
        assert_eq!(full.snap, 96);
        assert!(full.peer.is_some());
        for request in [plain, full] {
            assert_eq!(captures(&request.text()), [request], "what our client says");
        }
    }
    for (lines, errno) in [
        ("ringtun_capture=", Errno::INVALID),
        ("ringtun_capture=both ", Errno::INVALID),
        ("ringtun_capture=\u{fc}", Errno::INVALID),
        ("ringtun_capture", Errno::PROTOCOL),
        ("ringtun_capture=both\nsnap", Errno::PROTOCOL),
        ("ringtun_capture=both\nsnap=13", Errno::INVALID),
        ("ringtun_capture=both\nsnap=262145", Errno::INVALID),
        ("ringtun_capture=both\nsnap=-1", Errno::INVALID),
        ("ringtun_capture=both\nsnap=", Errno::INVALID),
        ("ringtun_capture=both\npublic_key=07", Errno::INVALID),
        ("ringtun_capture=both\ncount=1", Errno::INVALID),
        ("ringtun_capture=both\nget=1", Errno::INVALID),
        ("ringtun_capture=both\n\u{0}", Errno::PROTOCOL),
    ] {
        let (errors, ended) = outcome(format!("{lines}\n\nget=1\n\n").as_bytes());
        assert_eq!(errors.len(), 1, "{lines:?}");
        assert_eq!(errors[0].1.errno, errno, "{lines:?}");
        assert_eq!(ended, 1, "{lines:?}: the get after it");
    }
    let (errors, _) = outcome(b"ringtun_capture=both\nsnap=96\n");
    assert_eq!(errors[0].1.errno, Errno::PROTOCOL, "cut off");
}

#[test]
fn an_unknown_operation_and_bytes_that_are_no_text_are_protocol_errors() {
    for text in [
        &b"hello\n\nget=1\n\n"[..],
        b"set=2\nlisten_port=1\n\nget=1\n\n",
        b"get=2\n\nget=1\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\n\nget=1\n\n",
        b"set=1\n\xff\xfe=1\n\nget=1\n\n",
        b"set=1\n\0\0\0\0\n\nget=1\n\n",
    ] {
        let (errors, ended) = outcome(text);
        assert_eq!(errors.len(), 1, "{:?}", String::from_utf8_lossy(text));
        assert_eq!(errors[0].1.errno, Errno::PROTOCOL);
        assert_eq!(ended, 1);
    }
}

#[test]
fn errors_never_show_a_key() {
    let secret = "5ec2e7".repeat(11);
    for line in [
        format!("private_key={secret}"),
        format!("public_key={}\npreshared_key={secret}", key(1)),
        format!("private_key ={secret}"),
        secret.clone(),
        // As base64 ends: what stands before the sign is no key of this protocol.
        format!("{secret}="),
        format!("{}=", &secret[..43]),
        format!("public_key={}\n{}=", key(1), &secret[..43]),
    ] {
        let (errors, _) = outcome(format!("set=1\n{line}\n\n").as_bytes());
        let shown = format!("{} {:?}", errors[0].1, errors[0].1);
        assert!(!shown.contains("5ec2e7"), "{shown}");
    }
    let text = format!(
        "set=1\nprivate_key={}\npublic_key={}\npreshared_key={}\n\n",
        key(0x5e),
        key(1),
        key(0x5e)
    );
    for event in events(&[text.as_bytes()]) {
        assert!(!event.contains("5e5e"), "{event}");
    }
}

#[test]
fn a_request_that_stops_in_the_middle_is_refused() {
    for text in [
        "set=1\n",
        "set=1\nlisten_port=1\n",
        "set=1\nlisten",
        "get=1\n",
        "ge",
        "x",
    ] {
        let (errors, ended) = outcome(text.as_bytes());
        assert_eq!((errors.len(), ended), (1, 0), "{text:?}");
        assert_eq!(errors[0].1.errno, Errno::PROTOCOL);
    }
    for text in ["", "\n\n", "get=1\n\n", "bad\n\n"] {
        let (errors, _) = outcome(text.as_bytes());
        assert_eq!(errors.len(), usize::from(text == "bad\n\n"), "{text:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_the_same_events(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("set=1".to_owned()), Just("get=1".to_owned()), Just(String::new()),
                Just(format!("public_key={}", key(7))), Just("remove=true".to_owned()),
                "(listen_port|fwmark|allowed_ip|endpoint|private_key)=[0-9a-f./:\\[\\]%-]{0,70}",
                "\\PC{0,40}",
            ], 0..30),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let text = lines.join("\n");
        let whole = events(&[text.as_bytes()]);
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
        prop_assert_eq!(events(&pieces), whole);
    }
}
