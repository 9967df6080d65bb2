//! What the kernel refuses, by name and with the remedy.

use crate::frames::{Checksum, numbered};
use crate::wire::{PATIENCE, Wire};
use ringtun::xsk::{Socket, SocketConfig, Transfer, Umem, UmemConfig, XskError};
use ringtun_lab::wait;
use std::process::Command;

fn umem() -> Umem {
    Umem::new(UmemConfig {
        frames: 64,
        ..UmemConfig::default()
    })
    .expect("memory")
}

#[test]
fn a_second_socket_on_one_queue_is_told_that_it_is_busy() {
    let wire = Wire::new();
    let config = SocketConfig {
        prefill: 8,
        ..SocketConfig::default()
    };
    let (mut mine, mut yours) = (umem(), umem());
    let first = wire.bind(&mut mine, &config).expect("free");
    for umem in [&mut mine, &mut yours] {
        let before = umem.audit();
        let error = wire.bind(umem, &config).expect_err("taken");
        assert!(matches!(error, XskError::Busy { queue: 0, .. }), "{error}");
        assert!(error.to_string().contains("--io udp"), "{error}");
        assert_eq!(umem.audit(), before, "the frames are free again");
    }
    drop(first);
    // The kernel gives the queue back a moment after the socket was closed.
    let _second = wait::until("the queue is free", PATIENCE, || {
        match wire.bind(&mut yours, &config) {
            Err(XskError::Busy { .. }) => Ok(None),
            other => Ok(Some(other?)),
        }
    })
    .expect("the queue");
    assert_eq!(yours.audit().filled, 8);
    // The frames that the closed socket had are not given out again.
    assert_eq!((mine.audit().lost, mine.audit().free), (8, 56));
}

#[test]
fn what_cannot_be_bound_is_named() {
    let wire = Wire::new();
    let bind = |ifindex, queue, transfer| {
        let mut umem = umem();
        let config = SocketConfig {
            transfer,
            ..SocketConfig::default()
        };
        wire.bind_to(&mut umem, ifindex, queue, &config)
    };
    let index = wire.near_index();
    let error = bind(0x7fff_0000, 0, None).expect_err("no such interface");
    assert!(matches!(error, XskError::NoDevice { .. }), "{error}");
    assert!(error.to_string().contains("2147418112"), "{error}");
    let error = bind(index, 9, None).expect_err("no such queue");
    assert!(
        matches!(error, XskError::Refused { queue: 9, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("ethtool -l"), "{error}");
    let error = bind(index, 0, Some(Transfer::ZeroCopy)).expect_err("a veth cannot");
    assert!(matches!(error, XskError::NoZeroCopy { .. }), "{error}");
    assert!(error.to_string().contains("copy mode"), "{error}");
    let socket = bind(index, 0, Some(Transfer::Copy)).expect("a veth can");
    assert!(socket.why_copy().is_none(), "it was asked for");
}

#[test]
fn a_shared_umem_has_one_transfer() {
    let wire = Wire::new();
    let beside = wire.beside();
    let mut umem = umem();
    let mut config = SocketConfig::default();
    let _first = wire.bind(&mut umem, &config).expect("a socket");
    config.transfer = Some(Transfer::ZeroCopy);
    let error = beside.bind(&mut umem, &config).expect_err("it is copy");
    assert!(matches!(error, XskError::OtherTransfer { .. }), "{error}");
    assert!(error.to_string().contains("in copy mode"), "{error}");
}

#[test]
fn a_device_that_is_down_or_gone_is_told_apart() {
    let wire = Wire::new();
    let mut umem = umem();
    let mut socket = wire
        .bind(&mut umem, &SocketConfig::default())
        .expect("a socket");
    let flow = wire.outward(false);
    let submit = |socket: &mut Socket, umem: &mut Umem, n| {
        let mut frame = umem.take().expect("free");
        let bytes = flow.frame(&numbered(n, 64), Checksum::Full);
        frame.write(64, &bytes).expect("fits");
        let mut batch = socket.tx.batch(umem, 1).expect("sane");
        batch.push(frame).expect("room");
        batch.submit();
    };
    wire.near
        .ip(&format!("link set {} down\n", wire.device))
        .expect("down");
    submit(&mut socket, &mut umem, 1);
    let error = socket.wake_tx().expect_err("down");
    assert!(matches!(error, XskError::Down), "{error}");

    // Up again, what waited in the ring leaves.
    wire.near
        .ip(&format!("link set {} up\n", wire.device))
        .expect("up");
    crate::wire::complete(&mut socket, &mut umem);
    assert_eq!(umem.audit().free, 64);

    wire.near
        .ip(&format!("link del {}\n", wire.device))
        .expect("gone");
    submit(&mut socket, &mut umem, 2);
    let error = socket.wake_tx().expect_err("gone");
    assert!(matches!(error, XskError::Gone), "{error}");
}

/// Set in a process that has fewer capabilities.
const INSIDE: &str = "RINGTUN_TEST_INSIDE";

/// Runs this test in a process of its own that lacks `capability`; what it prints.
fn run_without(capability: &str, test: &str) -> String {
    let output = Command::new("setpriv")
        .args(["--bounding-set", &format!("-{capability}")])
        .args(["prlimit", "--memlock=65536"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("setpriv and prlimit (util-linux)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_process_that_may_not_is_told_what_it_lacks() {
    if std::env::var_os(INSIDE).is_some() {
        // The memory is registered before the interface is looked for.
        let result = Socket::bind(&mut umem(), 0x7fff_0000, 0, &SocketConfig::default());
        println!("{:?}", result.expect_err("no such interface"));
        return;
    }
    for (capability, expected) in [
        ("net_raw", "NotPermitted"),
        ("ipc_lock", "MemoryLock { bytes: 131072 }"),
        ("sys_time", "NoDevice"),
    ] {
        let this = "errors::a_process_that_may_not_is_told_what_it_lacks";
        let output = run_without(capability, this);
        assert!(output.contains(expected), "{capability}: {output}");
    }
}
