use proptest::prelude::*;

use super::*;

fn redactor() -> Redactor {
    Redactor::new(Some([9; HASH_LEN]))
}

fn key(seed: u64) -> PublicKey {
    let mut bytes = [seed as u8 ^ 0x5a; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    PublicKey::from_bytes(bytes)
}

#[test]
fn known_keys_have_labels_and_unknown_ones_others() {
    let mut redactor = redactor();
    redactor.know_key(&key(1), "device");
    redactor.know_key(&key(2), "peer");
    redactor.know_key(&key(3), "peer");
    let text = format!(
        "a={} b=\"{}\" PresharedKey = {}, {} {}",
        key(1).to_base64(),
        key(3).to_base64(),
        key(4).to_base64(),
        key(4).to_base64(),
        key(5).to_base64(),
    );
    assert_eq!(
        redactor.text(&text),
        "a=device-1 b=\"peer-2\" PresharedKey = key-1, key-1 key-2"
    );
    assert_eq!(redactor.text(&"ab".repeat(32)), "(hex)");
    assert_eq!(redactor.text("ab12"), "ab12");
}

#[test]
fn an_address_is_found_in_whatever_is_around_it() {
    let mut redactor = redactor();
    let new = |redactor: &mut Redactor, address: &str| redactor.text(address);
    let v4 = new(&mut redactor, "203.0.113.9");
    let v6 = new(&mut redactor, "2001:db8::77");
    assert_ne!((v4.as_str(), v6.as_str()), ("203.0.113.9", "2001:db8::77"));
    for (before, after) in [
        ("", ""),
        ("from ", ":"),
        ("to:", "."),
        ("\"", "\""),
        ("(", "/32)"),
        ("src=", ","),
        ("[", "]:51820"),
    ] {
        let text = format!("{before}203.0.113.9{after} {before}2001:db8::77{after}");
        let expected = format!("{before}{v4}{after} {before}{v6}{after}");
        assert_eq!(redactor.text(&text), expected, "of {text}");
    }
    for (before, after) in [("wg0:", ":51820"), ("x", " via"), (":", ".53 >")] {
        let text = format!("{before}203.0.113.9{after}");
        assert_eq!(redactor.text(&text), format!("{before}{v4}{after}"));
        let other = redactor.text(&format!("{before}2001:db8::77{after}"));
        assert!(!other.contains("2001:db8"), "{other}");
    }
    let mac = redactor.text("link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff");
    assert!(
        mac.starts_with("link/ether 02:") && mac.ends_with("brd ff:ff:ff:ff:ff:ff"),
        "{mac}"
    );
    assert!(!mac.contains("12:34:56"), "{mac}");
}

#[test]
fn what_is_no_address_stays() {
    let mut redactor = redactor();
    for text in [
        "ringtun::datapath::metadata::decode",
        "12:34:56.789 up 3 days",
        "Linux 6.18.5, ringtun 0.1.0",
        "0.0.0.0/0 and ::/0 and 127.0.0.1 and [::1]:9586",
        "1.25 Mpps; 100%; e.g. this",
        "",
    ] {
        assert_eq!(redactor.text(text), text);
    }
    assert_eq!(redactor.text(":::: ...."), "(address) ....");
}

#[test]
fn addresses_stay_if_they_may_and_names_do_not() {
    let mut redactor = Redactor::new(None);
    redactor.know_name("vpn.example.org");
    redactor.know_name("Anna's phone");
    redactor.know_name("ab");
    redactor.know_name("192.0.2.1");
    assert_eq!(
        redactor.text("vpn.example.org:51820 is 192.0.2.1, Anna's phone, ab"),
        "name-1:51820 is 192.0.2.1, name-2, ab"
    );
}

proptest! {
    #[test]
    fn no_key_and_no_address_comes_through(
        parts in prop::collection::vec((any::<u32>(), any::<u128>(), any::<u64>(), 0..5usize), 1..8),
        glue in "[ ,;()\"'\\[\\]{}|=\n\t]{1,3}",
    ) {
        let mut redactor = redactor();
        let (mut text, mut hidden) = (String::new(), Vec::new());
        for (v4, v6, seed, kind) in parts {
            let v4 = Ipv4Addr::from(v4 | 0x0100_0000);
            let v6 = std::net::Ipv6Addr::from(v6 | 1 << 125 | 0xffff << 64);
            let found = match kind {
                0 => v4.to_string(),
                1 => v6.to_string(),
                2 => key(seed).to_base64(),
                3 => v6.to_string().to_uppercase(),
                _ => v6.segments().map(|s| format!("{s:04x}")).join(":"),
            };
            text.push_str(&glue);
            text.push_str(&found);
            let new = redactor.text(&found);
            // Multicast, masks and the like stay.
            if new != found && !new.eq_ignore_ascii_case(&found) {
                hidden.push(found);
            }
        }
        let shown = redactor.text(&text);
        for found in hidden {
            let is_word = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
            let there = shown.match_indices(&found).any(|(at, _)| {
                let before = shown[..at].chars().next_back();
                let after = shown[at + found.len()..].chars().next();
                !before.is_some_and(is_word) && !after.is_some_and(is_word)
            });
            prop_assert!(!there, "{found} in {shown}");
        }
    }

    #[test]
    fn any_text_is_taken(text in ".{0,200}") {
        let _ = redactor().text(&text);
    }
}
