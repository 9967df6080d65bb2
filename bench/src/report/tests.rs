use super::*;

/// Two cases of two implementations.
pub fn example() -> Report {
    let row = |case: &str, implementation: &str, metric, runs: &[f64]| {
        Row::new("tunnel", case, implementation, metric, runs.to_vec())
    };
    Report {
        schema: 1,
        date: "2026-11-26".into(),
        host: Host {
            cpu: "A & B <1>".into(),
            cores: 2,
            kernel: "6.18".into(),
        },
        versions: BTreeMap::from([("wireguard-go".into(), "0.0.1".into())]),
        settings: BTreeMap::from([("congestion".into(), "cubic".into())]),
        rows: vec![
            row(
                "tcp1",
                "ringtun-udp",
                ("goodput", "bit/s"),
                &[5e9, 4e9, 6e9],
            ),
            row(
                "tcp1",
                "wireguard-go",
                ("goodput", "bit/s"),
                &[2e9, 2e9, 3e9],
            ),
            row("rtt-idle", "ringtun-udp", ("p50", "s"), &[1e-4]),
        ],
    }
}

#[test]
fn medians() {
    assert_eq!(median(&[]), 0.0);
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
}

#[test]
fn the_file_has_the_agreed_names() {
    let json = serde_json::to_value(example()).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["host"]["cores"], 2);
    assert_eq!(json["rows"][0]["impl"], "ringtun-udp");
    assert_eq!(json["rows"][0]["value"], 5e9);
    let report: Report = serde_json::from_value(json).unwrap();
    assert_eq!(report.rows[0].spread(), (4e9, 6e9));
}

#[test]
fn files_of_before_have_no_date() {
    let mut json = serde_json::to_value(example()).unwrap();
    let object = json.as_object_mut().unwrap();
    object.remove("date");
    object.remove("settings");
    assert_eq!(serde_json::from_value::<Report>(json).unwrap().date, "");
}

#[test]
fn the_terminal_sees_medians_spreads_and_ratios() {
    let table = example().table();
    let line = table
        .lines()
        .find(|line| line.contains("ringtun-udp"))
        .unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "ringtun-udp",
            "5.00",
            "(4.00–6.00)",
            "2.50",
            "×",
            "wireguard-go"
        ]
    );
    assert!(table.contains("congestion cubic") && table.contains("wireguard-go: 0.0.1"));
}
