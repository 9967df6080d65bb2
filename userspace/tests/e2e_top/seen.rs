//! What is seen of a tunnel with traffic.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ringtun_lab::peers::local::Device;
use ringtun_lab::stream::{self, Plan};
use ringtun_lab::tunnel::Options;
use ringtun_lab::{Tunnel, names};

use crate::screen::{Place, Top};
use crate::{e2e, picture};

/// A line of the screen that has this in it.
fn line<'a>(text: &'a str, part: &str) -> &'a str {
    let mut lines = text.lines();
    let found = lines.find(|line| line.contains(part));
    found.unwrap_or_else(|| panic!("{part} in\n{text}"))
}

struct Site {
    tunnel: Tunnel,
    place: Place,
}

impl Site {
    fn new(io: &str) -> Self {
        let ringtun = e2e::ringtun();
        let options = Options {
            arguments: &["--io", io],
            queues: 2,
            ..Options::default()
        };
        let tunnel = Tunnel::new([&ringtun, &ringtun], &options).unwrap();
        let names = [0, 1].map(|at| tunnel.devices[at].name.clone());
        let place = Place::new(&[&names[0], &names[1]]);
        let hostile = "Anna's \u{1b}[2Jphone";
        place.name_peers(
            &names[0],
            &format!(
                "[Peer]\nPublicKey = {}\n# friendly_name = {hostile}\n",
                tunnel.keys[1].public
            ),
        );
        Self { tunnel, place }
    }

    /// Has traffic move at 20 MB/s while `look` looks.
    fn with_traffic<T>(&self, look: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A port for each: a program that is just being started holds what listened
                // before for a moment longer.
                for port in 7001.. {
                    if stop.load(Relaxed) {
                        break;
                    }
                    let to = SocketAddr::new(Tunnel::inside_v4(1).into(), port);
                    let plan = Plan::paced(20_000_000, Duration::from_secs(1));
                    stream::transfer(self.tunnel.ns(0), self.tunnel.ns(1), to, &plan).unwrap();
                }
            });
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
            stop.store(true, Relaxed);
            looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

#[test]
fn devices_peers_and_rates_are_seen_sorted_filtered_and_in_detail() {
    let site = Site::new("auto");
    let names = [0, 1].map(|at| site.tunnel.devices[at].name.clone());
    site.with_traffic(|| {
        for size in [(80, 24), (200, 60)] {
            let mut top = Top::start(&site.place, size, &["--interval", "0.5"]);
            top.sees(&["2 devices", "2 peers", "2 active", &names[0], "Anna's", "M"]);
            let text = top.until("a rate of both, and threads", |text| {
                line(text, "Anna's").contains('M') && text.contains("worker-0 ")
            });
            println!("{text}\n");
            assert!(text.lines().count() <= size.1.into());
            assert!(
                !text.contains('\u{1b}') && text.contains("Anna's [2Jphone"),
                "{text}"
            );
            picture::check(&top.parser);
            if size.0 == 80 {
                picture::save(&top.parser, Path::new("top-auto.svg"));
            } else {
                let endpoint = SocketAddr::new(site.tunnel.pair.ends[1].v4.into(), 51820);
                top.sees(&[&endpoint.to_string(), "10.78.0.2/32"]);
                picture::save(&top.parser, Path::new("top-wide.svg"));
            }

            // One device, then the other, then both.
            top.press("\t");
            top.sees(&[&format!("peers of {}", names[0]), "1-1 of 1 (2 in all)"]);
            top.press("\t\t");
            top.sees(&["1-2 of 2"]);

            // By name: the one that has one is first, and last the other way round.
            top.press("s");
            top.sees(&["▼HANDSHAKE"]);
            top.press("s");
            top.sees(&["▼PEER"]);
            top.press("r");
            let text = top.sees(&["▲PEER"]);
            let row = |part| text.lines().position(|line| line.contains(part)).unwrap();
            let key = &site.tunnel.keys[0].public[..10];
            assert!(row("Anna's") > row(key), "{text}");

            top.press("/anna");
            top.sees(&["/anna_", "1-1 of 1 (2 in all)"]);
            top.press("\r");
            top.sees(&["filter: anna"]);
            top.press("\r");
            let text = top.sees(&[
                "public key",
                "allowed IPs",
                "10.78.0.2/32",
                "handshake",
                "bit/s",
            ]);
            println!("{text}\n");
            top.press("?");
            top.sees(&["this help", "sort by rate"]);
            top.press("d");
            let text = top.sees(&["Dropped, by reason", "bad-mac1"]);
            println!("{text}\n");
            top.press("G");
            top.sees(&["worker-0"]);
            top.press("\u{1b}");
            top.sees(&["filter: anna"]);
            top.press("\u{1b}");
            top.sees(&["1-2 of 2"]);

            top.resize(size.0 + 40, size.1 - 4);
            let text = top.until("the new size", |text| {
                text.lines()
                    .next()
                    .is_some_and(|line| line.trim_end().chars().count() > usize::from(size.0))
                    && text.trim_end().lines().count() == usize::from(size.1 - 4)
            });
            assert!(text.contains("q quit"), "{text}");

            top.press("q");
            assert!(top.ended().success());
            top.is_restored();
        }
    });
}

#[cfg(ringtun_bpf)]
#[test]
fn rings_are_seen_with_how_full_they_are() {
    let site = Site::new("xdp");
    let name = &*site.tunnel.devices[0].name;
    let card = &*site.tunnel.pair.ends[0].device;
    site.with_traffic(|| {
        for size in [(80, 24), (200, 60)] {
            let mut top = Top::start(&site.place, size, &["--interval", "0.5"]);
            let ring = format!("{card}/0 tx ");
            let text = top.until("rings, and traffic through them", |text| {
                let moves = |line: &str| line.contains("Anna's") && line.contains('M');
                // Their processor time is a row of the page below, once it is known.
                let known = |line: &str| !line.contains(" xdp ") || !line.trim_end().ends_with('?');
                text.contains(&ring) && text.lines().any(moves) && text.lines().all(known)
            });
            println!("{text}\n");
            assert!(line(&text, name).contains(" xdp "), "{text}");
            let [first, second] = [0, 1].map(|queue| format!("{card}/{queue} tx "));
            let rings = line(&text, "Rings");
            assert!(rings.contains(&first) && rings.contains(&second), "{text}");
            assert_eq!(rings.matches("% fill ").count(), 2, "{rings}");
            assert!(!rings.contains("lost") && !rings.contains("FAILED"));
            picture::check(&top.parser);
            let file = if size.0 == 80 {
                "top.svg"
            } else {
                "top-wide.svg"
            };
            picture::save(&top.parser, Path::new(file));

            // The device's page has them to the slot, and how many packets went through.
            top.press("d");
            // Whose it is depends on which peer is the busiest just then; both have rings.
            let page = top.sees(&["public key", ": native, copy, 2 queues)"]);
            let card = page
                .split("xdp (")
                .nth(1)
                .and_then(|rest| rest.split(':').next());
            let card = card.unwrap_or_else(|| panic!("{page}"));
            top.press("G");
            let moved = |text: &str| {
                let rows = [0, 1].map(|queue| format!("{card}/{queue} "));
                let rows = text
                    .lines()
                    .filter(|line| rows.iter().any(|row| line.contains(row)));
                let out = rows.filter_map(|row| row.split_whitespace().last());
                let out = out.filter_map(|out| out.replace(',', "").parse::<u64>().ok());
                out.sum::<u64>()
            };
            let text = top.until("rings of the device, and packets through them", |text| {
                text.contains("Rings and queues") && text.contains("worker-0") && moved(text) > 100
            });
            println!("{text}\n");
            for queue in [0, 1] {
                let row = line(&text, &format!("{card}/{queue} "));
                let words: Vec<_> = row.split_whitespace().collect();
                let [_, "tx", tx, "fill", fill, "in", _, "out", _] = words[..] else {
                    panic!("{row}");
                };
                assert!(tx.ends_with("/2048") && fill.ends_with("/2048"), "{row}");
            }
            top.press("q");
            assert!(top.ended().success());
            top.is_restored();
        }
    });
}

#[test]
fn without_colours_there_are_none_and_a_plain_locale_gets_ascii() {
    let site = Site::new("udp");
    let environment = [("NO_COLOR", "1"), ("LC_ALL", "C")];
    let mut top = Top::start_with(&site.place, (80, 24), &[], &environment);
    let text = top.sees(&["Anna's", "worker-0 "]);
    println!("{text}");
    assert!(text.is_ascii(), "{text}");
    for (row, column) in (0..24).flat_map(|row| (0..80).map(move |column| (row, column))) {
        let cell = top.parser.screen().cell(row, column).unwrap();
        let colours = [cell.fgcolor(), cell.bgcolor()];
        assert_eq!(colours, [vt100::Color::Default; 2], "at {row}, {column}");
    }
    top.press("\u{3}");
    assert!(top.ended().success());
    top.is_restored();
}

#[test]
fn a_device_that_goes_and_comes_back_is_shown_as_such() {
    let site = Site::new("udp");
    let ringtun = e2e::ringtun();
    let ns = site.tunnel.ns(0);
    let name = names::unique("w");
    let device = Device::start_with(&ringtun, ns, &name, &["--io", "udp"]).unwrap();
    site.place.add(&name);
    let mut top = Top::start(&site.place, (100, 30), &["--interval", "0.2"]);
    top.until("the device", |text| {
        text.contains("3 devices") && line(text, &name).contains("down")
    });
    drop(device);
    top.until("its end", |text| line(text, &name).contains("gone "));
    let device = Device::start_with(&ringtun, ns, &name, &["--io", "udp"]).unwrap();
    top.until("its return", |text| line(text, &name).contains("restarted"));
    drop(device);
    top.until("its end", |text| line(text, &name).contains("gone "));
    top.press("q");
    assert!(top.ended().success());
    top.is_restored();
}

/// `top` without a terminal.
fn plain(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(e2e::ringtun().program);
    let ran = command
        .arg("top")
        .args(arguments)
        .env("COLUMNS", "100")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let text = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn once_is_a_screen_as_text_and_without_a_terminal_it_is_named() {
    let site = Site::new("udp");
    let name = &*site.tunnel.devices[0].name;
    let (good, text) = plain(&[name, "--once", "--interval", "0.2"]);
    println!("{text}");
    assert!(good && text.contains("1 device  1 peer"), "{text}");
    assert!(
        text.contains(&site.tunnel.keys[1].public[..10]) && !text.contains('\u{1b}'),
        "{text}"
    );
    let (good, text) = plain(&[name, "--once", "--interval", "0.2", "--filter", "nobody"]);
    assert!(good && text.contains("no peer matches"), "{text}");
    let (good, text) = plain(&[name]);
    assert!(!good && text.contains("top --once"), "{text}");
    let (good, text) = plain(&["wg-no-such", "--once"]);
    assert!(
        !good && text.contains("no device `wg-no-such` runs here"),
        "{text}"
    );

    let mut top = Top::start_with(&site.place, (80, 24), &[], &[("TERM", "dumb")]);
    assert!(!top.ended().success());
    let text = top.text();
    assert!(
        text.contains("TERM=dumb") && text.contains("--once"),
        "{text}"
    );
}
