use super::*;

const KEY: [u8; KEY_LEN] = *b"\xff\xef\xbe\x01\x5a\x77\x09\x10\x80\x91\xa2\xb3\xc4\xd5\xe6\xf7\
    \x00\x13\x22\x33\x44\x55\x66\x78\x88\x99\xaa\xbc\xcc\xdd\xee\xfb";

fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    secrets.key(&KEY);
    for text in [
        "203.0.113.9",
        "10.78.3.0/24",
        "2001:db8::77",
        "fd00:1::5",
        "10.0.0.0/8",
        "128.0.0.0/2",
        "52:54:00:12:34:56",
        "Anna's phone",
        "vpn.example.org",
        "An\"na",
        "ünal",
        "th",
        "4711",
        "fade",
        "veth-3",
        "/home/hannah/x.conf",
    ] {
        secrets.text(text);
    }
    secrets
}

fn found(line: &str) -> Option<&'static str> {
    let text = format!("read it\n==== links ====\nMTU 1500\n{line}\n");
    let leak = secrets().find(&text, "read it\nlinks\nMTU\nethernet\nveth", true)?;
    assert_eq!((leak.line, leak.section.as_str()), (4, "links"), "{line}");
    Some(leak.what)
}

#[test]
fn a_piece_of_a_key_is_found_in_each_of_its_forms() {
    let base64 = STANDARD_NO_PAD.encode(KEY);
    let url = base64.replace('+', "-").replace('/', "_");
    assert_ne!(base64, url);
    let hex = base16ct::lower::encode_string(&KEY);
    let by = |glue: &str| {
        let bytes = KEY.map(|byte| format!("{byte:02x}"));
        bytes[10..].join(glue)
    };
    for form in [
        &base64,
        &url,
        &hex,
        &hex.to_uppercase(),
        &base64[3..19],
        &url[..17],
        &hex[40..],
        &by(":"),
        &by(" "),
        &KEY[4..14]
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    ] {
        assert!(
            found(form).is_some_and(|what| what.contains("key")),
            "{form}"
        );
        let inside = format!("x.{form}.y");
        assert!(found(&inside).is_some(), "{inside}");
    }
    assert_eq!(found(&base64[..15]), None);
    let other = STANDARD_NO_PAD.encode([0x5a; KEY_LEN]);
    assert_eq!(found(&other), Some("something like a key"));
    assert_eq!(found("0 0 0 0 0 0 0 0 1 1 1 1 1 1 1 1"), None);
}

#[test]
fn an_address_is_found_in_whatever_is_around_it() {
    for line in [
        "203.0.113.9",
        "203.000.113.009",
        "-d203.0.113.9",
        "x203.0.113.9y",
        "203.0.113.9.10.0.0.9",
        "10.0.0.9.203.0.113.9",
        "203.0.113.9:51820",
        "::ffff:203.0.113.9",
        "::ffff:cb00:7109",
        "64:ff9b::cb00:7109",
        "2001:db8::77",
        "2001:DB8:0:0:0:0:0:77",
        "2001:db8::77.53",
        "[2001:db8::77]:53",
        "xfd00:1::5y",
        "fd00:1::5%eth0",
        "10.78.3.0",
    ] {
        assert_eq!(found(line), Some("an address"), "{line}");
    }
    for line in [
        "203.0.113.90",
        "6.18.44",
        "10.0.0.0/8",
        "128.0.0.0/2",
        "127.0.0.1",
        "2001:db8::7",
        "::1",
        "12:34:56",
    ] {
        assert_eq!(found(line), None, "{line}");
    }
    let long = "1:".repeat(40);
    assert_eq!(found(&long), Some("something like an address"));
    let text = "a\n203.0.113.9\n";
    assert_eq!(
        secrets().find(text, "a", false),
        None,
        "if they were asked for"
    );
}

#[test]
fn a_hardware_address_is_found_however_it_is_written() {
    for line in [
        "52:54:00:12:34:56",
        "52-54-00-12-34-56",
        "5254.0012.3456",
        "enx525400123456",
        "525400123456",
        "52:54:00:12:34:56:00:00",
    ] {
        for line in [line.to_owned(), line.to_uppercase()] {
            let what = found(&line);
            assert_eq!(what, Some("a hardware address"), "{line}");
        }
    }
    assert_eq!(found("52:54:00:12:34:57"), None);
}

#[test]
fn a_name_is_found_in_any_case_and_not_inside_another_word() {
    for line in [
        "Anna's phone",
        "ANNA",
        "anna-2",
        "on the phone.",
        "VPN.Example.Org",
        "/home/Hannah",
        "An\\\"na",
        "an\"NA",
        "ÜNAL",
        "th",
        "fade",
        "name=fade,",
    ] {
        let what = found(line);
        assert_eq!(
            what,
            Some("a name or another text of this machine"),
            "{line}"
        );
    }
    for line in [
        "Annapolis",
        "ethernet",
        "with",
        "4711",
        "fd12:fade::1",
        "veth-3",
        "peer-1",
        "links",
        "MTU",
    ] {
        assert_eq!(found(line), None, "{line}");
    }
}

#[test]
fn the_place_of_a_leak_is_told_in_json_too() {
    let text =
        "{\n  \"sections\": [\n    {\n      \"section\": \"log\",\n      \"x\": \"203.0.113.9\"\n";
    let leak = secrets().find(text, "sections section log", true).unwrap();
    assert_eq!((leak.line, leak.section.as_str()), (5, "log"));
    assert_eq!(
        leak.to_string(),
        "line 5, in the section `log`, would have held an address"
    );
}
