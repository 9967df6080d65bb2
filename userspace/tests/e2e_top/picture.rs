//! A screen as a picture, and what holds for every screen.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use vt100::{Cell, Color, Parser};

/// Pixels of a cell.
const CELL: (u16, u16) = (8, 17);
const COLOURS: [&str; 16] = [
    "#1e1e1e", "#d16969", "#6a9955", "#d7ba7d", "#569cd6", "#c586c0", "#4ec9b0", "#d4d4d4",
    "#808080", "#f44747", "#b5cea8", "#dcdcaa", "#9cdcfe", "#d9a0d4", "#7fdbca", "#ffffff",
];

/// No control character, and hints on the last line.
pub fn check(parser: &Parser) {
    let screen = parser.screen();
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let cell = screen.cell(row, column).unwrap();
        assert!(!cell.contents().contains(char::is_control), "{cell:?}");
    }
    let last = screen.rows(0, columns).last().unwrap();
    assert!(last.contains("q quit") && last.contains("? help"), "{last}");
}

/// Writes the screen to the directory that `$RINGTUN_PICTURES` names, if it does.
pub fn save(parser: &Parser, file: &Path) {
    if let Some(directory) = std::env::var_os("RINGTUN_PICTURES") {
        fs::write(Path::new(&directory).join(file), svg(parser)).unwrap();
    }
}

fn svg(parser: &Parser) -> String {
    let screen = parser.screen();
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let (width, height) = (columns * CELL.0 + 16, rows * CELL.1 + 16);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans Mono,Menlo,Consolas,monospace\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{}\"/>\n",
        COLOURS[0]
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let first = screen.cell(row, column).unwrap();
            let style = style(first);
            let begin = column;
            let mut text = String::new();
            while let Some(cell) = screen
                .cell(row, column)
                .filter(|cell| self::style(cell) == style)
            {
                text.push_str(if cell.has_contents() {
                    cell.contents()
                } else {
                    " "
                });
                column += 1;
            }
            run(&mut out, row, begin, column - begin, &text, &style);
        }
    }
    out + "</svg>\n"
}

/// Foreground, background, bold.
fn style(cell: &Cell) -> (String, Option<String>, bool) {
    let fg = colour(cell.fgcolor()).unwrap_or_else(|| COLOURS[7].to_owned());
    let bg = colour(cell.bgcolor());
    if cell.inverse() {
        let dark = bg.unwrap_or_else(|| COLOURS[0].to_owned());
        return (dark, Some(fg), cell.bold());
    }
    (fg, bg, cell.bold())
}

fn colour(colour: Color) -> Option<String> {
    match colour {
        Color::Default => None,
        Color::Idx(n) => Some(COLOURS[usize::from(n) % COLOURS.len()].to_owned()),
        Color::Rgb(r, g, b) => Some(format!("#{r:02x}{g:02x}{b:02x}")),
    }
}

fn run(
    out: &mut String,
    row: u16,
    column: u16,
    length: u16,
    text: &str,
    (fg, bg, bold): &(String, Option<String>, bool),
) {
    let (x, y) = (8 + column * CELL.0, 8 + row * CELL.1);
    let width = length * CELL.0;
    if let Some(bg) = bg {
        let height = CELL.1;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{bg}\"/>"
        );
    }
    if text.trim().is_empty() {
        return;
    }
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let weight = if *bold { " font-weight=\"bold\"" } else { "" };
    let base = y + 13;
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{base}\" fill=\"{fg}\"{weight} xml:space=\"preserve\" textLength=\"{width}\">{text}</text>"
    );
}
