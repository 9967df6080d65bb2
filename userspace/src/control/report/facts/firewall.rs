//! Rules of nftables: how many of what, and where they hang.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{number, objects, word};
use crate::control::report::gathered::Gathered;
use crate::control::report::page::Section;
use crate::control::report::value::{Fact, Word};

const FAMILIES: [&str; 6] = ["arp", "bridge", "inet", "ip", "ip6", "netdev"];
const TYPES: [&str; 3] = ["filter", "nat", "route"];
const HOOKS: [&str; 7] = [
    "egress",
    "forward",
    "ingress",
    "input",
    "output",
    "postrouting",
    "prerouting",
];
const POLICIES: [&str; 2] = ["accept", "drop"];
/// Statements that matter to a tunnel.
const STATEMENTS: [&str; 13] = [
    "accept",
    "drop",
    "reject",
    "jump",
    "goto",
    "return",
    "masquerade",
    "snat",
    "dnat",
    "redirect",
    "notrack",
    "flow",
    "queue",
];

/// Tables by family, and chains with a hook.
#[must_use]
pub fn section(gathered: &Gathered) -> Section {
    let mut section = Section::new("firewall");
    let rules = match &gathered.firewall {
        Ok(rules) => &rules["nftables"],
        Err(why) => {
            section.missing("nftables", *why);
            return section;
        }
    };
    let of = |kind: &'static str| objects(rules).filter_map(move |one| one.get(kind));
    section.line("tables", of("table").count());
    section.line("chains", of("chain").count());
    section.line("rules", of("rule").count());
    section.line("sets", of("set").chain(of("map")).count());
    let head = &[
        "family", "hook", "type", "priority", "policy", "rules", "that",
    ];
    let hooked = of("chain").filter(|chain| chain["hook"].is_string());
    section.table("chains with hooks", head, hooked, CHAINS_MAX, |chain| {
        let own = of("rule").filter(|rule| {
            let same = |key: &str, other: &str| rule[key] == chain[other];
            same("family", "family") && same("table", "table") && same("chain", "name")
        });
        let rules: Vec<&Json> = own.take(RULES_MAX).collect();
        vec![
            word(&FAMILIES, &chain["family"]),
            word(&HOOKS, &chain["hook"]),
            word(&TYPES, &chain["type"]),
            number(&chain["prio"]),
            word(&POLICIES, &chain["policy"]),
            rules.len().into(),
            statements(&rules),
        ]
    });
    section
}

/// Chains that are told of: for each, all rules are gone through.
const CHAINS_MAX: usize = 64;
/// Rules of a chain that are counted.
const RULES_MAX: usize = 10_000;

/// `3, accept, 1, drop`: how many rules end so.
fn statements(rules: &[&Json]) -> Fact {
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    for rule in rules {
        for statement in objects(&rule["expr"]) {
            for (at, name) in STATEMENTS.iter().enumerate() {
                if statement.get(name).is_some() {
                    *counts.entry(at).or_default() += 1;
                }
            }
        }
    }
    let facts = counts.into_iter();
    Fact::Many(
        facts
            .map(|(at, count)| Fact::Amount(count, Word::of(STATEMENTS[at])))
            .collect(),
    )
}
