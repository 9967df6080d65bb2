use super::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// Set in a process that claims a NIC in the directory that it names.
const INSIDE: &str = "RINGTUN_TEST_OWNER";
/// What such a process says.
const CLAIMED: &str = "claimed";

fn names(list: &[&str]) -> Vec<InterfaceName> {
    list.iter()
        .map(|name| name.parse().expect("a name"))
        .collect()
}

/// A directory, and the namespace of this thread.
struct Place {
    _root: tempfile::TempDir,
    directory: PathBuf,
    namespace: Namespace,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        Self {
            directory: root.path().join("ringtun/nics"),
            _root: root,
            namespace: Namespace::current().expect("/proc"),
        }
    }

    fn nic(&self, ifindex: u32) -> Nic<'_> {
        Nic {
            namespace: &self.namespace,
            ifindex,
            name: "eth0",
        }
    }

    fn path(&self) -> PathBuf {
        self.nic(2).path(&self.directory)
    }

    fn claim(&self, devices: &[&str]) -> Result<Owner, ClaimError> {
        Owner::claim(&self.directory, &self.nic(2), &names(devices))
    }

    /// Who has the NIC.
    fn holder(&self) -> Holder {
        match self.claim(&["wg9"]) {
            Err(ClaimError::Taken { holder, .. }) => holder,
            other => panic!("{other:?}"),
        }
    }

    /// A process that has the NIC until its input ends.
    fn other_process(&self) -> Other {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "control::nics::owner::tests::inside"])
            .args(["--nocapture", "--include-ignored"])
            .env(INSIDE, &self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdin = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = output.by_ref().lines();
        let claimed = lines
            .map_while(Result::ok)
            .any(|line| line.ends_with(CLAIMED));
        assert!(claimed, "{:?}", child.wait());
        Other {
            child,
            stdin,
            _output: output,
        }
    }
}

/// A process that has the NIC.
struct Other {
    child: Child,
    stdin: ChildStdin,
    /// Or it could not write what its test runner says.
    _output: BufReader<ChildStdout>,
}

/// The other process; nothing when it is run as a test.
#[test]
fn inside() {
    let Some(directory) = std::env::var_os(INSIDE) else {
        return;
    };
    let mut place = Place::new();
    place.directory = directory.into();
    let _owner = place.claim(&["wg0", "wg1"]).expect("free");
    println!("{CLAIMED}");
    let _ = io::stdout().flush();
    let _ = io::stdin().read_line(&mut String::new());
}

#[test]
fn a_nic_has_one_owner_and_who_comes_late_is_told_who() {
    let place = Place::new();
    let mut other = place.other_process();
    let error = place.claim(&["wg2"]).expect_err("taken");
    let text = error.to_string();
    let expected = format!(
        "eth0 belongs to ringtun process {} (wg0, wg1); ",
        other.child.id()
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("--io udp"), "{text}");
    drop(other.stdin);
    assert!(other.child.wait().expect("its end").success());
    assert!(!place.path().exists(), "an owner that ends leaves no file");
    drop(place.claim(&["wg2"]).expect("free"));
    assert!(!place.path().exists());
}

#[test]
fn a_killed_process_leaves_a_file_that_stops_nobody() {
    let place = Place::new();
    let mut other = place.other_process();
    other.child.kill().expect("kill");
    other.child.wait().expect("its end");
    assert!(place.path().exists());
    let _owner = place.claim(&["wg3"]).expect("free");
    let holder = place.holder();
    assert_eq!(holder.pid, Some(std::process::id()));
    assert_eq!(holder.devices, names(&["wg3"]));
}

#[test]
fn other_nics_and_other_namespaces_are_other_files() {
    let place = Place::new();
    let _owner = place.claim(&["wg0"]).expect("free");
    Owner::claim(&place.directory, &place.nic(3), &[]).expect("another NIC");
    let name = place.path();
    let inode = place.namespace.identity().1;
    assert!(name.ends_with(format!("{inode}-2")), "{name:?}");
}

#[test]
fn the_file_is_for_root_and_holds_one_line() {
    let place = Place::new();
    let owner = place.claim(&["wg0", "wg1"]).expect("free");
    let mode = |path: &Path| fs::metadata(path).expect("it").mode() & 0o777;
    assert_eq!(mode(owner.path()), 0o600);
    assert_eq!(mode(&place.directory) | 0o055, 0o755);
    let text = || fs::read_to_string(owner.path()).expect("it");
    let pid = std::process::id();
    let expected = format!("{{\"pid\":{pid},\"devices\":[\"wg0\",\"wg1\"]}}\n");
    assert_eq!(text(), expected);
    owner.set_devices(&names(&["w"])).expect("room");
    assert_eq!(text(), format!("{{\"pid\":{pid},\"devices\":[\"w\"]}}\n"));
}

#[test]
fn a_holder_that_cannot_be_read_is_another_process() {
    let place = Place::new();
    let owner = place.claim(&["wg0"]).expect("free");
    let long = format!("{{\"pid\":1,\"devices\":[\"{}\"]}}", "x".repeat(100_000));
    for content in [
        &b""[..],
        b"{\"pid\":47",
        b"{\"pid\":-1,\"devices\":[]}",
        b"{\"pid\":99999999999,\"devices\":[]}",
        b"[[[[",
        b"\xff\xfe\0",
        long.as_bytes(),
    ] {
        fs::write(owner.path(), content).expect("write");
        assert_eq!(place.holder(), Holder::default());
        let text = place.claim(&[]).expect_err("taken").to_string();
        assert!(
            text.starts_with("eth0 belongs to another process; "),
            "{text}"
        );
        assert!(text.contains("lslocks"), "{text}");
    }
    let hostile =
        b"{\"pid\":7,\"devices\":[\"wg0\",\"a\\u001b[2Jb\",\"../x\",\"wg1\",\"wg2\",\"wg3\"]}";
    fs::write(owner.path(), hostile).expect("write");
    let text = place.claim(&[]).expect_err("taken").to_string();
    let expected = "eth0 belongs to ringtun process 7 (wg0, wg1, wg2 and 1 more); ";
    assert!(text.starts_with(expected), "{text:?}");
}

#[test]
fn what_is_in_the_way_is_named_and_left_alone() {
    let place = Place::new();
    drop(place.claim(&[]).expect("free"));
    let target = place.directory.join("precious");
    fs::write(&target, "content").expect("write");
    let refused = |what| {
        let error = place.claim(&[]).expect_err(what);
        assert!(matches!(error, ClaimError::InTheWay(_)), "{what}: {error}");
        assert!(error.to_string().contains("move it elsewhere"), "{error}");
        assert!(fs::symlink_metadata(place.path()).is_ok(), "{what}");
    };
    symlink(&target, place.path()).expect("symlink");
    refused("a symbolic link");
    assert_eq!(fs::read(&target).expect("it"), b"content");
    fs::remove_file(place.path()).expect("remove");
    fs::create_dir(place.path()).expect("mkdir");
    refused("a directory");
    fs::remove_dir(place.path()).expect("rmdir");
    let _socket = std::os::unix::net::UnixListener::bind(place.path()).expect("bind");
    refused("a socket");
}

#[test]
fn a_file_that_was_replaced_is_not_removed() {
    let place = Place::new();
    let first = place.claim(&["wg0"]).expect("free");
    fs::remove_file(place.path()).expect("an administrator's rm");
    let _second = place.claim(&["wg1"]).expect("a new file");
    drop(first);
    assert_eq!(place.holder().devices, names(&["wg1"]));
}

#[test]
fn of_many_that_come_and_go_one_at_a_time_is_the_owner() {
    const ROUNDS: u32 = 500;
    let place = Place::new();
    let (inside, claimed) = (AtomicU32::new(0), AtomicU32::new(0));
    let begin = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                begin.wait();
                for _ in 0..ROUNDS {
                    match place.claim(&["wg0"]) {
                        Ok(owner) => {
                            assert_eq!(inside.fetch_add(1, SeqCst), 0, "two owners");
                            claimed.fetch_add(1, SeqCst);
                            std::thread::yield_now();
                            inside.fetch_sub(1, SeqCst);
                            drop(owner);
                        }
                        Err(ClaimError::Taken { .. }) => std::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(claimed.into_inner() > 0);
    assert!(!place.path().exists());
}
