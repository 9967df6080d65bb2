//! Values in the unit that they are read in.

/// A unit to read values in: its name, and what one of it is of the unit in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What stands behind a value.
    pub unit: &'static str,
    /// The value in the file of 1.
    pub one: f64,
}

impl Scale {
    /// For values of this unit up to `largest`.
    #[must_use]
    pub fn of(unit: &str, largest: f64) -> Self {
        let of = |unit, one| Self { unit, one };
        match unit {
            "bit/s" if largest >= 1e9 => of("Gbit/s", 1e9),
            "bit/s" => of("Mbit/s", 1e6),
            "packet/s" if largest >= 1e6 => of("million packets/s", 1e6),
            "packet/s" => of("thousand packets/s", 1e3),
            "s" if largest >= 1.0 => of("s", 1.0),
            "s" if largest >= 1e-2 => of("ms", 1e-3),
            "s" => of("µs", 1e-6),
            "byte/peer" => of("kB per peer", 1e3),
            "s/GB" => of("s per GB", 1.0),
            "ns" => of("ns", 1.0),
            "1/s" => of("per second", 1.0),
            _ => of("", 1.0),
        }
    }

    /// A value as text, with three digits that mean something.
    #[must_use]
    pub fn show(&self, value: f64) -> String {
        let value = value / self.one;
        let decimals = match value.abs() {
            v if v >= 100.0 || v == 0.0 => 0,
            v if v >= 10.0 => 1,
            v if v >= 0.1 => 2,
            _ => 3,
        };
        format!("{value:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_fitting_units() {
        for (unit, value, shown) in [
            ("bit/s", 3.456e9, "3.46 Gbit/s"),
            ("bit/s", 12.3e6, "12.3 Mbit/s"),
            ("packet/s", 234_567.0, "235 thousand packets/s"),
            ("packet/s", 1.5e6, "1.50 million packets/s"),
            ("s", 45.6e-6, "45.6 µs"),
            ("s", 0.0123, "12.3 ms"),
            ("ns", 94.0, "94.0 ns"),
            ("byte/peer", 7_400.0, "7.40 kB per peer"),
            ("s/GB", 0.05, "0.050 s per GB"),
        ] {
            let scale = Scale::of(unit, value);
            assert_eq!(format!("{} {}", scale.show(value), scale.unit), shown);
        }
        assert_eq!(Scale::of("bit/s", 0.0).show(0.0), "0");
    }
}
