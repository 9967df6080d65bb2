use proptest::prelude::*;

use super::*;

const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const PUBLIC: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
const OTHER: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";

fn check(text: &str) -> (Config, Vec<String>) {
    let (config, report) = parse(text.as_bytes());
    let shown = report.sorted().iter().map(ToString::to_string).collect();
    (config, shown)
}

/// A good file with `lines` in its first section or in its peer.
fn with(interface: &str, peer: &str) -> String {
    format!(
        "[Interface]\nPrivateKey = {PRIVATE}\nAddress = 10.0.0.1/24\nListenPort = 51820\n{interface}\n\
         [Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 10.0.0.2/32\n{peer}\n"
    )
}

#[test]
fn a_file_with_everything_in_it() {
    let text = format!(
        "# a comment\n  [interface] \nprivatekey={PRIVATE} # ours\nADDRESS = 10.0.0.1/24, fd00::1/64\n\
         Address = 192.0.2.7\nListenPort = 51820\nFwMark = 0xCa6c\nDNS = 1.1.1.1 , example.org\n\
         DNS = 2001:db8::53\nMTU = 1400\nTable = 1234\nPreUp = echo %i up\nPostUp = a; b=c\n\
         PostUp = second\nPreDown = x\nPostDown = y\nSaveConfig = TRUE\n\n[Peer]\r\nPublicKey = {PUBLIC}\r\n\
         PresharedKey = {PRIVATE}\nAllowedIPs = 10.0.0.2/32, fd00::2/128\nAllowedIPs = 10.7.0.0/16\n\
         Endpoint = vpn.example.org:51820\nPersistentKeepalive = 25\n[PEER]\nPublicKey={OTHER}\n\
         AllowedIPs = 10.0.0.3\nEndpoint = [2001:db8::1]:7\nPersistentKeepalive = off"
    );
    let (config, shown) = check(&text);
    assert_eq!(shown, Vec::<String>::new());
    let i = &config.interface;
    assert_eq!(*i.private_key.as_ref().unwrap().to_base64(), PRIVATE);
    assert_eq!(
        (i.listen_port, i.fwmark, i.mtu),
        (Some(51820), Some(0xca6c), Some(1400))
    );
    assert_eq!((&i.table, i.save_config), (&Table::Number(1234), true));
    let address = |a: &InterfaceAddress| format!("{}/{}", a.addr, a.len);
    let addresses: Vec<_> = i.addresses.iter().map(address).collect();
    assert_eq!(addresses, ["10.0.0.1/24", "fd00::1/64", "192.0.2.7/32"]);
    assert_eq!(
        (i.dns.len(), &i.dns_search),
        (2, &vec!["example.org".to_owned()])
    );
    assert_eq!(
        (&i.pre_up, &i.post_up),
        (
            &vec!["echo %i up".to_owned()],
            &vec!["a; b=c".to_owned(), "second".to_owned()]
        )
    );
    assert_eq!(i.hooks().count(), 5);
    let [first, second] = &config.peers[..] else {
        panic!("two peers")
    };
    assert_eq!((first.allowed_ips.len(), first.keepalive), (3, Some(25)));
    assert!(first.preshared_key.is_set());
    assert_eq!(
        first.endpoint.as_ref().unwrap().to_string(),
        "vpn.example.org:51820"
    );
    assert_eq!(
        second.endpoint.as_ref().unwrap().to_string(),
        "[2001:db8::1]:7"
    );
    assert_eq!((second.keepalive, second.line), (Some(0), 26));
}

/// `wg` skips blanks in a title, wg-quick does not: it would hand `Address` to `wg`.
#[test]
fn a_title_with_blanks_is_one_for_peers_only() {
    let text = with("", "").replace("[Peer]", "[ Peer\t]");
    assert_eq!(check(&text).1, Vec::<String>::new());
    let text = text.replace("[Interface]", "[ Interface ]");
    assert_eq!(
        check(&text).1,
        ["1: error: wg-quick knows no title with blanks in it; write [Interface]"]
    );
}

#[test]
fn each_wrong_value_is_named_with_line_key_value_and_remedy() {
    let cases = [
        (
            "Address = 10.0.0.1/33",
            true,
            "5: error: Address = 10.0.0.1/33: not an address",
        ),
        (
            "Address = 10.0.0.1/24 fd00::1/129",
            true,
            "Address = fd00::1/129: ",
        ),
        ("Address =", true, "Address = : no address"),
        ("ListenPort = 65536", true, "ListenPort = 65536: not a port"),
        ("ListenPort = ssh", true, "ListenPort = ssh: not a port"),
        ("FwMark = 0x", true, "FwMark = 0x: not a mark"),
        ("FwMark = 4294967296", true, "not a mark"),
        ("FwMark = 0x+1", true, "not a mark"),
        (
            "DNS = 10.0.0",
            true,
            "DNS = 10.0.0: neither an address nor a search domain",
        ),
        ("DNS = bad_domain..org", true, "search domain"),
        (
            "MTU = 14x0",
            true,
            "5: error: MTU = 14x0: not a number from 68 to 65535; 1420",
        ),
        ("MTU = 67", true, "MTU = 67"),
        (
            "Table = 0",
            true,
            "Table = 0: not a routing table; write off, auto",
        ),
        (
            "Table = Off",
            true,
            "Table = Off: wg-quick takes it for the name of a table; write off",
        ),
        (
            "SaveConfig = yes",
            true,
            "SaveConfig = yes: neither true nor false",
        ),
        ("PostUp =", true, "PostUp = : no command"),
        (
            "AllowedIPs = 10.0.0.0/8",
            true,
            "AllowedIPs: does not belong in [Interface]; move it to [Peer]",
        ),
        (
            "PrivteKey = x",
            true,
            "5: error: unknown key; did you mean PrivateKey?",
        ),
        ("Bogus = 1", true, "unknown key; see"),
        ("just words", true, "5: error: neither a section nor a key"),
        (
            "[Pear]",
            true,
            "5: error: no section has this title; did you mean [Peer]?",
        ),
        (
            "Endpoint = 1.2.3.4",
            false,
            "9: error: Endpoint = 1.2.3.4: no port",
        ),
        ("Endpoint = [::1]", false, "no port"),
        (
            "Endpoint = [::1]:0",
            false,
            "the port is not a number from 1",
        ),
        ("Endpoint = host:99999", false, "the port is not"),
        (
            "Endpoint = 1.2.3:5",
            false,
            "neither an address nor a host name",
        ),
        (
            "Endpoint = -x.org:5",
            false,
            "neither an address nor a host name",
        ),
        ("Endpoint = [fe80::1%]:5", false, "no interface after the %"),
        (
            "PersistentKeepalive = 65536",
            false,
            "PersistentKeepalive = 65536: not a number of seconds",
        ),
        ("AllowedIPs = 10.0.0.0/8,,", false, "a comma too many"),
        ("AllowedIPs = +10.0.0.0/8", false, "`wg set`"),
        (
            "AllowedIPs = 10.0.0.0/8, 1.2.3/8",
            false,
            "AllowedIPs = 1.2.3/8: not a range",
        ),
        (
            "Address = 10.0.0.9/8",
            false,
            "Address: does not belong in [Peer]; move it to [Interface]",
        ),
        (
            "PresharedKey = short",
            false,
            "PresharedKey: not a key of 44",
        ),
    ];
    for (line, in_interface, expected) in cases {
        let text = if in_interface {
            with(line, "")
        } else {
            with("", line)
        };
        let (_, shown) = check(&text);
        assert_eq!(shown.len(), 1, "{line}: {shown:#?}");
        assert!(shown[0].contains(expected), "{line}: {shown:?}");
    }
}

#[test]
fn what_may_be_a_secret_is_never_shown() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw==";
    let cut = &secret[..43];
    for line in [
        format!("PrivateKey = {cut}"),
        format!("PrivateKey = {secret}x"),
        format!("Private Key = {secret}"),
        format!("Privat = {secret}"),
        secret.to_owned(),
        cut.to_owned(),
        format!("[{secret}]"),
        format!("AllowedIPs{secret}"),
        format!("MTU = {secret}"),
        format!("ListenPort = {cut}"),
        format!("Address = {secret}/24"),
    ] {
        let (_, report) = parse(with(&line, "").as_bytes());
        assert!(report.errors() > 0, "{line}");
        let shown = format!(
            "{:?} {}",
            report,
            serde_json::to_string(&report.sorted()).unwrap()
        );
        assert!(!shown.contains("c2VjcmV0"), "{shown}");
    }
    let (config, report) =
        parse(with("", &format!("PublicKey = {cut}\nPresharedKey = {cut}")).as_bytes());
    assert!(!format!("{report:?} {config:?}").contains("c2VjcmV0"));
    let (config, _) = parse(with("", &format!("PresharedKey = {PRIVATE}")).as_bytes());
    assert!(!format!("{config:?}").contains(&PRIVATE[..8]));
}

#[test]
fn all_errors_are_found_at_once_and_in_order() {
    let (_, shown) = check(
        "Address = 1.1.1.1/8\n[Interface]\nMTU = x\n[Peer]\n[Peer]\nAllowedIPs = y\nEndpoint = z\n",
    );
    let lines: Vec<&str> = shown.iter().map(|s| s.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["1", "3", "4", "5", "6", "7"], "{shown:#?}");
    assert!(shown[0].contains("before the first section; write [Interface] above it"));
    assert!(shown[2].contains("no PublicKey"));
}

#[test]
fn what_the_sections_say_about_each_other() {
    let warned = |text: &str, expected: &str| {
        let (_, report) = parse(text.as_bytes());
        let shown: Vec<String> = report.sorted().iter().map(ToString::to_string).collect();
        assert_eq!(
            (report.errors(), report.warnings()),
            (0, 1),
            "{expected}: {shown:#?}"
        );
        assert!(shown[0].contains(expected), "{shown:?}");
    };
    let own = crate::crypto::PrivateKey::from_base64(PRIVATE)
        .unwrap()
        .public();
    warned(
        &with(
            "",
            &format!("[Peer]\nPublicKey = {OTHER}\nAllowedIPs = 10.0.0.2/32"),
        ),
        "of line 6 too",
    );
    warned(
        &with(
            "",
            &format!("[Peer]\nPublicKey = {PUBLIC}\nAllowedIPs = 10.0.0.3/32"),
        ),
        "same as that of line 6",
    );
    warned(
        &with(
            "",
            &format!("[Peer]\nPublicKey = {own}\nAllowedIPs = 10.0.0.3/32"),
        ),
        "the device itself",
    );
    warned(
        &with("", &format!("[Peer]\nPublicKey = {OTHER}")),
        "no AllowedIPs",
    );
    warned(
        &with("MTU = 1400\nMTU = 1410", ""),
        "6: warning: MTU: replaces the value of line 5",
    );
    warned(
        &with("", "AllowedIPs = 10.9.9.9/8"),
        "10.9.9.9/8 (that is 10.0.0.0/8)",
    );
    warned(&with("PostUp = echo # hello", ""), "ends at the #");
    warned(
        &with("MTU = 1200\nAddress = fd00::1/64", ""),
        "too small for IPv6",
    );
    warned(
        &with("[Interface]", ""),
        "a second [Interface]; the first is in line 1",
    );
    warned(
        &with("", "").replace("Address = 10.0.0.1/24", ""),
        "no Address",
    );
    warned(
        &with("", "").replace("ListenPort = 51820", ""),
        "no side can call",
    );
    let keyless = with("", "").replace("PrivateKey", "#");
    warned(&keyless, "no PrivateKey");
    let hook = keyless.replace("[Peer]", "PostUp = wg set %i private-key /etc/key\n[Peer]");
    assert_eq!(check(&hook).1, Vec::<String>::new());
}

#[test]
fn hostile_files_are_refused_in_bounded_memory() {
    let (_, shown) = check("");
    assert_eq!(
        shown,
        [" error: there is no [Interface]; add one with PrivateKey and Address"]
    );
    let (_, shown) = check("\u{feff}[Interface]\n");
    assert!(shown[0].contains("byte order mark"), "{shown:?}");
    let (_, report) = parse(&vec![b'['; MAX_FILE + 1]);
    assert!(report.sorted()[0].message.contains("larger than 16 MiB"));
    let (_, report) = parse(b"[Interface]\nAddress = \0\n\xff\xfe = 1\n");
    assert_eq!(report.errors(), 2);

    // A flood of warnings hides no error, and neither fills the memory.
    let mut text = with("", "");
    for _ in 0..50_000 {
        text += "AllowedIPs = 10.1.1.1/8\n";
    }
    text += "Endpoint = nowhere\n";
    for _ in 0..50_000 {
        text += "=\n";
    }
    let (_, report) = parse(text.as_bytes());
    assert_eq!((report.errors(), report.warnings()), (50_001, 50_000));
    assert_eq!(report.sorted().len(), diagnostic::MAX_DIAGNOSTICS);
    assert_eq!(report.omitted(), 100_001 - diagnostic::MAX_DIAGNOSTICS);
    assert!(
        report
            .sorted()
            .iter()
            .any(|d| d.to_string().contains("nowhere"))
    );
    let long = "x".repeat(1 << 20);
    let (_, shown) = check(&with(&format!("MTU = {long}\n{long} = 1\n[{long}]"), ""));
    assert!(shown.iter().all(|s| s.len() < 400), "{}", shown[0].len());
}

#[test]
fn ten_thousand_peers_are_read() {
    let mut text = "[Interface]\nListenPort = 1\nAddress = 10.0.0.1/8\n".to_owned();
    text += &format!("PrivateKey = {PRIVATE}\n");
    for n in 0..10_000u32 {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let key = crate::crypto::PublicKey::from_bytes(key);
        let [_, b, c, d] = n.to_be_bytes();
        text += &format!("[Peer]\nPublicKey = {key}\nAllowedIPs = 10.{b}.{c}.{d}/32\n");
    }
    let (config, shown) = check(&text);
    assert_eq!((config.peers.len(), shown), (10_000, vec![]));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (_, report) = parse(&text);
        prop_assert!(report.errors() > 0 || !text.is_empty());
    }

    #[test]
    fn any_mixture_of_lines_is_read_and_errors_are_within_the_file(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("[Interface]".to_owned()), Just("[Peer]".to_owned()),
                Just(format!("PublicKey = {PUBLIC}")), Just(format!("PrivateKey = {PRIVATE}")),
                "(Address|DNS|MTU|Table|FwMark|ListenPort|AllowedIPs|Endpoint|PersistentKeepalive) ?= ?[0-9a-fx.:/,%\\[\\] -]{0,40}",
                "\\PC{0,30}",
            ], 0..40),
    ) {
        let text = lines.join("\n");
        let (_, report) = parse(text.as_bytes());
        for diagnostic in report.sorted() {
            prop_assert!(diagnostic.line.is_none_or(|l| (1..=lines.len().max(1)).contains(&l)));
            prop_assert!(!diagnostic.message.is_empty());
            prop_assert!(diagnostic.severity == Severity::Warning || !diagnostic.remedy.is_empty());
        }
    }
}
