//! The server over real sockets in a directory of the test's own.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;

use super::model::Model;
use crate::control::names::InterfaceName;
use crate::control::uapi::client::{Client, ClientError};
use crate::control::uapi::server::MAX_CONNECTIONS;
use crate::control::uapi::{SocketError, UapiSocket, check_free, serve, socket};
use crate::crypto::PublicKey;

fn name() -> InterfaceName {
    "rt0".parse().unwrap()
}

/// Serves a model in `directory` on this thread while `client` runs on another;
/// both must end.
fn with_server<R: Send + 'static>(
    directory: &Path,
    client: impl FnOnce(&Path) -> R + Send + 'static,
) -> (R, Model) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let socket = UapiSocket::bind(directory, &name()).unwrap();
        let path = socket.path().to_owned();
        let target = Rc::new(RefCell::new(Model::default()));
        let client = tokio::task::spawn_blocking(move || client(&path));
        let result = tokio::select! {
            result = client => result.unwrap(),
            ended = serve(socket, Rc::clone(&target)) => panic!("the server ended: {ended:?}"),
        };
        // Requests of clients that have gone are not served any more.
        (result, Rc::try_unwrap(target).ok().unwrap().into_inner())
    })
}

fn ask(stream: &mut UnixStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(stream)
}

fn read_answer(stream: &mut UnixStream) -> String {
    let mut answer = String::new();
    while !answer.ends_with("\n\n") {
        let mut byte = [0];
        assert_eq!(
            stream.read(&mut byte).unwrap(),
            1,
            "closed after {answer:?}"
        );
        answer.push(byte[0] as char);
    }
    answer
}

#[test]
fn several_operations_on_one_connection_and_after_errors() {
    let directory = tempfile::tempdir().unwrap();
    let key = "2".repeat(64);
    let ((), model) = with_server(directory.path(), move |path| {
        let mut stream = UnixStream::connect(path).unwrap();
        assert_eq!(ask(&mut stream, "get=1\n\n"), "errno=0\n\n");
        let good = format!("set=1\nfwmark=5\npublic_key={key}\nallowed_ip=::/0\n\n");
        assert_eq!(ask(&mut stream, &good), "errno=0\n\n");
        // Refused by the parser, in the middle; what came before stays.
        let bad = "set=1\nlisten_port=77\nbogus=1\nfwmark=99\n\n";
        assert_eq!(ask(&mut stream, bad), "errno=-22\n\n");
        // Refused by the device, then by the parser in the same operation: one answer.
        let bad = "set=1\nlisten_port=9\nfwmark=99\nbogus\n\n";
        assert_eq!(ask(&mut stream, bad), "errno=-98\n\n");
        assert_eq!(ask(&mut stream, "what=1\n\n"), "errno=-71\n\n");
        assert_eq!(ask(&mut stream, "get=1\nx=1\n\n"), "errno=22\n\n");
        let state = ask(&mut stream, "get=1\n\n");
        assert!(state.starts_with("listen_port=77\nfwmark=5\n"), "{state}");
        // Two at once.
        let two = ask(&mut stream, "set=1\nfwmark=6\n\nset=1\nfwmark=7\n\n");
        assert_eq!(two + &read_answer(&mut stream), "errno=0\n\nerrno=0\n\n");
    });
    assert_eq!((model.fwmark, model.dirty), (7, false));
}

#[test]
fn a_request_cut_off_is_answered_and_published() {
    let directory = tempfile::tempdir().unwrap();
    let ((), model) = with_server(directory.path(), |path| {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(b"set=1\nfwmark=5\nlisten_po").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "errno=-71\n\n");
    });
    assert_eq!((model.fwmark, model.commits, model.dirty), (5, 1, false));
}

#[test]
fn a_second_set_waits_for_the_first_and_a_get_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let ((), model) = with_server(directory.path(), |path| {
        let mut slow = UnixStream::connect(path).unwrap();
        slow.write_all(b"set=1\nfwmark=1\n").unwrap();
        let mut quick = UnixStream::connect(path).unwrap();
        while !ask(&mut quick, "get=1\n\n").contains("fwmark=1\n") {}
        quick.write_all(b"set=1\nfwmark=2\n\n").unwrap();
        let mut third = UnixStream::connect(path).unwrap();
        assert!(ask(&mut third, "get=1\n\n").contains("fwmark=1\n"));
        assert_eq!(ask(&mut slow, "\n"), "errno=0\n\n");
        assert_eq!(read_answer(&mut quick), "errno=0\n\n");
    });
    assert_eq!((model.fwmark, model.commits), (2, 2));
}

#[test]
fn connections_beyond_the_limit_wait_until_others_go() {
    let directory = tempfile::tempdir().unwrap();
    with_server(directory.path(), |path| {
        let connect = |_| UnixStream::connect(path).unwrap();
        let mut first: Vec<_> = (0..MAX_CONNECTIONS).map(connect).collect();
        for stream in &mut first {
            assert_eq!(ask(stream, "get=1\n\n"), "errno=0\n\n");
        }
        let mut late: Vec<_> = (0..10).map(connect).collect();
        for stream in &mut late {
            stream.write_all(b"get=1\n\n").unwrap();
        }
        // The others are served meanwhile.
        assert_eq!(ask(&mut first[0], "get=1\n\n"), "errno=0\n\n");
        drop(first);
        for stream in &mut late {
            assert_eq!(read_answer(stream), "errno=0\n\n");
        }
    });
}

#[test]
fn our_client_reads_what_our_server_says() {
    let directory = tempfile::tempdir().unwrap();
    let in_client = directory.path().to_owned();
    with_server(directory.path(), move |path| {
        let mut stream = UnixStream::connect(path).unwrap();
        let mut request = format!("set=1\nlisten_port=77\nprivate_key={}\n", "7".repeat(64));
        for n in 0..2000 {
            let key = format!("{n:064x}");
            request +=
                &format!("public_key={key}\nallowed_ip=10.0.0.0/8\nallowed_ip=fd00::{n:x}/128\n");
        }
        assert_eq!(ask(&mut stream, &(request + "\n")), "errno=0\n\n");
        let mut client = Client::connect(&in_client, &name()).unwrap();
        let state = client.state().unwrap();
        assert_eq!((state.listen_port, state.peers.len()), (77, 2000));
        let ranges = |n: u8| {
            let mut key = [0; 32];
            key[31] = n;
            let key = PublicKey::from_bytes(key);
            let peer = state.peers.iter().find(|p| p.public_key == key).unwrap();
            peer.allowed_ips.len()
        };
        assert_eq!(ranges(3), 1);
        assert_eq!(client.info().unwrap().pid, 4711);
        assert_eq!(client.state().unwrap().peers.len(), 2000);
    });
}

#[test]
fn the_file_is_private_and_goes_with_the_server() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("wireguard");
    let in_client = directory.clone();
    with_server(&directory, move |path| {
        let mode = |p: &Path| p.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(path), mode(&in_client)), (0o600, 0o700));
        assert!(matches!(
            check_free(&in_client, &name()),
            Err(SocketError::InUse { .. })
        ));
        let again = check_free(&in_client, &name()).unwrap_err().to_string();
        assert!(again.contains("in use") && again.contains("rt0"), "{again}");
    });
    check_free(&directory, &name()).unwrap();
    assert_eq!(directory.read_dir().unwrap().count(), 0);
}

fn bind(directory: &Path) -> Result<UapiSocket, SocketError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { UapiSocket::bind(directory, &name()) })
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket::path(directory.path(), &name());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file behind: a stale socket");
    drop(bind(directory.path()).unwrap());
    assert!(!path.exists());

    let answering = UnixListener::bind(&path).unwrap();
    assert!(matches!(
        bind(directory.path()),
        Err(SocketError::InUse { .. })
    ));
    assert!(path.exists());
    drop(answering);
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, "precious").unwrap();
    let error = bind(directory.path()).unwrap_err();
    assert!(error.to_string().contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn removing_renaming_or_replacing_the_file_ends_the_server() {
    let ways: [fn(&Path); 4] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::rename(path, path.with_extension("old")).unwrap(),
        |path| std::fs::remove_dir_all(path.parent().unwrap()).unwrap(),
        |path| {
            let other = path.with_extension("new");
            std::fs::write(&other, "other").unwrap();
            std::fs::rename(other, path).unwrap();
        },
    ];
    for (n, remove) in ways.into_iter().enumerate() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("wireguard");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let socket = UapiSocket::bind(&directory, &name()).unwrap();
            let path = socket.path().to_owned();
            let server = serve(socket, Rc::new(RefCell::new(Model::default())));
            tokio::pin!(server);
            // A change of mode is an event too, and is no reason to end.
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o660)).unwrap();
            let wait = std::time::Duration::from_millis(50);
            assert!(tokio::time::timeout(wait, &mut server).await.is_err());
            remove(&path);
            let wait = std::time::Duration::from_secs(60);
            let ended = tokio::time::timeout(wait, server).await;
            ended
                .unwrap_or_else(|_| panic!("way {n} was not noticed"))
                .unwrap();
            if n == 3 {
                assert_eq!(std::fs::read_to_string(&path).unwrap(), "other");
            }
        });
    }
}

#[test]
fn a_device_that_is_not_there_or_speaks_another_language() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(
        Client::connect(directory.path(), &name()),
        Err(ClientError::Io(_))
    ));
    for (answer, expected) in [
        ("", "ends without an empty line"),
        ("errno=0\n", "ends without an empty line"),
        ("\n", "ends without errno="),
        ("nonsense\n", "key=value"),
        ("listen_port=99999\nerrno=0\n\n", "port"),
        ("private_key=5ec2e7\nerrno=0\n\n", "hex private key"),
        ("errno=-1\n\n", "not permitted"),
    ] {
        let path = socket::path(directory.path(), &name());
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 7];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let mut client = Client::connect(directory.path(), &name()).unwrap();
        let error = client.state().unwrap_err().to_string();
        assert!(error.contains(expected), "{answer:?}: {error}");
        assert!(!error.contains("5ec2e7"));
        server.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
