//! The dashboard for Grafana, rendered without it: two gateways with traffic, a Prometheus that
//! scrapes them, and every query of `packaging/grafana/ringtun.json` asked as Grafana asks it,
//! each panel drawn where the dashboard has it.
//!
//! * [`model`]: the file.
//! * [`site`]: gateways, traffic, and what goes wrong on purpose.
//! * [`page`]: panels as a picture; [`unit`]: values as Grafana shows them.

mod model;
mod page;
mod site;
mod unit;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use ringtun_lab::peers;
use ringtun_lab::prometheus::Prometheus;

use model::{Dashboard, Kind, Panel};
use page::Line;
use site::Site;

/// Time between scrapes.
const SCRAPE: Duration = Duration::from_secs(1);
/// Grafana's `$__rate_interval` for a step of [`SCRAPE`]: four scrapes.
const RATE_INTERVAL: &str = "4s";

/// Panels of which something has to be other than zero, since all of it was provoked.
const MOVING: [&str; 16] = [
    "Devices up",
    "Peers",
    "Peers with a session",
    "Traffic",
    "Packets",
    "Busiest peers",
    "Processor and memory",
    "XDP verdicts",
    "XDP classes",
    "Rings",
    "Drops by reason",
    "Handshakes",
    "Endpoint changes",
    "Handshake messages refused",
    "Under load",
    "Data that does not belong",
];

/// Options of the dashboard.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How long traffic moves and is scraped.
    #[arg(long, default_value_t = 75, value_parser = clap::value_parser!(u64).range(20..))]
    seconds: u64,
    /// Where the pages go.
    #[arg(long, default_value_os_t = default_directory())]
    out: PathBuf,
    /// The ringtun binary.
    #[arg(long, default_value_os_t = crate::default_binary())]
    ringtun: PathBuf,
}

fn default_directory() -> PathBuf {
    peers::default_cache().with_file_name("dashboard")
}

fn dashboard_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/grafana/ringtun.json")
}

/// Runs the gateways, asks, draws.
///
/// # Errors
/// A query is refused, or a panel has nothing to show.
pub fn run(arguments: &Arguments) -> Result<()> {
    let file = dashboard_file();
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let dashboard = Dashboard::parse(&text).with_context(|| file.display().to_string())?;
    let site = Site::new(&arguments.ringtun)?;
    let directory = site.directory();
    let prometheus = Prometheus::start_with(site.ns(), directory, &site.targets(), &[], SCRAPE)?;
    site.scraped(&prometheus)?;
    let begin = now()?;
    println!("dashboard: traffic for {} s", arguments.seconds);
    site.run(Duration::from_secs(arguments.seconds))?;
    let end = now()?;
    let panels = asked(&dashboard, &prometheus, (begin, end))?;
    let faults = faults(&panels);

    fs::create_dir_all(&arguments.out)?;
    let title = format!(
        "{} {}: {} s of two gateways over AF_XDP, scraped by Prometheus each second",
        dashboard.title,
        env!("CARGO_PKG_VERSION"),
        arguments.seconds
    );
    let all = page::draw(&panels, (begin, end), &title);
    let rows = panels.iter().skip(1);
    let overview = rows
        .take_while(|(panel, _)| panel.kind != Kind::Row)
        .count()
        + 1;
    let overview = page::draw(&panels[..overview], (begin, end), &title);
    for (name, picture) in [("dashboard.svg", &all), ("overview.svg", &overview)] {
        let file = arguments.out.join(name);
        fs::write(&file, picture).with_context(|| file.display().to_string())?;
        println!("{}: {} bytes", file.display(), picture.len());
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let queries: usize = panels.iter().map(|(panel, _)| panel.targets.len()).sum();
    let drawn = panels
        .iter()
        .filter(|(panel, _)| panel.kind != Kind::Row)
        .count();
    println!("dashboard: {queries} queries answered, {drawn} panels with data");
    Ok(())
}

/// Unix time in seconds.
fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// What each variable stands for: all of its values, or the first where one has to be chosen.
fn variables(
    dashboard: &Dashboard,
    prometheus: &Prometheus<'_>,
) -> Result<BTreeMap<String, String>> {
    let mut known = BTreeMap::from([("__rate_interval".to_owned(), RATE_INTERVAL.to_owned())]);
    for variable in dashboard
        .templating
        .list
        .iter()
        .filter(|of| of.kind == "query")
    {
        let (selector, label) = variable.values_of()?;
        let query = format!(
            "group by ({label}) ({})",
            model::replaced(selector, &known)?
        );
        let samples = prometheus.query(&query)?;
        let mut values: Vec<_> = samples
            .into_iter()
            .filter_map(|mut of| of.labels.remove(label))
            .collect();
        values.sort();
        ensure!(
            !values.is_empty(),
            "${} has no values: {query}",
            variable.name
        );
        if !variable.include_all {
            values.truncate(1);
        }
        known.insert(variable.name.clone(), model::alternatives(&values));
    }
    Ok(known)
}

/// Every panel with what its queries gave.
fn asked<'a>(
    dashboard: &'a Dashboard,
    prometheus: &Prometheus<'_>,
    (begin, end): (f64, f64),
) -> Result<Vec<(&'a Panel, Vec<Line>)>> {
    let known = variables(dashboard, prometheus)?;
    let step = SCRAPE.as_secs_f64();
    let mut panels = Vec::new();
    for panel in &dashboard.panels {
        let mut lines = Vec::new();
        for target in &panel.targets {
            let query = model::replaced(&target.expr, &known)?;
            let series = prometheus.range(&query, begin, end, step);
            let series = series.with_context(|| format!("{} {}", panel.title, target.ref_id))?;
            if series.is_empty() {
                println!("no data: {} {}: {query}", panel.title, target.ref_id);
            }
            let (unit, right) = panel.unit(target);
            lines.extend(series.into_iter().map(|of| Line {
                legend: target.legend(&of.labels),
                unit: unit.to_owned(),
                right,
                points: of.points,
            }));
        }
        panels.push((panel, lines));
    }
    Ok(panels)
}

/// Panels that show nothing.
fn faults(panels: &[(&Panel, Vec<Line>)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (panel, lines) in panels.iter().filter(|(panel, _)| panel.kind != Kind::Row) {
        let values = || {
            lines
                .iter()
                .flat_map(|line| line.points.iter().map(|(_, value)| *value))
        };
        if !values().any(f64::is_finite) {
            faults.push(format!("{}: no data", panel.title));
        } else if MOVING.contains(&&*panel.title) && values().all(|value| value == 0.0) {
            faults.push(format!("{}: all zero", panel.title));
        }
    }
    faults
}

#[cfg(test)]
mod tests;
