//! Colours and characters: what this terminal can show, and the only way onto it.

use std::env;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::text::clean;

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 6] = [' ', '.', ':', '=', '*', '#'];

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub colour: bool,
    /// Its characters are those of Unicode.
    pub unicode: bool,
}

impl Look {
    /// As the environment says: NO_COLOR (<https://no-color.org>), and the locale's
    /// character set.
    pub fn of_environment() -> Self {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self {
            colour: set("NO_COLOR").is_none(),
            unicode: locale.ends_with("utf-8") || locale.ends_with("utf8"),
        }
    }

    /// The steps of a graph.
    pub fn steps(self) -> &'static [char] {
        if self.unicode { &BLOCKS } else { &ASCII }
    }

    /// A style; without colours those that say nothing by themselves are plain.
    pub fn style(self, ink: Ink) -> Style {
        let plain = Style::new();
        let style = match ink {
            Ink::Plain => plain,
            Ink::Strong => plain.add_modifier(Modifier::BOLD),
            Ink::Faint if self.colour => plain.fg(Color::DarkGray),
            Ink::Faint => plain.add_modifier(Modifier::DIM),
            Ink::Bar if self.colour => plain
                .fg(Color::White)
                .bg(Color::Blue)
                .add_modifier(Modifier::BOLD),
            Ink::Bar | Ink::Chosen => plain.add_modifier(Modifier::REVERSED),
            Ink::Head => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
            Ink::Good => plain.fg(Color::Green),
            Ink::Warn => plain.fg(Color::Yellow),
            Ink::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Ink::Receive => plain.fg(Color::Green),
            Ink::Send => plain.fg(Color::Magenta),
            Ink::Graph => plain.fg(Color::Blue),
        };
        if self.colour {
            style
        } else {
            Style {
                fg: None,
                bg: None,
                ..style
            }
        }
    }

    /// A character that this terminal can show.
    fn shown(self, c: char) -> char {
        if self.unicode || c.is_ascii() {
            return c;
        }
        match c {
            '·' => '.',
            '…' => '~',
            '─' => '-',
            '▸' => '>',
            '▼' | '↓' => 'v',
            '▲' | '↑' => '^',
            '←' => '<',
            '→' => '>',
            '×' => 'x',
            _ => '?',
        }
    }
}

/// What a text is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Strong,
    Faint,
    Bar,
    Chosen,
    Head,
    Good,
    Warn,
    Bad,
    Receive,
    Send,
    Graph,
}

/// A part of the screen. Whatever is put on it is cleaned and cut.
pub struct Canvas<'a> {
    pub buffer: &'a mut Buffer,
    pub look: Look,
}

impl Canvas<'_> {
    /// The whole of it.
    pub fn area(&self) -> Rect {
        self.buffer.area
    }

    /// Text from `x` on, at most `width` columns; what is cut ends in `…`. Returns the
    /// column after it.
    pub fn left(&mut self, x: u16, y: u16, width: u16, text: &str, ink: Ink) -> u16 {
        let area = self.area();
        if y >= area.bottom() || x >= area.right() {
            return x;
        }
        let width = width.min(area.right() - x);
        let text: String = clean(text).chars().map(|c| self.look.shown(c)).collect();
        let style = self.look.style(ink);
        if Span::raw(text.as_str()).width() <= usize::from(width) {
            return self.buffer.set_stringn(x, y, text, width.into(), style).0;
        }
        let Some(room) = width.checked_sub(1) else {
            return x;
        };
        let (end, _) = self.buffer.set_stringn(x, y, text, room.into(), style);
        let dots = self.look.shown('…').to_string();
        self.buffer.set_stringn(end, y, dots, 1, style).0
    }

    /// Text that ends at `x + width`.
    pub fn right(&mut self, x: u16, y: u16, width: u16, text: &str, ink: Ink) {
        let len = Span::raw(clean(text)).width();
        let len = u16::try_from(len).unwrap_or(u16::MAX).min(width);
        self.left(x + width - len, y, len, text, ink);
    }

    /// A line of one style from edge to edge.
    pub fn fill(&mut self, y: u16, ink: Ink) {
        let area = self.area();
        if y < area.bottom() {
            let line = Rect::new(area.x, y, area.width, 1);
            self.buffer.set_style(line, self.look.style(ink));
        }
    }
}
