//! Lines about what must be rare on WAN interfaces.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use ringtun::bpf::{CardProgram as _, Notices, WanProgram, embedded};
use ringtun_common::class::Class;
use ringtun_common::cursor::SliceCursor;
use ringtun_common::fixtures::{self, World, frames};
use ringtun_common::ip::UDP;
use ringtun_common::notice::{LOOK_EVERY, NOTICE_PROGRAM, TARGET, is_worth_a_line};
use ringtun_common::packet;
use ringtun_common::verdict::{Verdict, judge};
use serde_json::{Value, json};
use std::os::fd::AsFd as _;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{self, Random, XDP_PASS, mutated};
use crate::wan::{Kernel, long_enough};

const FLOOD: u32 = 10_000;

/// What was written to a log.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Text {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The events that become of what the program has logged.
fn events(notices: &mut Notices) -> Vec<Value> {
    let text = Text::default();
    let log = tracing_subscriber::fmt()
        .json()
        .with_writer(text.clone())
        .finish();
    tracing::subscriber::with_default(log, || notices.tell());
    let bytes = text.0.lock().unwrap();
    let lines = std::str::from_utf8(&bytes).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Limits are per CPU: this thread stays where it is.
fn stay_on_this_cpu() {
    let mut cpus = CpuSet::new();
    cpus.set(sched_getcpu().unwrap()).unwrap();
    sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
}

/// The program with the tables of [`World`], and what it logs.
fn kernel() -> (Kernel, Notices) {
    stay_on_this_cpu();
    let mut kernel = Kernel::new();
    let notices = kernel.program().take_notices().unwrap();
    assert!(kernel.program().take_notices().is_none());
    (kernel, notices)
}

/// As [`kernel`]; each packet that is worth it gets a line.
fn without_limit() -> (Kernel, Notices) {
    let (mut kernel, notices) = kernel();
    kernel
        .program()
        .set_notice_interval(Duration::ZERO)
        .unwrap();
    (kernel, notices)
}

/// WireGuard data for a device of ours.
fn data() -> Vec<u8> {
    frames::over4(UDP, &frames::udp(&fixtures::message(4, 96)))
}

/// What the programs' clock says.
fn coarse_now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)
        .unwrap()
        .into()
}

fn suppressed(event: &Value) -> u64 {
    event["fields"]["suppressed"].as_u64().unwrap()
}

#[test]
fn a_flood_is_one_line_and_the_next_one_says_how_much_it_was() {
    let (mut kernel, mut notices) = kernel();
    let frame = data();
    // Packets come in several ticks of the programs' clock, each of which lets a
    // packet be looked at unless there was a line.
    let (mut flood, mut ticks, mut before) = (0, 0, coarse_now());
    while ticks < 4 {
        let outcome = kernel.program().test_run(&frame, FLOOD).unwrap();
        assert_eq!(outcome.action, XDP_PASS);
        flood += u64::from(FLOOD);
        let now = coarse_now();
        ticks += u32::from(now >= before + LOOK_EVERY);
        before = now;
    }
    let first = events(&mut notices);
    assert_eq!(first.len(), 1, "{first:#?}");
    assert_eq!(suppressed(&first[0]), 0);

    // Each verdict has a limit of its own.
    let cut_off = &frame[..frame.len() - 1];
    kernel.program().test_run(cut_off, FLOOD).unwrap();
    let other = events(&mut notices);
    assert_eq!(other.len(), 1, "{other:#?}");
    assert_eq!(other[0]["fields"]["verdict"], "malformed");

    // As if the time was over.
    kernel
        .program()
        .set_notice_interval(Duration::ZERO)
        .unwrap();
    kernel.program().test_run(&frame, 2).unwrap();
    let next: Vec<_> = events(&mut notices).iter().map(suppressed).collect();
    assert_eq!(next, [flood - 1, 0]);
    let counts = kernel.program().counts().unwrap();
    let counted = counts.verdict(Verdict::NoSocket).packets;
    assert_eq!(counted, flood + 2);
}

#[test]
fn a_line_says_what_where_and_from_whom() {
    let (mut kernel, mut notices) = without_limit();
    let datagram = frames::udp_between(4711, frames::PORT, &fixtures::message(4, 96));
    let (four, six) = (frames::over4(UDP, &datagram), frames::over6(UDP, &datagram));
    let long = frames::udp_between(4711, frames::PORT, &fixtures::message(4, 4000));
    let deep = frames::behind(&[(60, 1); 9], UDP, &datagram);
    let deep = frames::ethernet(&[], 0x86dd, &deep);
    let (four_from, six_from) = (json!("192.0.2.1:4711"), json!("[2001:db8::1]:4711"));
    let before_ports = [json!("192.0.2.1:0"), json!("[2001:db8::1]:0")];
    let [four_without, six_without] = before_ports;
    let cases = [
        (four.clone(), Verdict::NoSocket, "WARN", four_from.clone()),
        (six.clone(), Verdict::NoSocket, "WARN", six_from),
        (
            frames::over4(UDP, &long),
            Verdict::Oversize,
            "WARN",
            four_from.clone(),
        ),
        (
            frames::with_byte(four.clone(), 14 + 25, 7),
            Verdict::Malformed,
            "INFO",
            four_from,
        ),
        (
            four[..60].to_vec(),
            Verdict::Malformed,
            "INFO",
            four_without,
        ),
        (
            six[..80].to_vec(),
            Verdict::Malformed,
            "INFO",
            six_without.clone(),
        ),
        (deep, Verdict::TooDeep, "INFO", six_without),
        (four[..30].to_vec(), Verdict::Truncated, "INFO", Value::Null),
    ];
    for (frame, verdict, level, source) in cases {
        let class = match verdict {
            Verdict::NoSocket | Verdict::Oversize => Class::WireGuardData,
            _ => Class::Unreadable,
        };
        kernel.run(&frame, (class, verdict), verdict.label());
        let events = events(&mut notices);
        let [event] = &events[..] else {
            panic!("{verdict:?}: {events:#?}");
        };
        assert_eq!(event["target"], TARGET);
        assert_eq!(event["level"], level, "{event}");
        let mut fields = event["fields"].as_object().unwrap().clone();
        let message = fields.remove("message").unwrap();
        assert!(message.as_str().unwrap().len() > 20, "{message}");
        let mut expected = json!({
            "event": "xdp_notice",
            "verdict": verdict.label(),
            "interface": "lo",
            "index": support::LOOPBACK,
            "queue": 0,
            "length": frame.len(),
            "suppressed": 0,
        });
        if !source.is_null() {
            expected["source"] = source;
        }
        assert_eq!(Value::from(fields), expected);
    }
    kernel.finish();
}

/// Whether the host would tell of this frame; a socket serves the queue.
fn is_told(frame: &[u8]) -> bool {
    let (packet, why) = packet::parse_partly(&mut SliceCursor::new(frame));
    let parsed = why.map_or(Ok(packet), Err);
    let (_, verdict) = judge(&parsed, frame.len(), &mut World::with_socket());
    verdict.is_noticed() && is_worth_a_line(verdict, &packet, &World::with_socket())
}

#[test]
fn ordinary_packets_have_no_line_and_host_and_kernel_agree_which_have_one() {
    let (mut kernel, mut notices) = without_limit();
    let socket = ringtun_lab::xdp_socket().unwrap();
    let place = World::INTERFACE.first_socket;
    kernel
        .program()
        .cards()
        .set_socket(place, socket.as_fd())
        .unwrap();
    let frames: Vec<_> = long_enough().into_iter().map(|f| f.frame).collect();
    let (mut told, mut untold) = (0, 0);
    let mut agree = |frame: &[u8]| {
        kernel.program().test_run(frame, 1).unwrap();
        let events = events(&mut notices);
        let expected = usize::from(is_told(frame));
        assert_eq!(events.len(), expected, "{frame:02x?}: {events:#?}");
        told += expected;
        untold += 1 - expected;
    };
    for fixture in long_enough() {
        agree(&fixture.frame);
        if !fixture.verdict.is_noticed() {
            assert!(!is_told(&fixture.frame), "{}", fixture.name);
        }
    }
    let mut random = Random(0x0107_1ce5);
    for _ in 0..20_000 {
        agree(&mutated(&mut random, &frames));
    }
    assert!(told > 1000 && untold > 1000, "{told} and {untold}");
}

/// As an object is that another version of ringtun has built.
#[test]
fn without_the_programs_that_log_the_rest_works() {
    let object = support::object().unwrap_or_else(|| embedded().unwrap().to_vec());
    let text = NOTICE_PROGRAM.as_bytes();
    let mut renamed = object;
    let found: Vec<_> = (0..renamed.len() - text.len())
        .filter(|at| renamed[*at..].starts_with(text))
        .collect();
    assert!(!found.is_empty());
    for at in found {
        renamed[at] = b'R';
    }
    let mut program = WanProgram::load_object(&renamed).unwrap();
    assert!(program.take_notices().is_none());
    program.set_notice_interval(Duration::ZERO).unwrap();
    let outcome = program.test_run(&data()[..30], 1).unwrap();
    assert_eq!(outcome.action, XDP_PASS);
    assert_eq!(program.verdict(Verdict::Truncated).unwrap().packets, 1);
}
