//! A capture over the socket, of a device that passes what the test says.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep};

use super::model::Model;
use crate::control::capture::blocks::{Block, Blocks};
use crate::control::uapi::server::connection;
use crate::datapath::taps::{CAPTURES_MAX, Direction, Link, Side, Size, Taps, Who};

const OK: &str = "errno=0\n\n";

/// Serves as many connections as the client has ends of.
fn with_server<const N: usize>(client: impl AsyncFnOnce([UnixStream; N], &Arc<Taps>)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let pairs = [(); N].map(|()| UnixStream::pair().unwrap());
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (one, other) in pairs {
            ours.push(one);
            theirs.push(other);
        }
        let target = RefCell::new(Model::default());
        let setting = Mutex::new(());
        let taps = Arc::clone(&target.borrow().taps);
        let served = theirs
            .into_iter()
            .map(|stream| connection(stream, "wg0", &target, &setting));
        let ours = ours.try_into().expect("as many");
        tokio::join!(futures_util::future::join_all(served), client(ours, &taps));
        assert!(open(&taps).is_none(), "a capture goes on without a client");
    });
}

fn open(taps: &Taps) -> Option<crate::datapath::taps::Open> {
    let about = || (Link::Ip, Size::default());
    taps.open(Side::Inner, Direction::Out, Who::Nobody, about)
}

fn pass(taps: &Taps, packet: &[u8]) {
    open(taps).expect("a capture").push(packet);
}

async fn ask(stream: &mut UnixStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\n\n") {
        answer.push(char::from(stream.read_u8().await.unwrap()));
    }
    answer
}

/// The packets in a stream, and how many it says were missed.
fn counted(bytes: &[u8]) -> (usize, u64) {
    let mut blocks = Blocks::default();
    blocks.push(bytes);
    let (mut packets, mut missed, mut whole) = (0, 0, 0);
    while let Some((block, holds)) = blocks.next_block().unwrap() {
        whole += block.len();
        match holds {
            Block::Packet(_) => packets += 1,
            Block::Missed(Side::Inner, count) => missed = count,
            Block::Missed(Side::Outer, count) => assert_eq!(count, 0),
            Block::Head => {}
        }
    }
    assert_eq!(whole, bytes.len(), "it ends with a whole block");
    (packets, missed)
}

#[test]
fn a_client_that_closes_its_side_gets_what_waits_and_the_last_word() {
    with_server(async |[mut stream], taps| {
        assert_eq!(ask(&mut stream, "get=1\n\n").await, OK);
        assert_eq!(
            ask(&mut stream, "ringtun_capture=both\nsnap=96\n\n").await,
            OK
        );
        for number in 0..100 {
            pass(taps, &[0x45, number]);
            if number % 10 == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        }
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(counted(&bytes), (100, 0));
    });
}

#[test]
fn a_client_that_says_something_has_ended_its_capture() {
    with_server(async |[mut stream], taps| {
        assert_eq!(ask(&mut stream, "ringtun_capture=inner\n\n").await, OK);
        pass(taps, &[0x45]);
        stream.write_all(b"get=1\n\n").await.unwrap();
        let mut bytes = Vec::new();
        // What it said is unread, so that the end is a reset.
        let _ = stream.read_to_end(&mut bytes).await;
        assert_eq!(counted(&bytes), (1, 0));
    });
}

#[test]
fn a_client_that_goes_is_noticed_without_traffic() {
    with_server(async |[mut stream], taps| {
        assert_eq!(ask(&mut stream, "ringtun_capture=inner\n\n").await, OK);
        assert!(open(taps).is_some());
        drop(stream);
    });
}

#[test]
fn captures_beyond_the_limit_are_refused_and_the_connection_goes_on() {
    const N: usize = CAPTURES_MAX + 1;
    with_server::<N>(async |mut streams, taps| {
        let request = "ringtun_capture=inner\n\n";
        for stream in &mut streams[..CAPTURES_MAX] {
            assert_eq!(ask(stream, request).await, OK);
        }
        let last = &mut streams[CAPTURES_MAX];
        assert_eq!(ask(last, request).await, "errno=16\n\n");
        let peer = format!("ringtun_capture=inner\npublic_key={}\n\n", "7".repeat(64));
        assert_eq!(ask(last, &peer).await, "errno=2\n\n");
        assert_eq!(ask(last, "ringtun_capture=no\n\n").await, "errno=-22\n\n");
        assert_eq!(ask(last, "get=1\n\n").await, OK);
        pass(taps, &[0x45]);
        streams[0].shutdown().await.unwrap();
        let mut bytes = Vec::new();
        streams[0].read_to_end(&mut bytes).await.unwrap();
        assert_eq!(counted(&bytes), (1, 0));
        assert_eq!(ask(&mut streams[CAPTURES_MAX], request).await, OK);
    });
}

#[test]
fn a_client_that_does_not_read_is_told_later_what_it_missed() {
    with_server(async |[mut stream, mut other], taps| {
        assert_eq!(ask(&mut stream, "ringtun_capture=inner\n\n").await, OK);
        let packet = vec![0x45; 60_000];
        let passed = 2000;
        for number in 0..passed {
            pass(taps, &packet);
            if number % 100 == 0 {
                sleep(Duration::from_millis(5)).await;
            }
        }
        // Others are served meanwhile, and it is waited for.
        assert_eq!(ask(&mut other, "get=1\n\n").await, OK);
        sleep(Duration::from_secs(3600)).await;
        assert!(open(taps).is_some());
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let (packets, missed) = counted(&bytes);
        assert!(missed > 0);
        assert_eq!(packets as u64 + missed, passed);
    });
}

#[test]
fn a_client_that_ends_and_does_not_read_either_is_given_up() {
    with_server(async |[mut stream], taps| {
        assert_eq!(ask(&mut stream, "ringtun_capture=inner\n\n").await, OK);
        for _ in 0..200 {
            pass(taps, &vec![0x45; 60_000]);
        }
        stream.shutdown().await.unwrap();
        let begin = Instant::now();
        while open(taps).is_some() {
            sleep(Duration::from_millis(1)).await;
        }
        // Closed for packets at once; and the connection after some seconds, or
        // this would not end.
        assert!(begin.elapsed() < Duration::from_secs(1));
        sleep(Duration::from_secs(60)).await;
    });
}
