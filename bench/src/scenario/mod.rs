//! Named network situations. Each says what is expected and what was seen, and fails if they
//! differ.
//!
//! * [`soak`]: full load for a long time, with rings that overflow.
//! * [`steer`]: tunnels of others, spread over two CPUs.
//! * [`traffic`]: their packets, sent and received.

mod soak;
mod steer;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ringtun_lab::registry;

use traffic::Kind;

/// What a scenario is about.
#[derive(Clone, Copy)]
enum Scenario {
    Steer(Kind),
    Soak,
}

/// All scenarios.
const ALL: [(&str, Scenario); 4] = [
    ("steer-esp", Scenario::Steer(Kind::Esp)),
    ("steer-gre", Scenario::Steer(Kind::Gre)),
    ("steer-wireguard", Scenario::Steer(Kind::WireGuard)),
    ("soak", Scenario::Soak),
];

/// Options of the scenarios.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// steer-esp, steer-gre, steer-wireguard, soak; all of them when none is named.
    names: Vec<String>,
    /// How long `soak` takes.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// The ringtun binary.
    #[arg(long, default_value_os_t = crate::default_binary())]
    ringtun: PathBuf,
}

/// Runs the scenarios.
///
/// # Errors
/// A name is none, a scenario cannot be made, or something else was seen than was expected.
pub fn run(arguments: &Arguments) -> Result<()> {
    registry::reap()?;
    let mut failed = Vec::new();
    for (name, scenario) in chosen(&arguments.names)? {
        let checks = match scenario {
            Scenario::Steer(kind) => steer::run(name, kind),
            Scenario::Soak => {
                let time = Duration::from_secs(arguments.seconds);
                soak::run(name, &arguments.ringtun, time)
            }
        };
        let checks = checks.with_context(|| name.to_owned())?;
        if !print(&checks) {
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "not as expected: {}", failed.join(", "));
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<(&'static str, Scenario)>> {
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
