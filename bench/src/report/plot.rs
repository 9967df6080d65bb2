//! A chart of one metric: a bar for each implementation in each case, its median
//! beside it, and a line from the least to the most that a run gave.

use super::Row;
use super::scale::Scale;

/// Of Okabe and Ito, told apart by those who see few colours too.
const COLOURS: [&str; 7] = [
    "#0072b2", "#56b4e9", "#e69f00", "#009e73", "#999999", "#cc79a7", "#d55e00",
];
const BAR: f64 = 16.0;
const BETWEEN_CASES: f64 = 12.0;
const LEFT: f64 = 250.0;
const PLOT: f64 = 480.0;
/// For the numbers behind the bars.
const RIGHT: f64 = 110.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 36.0;
/// Lines of the grid, about.
const TICKS: f64 = 5.0;

/// Draws rows of one suite and metric, `about` under the title.
#[must_use]
pub fn draw(title: &str, about: &str, rows: &[&Row]) -> String {
    let unit = rows.first().map_or("", |row| &row.unit);
    let largest = rows
        .iter()
        .flat_map(|row| row.runs.iter().chain([&row.value]))
        .copied()
        .fold(0.0, f64::max);
    let scale = Scale::of(unit, largest);
    let (step, axis) = ticks(largest / scale.one);
    let x = |value: f64| LEFT + value / scale.one / axis * PLOT;
    let names = in_order(rows.iter().map(|row| row.implementation.as_str()));
    let cases = in_order(rows.iter().map(|row| row.case.as_str()));

    let mut bars = String::new();
    let mut y = TOP + legend_lines(&names) * 18.0;
    let begin = y;
    for case in cases {
        let of_case: Vec<_> = rows.iter().filter(|row| row.case == case).collect();
        let middle = y + of_case.len() as f64 * BAR / 2.0 + 4.0;
        bars += &text(LEFT - 8.0, middle, "end", 12, case);
        for row in of_case {
            let colour = colour(&names, &row.implementation);
            let (low, high) = row.spread();
            let (end, line) = (x(row.value), y + BAR / 2.0);
            bars += &format!(
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n",
                y + 1.0,
                end - LEFT,
                BAR - 2.0
            );
            bars += &format!(
                "<path d=\"M{:.1} {line:.1}H{:.1}M{:.1} {:.1}v6M{:.1} {:.1}v6\" stroke=\"#222\" fill=\"none\"/>\n",
                x(low),
                x(high),
                x(low),
                line - 3.0,
                x(high),
                line - 3.0
            );
            let value = scale.show(row.value);
            bars += &text(x(high).max(end) + 6.0, line + 4.0, "start", 11, &value);
            y += BAR;
        }
        y += BETWEEN_CASES;
    }

    let mut grid = String::new();
    let mut at = 0.0;
    while at <= axis + step / 2.0 {
        let x = LEFT + at / axis * PLOT;
        grid += &format!("<path d=\"M{x:.1} {begin:.1}V{y:.1}\" stroke=\"#ddd\"/>\n");
        grid += &text(x, y + 16.0, "middle", 11, &number(at));
        at += step;
    }
    grid += &text(LEFT + PLOT / 2.0, y + 32.0, "middle", 12, scale.unit);

    let (width, height) = (LEFT + PLOT + RIGHT, y + BOTTOM + 6.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height:.0}\" width=\"{width}\" height=\"{height:.0}\" font-family=\"sans-serif\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}{}{}{grid}{bars}</svg>\n",
        text(16.0, 24.0, "start", 16, title),
        text(16.0, 42.0, "start", 11, about),
        legend(&names),
    )
}

/// Names side by side, each behind a patch of its colour.
fn legend(names: &[&str]) -> String {
    let mut drawn = String::new();
    for (at, name) in names.iter().enumerate() {
        let (line, column) = (at / PER_LINE, at % PER_LINE);
        let (x, y) = (16.0 + column as f64 * 160.0, 54.0 + line as f64 * 18.0);
        drawn += &format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n",
            colour(names, name)
        );
        drawn += &text(x + 18.0, y + 10.0, "start", 12, name);
    }
    drawn
}

const PER_LINE: usize = 5;

fn legend_lines(names: &[&str]) -> f64 {
    names.len().div_ceil(PER_LINE) as f64
}

fn colour(names: &[&str], name: &str) -> &'static str {
    let at = names.iter().position(|other| *other == name);
    COLOURS[at.unwrap_or(0) % COLOURS.len()]
}

/// Each once, as they come first.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// The distance of lines of the grid, 1, 2 or 5 of some power of ten, and the end of
/// the axis, which is one of them.
fn ticks(largest: f64) -> (f64, f64) {
    if !(largest > 0.0 && largest.is_finite()) {
        return (1.0, 1.0);
    }
    let raw = largest / TICKS;
    let power = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
    let fitting = steps.into_iter().find(|step| *step >= raw * 0.999);
    let step = fitting.unwrap_or(10.0 * power);
    (step, (largest / step).ceil() * step)
}

/// Without what floating point adds.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn text(x: f64, y: f64, anchor: &str, size: u32, text: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{}</text>\n",
        escape(text)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, implementation: &str, runs: &[f64]) -> Row {
        let metric = ("goodput", "bit/s");
        Row::new("tunnel", case, implementation, metric, runs.to_vec())
    }

    #[test]
    fn the_grid_has_round_numbers_and_ends_behind_the_largest() {
        for (largest, step, axis) in [
            (27.18, 10.0, 30.0),
            (4.2, 1.0, 5.0),
            (0.31, 0.1, 0.4),
            (100.0, 20.0, 100.0),
            (0.0, 1.0, 1.0),
            (f64::NAN, 1.0, 1.0),
        ] {
            let (s, a) = ticks(largest);
            assert!(
                (s - step).abs() < 1e-9 && (a - axis).abs() < 1e-9,
                "{largest}: {s} {a}"
            );
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_median_and_names_are_escaped() {
        let rows = [row("a<b", "x", &[1e9, 2e9, 3e9]), row("a<b", "y", &[4e9])];
        let svg = draw("T & U", "", &rows.iter().collect::<Vec<_>>());
        // The axis ends at 4 Gbit/s: 2 of them are half of the plot.
        assert!(
            svg.contains("width=\"240.0\" height=\"14.0\" fill=\"#0072b2\""),
            "{svg}"
        );
        assert!(
            svg.contains("width=\"480.0\" height=\"14.0\" fill=\"#56b4e9\""),
            "{svg}"
        );
        assert!(svg.contains("T &amp; U") && svg.contains("a&lt;b") && !svg.contains("a<b"));
        assert!(svg.contains("2.00") && svg.contains("Gbit/s"));
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        assert!(draw("t", "", &[]).ends_with("</svg>\n"));
        let rows = [row("a", "x", &[])];
        assert!(draw("t", "", &rows.iter().collect::<Vec<_>>()).contains(">0</text>"));
    }
}
