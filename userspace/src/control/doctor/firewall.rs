//! What the host's firewall does with a UDP port, as far as its rules say it plainly.

use serde_json::Value;

/// A base chain and its rules, in their order.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    family: &'a str,
    table: &'a str,
    name: &'a str,
    hook: &'a str,
    policy: &'a str,
    rules: Vec<&'a Value>,
}

/// Who takes packets for a port away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// A rule that is about the port.
    ByRule {
        /// `inet filter input`.
        chain: String,
        /// The rule's number; it may be about other ports, too.
        handle: u64,
    },
    /// The policy, as no rule lets them through; by this chain.
    ByPolicy {
        /// `inet filter input`.
        chain: String,
    },
}

/// The base chains of `nft -j list ruleset`. What is not understood is left out.
#[must_use]
pub fn chains(ruleset: &Value) -> Vec<Chain<'_>> {
    let all = || ruleset["nftables"].as_array().into_iter().flatten();
    let chains = all().filter_map(|object| {
        let chain = &object["chain"];
        let text = |key: &str| chain[key].as_str();
        let (family, table, name) = (text("family")?, text("table")?, text("name")?);
        let rules = all().map(|object| &object["rule"]).filter(|rule| {
            rule["family"] == family && rule["table"] == table && rule["chain"] == name
        });
        Some(Chain {
            family,
            table,
            name,
            hook: text("hook")?,
            policy: text("policy").unwrap_or("accept"),
            rules: rules.collect(),
        })
    });
    chains.collect()
}

/// Whether any rule gives packets another source, also in a chain that others jump to.
#[must_use]
pub fn masquerades(ruleset: &Value) -> bool {
    let changes = |statement: &Value| {
        let target = statement["xt"]["name"].as_str().unwrap_or_default();
        ["masquerade", "snat"]
            .iter()
            .any(|key| statement.get(key).is_some())
            || matches!(target, "MASQUERADE" | "SNAT")
    };
    let all = ruleset["nftables"].as_array().into_iter().flatten();
    let rules = all.filter_map(|object| object["rule"]["expr"].as_array());
    rules.flatten().any(changes)
}

/// What a rule does with packets for a port, to whichever address.
enum Says {
    Nothing,
    Accepts,
    Drops,
    /// Something that depends on more than the port.
    Unclear,
}

impl Chain<'_> {
    fn path(&self) -> String {
        format!("{} {} {}", self.family, self.table, self.name)
    }

    /// Whether it takes packets for this port of this host away.
    #[must_use]
    pub fn blocks(&self, port: u16) -> Option<Blocked> {
        // Of IPv6 alone: whoever calls may come by IPv4.
        if self.hook != "input" || !matches!(self.family, "inet" | "ip") {
            return None;
        }
        for rule in &self.rules {
            match says(rule, port) {
                Says::Nothing => {}
                // What is unclear may be what lets them through.
                Says::Accepts | Says::Unclear => return None,
                Says::Drops => {
                    return Some(Blocked::ByRule {
                        chain: self.path(),
                        handle: rule["handle"].as_u64()?,
                    });
                }
            }
        }
        (self.policy == "drop").then(|| Blocked::ByPolicy { chain: self.path() })
    }

    /// Whether a rule is about this port.
    #[must_use]
    pub fn mentions(&self, port: u16) -> bool {
        self.statements()
            .any(|statement| destination(statement).is_some_and(|right| holds(right, port)))
    }

    fn statements(&self) -> impl Iterator<Item = &Value> {
        let rules = self.rules.iter();
        rules.flat_map(|rule| rule["expr"].as_array().into_iter().flatten())
    }
}

fn says(rule: &Value, port: u16) -> Says {
    let (mut other, mut about) = (false, false);
    for statement in rule["expr"].as_array().into_iter().flatten() {
        if let Some(right) = destination(statement) {
            if right.is_string() {
                // A named set: what is in it is not asked for.
                other = true;
            } else if !holds(right, port) {
                return Says::Nothing;
            }
            about = true;
        } else if statement.get("match").is_some() {
            if is_other_protocol(&statement["match"]) || is_of_a_reply(&statement["match"]) {
                return Says::Nothing;
            }
            other |= !is_udp(&statement["match"]);
        } else if statement.get("accept").is_some() {
            // Whom it lets through may be the very one that is meant.
            return Says::Accepts;
        } else if statement.get("drop").is_some() || statement.get("reject").is_some() {
            return match (other, about) {
                (true, _) => Says::Unclear,
                (false, true) => Says::Drops,
                (false, false) => Says::Unclear,
            };
        } else if ["counter", "log"]
            .iter()
            .all(|key| statement.get(key).is_none())
        {
            // A jump, a limit, a target of iptables.
            other = true;
        }
    }
    if other { Says::Unclear } else { Says::Nothing }
}

/// What the destination port of UDP is compared with.
fn destination(statement: &Value) -> Option<&Value> {
    let found = &statement["match"];
    let payload = &found["left"]["payload"];
    let protocol = payload["protocol"].as_str()?;
    let is_it = payload["field"] == "dport" && matches!(protocol, "udp" | "th");
    (is_it && found["op"] == "==").then(|| &found["right"])
}

fn holds(right: &Value, port: u16) -> bool {
    let port = u64::from(port);
    if let Some(all) = right["set"].as_array() {
        return all.iter().take(1 << 16).any(|one| covers(one, port));
    }
    covers(right, port)
}

fn covers(one: &Value, port: u64) -> bool {
    match one["range"].as_array().map(Vec::as_slice) {
        Some([from, to]) => {
            from.as_u64().is_some_and(|from| from <= port)
                && to.as_u64().is_some_and(|to| port <= to)
        }
        _ => one.as_u64() == Some(port),
    }
}

fn is_udp(found: &Value) -> bool {
    matches!(found["left"]["meta"]["key"].as_str(), Some("l4proto"))
        && (found["right"] == "udp" || found["right"] == 17)
}

/// Of a protocol that is not UDP, or the port of one.
fn is_other_protocol(found: &Value) -> bool {
    let left = &found["left"];
    let protocol = left["payload"]["protocol"].as_str().unwrap_or_default();
    let of_others = matches!(
        protocol,
        "tcp" | "sctp" | "dccp" | "icmp" | "icmpv6" | "udplite"
    );
    let named = left["meta"]["key"] == "l4proto" || left["payload"]["field"] == "protocol";
    let is_one = found["right"].is_string() || found["right"].is_number();
    of_others
        || (named
            && is_one
            && found["op"] == "=="
            && !(found["right"] == "udp" || found["right"] == 17))
        || left["meta"]["key"] == "iif" && found["right"] == "lo"
        || left["meta"]["key"] == "iifname" && found["right"] == "lo"
}

/// Of a connection that began here.
fn is_of_a_reply(found: &Value) -> bool {
    let text = found["right"].to_string();
    found["left"]["ct"]["key"] == "state" && !text.contains("new") && found["op"] != "!="
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn ruleset(policy: &str, rules: &[Value]) -> Value {
        let mut all = vec![
            json!({"metainfo": {"version": "1.0.6"}}),
            json!({"table": {"family": "inet", "name": "filter"}}),
            json!({"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1,
                "type": "filter", "hook": "input", "prio": 0, "policy": policy}}),
            json!({"chain": {"family": "inet", "table": "filter", "name": "other", "handle": 2}}),
        ];
        for (at, expr) in rules.iter().enumerate() {
            all.push(
                json!({"rule": {"family": "inet", "table": "filter", "chain": "input",
                "handle": 10 + at, "expr": expr}}),
            );
        }
        json!({"nftables": all})
    }

    fn port(right: impl Into<Value>) -> Value {
        json!({"match": {"op": "==",
            "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": right.into()}})
    }

    fn blocked(policy: &str, rules: &[Value]) -> Option<Blocked> {
        let ruleset = ruleset(policy, rules);
        let chains = chains(&ruleset);
        assert_eq!(chains.len(), 1);
        chains[0].blocks(51820)
    }

    #[test]
    fn a_port_is_blocked_by_the_first_rule_that_says_so_or_by_the_policy() {
        let chain = || "inet filter input".to_owned();
        let by_rule = |handle| {
            Some(Blocked::ByRule {
                chain: chain(),
                handle,
            })
        };
        let by_policy = Some(Blocked::ByPolicy { chain: chain() });
        let drop = json!({"drop": null});
        let accept = json!({"accept": null});
        let reply = json!({"match": {"op": "in", "left": {"ct": {"key": "state"}},
            "right": ["established", "related"]}});
        let tcp = json!({"match": {"op": "==",
            "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}});
        let from = json!({"match": {"op": "==",
            "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "192.0.2.1"}});
        let range = json!({"range": [51000, 52000]});
        let set = json!({"set": [53, {"range": [51800, 51900]}]});
        let counter = json!({"counter": {"packets": 1, "bytes": 2}});
        let jump = json!({"jump": {"target": "other"}});
        let limit = json!({"limit": {"rate": 1000, "per": "second", "inv": true}});
        assert_eq!(
            blocked("drop", &[json!([port("@ok"), accept])]),
            None,
            "a named set may hold it"
        );
        assert_eq!(
            blocked("accept", &[json!([port(51820), limit, drop])]),
            None,
            "a guard against floods"
        );
        assert_eq!(
            blocked("accept", &[json!([jump]), json!([port(51820), drop])]),
            None,
            "accepted there, perhaps"
        );
        assert_eq!(blocked("accept", &[]), None);
        assert_eq!(blocked("drop", &[]), by_policy);
        assert_eq!(
            blocked("accept", &[json!([port(51820), counter, drop])]),
            by_rule(10)
        );
        assert_eq!(
            blocked("accept", &[json!([port(range.clone()), drop])]),
            by_rule(10)
        );
        assert_eq!(
            blocked("accept", &[json!([port(set.clone()), {"reject": {}}])]),
            by_rule(10)
        );
        assert_eq!(blocked("accept", &[json!([port(53), drop])]), None);
        assert_eq!(
            blocked(
                "drop",
                &[
                    json!([reply, accept]),
                    json!([tcp, accept]),
                    json!([port(53), accept])
                ]
            ),
            by_policy
        );
        assert_eq!(
            blocked(
                "accept",
                &[json!([port(51820), accept]), json!([port(51820), drop])]
            ),
            None,
            "the first rule counts"
        );
        assert_eq!(blocked("drop", &[json!([port(set), accept])]), None);
        assert_eq!(blocked("drop", &[json!([accept])]), None);
        assert_eq!(blocked("drop", &[json!([jump])]), None, "who knows");
        assert_eq!(
            blocked("accept", &[json!([from, port(51820), drop])]),
            None,
            "not for all"
        );
    }

    #[test]
    fn sources_are_changed_by_nftables_and_by_iptables() {
        let of = |expr: Value| {
            json!({"nftables": [
                {"chain": {"family": "ip", "table": "nat", "name": "post", "hook": "postrouting"}},
                {"rule": {"family": "ip", "table": "nat", "chain": "post", "expr": [expr]}}
            ]})
        };
        for (expr, changes) in [
            (json!({"masquerade": null}), true),
            (json!({"snat": {"addr": "192.0.2.1"}}), true),
            (
                json!({"xt": {"type": "target", "name": "MASQUERADE"}}),
                true,
            ),
            (json!({"xt": {"type": "match", "name": "comment"}}), false),
            (json!({"accept": null}), false),
        ] {
            let ruleset = of(expr.clone());
            assert_eq!(masquerades(&ruleset), changes, "{expr}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "nftables", "chain", "rule", "family", "table", "name", "hook", "input", "expr",
            "match", "left", "right", "payload", "op", "set", "range", "drop", "==", "dport",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(word.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_survived(ruleset in any_json(), expr in any_json()) {
            for chain in chains(&ruleset) {
                let _ = (chain.blocks(51820), chain.mentions(1));
            }
            let _ = (says(&expr, 51820), masquerades(&ruleset));
            let wrapped = json!({"expr": [expr]});
            let _ = says(&wrapped, 51820);
        }
    }
}
