//! Rows as a table: a line for each case and metric, a column for each implementation.

use super::Row;

/// What others are compared with, the first that a case has.
const REFERENCES: [&str; 6] = [
    "wireguard-go",
    "xdp-pass",
    "bare-aead",
    "bare-dh",
    "packet-socket",
    "generator",
];

/// One case and metric.
#[derive(Debug)]
pub struct Line<'a> {
    /// The case.
    pub case: &'a str,
    /// The metric.
    pub metric: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// What it is compared with, if that was measured.
    pub reference: Option<&'a str>,
    /// One for each implementation, in the order of their rows.
    pub rows: Vec<&'a Row>,
}

impl Line<'_> {
    /// What `row` is of the reference; `None` for that itself, or if it has none.
    pub fn ratio(&self, row: &Row) -> Option<f64> {
        let reference = self.reference.filter(|name| *name != row.implementation)?;
        let other = self.of(reference).filter(|other| other.value > 0.0)?;
        Some(row.value / other.value)
    }

    /// That of an implementation.
    pub fn of(&self, implementation: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.implementation == implementation)
            .copied()
    }
}

/// All lines, in the order of their rows.
pub fn lines(rows: &[Row]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for row in rows {
        let same = |line: &&mut Line<'_>| line.case == row.case && line.metric == row.metric;
        if let Some(line) = lines.iter_mut().find(same) {
            line.rows.push(row);
        } else {
            lines.push(Line {
                case: &row.case,
                metric: &row.metric,
                unit: &row.unit,
                reference: None,
                rows: vec![row],
            });
        }
    }
    for line in &mut lines {
        line.reference = REFERENCES.into_iter().find(|name| line.of(name).is_some());
    }
    lines
}

/// The implementations, in the order of their rows.
pub fn implementations(rows: &[Row]) -> Vec<&str> {
    distinct(rows.iter().map(|row| row.implementation.as_str()))
}

/// The metrics, in the order of their rows.
pub fn metrics(rows: &[Row]) -> Vec<&str> {
    distinct(rows.iter().map(|row| row.metric.as_str()))
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn a_line_compares_with_the_reference_of_its_case() {
        let report = example();
        let lines = lines(&report.rows);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].ratio(lines[0].rows[0]), Some(2.5));
        assert_eq!(lines[0].ratio(lines[0].rows[1]), None, "itself");
        assert_eq!(lines[1].ratio(lines[1].rows[0]), None, "there is none");
        assert_eq!(
            implementations(&report.rows),
            ["ringtun-udp", "wireguard-go"]
        );
    }
}
