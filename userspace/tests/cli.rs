//! The command line without privileges: what it prints, and how it exits.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ringtun(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringtun"));
    command
        .args(arguments)
        .env_remove("LOG_LEVEL")
        .env_remove("WG_PROCESS_FOREGROUND")
        .stdin(Stdio::null());
    command
}

fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Ran {
    ran(&ringtun(arguments).output().unwrap())
}

fn run_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut command = ringtun(arguments);
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may stop reading before all of a hostile input is written.
    let _ = child.stdin.take().unwrap().write_all(input);
    ran(&child.wait_with_output().unwrap())
}

/// Fails with exit status `code`, says `expected` and nothing on standard output.
#[track_caller]
fn refused(ran: &Ran, code: i32, expected: &[&str]) {
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(code), ""),
        "{}",
        ran.err
    );
    for part in expected {
        assert!(ran.err.contains(part), "{part:?} is not in: {}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

#[test]
fn version_and_help_teach() {
    let version = run(&["--version"]);
    assert_eq!(
        version.out,
        format!("ringtun {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    for part in [
        "run",
        "show",
        "check",
        "genkey",
        "Examples:",
        "WG_QUICK_USERSPACE_IMPLEMENTATION",
    ] {
        assert!(help.out.contains(part), "{part}");
    }
    for command in ["run", "show", "check", "pubkey"] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.code, Some(0), "{command}");
        assert!(help.out.contains("Example"), "{command}: {}", help.out);
    }
    // Nothing asked for is an error, with the help to read.
    let nothing = run(&[]);
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.err.contains("Usage:") && nothing.err.contains("Examples:"));
}

#[test]
fn completions_and_man_pages_are_written() {
    for (shell, expected) in [
        ("bash", "complete -F _ringtun"),
        ("zsh", "#compdef ringtun"),
        ("fish", "complete -c ringtun"),
    ] {
        let ran = run(&["completions", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{shell}");
        assert!(ran.out.contains(expected), "{shell}");
        assert!(ran.out.contains("fast-forward"), "{shell}");
    }
    refused(&run(&["completions", "sh"]), 2, &["bash, zsh, fish"]);
    refused(&run(&["completions"]), 2, &["SHELL"]);

    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().to_str().unwrap();
    let ran = run(&["man-pages", at]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let page = fs::read_to_string(directory.path().join("ringtun-up.8")).unwrap();
    for part in [
        ".TH RINGTUN\\-UP 8",
        "--foreground",
        "/run/ringtun/NAME.json",
    ] {
        assert!(
            page.replace("\\-", "-").contains(&part.replace("\\-", "-")),
            "{part}: {page}"
        );
    }
    assert_eq!(ran.out.lines().count(), fs::read_dir(at).unwrap().count());
    refused(
        &run(&["man-pages", "/nonexistent/man8"]),
        1,
        &["cannot write /nonexistent/man8/ringtun", "No such file"],
    );
    refused(
        &run(&["man-page"]),
        1,
        &["did you mean `ringtun man-pages`"],
    );
}

#[test]
fn keys_are_made_and_read_as_wg_does() {
    let private = run(&["genkey"]);
    let psk = run(&["genpsk"]);
    for key in [&private, &psk] {
        assert_eq!((key.code, key.err.as_str()), (Some(0), ""));
        assert_eq!((key.out.len(), key.out.ends_with("=\n")), (45, true));
    }
    assert_ne!(private.out, run(&["genkey"]).out);
    let public = run_with_input(&["pubkey"], private.out.as_bytes());
    assert_eq!((public.code, public.out.len()), (Some(0), 45));
    assert_eq!(
        run_with_input(&["pubkey"], private.out.trim_end().as_bytes()).out,
        public.out
    );
    assert_eq!(
        run_with_input(&["pubkey"], format!("{} \r\n\n", private.out).as_bytes()).out,
        public.out
    );
    // RFC 7748 section 6.1: Alice's key pair, in base64.
    let alice = run_with_input(
        &["pubkey"],
        b"dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n",
    );
    assert_eq!(alice.out, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n");
}

#[test]
fn pubkey_refuses_what_is_no_key_and_does_not_repeat_it() {
    let key = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    let endless = format!("{key}\n{}", "\n".repeat(1 << 20));
    for (input, expected) in [
        ("", "too short"),
        ("\n", "too short"),
        (&key[..43], "too short"),
        (&key.replace('=', "A"), "no private key"),
        (&key.replace('w', "*"), "no private key"),
        (&format!("{key}{key}"), "something after"),
        (&format!("{key} x"), "something after"),
        (&endless, "something after"),
        (&format!(" {key}"), "something after"),
    ] {
        let ran = run_with_input(&["pubkey"], input.as_bytes());
        refused(&ran, 1, &[expected]);
        assert!(!ran.err.contains("dwdtC"), "{}", ran.err);
    }
    refused(
        &run_with_input(&["pubkey"], &[0xff; 100]),
        1,
        &["something after"],
    );
    refused(
        &run_with_input(&["pubkey"], &[0xff; 44]),
        1,
        &["no private key"],
    );
}

#[test]
fn a_key_into_a_file_for_everybody_is_warned_of() {
    let directory = tempfile::tempdir().unwrap();
    for (mode, warned) in [(0o644, true), (0o600, false), (0o640, false)] {
        let path = directory.path().join(format!("{mode:o}"));
        let file = fs::File::create(&path).unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode))
            .unwrap();
        let output = ringtun(&["genkey"]).stdout(file).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success());
        assert_eq!(err.contains("umask 077"), warned, "{mode:o}: {err}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 45);
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = ringtun(&["--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
    let mut child = ringtun(&["genkey"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn a_typo_of_a_subcommand_makes_no_device() {
    for (typed, meant) in [
        ("shwo", "show"),
        ("chekc", "check"),
        ("genke", "genkey"),
        ("rn", "run"),
        ("tpo", "top"),
        ("reprot", "report"),
    ] {
        let ran = run(&[typed]);
        refused(
            &ran,
            1,
            &[
                &format!("did you mean `ringtun {meant}`"),
                &format!("ringtun run {typed}"),
            ],
        );
    }
    refused(
        &run(&["--foreground", "dwon"]),
        1,
        &["did you mean `ringtun down`"],
    );
}

#[test]
fn bad_arguments_and_files_of_gateway_are_refused() {
    refused(&run(&["gateway", "wg0"]), 2, &["unexpected argument 'wg0'"]);
    refused(
        &run(&["gateway", "--check", "--reload"]),
        2,
        &["cannot be used with"],
    );
    let missing = ["gateway", "--check", "--config", "/no/such/ringtun.toml"];
    refused(
        &run(&missing),
        1,
        &["/no/such/ringtun.toml", "No such file"],
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (text, says) in [
        (b"[tunnel.wg0]\nfiel = 1".as_slice(), "line 2"),
        (b"\xff\xfe", "UTF-8"),
        (&[b'#'; 2 << 20], "larger"),
        (b"", "neither a tunnel"),
    ] {
        fs::write(file.path(), text).unwrap();
        refused(
            &run(&["gateway", "--check", "--config", path]),
            1,
            &[path, says],
        );
    }
}

#[test]
fn bad_arguments_of_top_are_refused_and_a_pipe_is_told_of_once() {
    for (arguments, code, expected) in [
        (&["top", "--interval", "0"][..], 2, "from 0.1 to 3600"),
        (&["top", "--interval", "NaN"], 2, "from 0.1 to 3600"),
        (&["top", "--interval", "1e9"], 2, "from 0.1 to 3600"),
        (&["top", "--sort", "luck"], 2, "handshake"),
        (&["top", "a/b"], 2, "letters, digits"),
        (
            &["top", "wg-no-such"],
            1,
            "no device `wg-no-such` runs here",
        ),
        (&["top", "--uapi-directory", "/no/such"], 1, "top --once"),
    ] {
        refused(&run(arguments), code, &[expected]);
    }
}

#[test]
fn bad_arguments_of_run_are_refused_before_anything_is_made() {
    let long = "sixteen_bytes_xx";
    for (arguments, code, expected) in [
        (&["run"][..], 2, "NAME"),
        (&["run", long], 1, "more than 15 characters"),
        (&["run", "a/b"], 1, "letters, digits"),
        (&["run", ".."], 1, "letters, digits"),
        (&["run", ""], 1, "cannot be empty"),
        (&["run", "wgä"], 1, "letters, digits"),
        (&["run", "wg7", "wg7"], 1, "named twice"),
        (&["run", "wg7", "--io", "fast"], 2, "auto, xdp or udp"),
        (&["run", "wg7", "--ring-size", "100"], 2, "power of two"),
        (&["run", "wg7", "--ring-size", "32"], 2, "from 64 to 65536"),
        (&["run", "wg7", "--lan", "a/b"], 2, "letters, digits"),
        (&["io", "wg7", "fast"], 2, "auto, xdp or udp"),
        (&["run", "wg7", "--steer", "esp"], 2, "GROUP=CPUS"),
        (
            &["run", "wg7", "--steer", "esp=0", "--steer", "esp=1"],
            1,
            "`esp` twice",
        ),
        (&["run", "wg7", "--steer", "ah=0"], 2, "natt-esp"),
        (&["run", "wg7", "--steer", "esp=0-64"], 2, "1 to 64 CPUs"),
        (&["run", "wg7", "--workers", "0"], 2, "--workers"),
        (&["run", "wg7", "--workers", "65"], 1, "at most 64"),
        (&["run", "wg7", "--metrics", "9586"], 2, "ADDRESS:PORT"),
        (
            &["run", "wg7", "--log", "nonsense=="],
            1,
            "--log nonsense==",
        ),
        (&["wg7", "--nonsense"], 2, "--nonsense"),
    ] {
        let ran = run(arguments);
        refused(&ran, code, &[expected]);
    }
}

/// Said before anything is made; with the programs it would start.
#[cfg(not(ringtun_bpf))]
#[test]
fn a_build_without_xdp_programs_says_so() {
    for arguments in [
        &["run", "wg7", "--io", "xdp"][..],
        &["run", "wg7", "--lan", "eth0"],
        &["run", "wg7", "--steer", "esp=0"],
    ] {
        refused(&run(arguments), 1, &["cargo xtask build", "--io udp"]);
    }
}

#[test]
fn show_says_what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().to_str().unwrap();
    refused(
        &run(&["show", "wg9", "--uapi-directory", at]),
        1,
        &["no device `wg9`", "ringtun run wg9"],
    );
    let none = run(&["show", "--uapi-directory", at]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""));
    assert!(none.err.contains("no device runs here"));
    let json = run(&["show", "--json", "--uapi-directory", at]);
    assert_eq!((json.code, json.out.as_str()), (Some(0), "[]\n"));
    refused(&run(&["show", "a/b"]), 2, &["letters, digits"]);

    // Left behind by a daemon that was killed; and files that are no sockets.
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("wg9.sock")).unwrap());
    fs::write(directory.path().join("note.txt"), "x").unwrap();
    fs::write(directory.path().join("not a name!.sock"), "x").unwrap();
    refused(
        &run(&["show", "wg9", "--uapi-directory", at]),
        1,
        &["left its socket behind"],
    );
    assert_eq!(run(&["show", "--json", "--uapi-directory", at]).out, "[]\n");
}

#[test]
fn a_report_of_what_is_not_there_says_so_and_is_the_users_alone() {
    let directory = tempfile::tempdir().unwrap();
    let conf = file(directory.path(), GOOD.as_bytes());
    let to = directory.path().join("report.txt");
    let to_str = to.to_str().unwrap();
    let first = run(&["report", &conf, "-o", to_str]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert!(
        first.out.contains("Read it before you send it"),
        "{}",
        first.out
    );
    let text = fs::read_to_string(&to).unwrap();
    for there in ["private key", "not read, it is not there", "not-up"] {
        assert!(text.contains(there), "{there} is not in {text}");
    }
    for hidden in ["yAnz5TF", "xTIBA5r", "10.0.0.2", "10.0.0.1", &conf] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    let mode = fs::metadata(&to).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    refused(
        &run(&["report", &conf, "-o", to_str]),
        1,
        &["report.txt", "--output names another", "--force"],
    );
    assert_eq!(
        run(&["report", &conf, "-o", to_str, "--force"]).code,
        Some(0)
    );
    let shown = run(&["report", &conf, "-o", "-", "--json", "--addresses"]);
    let json: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert!(json["sections"].as_array().is_some_and(|all| all.len() > 6));
    assert!(shown.out.contains("10.0.0.2/32"), "{}", shown.out);
    refused(
        &run(&["report", "/no/such/dir/a b.conf", "-o", "-"]),
        1,
        &["letters, digits"],
    );
    let nowhere = directory.path().join("no/such.txt");
    refused(
        &run(&["report", &conf, "-o", nowhere.to_str().unwrap()]),
        1,
        &["cannot write"],
    );
}

const GOOD: &str = "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n\
    Address = 10.0.0.1/24\nListenPort = 51820\n[Peer]\n\
    PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\nAllowedIPs = 10.0.0.2/32\n";

fn file(directory: &Path, text: &[u8]) -> String {
    let path = directory.join("wg0.conf");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn check_names_file_line_key_value_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), GOOD.as_bytes());
    let good = run(&["check", &path]);
    assert_eq!((good.code, good.err.as_str()), (Some(0), ""));
    assert_eq!(good.out, format!("{path}: good, 1 peer\n"));

    let bad = GOOD.replace("51820", "5182O").replace("Address", "Adress");
    let path = file(directory.path(), bad.as_bytes());
    let ran = run(&["check", &path]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines[0],
        format!("{path}:3: error: unknown key; did you mean Address?")
    );
    assert!(
        lines[1].starts_with(&format!(
            "{path}:4: error: ListenPort = 5182O: not a port from 0 to 65535; "
        )),
        "{}",
        lines[1]
    );
    assert_eq!(
        lines[2],
        format!("{path}: cannot be used: 2 errors, 0 warnings")
    );

    let json: serde_json::Value =
        serde_json::from_str(&run(&["check", &path, "--json"]).out).unwrap();
    assert_eq!(
        (json["valid"].as_bool(), json["errors"].as_u64()),
        (Some(false), Some(2))
    );
    let second = &json["diagnostics"][1];
    assert_eq!(
        (
            second["line"].as_u64(),
            second["key"].as_str(),
            second["value"].as_str(),
            second["severity"].as_str()
        ),
        (Some(4), Some("ListenPort"), Some("5182O"), Some("error"))
    );
    assert!(second["remedy"].as_str().unwrap().contains("51820"));
}

#[test]
fn check_warns_of_a_file_that_others_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), GOOD.as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = run(&["check", &path]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.out.contains(&format!("chmod 600 {path}")),
        "{}",
        ran.out
    );
    assert!(
        ran.out.ends_with("can be used, 1 peer, 1 warning\n"),
        "{}",
        ran.out
    );
}

#[test]
fn check_survives_hostile_files_and_shows_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let truncated = &GOOD.as_bytes()[..40];
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let huge = vec![b'x'; (16 << 20) + 10];
    let cases: [(&[u8], &str); 6] = [
        (b"", "there is no [Interface]"),
        (truncated, "PrivateKey: not a key"),
        (&binary, "error"),
        (&huge, "larger than 16 MiB"),
        (b"\xef\xbb\xbf[Interface]\n", "byte order mark"),
        (b"[Interface]\n\0=1\n", "control character"),
    ];
    for (text, expected) in cases {
        let path = file(directory.path(), text);
        let ran = run(&["check", &path]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(1), ""), "{expected}");
        assert!(ran.out.contains(expected), "{expected}: {}", ran.out);
        assert!(
            ran.out.len() < 64 * 1024,
            "{expected}: {} bytes",
            ran.out.len()
        );
        assert!(!ran.out.contains("yAnz5"), "{}", ran.out);
    }
    refused(
        &run(&["check", "/nonexistent/x.conf"]),
        1,
        &["cannot read /nonexistent/x.conf", "No such file"],
    );
    refused(&run(&["check", "/"]), 1, &["cannot read /", "directory"]);
    refused(
        &run(&["check", "no-such-device"]),
        1,
        &["/etc/wireguard/no-such-device.conf"],
    );
}
