//! What promtool says of rules and alerts, and which metrics they and the dashboard name.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use ringtun::drops::DropReason;
use ringtun_lab::{netns, peers};

use crate::packaged;

const RULES: &str = "prometheus/rules.yml";
const ALERTS: &str = "prometheus/alerts.yml";
const DASHBOARD: &str = "grafana/ringtun.json";

fn promtool(arguments: &[&str], files: &[&str]) -> String {
    let promtool = peers::fetch::promtool(&peers::default_cache()).unwrap();
    let files = files.iter().map(|file| packaged(file));
    netns::finish(Command::new(promtool).args(arguments).args(files)).unwrap()
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let said = promtool(&["check", "rules", "--lint-fatal"], &[RULES, ALERTS]);
    assert_eq!(said.matches("SUCCESS").count(), 2, "{said}");
}

#[test]
fn every_alert_fires_where_it_is_to_and_nowhere_else() {
    let tests = ["prometheus/alerts_test.yml", "prometheus/rules_test.yml"];
    promtool(&["test", "rules"], &tests);
    let [alerts, tests] =
        [ALERTS, tests[0]].map(|file| fs::read_to_string(packaged(file)).unwrap());
    let guide = fs::read_to_string(packaged("../docs/guide/monitoring.md")).unwrap();
    let after = |line: &str, key: &str| line.trim().strip_prefix(key).map(str::to_owned);
    let mut count = 0;
    for alert in alerts.lines().filter_map(|line| after(line, "- alert: ")) {
        for case in [format!("{alert} fires"), format!("{alert} does not fire")] {
            assert!(tests.contains(&case), "no test: {case}");
        }
        assert!(guide.contains(&alert), "{alert} is not in the guide");
        count += 1;
    }
    let links = alerts
        .lines()
        .filter_map(|line| after(line, "runbook_url: "));
    for link in links {
        let (page, anchor) = link.split_once('#').unwrap();
        assert!(page.ends_with("/docs/guide/monitoring.md"), "{link}");
        let heading = format!("\n### {}\n", capitalised(&anchor.replace('-', " ")));
        assert!(guide.contains(&heading), "no section for {link}");
        count -= 1;
    }
    assert_eq!(count, 0, "each alert has one link");
}

#[test]
fn the_guide_has_every_reason_for_a_drop() {
    let guide = fs::read_to_string(packaged("../docs/guide/monitoring.md")).unwrap();
    for reason in DropReason::ALL {
        let quoted = format!("`{}`", reason.label());
        assert!(guide.contains(&quoted), "{quoted}");
    }
}

fn capitalised(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

/// The names of metrics that dashboard, rules and alerts use; those that the rules record are not
/// among them.
pub fn named() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in [RULES, ALERTS, DASHBOARD] {
        let text = fs::read_to_string(packaged(file)).unwrap();
        let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        for word in text.split(|c| !part_of_name(c)) {
            let ours = word.starts_with("ringtun_") || word.starts_with("process_");
            if ours && !word.contains(':') {
                names.insert(word.to_owned());
            }
        }
    }
    names
}

/// The names that the rules record.
pub fn recorded() -> BTreeSet<String> {
    let text = fs::read_to_string(packaged(RULES)).unwrap();
    let record = |line: &str| Some(line.trim().strip_prefix("- record: ")?.to_owned());
    text.lines().filter_map(record).collect()
}
