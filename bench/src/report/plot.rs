//! Bars: a group for each case, a bar for each implementation, whiskers from the lowest run to the
//! highest.

use super::format::{number, scale};
use super::svg::{Anchor, INK, Svg};
use super::{Report, pivot};

/// That of Okabe and Ito, which all kinds of eyes can tell apart.
pub const COLORS: [&str; 6] = [
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#999999", "#56B4E9",
];
pub const GRID: &str = "#ddd";

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
/// Room for the number at the end of a bar.
const NUMBERS: f64 = 60.0;
const BAR: f64 = 18.0;
const BETWEEN_GROUPS: f64 = 14.0;
/// Of a letter at 13 pixels, roughly.
const LETTER: f64 = 7.3;
/// Marks of the axis, about.
const MARKS: f64 = 6.0;
/// Letters of a line of the small text.
const LINE: usize = 120;

/// The distance between marks of an axis that ends at `most`: 1, 2 or 5 times a power of ten.
pub fn step(most: f64) -> f64 {
    let rough = most / MARKS;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= rough);
    power * factor.unwrap_or(10.0)
}

/// Text in lines of no more than so many letters, if its words allow.
fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= most {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The picture of one metric; `None` if it has no rows.
pub fn plot(report: &Report, metric: &str) -> Option<String> {
    let lines: Vec<_> = pivot::lines(&report.rows)
        .into_iter()
        .filter(|line| line.metric == metric)
        .collect();
    let first = lines.first()?;
    let (unit, divisor) = scale(first.unit);
    let implementations: Vec<_> = pivot::implementations(&report.rows)
        .into_iter()
        .filter(|name| lines.iter().any(|line| line.of(name).is_some()))
        .collect();
    let title = format!("{}: {metric} ({unit})", report.suite());
    let most = lines
        .iter()
        .flat_map(|line| line.rows.iter().map(|row| row.spread().1 / divisor))
        .fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };

    let mut svg = Svg::default();
    let mut y = MARGIN + 18.0;
    svg.text((MARGIN, y), 18, Anchor::Start, &title);
    for line in wrap(&report.circumstances(), LINE) {
        y += 18.0;
        svg.text((MARGIN, y), 12, Anchor::Start, &line);
    }
    y += 10.0;
    for (at, name) in implementations.iter().enumerate() {
        y += 18.0;
        svg.rectangle((MARGIN, y - 11.0), (12.0, 12.0), COLORS[at % COLORS.len()]);
        let version = report.versions.get(*name).map_or("", String::as_str);
        let text = format!("{name} {version}");
        svg.text((MARGIN + 20.0, y), 13, Anchor::Start, text.trim());
    }
    y += 20.0;

    let letters = lines.iter().map(|line| line.case.chars().count()).max()?;
    let left = MARGIN + letters as f64 * LETTER + 12.0;
    let scale = (WIDTH - MARGIN - NUMBERS - left) / most;
    let bars: usize = lines.iter().map(|line| line.rows.len()).sum();
    let bottom = y + bars as f64 * BAR + lines.len() as f64 * BETWEEN_GROUPS;
    let step = step(most);
    let mut mark = 0.0;
    while mark <= most * 1.0001 {
        let x = left + mark * scale;
        svg.line((x, y), (x, bottom), GRID);
        let text = if mark == 0.0 {
            "0".into()
        } else {
            trimmed(mark)
        };
        svg.text((x, bottom + 16.0), 12, Anchor::Middle, &text);
        mark += step;
    }
    svg.text(
        (left, bottom + 36.0),
        13,
        Anchor::Start,
        &format!("{metric}, {unit}; medians, whiskers from the lowest run to the highest"),
    );

    for line in &lines {
        y += BETWEEN_GROUPS / 2.0;
        let middle = y + line.rows.len() as f64 * BAR / 2.0 + 4.5;
        svg.text((left - 8.0, middle), 13, Anchor::End, line.case);
        for (at, name) in implementations.iter().enumerate() {
            let Some(row) = line.of(name) else { continue };
            let (low, high) = row.spread();
            let [low, value, high] = [low, row.value, high].map(|v| left + v / divisor * scale);
            svg.rectangle(
                (left, y + 2.0),
                (value - left, BAR - 4.0),
                COLORS[at % COLORS.len()],
            );
            if high > low {
                let middle = y + BAR / 2.0;
                svg.line((low, middle), (high, middle), INK);
                for end in [low, high] {
                    svg.line((end, middle - 4.0), (end, middle + 4.0), INK);
                }
            }
            svg.text(
                (high + 6.0, y + BAR - 4.5),
                12,
                Anchor::Start,
                &number(row.value / divisor),
            );
            y += BAR;
        }
        y += BETWEEN_GROUPS / 2.0;
    }
    svg.line(
        (
            left,
            y - bars as f64 * BAR - lines.len() as f64 * BETWEEN_GROUPS,
        ),
        (left, bottom),
        INK,
    );
    Some(svg.finish((WIDTH, bottom + 36.0 + MARGIN), &title))
}

/// A mark of the axis: no more digits than it has.
fn trimmed(mark: f64) -> String {
    // Sums of tenths have errors far behind the last digit that is shown.
    let rounded = format!("{mark:.6}");
    rounded
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn marks_are_round_and_neither_few_nor_many() {
        assert_eq!(step(6.0), 1.0);
        assert_eq!(step(27.0), 5.0);
        assert_eq!(step(0.5), 0.1);
        for most in [0.003, 0.7, 1.0, 9.9, 1234.0, 7e6] {
            let marks = most / step(most);
            assert!((2.0..=6.001).contains(&marks), "{most}: {marks}");
        }
        assert_eq!(trimmed(0.1 + 0.2), "0.3");
        assert_eq!(trimmed(1000.0), "1000");
    }

    #[test]
    fn a_bar_for_each_row_and_all_of_it_inside() {
        let picture = plot(&example(), "goodput").unwrap();
        // The ground, two of the legend, two bars.
        assert_eq!(picture.matches("<rect").count(), 5);
        assert!(picture.contains("A &amp; B &lt;1&gt;") && picture.contains("Gbit/s"));
        for part in picture.split(" x=\"").skip(1) {
            let x: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..WIDTH).contains(&x), "{x}");
        }
        assert_eq!(plot(&example(), "nothing"), None);
    }

    #[test]
    fn long_lines_are_wrapped_at_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("unbreakable", 3), ["unbreakable"]);
    }
}
