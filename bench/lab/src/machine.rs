//! The machine's state, to compare before and after a run.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::netns::finish;
use crate::registry::NETNS_DIRECTORY;
use crate::sys::{self, BpfKind};

/// Links, addresses, routes, rules, namespaces, BPF objects and nftables of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, BTreeSet<String>>);

impl Snapshot {
    /// Reads the state of the calling process's namespace, and what is global.
    ///
    /// # Errors
    /// `ip` or `nft` cannot run, or BPF objects cannot be listed.
    pub fn take() -> Result<Snapshot> {
        let mut state = BTreeMap::new();
        for (what, arguments) in [
            ("link", &["-j", "link"][..]),
            ("address", &["-j", "address"]),
            ("route", &["-4", "-j", "route", "show", "table", "all"]),
            ("route6", &["-6", "-j", "route", "show", "table", "all"]),
            ("rule", &["-4", "-j", "rule"]),
            ("rule6", &["-6", "-j", "rule"]),
        ] {
            let json = finish(Command::new("ip").args(arguments))?;
            state.insert(what, items(&json).with_context(|| what.to_owned())?);
        }
        let json = finish(Command::new("nft").args(["-j", "list", "ruleset"]))?;
        let rules: Value = serde_json::from_str(&json).context("nft -j")?;
        state.insert("nft", items(&rules["nftables"].to_string())?);
        let mut namespaces = BTreeSet::new();
        if let Ok(entries) = std::fs::read_dir(NETNS_DIRECTORY) {
            for entry in entries.flatten() {
                namespaces.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        state.insert("netns", namespaces);
        for (what, kind) in [
            ("bpf program", BpfKind::Program),
            ("bpf link", BpfKind::Link),
        ] {
            let ids = sys::bpf_ids(kind).with_context(|| what.to_owned())?;
            state.insert(what, ids.iter().map(u32::to_string).collect());
        }
        Ok(Snapshot(state))
    }

    /// One line per difference: `+ link …` appeared, `- link …` vanished.
    #[must_use]
    pub fn difference(&self, later: &Snapshot) -> Vec<String> {
        let mut lines = Vec::new();
        let none = BTreeSet::new();
        for what in self.0.keys() {
            let (before, after) = (&self.0[what], later.0.get(what).unwrap_or(&none));
            lines.extend(after.difference(before).map(|x| format!("+ {what} {x}")));
            lines.extend(before.difference(after).map(|x| format!("- {what} {x}")));
        }
        lines
    }

    /// Fails unless the machine is now as it was then.
    ///
    /// # Errors
    /// The differences, one per line.
    pub fn expect_unchanged(&self) -> Result<()> {
        let lines = self.difference(&Snapshot::take()?);
        ensure!(
            lines.is_empty(),
            "the machine has changed:\n{}",
            lines.join("\n")
        );
        Ok(())
    }
}

/// The elements of a JSON array as text, without what changes by itself (lifetimes, counters).
fn items(json: &str) -> Result<BTreeSet<String>> {
    if json.trim().is_empty() {
        return Ok(BTreeSet::new());
    }
    let Value::Array(mut list) = serde_json::from_str(json)? else {
        return Ok(BTreeSet::new());
    };
    list.iter_mut().for_each(strip);
    Ok(list.iter().map(Value::to_string).collect())
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for volatile in [
                "valid_life_time",
                "preferred_life_time",
                "expires",
                "packets",
                "bytes",
                "metainfo",
                "used",
                "cache",
            ] {
                fields.remove(volatile);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(links: &[&str]) -> Snapshot {
        let links = links.iter().map(|s| (*s).to_owned()).collect();
        Snapshot(BTreeMap::from([("link", links)]))
    }

    #[test]
    fn a_difference_names_what_came_and_what_went() {
        let lines = snapshot(&["lo", "eth0"]).difference(&snapshot(&["lo", "rt1"]));
        assert_eq!(lines, ["+ link rt1", "- link eth0"]);
        assert!(snapshot(&["lo"]).difference(&snapshot(&["lo"])).is_empty());
    }

    #[test]
    fn lifetimes_do_not_count() {
        let early = items(r#"[{"local":"::1","valid_life_time":10}]"#).unwrap();
        let late = items(r#"[{"local":"::1","valid_life_time":9}]"#).unwrap();
        assert_eq!(early, late);
    }
}
