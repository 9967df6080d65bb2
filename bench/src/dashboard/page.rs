//! Panels as pictures, where the dashboard has them.

use super::model::{Kind, Panel};
use super::unit;
use crate::report::plot::{COLORS, GRID, step};
use crate::report::svg::{Anchor, INK, Svg};

/// Pixels of a 24th of the width, of a unit of height, and between panels.
const COLUMN: f64 = 52.0;
const ROW: f64 = 34.0;
const GAP: f64 = 4.0;
const FRAME: &str = "#d0d0d8";
const FAINT: &str = "#667";
/// Of a letter at 11 pixels, roughly.
const LETTER: f64 = 6.2;
const LEGEND_LINE: f64 = 15.0;
const LEGEND_LINES: usize = 3;

/// A series as it is drawn.
#[derive(Debug)]
pub struct Line {
    pub legend: String,
    pub unit: String,
    /// Its axis is on the right.
    pub right: bool,
    /// Unix time in seconds, value.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// Its last value.
    pub fn last(&self) -> f64 {
        self.points.last().map_or(f64::NAN, |(_, value)| *value)
    }
}

/// Panels with what is in them, from `begin` to `end`, under a title.
pub fn draw(panels: &[(&Panel, Vec<Line>)], (begin, end): (f64, f64), title: &str) -> String {
    let top = panels.iter().map(|(panel, _)| panel.grid_pos.y).min();
    let top = f64::from(top.unwrap_or(0));
    let mut svg = Svg::default();
    svg.text((GAP * 2.0, 22.0), 16, Anchor::Start, title);
    let mut bottom: f64 = 0.0;
    for (panel, lines) in panels {
        let at = panel.grid_pos;
        let place = Place {
            x: f64::from(at.x) * COLUMN + GAP,
            y: (f64::from(at.y) - top) * ROW + 34.0 + GAP,
            width: f64::from(at.w) * COLUMN - 2.0 * GAP,
            height: f64::from(at.h) * ROW - 2.0 * GAP,
        };
        bottom = bottom.max(place.y + place.height);
        match panel.kind {
            Kind::Row => svg.text(
                (place.x + 4.0, place.y + 18.0),
                14,
                Anchor::Start,
                &panel.title,
            ),
            Kind::Stat => stat(&mut svg, place, panel, lines),
            Kind::Timeseries => curves(&mut svg, place, panel, lines, (begin, end)),
        }
    }
    svg.finish((24.0 * COLUMN, bottom + GAP * 2.0), title)
}

#[derive(Clone, Copy)]
struct Place {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

fn frame(svg: &mut Svg, at: Place, title: &str) {
    svg.outline((at.x, at.y), (at.width, at.height), FRAME);
    svg.text((at.x + 8.0, at.y + 17.0), 12, Anchor::Start, title);
}

fn none(svg: &mut Svg, at: Place) {
    let middle = (at.x + at.width / 2.0, at.y + at.height / 2.0);
    svg.coloured_text(middle, 13, Anchor::Middle, FAINT, "No data");
}

/// The last value of each series; its name, too, where there are several.
fn stat(svg: &mut Svg, at: Place, panel: &Panel, lines: &[Line]) {
    frame(svg, at, &panel.title);
    if lines.is_empty() {
        return none(svg, at);
    }
    let names_only = panel.options.text_mode == "name";
    let each = (at.height - 24.0) / lines.len() as f64;
    for (number, line) in lines.iter().enumerate() {
        let value = line.last();
        let shown = if names_only {
            line.legend.clone()
        } else {
            unit::format(value, &line.unit)
        };
        let widest = ((at.width - 24.0) / (shown.chars().count() as f64 * 0.62)) as u32;
        let size = (each * 0.5) as u32;
        let size = size.min(widest).clamp(10, 40);
        let y = at.y + 24.0 + each * number as f64;
        let named = lines.len() > 1 && !names_only;
        let base = if named {
            y + each * 0.72
        } else {
            y + each * 0.62
        };
        let middle = at.x + at.width / 2.0;
        if named {
            let name = shortened(&line.legend, ((at.width - 16.0) / LETTER) as usize);
            svg.coloured_text((middle, y + each * 0.2), 11, Anchor::Middle, FAINT, &name);
        }
        svg.coloured_text(
            (middle, base),
            size,
            Anchor::Middle,
            hue(panel.colour(value)),
            &shown,
        );
    }
}

/// The names of Grafana's colours.
fn hue(name: &str) -> &str {
    match name {
        "green" => "#2a8a3e",
        "orange" => "#c96a00",
        "red" => "#c4162a",
        other => other,
    }
}

/// As [`step`], of the unit that is shown: bytes have prefixes of 1024.
fn step_of(most: f64, unit: &str) -> f64 {
    let mut scale = 1.0;
    while unit == "bytes" && most / scale >= 1024.0 {
        scale *= 1024.0;
    }
    step(most / scale) * scale
}

/// From the lowest mark of an axis to the highest, and the distance between two.
fn axis(lines: &[&Line]) -> (f64, f64, f64) {
    let values = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|(_, value)| *value));
    let values = values.filter(|value| value.is_finite());
    let (low, high) = values.fold((0.0_f64, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let high = if high > low { high } else { low + 1.0 };
    let step = step_of(
        (high - low) * 1.5,
        lines.first().map_or("", |line| &line.unit),
    );
    (
        (low / step).floor() * step,
        (high / step).ceil() * step,
        step,
    )
}

fn curves(svg: &mut Svg, at: Place, panel: &Panel, lines: &[Line], (begin, end): (f64, f64)) {
    frame(svg, at, &panel.title);
    if lines.is_empty() {
        return none(svg, at);
    }
    let [left, right] = [false, true].map(|side| {
        lines
            .iter()
            .filter(|line| line.right == side)
            .collect::<Vec<_>>()
    });
    let legend = legend(lines, at.width - 16.0);
    let inner = Place {
        x: at.x + 66.0,
        y: at.y + 28.0,
        width: at.width - if right.is_empty() { 78.0 } else { 134.0 },
        height: at.height - 28.0 - 22.0 - legend.len() as f64 * LEGEND_LINE,
    };
    // Marks of the axes, and times.
    for (lines, side) in [(&left, false), (&right, true)] {
        let Some(unit) = lines.first().map(|line| line.unit.as_str()) else {
            continue;
        };
        let (low, high, step) = axis(lines);
        let marks = ((high - low) / step).round() as usize;
        for number in 0..=marks {
            let value = low + step * number as f64;
            let y = inner.y + inner.height * (1.0 - number as f64 / marks as f64);
            if !side || left.is_empty() {
                svg.line((inner.x, y), (inner.x + inner.width, y), GRID);
            }
            let text = unit::format(value, unit);
            let (x, anchor) = if side {
                (inner.x + inner.width + 6.0, Anchor::Start)
            } else {
                (inner.x - 6.0, Anchor::End)
            };
            svg.coloured_text((x, y + 4.0), 11, anchor, FAINT, &text);
        }
    }
    let span = (end - begin).max(1e-9);
    let every = step(span);
    let mut time = 0.0;
    while time <= span {
        let x = inner.x + time / span * inner.width;
        let text = format!("{:.0}:{:02.0}", (time / 60.0).floor(), time % 60.0);
        svg.coloured_text(
            (x, inner.y + inner.height + 15.0),
            11,
            Anchor::Middle,
            FAINT,
            &text,
        );
        time += every;
    }
    for (number, line) in lines.iter().enumerate() {
        let (low, high, _) = axis(if line.right { &right } else { &left });
        let place = |(time, value): &(f64, f64)| {
            let x = inner.x + (time - begin) / span * inner.width;
            (
                x,
                inner.y + inner.height * (1.0 - (value - low) / (high - low)),
            )
        };
        let points: Vec<_> = line
            .points
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(place)
            .collect();
        svg.polyline(
            &points,
            COLORS[number % COLORS.len()],
            number >= COLORS.len(),
        );
    }
    svg.line(
        (inner.x, inner.y + inner.height),
        (inner.x + inner.width, inner.y + inner.height),
        INK,
    );
    let base = at.y + at.height - legend.len() as f64 * LEGEND_LINE + 6.0;
    for (row, entries) in legend.iter().enumerate() {
        let y = base + row as f64 * LEGEND_LINE;
        for (x, number, text) in entries {
            let x = at.x + 8.0 + x;
            if let Some(number) = number {
                let colour = COLORS[number % COLORS.len()];
                svg.rectangle((x, y - 6.0), (12.0, 3.0), colour);
            }
            svg.coloured_text((x + 16.0, y), 11, Anchor::Start, INK, text);
        }
    }
}

/// Where each entry begins, its line's number, its text.
type Entries = Vec<(f64, Option<usize>, String)>;

/// As many entries as fit into the lines there are, and how many more there would be.
fn legend(lines: &[Line], width: f64) -> Vec<Entries> {
    let most = ((width - 16.0) / LETTER) as usize;
    let mut all: Vec<Entries> = vec![Vec::new()];
    let mut x = 0.0;
    for (number, line) in lines.iter().enumerate() {
        let text = shortened(&line.legend, most.min(44));
        let needed = 16.0 + text.chars().count() as f64 * LETTER + 14.0;
        let last_row = all.len() == LEGEND_LINES;
        let reserve = if last_row && number + 1 < lines.len() {
            80.0
        } else {
            0.0
        };
        if x > 0.0 && x + needed + reserve > width + 14.0 {
            if last_row {
                let more = format!("and {} more", lines.len() - number);
                if let Some(row) = all.last_mut() {
                    row.push((x, None, more));
                }
                return all;
            }
            all.push(Vec::new());
            x = 0.0;
        }
        if let Some(row) = all.last_mut() {
            row.push((x, Some(number), text));
        }
        x += needed;
    }
    all
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars()
        .take(most.saturating_sub(1))
        .chain(['…'])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_begins_at_zero_and_has_all_values() {
        let line = |values: &[f64]| Line {
            legend: String::new(),
            unit: "short".into(),
            right: false,
            points: values.iter().map(|value| (0.0, *value)).collect(),
        };
        assert_eq!(axis(&[&line(&[3.0, 97.0])]), (0.0, 100.0, 50.0));
        assert_eq!(axis(&[&line(&[0.0])]), (0.0, 1.0, 0.5));
        assert_eq!(
            step_of(50.0 * 1024.0 * 1024.0, "bytes"),
            10.0 * 1024.0 * 1024.0
        );
        let (low, high, _) = axis(&[&line(&[-3.0, f64::NAN, 4.0])]);
        assert!(low <= -3.0 && high >= 4.0);
    }

    #[test]
    fn a_legend_stays_within_its_lines() {
        let lines: Vec<_> = (0..40)
            .map(|n| Line {
                legend: format!("series number {n}"),
                unit: "short".into(),
                right: false,
                points: Vec::new(),
            })
            .collect();
        let rows = legend(&lines, 400.0);
        assert_eq!(rows.len(), LEGEND_LINES);
        let shown = rows
            .iter()
            .flatten()
            .filter(|entry| entry.1.is_some())
            .count();
        let last = &rows.last().unwrap().last().unwrap().2;
        assert_eq!(*last, format!("and {} more", lines.len() - shown));
    }
}
