//! Routes and rules, as `ip -j` tells of them.

use serde_json::Value as Json;

use super::{ROWS_MAX, number, objects, word};
use crate::control::report::gathered::Gathered;
use crate::control::report::page::Section;
use crate::control::report::pseudonyms::Pseudonyms;
use crate::control::report::value::{Fact, Word};

const TABLES: [&str; 3] = ["default", "local", "main"];
const TYPES: [&str; 10] = [
    "anycast",
    "blackhole",
    "broadcast",
    "local",
    "multicast",
    "nat",
    "prohibit",
    "throw",
    "unicast",
    "unreachable",
];
const PROTOCOLS: [&str; 12] = [
    "babel", "bgp", "bird", "boot", "dhcp", "kernel", "ospf", "ra", "redirect", "static", "unspec",
    "zebra",
];
const SCOPES: [&str; 5] = ["global", "host", "link", "nowhere", "site"];
const FLAGS: [&str; 6] = [
    "dead",
    "linkdown",
    "offload",
    "onlink",
    "pervasive",
    "rt_trap",
];

/// Routes but those of the host itself, and rules.
#[must_use]
pub fn section(gathered: &Gathered, names: &mut Pseudonyms) -> Section {
    let mut section = Section::new("routes");
    let of = [("IPv4 routes", "IPv4 rules"), ("IPv6 routes", "IPv6 rules")];
    for ((name, _), asked) in of.iter().zip(&gathered.routes) {
        let routes = match asked {
            Ok(routes) => routes,
            Err(why) => {
                section.missing(name, *why);
                continue;
            }
        };
        let head = &[
            "table",
            "type",
            "to",
            "gateway",
            "device",
            "protocol",
            "scope",
            "metric",
            "MTU",
            "source",
            "flags",
            "next hops",
        ];
        let routes = objects(routes).filter(|route| route["table"] != "local");
        section.table(name, head, routes, ROWS_MAX, |one| route(one, names));
    }
    for ((_, name), asked) in of.iter().zip(&gathered.rules) {
        let rules = match asked {
            Ok(rules) => rules,
            Err(why) => {
                section.missing(name, *why);
                continue;
            }
        };
        let head = &[
            "priority",
            "not",
            "from",
            "to",
            "mark",
            "in",
            "out",
            "table",
            "no shorter than",
            "action",
        ];
        section.table(name, head, objects(rules), ROWS_MAX, |one| rule(one, names));
    }
    section
}

/// By name, or by number where it has none that everybody knows.
fn table(json: &Json) -> Fact {
    let text = match json {
        Json::Null => return Word::of("main").into(),
        Json::String(text) => text,
        other => return number(other),
    };
    match text.parse::<u32>() {
        Ok(number) => number.into(),
        Err(_) => Fact::among(&TABLES, text),
    }
}

fn address(json: &Json, names: &mut Pseudonyms) -> Fact {
    match json.as_str() {
        None => Fact::Nothing,
        Some("default") => Word::of("default").into(),
        Some("all") => Word::of("all").into(),
        Some(text) => names.address_text(text),
    }
}

fn route(route: &Json, names: &mut Pseudonyms) -> Vec<Fact> {
    let via = match &route["via"]["host"] {
        Json::Null => &route["gateway"],
        host => host,
    };
    let mtu = objects(&route["metrics"]).find_map(|one| one["mtu"].as_u64());
    let flags = route["flags"].as_array().into_iter().flatten();
    let flags = flags.filter_map(Json::as_str);
    let hops = route["nexthops"].as_array().map(Vec::len);
    vec![
        table(&route["table"]),
        word(&TYPES, &route["type"]),
        address(&route["dst"], names),
        address(via, names),
        route["dev"]
            .as_str()
            .map_or(Fact::Nothing, |name| names.device(name)),
        word(&PROTOCOLS, &route["protocol"]),
        word(&SCOPES, &route["scope"]),
        number(&route["metric"]),
        mtu.into(),
        address(&route["prefsrc"], names),
        Fact::first(FLAGS.len(), flags, |flag| Fact::among(&FLAGS, flag)),
        hops.into(),
    ]
}

/// `0xca6c` as a number, which is how the report says marks everywhere.
fn mark(json: &Json) -> Fact {
    let Some(text) = json.as_str() else {
        return number(json);
    };
    let text = text.trim_start_matches("0x");
    u32::from_str_radix(text, 16).map_or_else(|_| Fact::hidden(text), Fact::from)
}

fn rule(rule: &Json, names: &mut Pseudonyms) -> Vec<Fact> {
    let end = |address_key: &str, len_key: &str, names: &mut Pseudonyms| {
        let len = rule[len_key]
            .as_u64()
            .and_then(|len| u8::try_from(len).ok());
        let parsed = rule[address_key].as_str().map(str::parse);
        match (parsed, len) {
            (Some(Ok(at)), Some(len)) => names.network(at, len),
            _ => address(&rule[address_key], names),
        }
    };
    let from = end("src", "srclen", names);
    let to = end("dst", "dstlen", names);
    let mut device = |key: &str| {
        let name = rule[key].as_str();
        name.map_or(Fact::Nothing, |name| names.device(name))
    };
    let (iif, oif) = (device("iif"), device("oif"));
    // Without one, `ip` leaves the key of the table out.
    let table = match &rule["table"] {
        Json::Null => Fact::Nothing,
        named => table(named),
    };
    vec![
        number(&rule["priority"]),
        rule.get("not").map(|_| true).into(),
        from,
        to,
        mark(&rule["fwmark"]),
        iif,
        oif,
        table,
        number(&rule["suppress_prefixlen"]),
        word(&TYPES, &rule["action"]),
    ]
}
