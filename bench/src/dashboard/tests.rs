use super::*;

fn packaged() -> Dashboard {
    Dashboard::parse(&fs::read_to_string(dashboard_file()).unwrap()).unwrap()
}

#[test]
fn panels_are_beside_each_other_and_their_units_are_known() {
    let dashboard = packaged();
    for (at, panel) in dashboard.panels.iter().enumerate() {
        let of = panel.grid_pos;
        assert!(of.w > 0 && of.h > 0 && of.x + of.w <= 24, "{}", panel.title);
        for other in &dashboard.panels[..at] {
            let with = other.grid_pos;
            let apart = of.x >= with.x + with.w
                || with.x >= of.x + of.w
                || of.y >= with.y + with.h
                || with.y >= of.y + of.h;
            assert!(apart, "{} is over {}", panel.title, other.title);
        }
        for target in &panel.targets {
            let (unit, _) = panel.unit(target);
            assert!(unit::KNOWN.contains(&unit), "{}: {unit}", panel.title);
        }
        assert_eq!(
            panel.kind == Kind::Row,
            panel.targets.is_empty(),
            "{}",
            panel.title
        );
    }
    for moving in MOVING {
        assert!(
            dashboard.panels.iter().any(|panel| panel.title == moving),
            "{moving}"
        );
    }
}

#[test]
fn every_variable_of_a_query_is_one_of_the_dashboard() {
    let dashboard = packaged();
    let mut known = BTreeMap::from([("__rate_interval".to_owned(), "4s".to_owned())]);
    for variable in dashboard
        .templating
        .list
        .iter()
        .filter(|of| of.kind == "query")
    {
        let (selector, _) = variable.values_of().unwrap();
        model::replaced(selector, &known).unwrap();
        known.insert(variable.name.clone(), ".*".to_owned());
    }
    for target in dashboard.panels.iter().flat_map(|panel| &panel.targets) {
        let query = model::replaced(&target.expr, &known).unwrap();
        assert!(!query.contains('$'), "{query}");
    }
    assert!(model::replaced("x{a=~\"$nothing\"}", &known).is_err());
}

#[test]
fn values_are_put_in_as_grafana_does() {
    let one = model::alternatives(&["10.0.0.1:9586".to_owned()]);
    assert_eq!(one, r"10\\.0\\.0\\.1:9586");
    let two = model::alternatives(&["a+b/c=".to_owned(), "d".to_owned()]);
    assert_eq!(two, r"(a\\+b/c=|d)");
}

#[test]
fn a_panel_without_data_or_with_nothing_but_zeros_is_a_fault() {
    let dashboard = packaged();
    let panel = |title: &str| {
        dashboard
            .panels
            .iter()
            .find(|panel| panel.title == title)
            .unwrap()
    };
    let line = |value: f64| Line {
        legend: "a".into(),
        unit: "short".into(),
        right: false,
        points: vec![(0.0, value), (1.0, value)],
    };
    let traffic = panel("Traffic");
    assert!(faults(&[(traffic, vec![line(1.0)])]).is_empty());
    assert_eq!(faults(&[(traffic, vec![])]), ["Traffic: no data"]);
    assert_eq!(
        faults(&[(traffic, vec![line(f64::NAN)])]),
        ["Traffic: no data"]
    );
    assert_eq!(faults(&[(traffic, vec![line(0.0)])]), ["Traffic: all zero"]);
    assert!(faults(&[(panel("Rekeys and silence"), vec![line(0.0)])]).is_empty());
}

#[test]
fn a_page_has_each_title_legend_and_last_value() {
    let dashboard = packaged();
    let panels: Vec<_> = dashboard
        .panels
        .iter()
        .map(|panel| {
            let lines = panel.targets.iter().map(|target| Line {
                legend: format!("<{}>", target.ref_id),
                unit: panel.unit(target).0.to_owned(),
                right: panel.unit(target).1,
                points: vec![(0.0, 0.0), (10.0, 1500.0)],
            });
            (panel, lines.collect())
        })
        .collect();
    let picture = page::draw(&panels, (0.0, 10.0), "title");
    for panel in &dashboard.panels {
        let title = crate::report::svg::escape(&panel.title);
        assert!(picture.contains(&format!(">{title}</text>")), "{title}");
    }
    assert!(picture.contains("1.5 kp/s") && picture.contains(">&lt;A&gt;</text>"));
    let lines: usize = dashboard
        .panels
        .iter()
        .filter(|panel| panel.kind == Kind::Timeseries)
        .map(|panel| panel.targets.len())
        .sum();
    assert_eq!(picture.matches("<polyline").count(), lines);
}
