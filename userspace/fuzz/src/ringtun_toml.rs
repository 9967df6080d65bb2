//! `ringtun.toml`.

use crate::Seed;
use ringtun::control::gateway::Gateway;
use ringtun::control::options::MAX_WORKERS;
use std::collections::BTreeSet;

/// No file panics; what is wrong is said; what is taken can be done.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let gateway = match Gateway::parse(text) {
        Ok(gateway) => gateway,
        Err(said) => {
            assert!(!said.is_empty());
            return;
        }
    };
    let o = &gateway.options;
    assert_eq!(gateway.files.len(), o.names.len());
    for (file, name) in gateway.files.iter().zip(&o.names) {
        assert!(file.is_absolute() && file.ends_with(format!("{name}.conf")));
    }
    let names: BTreeSet<_> = o.names.iter().collect();
    assert_eq!(names.len(), o.names.len(), "each once");
    assert!(o.workers.is_none_or(|n| n.get() <= MAX_WORKERS));
    assert!(o.xdp.rings.rx.is_power_of_two() && o.xdp.rings.rx >= 64);
    assert!(!o.xdp.fast_forward || !o.xdp.lan.is_empty());
    let groups: BTreeSet<_> = o.xdp.steer.iter().map(|s| s.group.label()).collect();
    assert_eq!(groups.len(), o.xdp.steer.len(), "each class once");
    assert!(o.xdp.steer.iter().all(|s| !s.cpus.is_empty()));
    assert!(!o.names.is_empty() || !o.xdp.wan.is_empty());
}

/// Files as people write them, right and wrong.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let example = include_str!("../../../packaging/examples/ringtun.toml");
    // The same with everything that is commented out.
    let all: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(code) if code.contains(" = ") || code.starts_with('[') => format!("{code}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let of = |text: &str| text.as_bytes().to_vec();
    vec![
        ("example", of(example)),
        ("example-all", all.into_bytes()),
        ("two", of("[tunnel.wg0]\nio=\"xdp\"\n[tunnel.wg1]\n")),
        (
            "steer-twice",
            of(
                "[wan]\ninterfaces=[\"e\"]\n[[steer]]\nclass=\"esp\"\ncpus=\"0\"\n[[steer]]\nclass=\"gre\"\ncpus=\"1-2,4\"\n",
            ),
        ),
        ("wrong-type", of("workers = \"4\"\n[tunnel]\nwg0 = 1\n")),
        ("deep", of(&format!("a = {}", "[".repeat(300)))),
    ]
}
