//! Screens as they are drawn, and keys.

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::Color;

use super::draw::{Status, draw, text};
use super::keys::{Outcome, handle};
use super::look::Look;
use super::model::Model;
use super::testing;
use super::view::{Screen, Sort, View};

const LOOK: Look = Look {
    colour: true,
    unicode: true,
};

fn model(peers: usize) -> Model {
    let mut model = Model::default();
    for second in 0..20_u64 {
        let bytes = 1_000_000 * second * (1 + second % 5);
        model.apply(testing::sample(
            100_000 + second,
            &[("wg0", 7, peers, bytes)],
        ));
    }
    model
}

fn screen(model: &Model, view: &mut View, look: Look, (width, height): (u16, u16)) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    view.refresh(model);
    let status = Status {
        interval: 1.0,
        stale: None,
    };
    draw(&mut buffer, look, model, view, &status);
    buffer
}

fn press(keys: &[KeyCode], view: &mut View, model: &Model) -> Outcome {
    let mut outcome = Outcome::Stay;
    for key in keys {
        let event = Event::Key(KeyEvent::new(*key, KeyModifiers::NONE));
        outcome = handle(&event, view, model);
    }
    outcome
}

fn typed(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

#[test]
fn a_small_screen_has_devices_peers_drops_threads_and_hints() {
    let model = model(40);
    let mut view = View::default();
    let shown = text(&screen(&model, &mut view, LOOK, (80, 24)));
    println!("{shown}");
    for part in [
        "1 device  40 peers",
        "wg0",
        "up",
        "51820",
        "worker-0 42%",
        "replay 100,019 +1/s",
        "initiations 3/1024",
        "Anna's phone",
        "1-14 of 40",
        "▼RX bit/s",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() <= 80));
    let wide = text(&screen(&model, &mut view, LOOK, (200, 60)));
    println!("{wide}");
    for part in ["ENDPOINT", "192.0.2.1:1000", "10.9.0.0/32", "1-40 of 40"] {
        assert!(wide.contains(part), "{part}\n{wide}");
    }
}

#[test]
fn every_size_is_drawn() {
    let model = model(40);
    for screen_of in [Screen::List, Screen::Peer, Screen::Device, Screen::Help] {
        let mut view = View::default();
        view.screen = screen_of;
        for width in [0, 1, 39, 40, 77, 79, 80, 100, 110, 139, 160, 180, 300] {
            for height in [0, 1, 9, 10, 11, 15, 24, 100] {
                screen(&model, &mut view, LOOK, (width, height));
            }
        }
        screen(&Model::default(), &mut view, LOOK, (80, 24));
    }
}

#[test]
fn names_cannot_steer_the_terminal() {
    let model = model(5);
    let mut view = View::default();
    for screen_of in [Screen::List, Screen::Peer, Screen::Device] {
        view.screen = screen_of;
        let buffer = screen(&model, &mut view, LOOK, (80, 40));
        for cell in buffer.content() {
            let bad = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!cell.symbol().contains(bad), "{:?}", cell.symbol());
        }
    }
    view.screen = Screen::List;
    let shown = text(&screen(&model, &mut view, LOOK, (80, 40)));
    assert!(shown.contains("evil·[2J·name"), "{shown}");
}

#[test]
fn without_colours_and_unicode_there_are_none() {
    let model = model(5);
    let plain = Look {
        colour: false,
        unicode: false,
    };
    for screen_of in [Screen::List, Screen::Peer, Screen::Device, Screen::Help] {
        let mut view = View::default();
        view.screen = screen_of;
        let buffer = screen(&model, &mut view, plain, (120, 60));
        for cell in buffer.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
            assert!(cell.symbol().is_ascii(), "{:?}", cell.symbol());
        }
    }
}

#[test]
fn keys_sort_filter_select_and_lead_back() {
    let model = model(40);
    let mut view = View::default();
    screen(&model, &mut view, LOOK, (80, 24));
    let chosen = |view: &View| view.current(&model).unwrap().1.key;
    assert_eq!(chosen(&view), testing::key(0), "moves most");
    press(&typed("jj"), &mut view, &model);
    assert_eq!(chosen(&view), testing::key(2));
    press(&[KeyCode::End], &mut view, &model);
    assert_eq!(view.cursor, 39);
    let shown = text(&screen(&model, &mut view, LOOK, (80, 24)));
    assert!(shown.contains("27-40 of 40"), "{shown}");

    // Handshake, then the other way round: who never had one is the first.
    press(&typed("sr"), &mut view, &model);
    assert_eq!(
        (view.sort, chosen(&view)),
        (Sort::Handshake, testing::key(3))
    );
    press(&typed("s"), &mut view, &model);
    assert_eq!((view.sort, chosen(&view)), (Sort::Name, testing::key(0)));

    // In any case; letters that are commands elsewhere are text here.
    press(&typed("/PHONEq"), &mut view, &model);
    assert_eq!(view.rows.len(), 0);
    let shown = text(&screen(&model, &mut view, LOOK, (80, 24)));
    assert!(shown.contains("no peer matches"), "{shown}");
    press(&[KeyCode::Backspace, KeyCode::Enter], &mut view, &model);
    assert_eq!((view.rows.len(), view.typing), (1, false));
    press(&[KeyCode::Enter], &mut view, &model);
    assert_eq!(view.screen, Screen::Peer);
    let shown = text(&screen(&model, &mut view, LOOK, (80, 24)));
    for part in [
        "Anna's phone",
        "10.9.0.0/32",
        "192.0.2.1:1000",
        "every 25 s",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert_eq!(press(&[KeyCode::Esc], &mut view, &model), Outcome::Stay);
    assert_eq!(view.screen, Screen::List);
    assert_eq!(press(&[KeyCode::Esc], &mut view, &model), Outcome::Stay);
    assert_eq!(view.rows.len(), 40);
    assert_eq!(press(&[KeyCode::Esc], &mut view, &model), Outcome::Quit);
    assert_eq!(press(&typed("q"), &mut view, &model), Outcome::Quit);
    let event = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    press(&typed("/x"), &mut view, &model);
    assert_eq!(handle(&event, &mut view, &model), Outcome::Quit);
}

#[test]
fn a_filter_is_bounded_and_the_selected_peer_stays_selected() {
    let model = model(40);
    let mut view = View::default();
    view.refresh(&model);
    press(&typed("/"), &mut view, &model);
    press(&typed(&"ä".repeat(5000)), &mut view, &model);
    assert_eq!(view.filter.chars().count(), 64);
    press(&[KeyCode::Esc], &mut view, &model);
    press(&typed("jjj"), &mut view, &model);
    let before = view.current(&model).unwrap().1.key;
    view.reverse = true;
    view.refresh(&model);
    assert_eq!(view.current(&model).unwrap().1.key, before);
    assert_eq!(view.cursor, 36);
}
