//! Named network situations. Each says what is expected and what was seen, and fails if they
//! differ.
//!
//! * [`steer`]: tunnels of others, spread over two CPUs.
//! * [`traffic`]: their packets, sent and received.

mod steer;
mod traffic;

use anyhow::{Context, Result, ensure};
use ringtun_lab::registry;

use traffic::Kind;

/// All scenarios.
const ALL: [(&str, Kind); 3] = [
    ("steer-esp", Kind::Esp),
    ("steer-gre", Kind::Gre),
    ("steer-wireguard", Kind::WireGuard),
];

/// Options of the scenarios.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// steer-esp, steer-gre, steer-wireguard; all of them when none is named.
    names: Vec<String>,
}

/// Runs the scenarios.
///
/// # Errors
/// A name is none, a scenario cannot be made, or something else was seen than was expected.
pub fn run(arguments: &Arguments) -> Result<()> {
    registry::reap()?;
    let mut failed = Vec::new();
    for (name, kind) in chosen(&arguments.names)? {
        let checks = steer::run(name, kind).with_context(|| name.to_owned())?;
        if !print(&checks) {
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "not as expected: {}", failed.join(", "));
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<(&'static str, Kind)>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| {
        let found = ALL.iter().find(|(known, _)| known == name).copied();
        let known = || ALL.map(|(name, _)| name).join(", ");
        found.with_context(|| format!("no scenario {name}: there are {}", known()))
    };
    names.iter().map(find).collect()
}

/// Something that was expected, and what was seen.
struct Check {
    what: &'static str,
    expected: String,
    seen: String,
    holds: bool,
}

impl Check {
    fn new(
        what: &'static str,
        expected: impl Into<String>,
        seen: impl Into<String>,
        holds: bool,
    ) -> Check {
        Check {
            what,
            expected: expected.into(),
            seen: seen.into(),
            holds,
        }
    }

    /// A number that has to be another.
    fn equal(what: &'static str, expected: u64, seen: u64) -> Check {
        let holds = expected == seen;
        Check::new(what, expected.to_string(), seen.to_string(), holds)
    }
}

/// Whether all hold.
fn print(checks: &[Check]) -> bool {
    println!("  {:<44} {:>17} {:>17}", "", "expected", "seen");
    for check in checks {
        println!(
            "  {:<44} {:>17} {:>17}  {}",
            check.what,
            check.expected,
            check.seen,
            if check.holds { "ok" } else { "NOT AS EXPECTED" }
        );
    }
    checks.iter().all(|check| check.holds)
}
