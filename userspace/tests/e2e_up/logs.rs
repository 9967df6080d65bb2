//! What two daemons log at their most verbose: no key, JSON where asked, fields in the
//! journal.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::Instant;

use ringtun_lab::keys::{self, Keys};
use ringtun_lab::link::Middle;
use ringtun_lab::process::Process;
use ringtun_lab::{Pair, ping, wait};
use serde_json::Value;

use crate::machine::{FIRST, Machine, far_end_with};

/// The forms in which a key could be written.
pub fn forms(base64: &str) -> Vec<String> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    let bytes = engine.decode(base64).unwrap();
    assert_eq!(bytes.len(), 32);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
    let pieces = hex.as_bytes().chunks(2);
    let pieces: Vec<&str> = pieces
        .map(|two| std::str::from_utf8(two).unwrap())
        .collect();
    // Half of a key is too much, too.
    vec![
        base64[..22].to_owned(),
        base64[21..43].to_owned(),
        hex[..32].to_owned(),
        hex[32..].to_owned(),
        hex[..32].to_uppercase(),
        list[..16].join(", "),
        pieces[..16].join(":"),
        pieces[..16].join(" "),
    ]
}

#[track_caller]
fn has_none(log: &str, secrets: &[(&str, String)]) {
    for (what, secret) in secrets {
        for form in forms(secret) {
            assert!(!log.contains(&form), "{what} is in the log");
        }
    }
}

/// Until the daemon in the foreground has made device and routes, and the far end answers.
fn is_up(machine: &Machine<'_>) {
    wait::until("the route into the tunnel", FIRST, || {
        let routes = machine.ns.run("ip", ["route"])?;
        Ok(routes.contains(&machine.name).then_some(()))
    })
    .unwrap();
    machine.answered("10.78.0.2");
}

/// A line that a UAPI client sends, and the answer.
fn uapi(machine: &Machine<'_>, request: &str) -> String {
    let socket = format!("run/wireguard/{}.sock", machine.name);
    let mut stream = UnixStream::connect(machine.files.path().join(socket)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn key_of(text: &str, name: &str) -> String {
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(name)).unwrap();
    line.split_once(" = ").unwrap().1.to_owned()
}

#[test]
fn logs_of_a_whole_run_hold_no_key_and_are_json_when_asked() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let psk = keys::preshared().unwrap();
    let second_psk = keys::preshared().unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let [second, third] = [(); 2].map(|()| Keys::generate().unwrap());
    let more = format!("PresharedKey = {psk}\n");
    let far = far_end_with(&pair, &keys, &more, &["--log", "trace"]);
    let machine = Machine::new(&pair.ends[0].ns);
    let endpoint = SocketAddr::new(pair.ends[1].address(false), 51820);
    let file = |own: &str, more: &str| {
        format!(
            "[Interface]\nAddress = 10.78.0.1/24\nListenPort = 51820\nPrivateKey = {own}\n[Peer]\n# friendly_name = far end\nPublicKey = {}\nPresharedKey = {psk}\nAllowedIPs = 10.78.0.2/32\nEndpoint = {endpoint}\nPersistentKeepalive = 1\n{more}",
            keys[1].public
        )
    };
    machine.write(&file(&keys[0].private, ""));
    let binary = crate::e2e::ringtun().program;
    let name = machine.name.as_str();
    let arguments = ["up", name, "--foreground", "--log", "trace", "--log-json"];
    let near = Process::spawn(machine.command(&binary, &arguments)).unwrap();
    is_up(&machine);
    ping::expect_all(machine.ns, "10.78.0.2".parse().unwrap(), 100).unwrap();

    // Another peer, another key for this end, a client, and what goes wrong.
    let more = format!(
        "[Peer]\nPublicKey = {}\nPresharedKey = {second_psk}\nAllowedIPs = 10.78.0.3/32\n",
        second.public
    );
    machine.write(&file(&keys[0].private, &more));
    machine.good("reload");
    let own = machine.files.path().join("client.conf");
    let add = [
        "peer",
        "add",
        name,
        "client",
        "--endpoint",
        "192.0.2.1",
        "--out",
    ];
    let add = [&add[..], &[own.to_str().unwrap()]].concat();
    machine.other(binary.to_str().unwrap(), &add);
    let client = fs::read_to_string(&own).unwrap();
    machine.write(&file(&third.private, &more));
    machine.good("reload");
    let hex = |key: &str| forms(key)[2..4].concat();
    for wrong in [
        format!("set=1\nprivate_key={}\nnonsense\n\n", hex(&third.private)),
        format!("set=1\nprivate_key={}0\n\n", hex(&third.private)),
        format!(
            "set=1\npublic_key={}\npreshared_key={}\nx=y\n\n",
            hex(&second.public),
            hex(&psk)
        ),
        format!("set=1\n{}\n\n", third.private),
    ] {
        let answer = uapi(&machine, &wrong);
        assert!(
            answer.contains("errno=") && !answer.contains("errno=0"),
            "{answer}"
        );
    }
    // The far end takes this end by its new key.
    let text = format!(
        "[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.1/32\nPresharedKey = {psk}\n",
        third.public
    );
    let addconf = ["addconf", &far.name, "/dev/stdin"];
    let ns = &pair.ends[1].ns;
    ns.run_with_input("wg", addconf, text.as_bytes()).unwrap();
    let completed = || {
        let all = near.output();
        all.matches("\"handshake_completed\"").count()
    };
    wait::until("a session by the new key", FIRST, || {
        Ok((completed() >= 2).then_some(()))
    })
    .unwrap();
    machine.answered("10.78.0.2");
    machine.good("down");
    near.wait_exit(FIRST).unwrap();
    far.process.stop(FIRST).unwrap();

    let secrets = [
        ("the private key", keys[0].private.clone()),
        ("the far end's private key", keys[1].private.clone()),
        ("the second private key", third.private.clone()),
        ("the preshared key", psk.clone()),
        ("the preshared key of the second peer", second_psk.clone()),
        ("the client's private key", key_of(&client, "PrivateKey")),
        (
            "the client's preshared key",
            key_of(&client, "PresharedKey"),
        ),
    ];
    let (near, far) = (near.output(), far.process.output());
    has_none(&near, &secrets);
    has_none(&far, &secrets);
    // The search finds what is there.
    let public = &keys[1].public[..22];
    assert!(near.contains(public) && far.contains(&keys[0].public[..22]));
    assert!(far.contains(" DEBUG session established event=handshake_completed device="));
    assert!(
        !far.contains('\u{1b}'),
        "no colors where there is no terminal"
    );

    let mut seen = Vec::new();
    for line in near.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for field in ["timestamp", "level", "target", "message", "event"] {
            assert!(line[field].is_string(), "{field}: {line}");
        }
        if line["event"] == "handshake_completed" {
            assert_eq!(line["device"], name);
            assert_eq!(line["peer"], keys[1].public);
        }
        seen.push(line["event"].as_str().unwrap().to_owned());
    }
    for event in [
        "metrics_listening",
        "handshake_initiation_sent",
        "handshake_completed",
        "uapi_request_refused",
    ] {
        assert!(seen.iter().any(|seen| seen == event), "{event}: {seen:?}");
    }
}

#[test]
fn under_systemd_fields_go_to_the_journal_and_nothing_to_standard_error() {
    let pair = Pair::new(Middle::None, 1500).unwrap();
    let keys = [Keys::generate().unwrap(), Keys::generate().unwrap()];
    let _far = far_end_with(&pair, &keys, "", &[]);
    let machine = Machine::new(&pair.ends[0].ns);
    let endpoint = SocketAddr::new(pair.ends[1].address(false), 51820);
    machine.write(&format!(
        "[Interface]\nAddress = 10.78.0.1/24\nPrivateKey = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.78.0.2/32\nEndpoint = {endpoint}\n",
        keys[0].private, keys[1].public
    ));
    let directory = machine.files.path().join("run/systemd/journal");
    fs::create_dir_all(&directory).unwrap();
    let journal = UnixDatagram::bind(directory.join("socket")).unwrap();
    journal.set_read_timeout(Some(FIRST)).unwrap();
    let binary = crate::e2e::ringtun().program;
    let start = |stream: &str| {
        let script = format!("JOURNAL_STREAM={stream} exec \"$0\" \"$@\"");
        let binary = binary.to_str().unwrap();
        let arguments = [
            "-c",
            &script,
            binary,
            "up",
            &machine.name,
            "--foreground",
            "--log",
            "debug",
        ];
        let process = Process::spawn(machine.command(Path::new("sh"), &arguments)).unwrap();
        is_up(&machine);
        process
    };
    // As systemd.exec(5) has it: device and inode of what standard error is.
    let process = start("$(stat -L -c %d:%i /proc/self/fd/2)");
    let mut entries = Vec::new();
    let begun = Instant::now();
    let entry = loop {
        assert!(begun.elapsed() < FIRST, "{entries:#?}");
        let mut buffer = vec![0; 1 << 16];
        let length = journal.recv(&mut buffer).expect("an entry comes");
        buffer.truncate(length);
        let entry = String::from_utf8(buffer).unwrap();
        if entry.contains("\nEVENT=handshake_completed\n") {
            break entry;
        }
        entries.push(entry);
    };
    let peer = &keys[1].public;
    for line in [
        "PRIORITY=7".to_owned(),
        "SYSLOG_IDENTIFIER=ringtun".to_owned(),
        format!("DEVICE={}", machine.name),
        format!("PEER={peer}"),
        format!(
            "MESSAGE=session established event=handshake_completed device={} peer={peer} role=Initiator",
            machine.name
        ),
    ] {
        assert!(entry.lines().any(|l| l == line), "{line}: {entry}");
    }
    machine.good("down");
    process.wait_exit(FIRST).unwrap();
    assert_eq!(process.output(), "");

    // Inherited past a redirection it names something else: lines go there.
    let process = start("1:2");
    machine.good("down");
    process.wait_exit(FIRST).unwrap();
    let text = process.output();
    assert!(text.contains(" DEBUG session established event="), "{text}");
}
