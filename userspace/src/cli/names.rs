//! `ringtun wg0` makes a device; `ringtun chek` must not.

use anyhow::{Result, bail};

/// Subcommands of this version.
const HERE: [&str; 20] = [
    "up",
    "down",
    "reload",
    "gateway",
    "peer",
    "run",
    "show",
    "top",
    "io",
    "log",
    "capture",
    "check",
    "doctor",
    "report",
    "genkey",
    "genpsk",
    "pubkey",
    "completions",
    "man-pages",
    "help",
];

/// Refuses device names that were probably meant as a subcommand. Not those of
/// wg-quick, which gives the name alone, whatever it is, and cannot say `run`.
pub fn not_a_subcommand(names: &[String], by_wg_quick: bool) -> Result<()> {
    // Only what comes first on the command line can be one.
    let Some(name) = names.first() else {
        return Ok(());
    };
    if by_wg_quick {
        return Ok(());
    }
    for command in &HERE {
        if strsim::damerau_levenshtein(name, command) <= 1 {
            bail!(
                "`{name}` is no subcommand; did you mean `ringtun {command}`? \
                 (for a device of that name: ringtun run {name})"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str) -> Result<(), String> {
        not_a_subcommand(&[name.to_owned(), "wg9".to_owned()], false).map_err(|e| e.to_string())
    }

    #[test]
    fn one_typo_away_is_refused_with_a_hint() {
        for (typed, meant) in [
            ("chek", "check"),
            ("cehck", "check"),
            ("shows", "show"),
            ("rum", "run"),
            ("genky", "genkey"),
            ("pubkye", "pubkey"),
            ("dwon", "down"),
            ("pu", "up"),
            ("oi", "io"),
            ("captrue", "capture"),
            ("reprot", "report"),
        ] {
            let error = check(typed).unwrap_err();
            assert!(error.contains(&format!("ringtun {meant}")), "{error}");
            assert!(error.contains(&format!("ringtun run {typed}")), "{error}");
        }
    }

    #[test]
    fn wg_quick_may_name_a_device_as_it_likes() {
        for name in ["uo", "rum", "down"] {
            assert!(not_a_subcommand(&[name.to_owned()], true).is_ok(), "{name}");
        }
    }

    #[test]
    fn ordinary_device_names_are_not() {
        for name in [
            "wg0", "tun0", "vpn", "wg-home", "office", "showcase", "eth0.5",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }
}
