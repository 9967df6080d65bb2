//! What a key does.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Model;
use super::view::{Screen, View};

/// What comes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Stay,
    Quit,
}

/// Keys and what they do, for the help.
pub const HELP: [(&str, &str); 16] = [
    ("↑ ↓  k j", "select a peer"),
    ("PgUp PgDn", "a page"),
    ("Home End  g G", "the first, the last"),
    ("Enter", "all about the selected peer"),
    ("d", "all about its device: drops, rings, threads"),
    ("Tab  ← →", "peers of the next device only; of all"),
    ("/", "filter by name, key, endpoint, network or device"),
    ("Esc", "back; without the filter; quit"),
    ("s", "sort by rate, handshake, name, bytes"),
    ("r", "the other way round"),
    ("p", "pause"),
    ("? h", "this help"),
    ("q  Ctrl-C", "quit"),
    ("", ""),
    ("rates", "bit/s; totals are bytes, as in `wg show`"),
    (
        "handshake",
        "bright: younger than 180 s, so that its keys are used",
    ),
];

/// Carries out an event of the terminal.
pub fn handle(event: &Event, view: &mut View, model: &Model) -> Outcome {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => pressed(*key, view, model),
        _ => Outcome::Stay,
    }
}

fn pressed(key: KeyEvent, view: &mut View, model: &Model) -> Outcome {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return Outcome::Quit;
    }
    if view.typing {
        typed(key, control, view, model);
        return Outcome::Stay;
    }
    if control {
        return Outcome::Stay;
    }
    match key.code {
        KeyCode::Char('q') => return Outcome::Quit,
        KeyCode::Esc => return back(view, model),
        KeyCode::Char('?' | 'h') => toggle(view, Screen::Help),
        KeyCode::Char('d') => toggle(view, Screen::Device),
        KeyCode::Char('p') => view.paused = !view.paused,
        _ if view.screen == Screen::List => listed(key.code, view, model),
        code => elsewhere(code, view),
    }
    Outcome::Stay
}

fn toggle(view: &mut View, screen: Screen) {
    view.scroll = 0;
    view.screen = if view.screen == screen {
        Screen::List
    } else {
        screen
    };
}

fn back(view: &mut View, model: &Model) -> Outcome {
    if view.screen != Screen::List {
        view.screen = Screen::List;
    } else if view.filter.is_empty() {
        return Outcome::Quit;
    } else {
        view.set_filter(String::clear, model);
    }
    Outcome::Stay
}

fn typed(key: KeyEvent, control: bool, view: &mut View, model: &Model) {
    match key.code {
        KeyCode::Enter => view.typing = false,
        KeyCode::Esc => {
            view.typing = false;
            view.set_filter(String::clear, model);
        }
        KeyCode::Backspace => view.set_filter(
            |text| {
                text.pop();
            },
            model,
        ),
        KeyCode::Char('u') if control => view.set_filter(String::clear, model),
        KeyCode::Char(c) if !control && !c.is_control() => {
            view.set_filter(|text| text.push(c), model);
        }
        code => moved(code, view, model),
    }
}

fn listed(code: KeyCode, view: &mut View, model: &Model) {
    match code {
        KeyCode::Enter if view.current(model).is_some() => toggle(view, Screen::Peer),
        KeyCode::Char('/') => view.typing = true,
        KeyCode::Char('s') => view.next_sort(model),
        KeyCode::Char('r') => view.turn(model),
        KeyCode::Tab | KeyCode::Right => view.next_device(true, model),
        KeyCode::BackTab | KeyCode::Left => view.next_device(false, model),
        KeyCode::Char('k') => moved(KeyCode::Up, view, model),
        KeyCode::Char('j') => moved(KeyCode::Down, view, model),
        KeyCode::Char('g') => moved(KeyCode::Home, view, model),
        KeyCode::Char('G') => moved(KeyCode::End, view, model),
        KeyCode::Char(' ') => moved(KeyCode::PageDown, view, model),
        code => moved(code, view, model),
    }
}

fn moved(code: KeyCode, view: &mut View, model: &Model) {
    let page = view.page.max(1).cast_signed();
    let by = match code {
        KeyCode::Up => -1,
        KeyCode::Down => 1,
        KeyCode::PageUp => -page,
        KeyCode::PageDown => page,
        KeyCode::Home => isize::MIN,
        KeyCode::End => isize::MAX,
        _ => return,
    };
    view.step(by, model);
}

/// On a screen that may be longer than the terminal.
fn elsewhere(code: KeyCode, view: &mut View) {
    let page = view.page.max(1).cast_signed();
    let by = match code {
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::PageUp => -page,
        KeyCode::PageDown | KeyCode::Char(' ') => page,
        KeyCode::Home | KeyCode::Char('g') => isize::MIN,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        // Closes what Enter opened.
        KeyCode::Enter => return toggle(view, view.screen),
        _ => return,
    };
    view.scroll = view.scroll.saturating_add_signed(by);
}
