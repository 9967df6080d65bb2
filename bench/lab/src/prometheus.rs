//! A Prometheus of the distribution in a namespace: it scrapes, and answers PromQL.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::peers::{default_cache, fetch};
use crate::{NetNs, Process};

/// How long it may take to start, or to answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where it listens, in its namespace.
const ADDRESS: &str = "127.0.0.1:9090";

/// A running server.
#[derive(Debug)]
pub struct Prometheus<'a> {
    ns: &'a NetNs,
    address: SocketAddr,
    process: Process,
}

/// Labels, and the value at each time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Labels, as in [`Sample`].
    pub labels: BTreeMap<String, String>,
    /// Unix time in seconds, and the value; in order.
    pub points: Vec<(f64, f64)>,
}

/// One element of an answer: labels, and the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels, `__name__` among them where PromQL keeps it.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl<'a> Prometheus<'a> {
    /// Starts one in `ns` that scrapes `targets` as the job `ringtun`, four times a second, and
    /// evaluates these rules. Its data is in `directory`.
    ///
    /// # Errors
    /// It cannot be fetched, or does not start; the message has what it wrote.
    pub fn start(
        ns: &'a NetNs,
        directory: &Path,
        targets: &[SocketAddr],
        rules: &[PathBuf],
    ) -> Result<Self> {
        Self::start_with(ns, directory, targets, rules, Duration::from_millis(250))
    }

    /// As [`Prometheus::start`], with another time between scrapes, and between evaluations.
    ///
    /// # Errors
    /// As [`Prometheus::start`].
    pub fn start_with(
        ns: &'a NetNs,
        directory: &Path,
        targets: &[SocketAddr],
        rules: &[PathBuf],
        interval: Duration,
    ) -> Result<Self> {
        let interval = interval.as_millis();
        let mut text = format!(
            "global:\n  scrape_interval: {interval}ms\n  evaluation_interval: {interval}ms\nscrape_configs:\n  - job_name: ringtun\n    static_configs:\n      - targets:\n",
        );
        for target in targets {
            writeln!(text, "          - '{target}'")?;
        }
        if !rules.is_empty() {
            text += "rule_files:\n";
        }
        for file in rules {
            writeln!(text, "  - {}", file.display())?;
        }
        let file = directory.join("prometheus.yml");
        fs::write(&file, text)?;
        let mut command = ns.command(fetch::prometheus(&default_cache())?);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={ADDRESS}"));
        let process = ns.spawn(command)?;
        process.wait_line(TIMEOUT, |line| {
            line.contains("Server is ready to receive web requests")
        })?;
        Ok(Self {
            ns,
            address: ADDRESS.parse()?,
            process,
        })
    }

    /// What a PromQL expression is now.
    ///
    /// # Errors
    /// The expression is wrong; the message says how.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(expression)))?;
        let data = &answer["data"];
        match data["resultType"].as_str() {
            Some("vector") => {
                let samples = data["result"].as_array().context("no result")?;
                samples.iter().map(sample).collect()
            }
            Some("scalar") => Ok(vec![Sample {
                labels: BTreeMap::new(),
                value: number(&data["result"][1])?,
            }]),
            _ => bail!("{expression}: {answer}"),
        }
    }

    /// The one value of an expression.
    ///
    /// # Errors
    /// As [`Prometheus::query`], and if it has none or several.
    pub fn value(&self, expression: &str) -> Result<f64> {
        match &self.query(expression)?[..] {
            [sample] => Ok(sample.value),
            other => bail!("{expression} is {other:?}"),
        }
    }

    /// What a PromQL expression was from `begin` to `end` (Unix time in seconds), every `step`
    /// seconds.
    ///
    /// # Errors
    /// The expression is wrong; the message says how.
    pub fn range(&self, expression: &str, begin: f64, end: f64, step: f64) -> Result<Vec<Series>> {
        let query = encoded(expression);
        let path = format!("/api/v1/query_range?query={query}&start={begin}&end={end}&step={step}");
        let answer = self.get(&path).with_context(|| expression.to_owned())?;
        let all = answer["data"]["result"].as_array().context("no result")?;
        all.iter().map(series).collect()
    }

    /// The names of all metrics that were scraped or recorded.
    ///
    /// # Errors
    /// It does not answer.
    pub fn names(&self) -> Result<Vec<String>> {
        let answer = self.get("/api/v1/label/__name__/values")?;
        let names = answer["data"].as_array().context("no names")?;
        let names = names.iter().filter_map(|name| name.as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// What it wrote so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut stream = self.ns.connect(self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        // By HTTP/1.0, or it answers in chunks.
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
        let answer: Value = serde_json::from_str(body).with_context(|| text.clone())?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer)
    }
}

fn labels(of: &Value) -> Result<BTreeMap<String, String>> {
    let labels = of["metric"].as_object().context("no labels")?;
    let text = |(name, value): (&String, &Value)| {
        (name.clone(), value.as_str().unwrap_or_default().to_owned())
    };
    Ok(labels.iter().map(text).collect())
}

fn series(of: &Value) -> Result<Series> {
    let points = of["values"].as_array().context("no values")?;
    let point = |of: &Value| Ok((of[0].as_f64().context("no time")?, number(&of[1])?));
    Ok(Series {
        labels: labels(of)?,
        points: points.iter().map(point).collect::<Result<_>>()?,
    })
}

fn sample(of: &Value) -> Result<Sample> {
    Ok(Sample {
        labels: labels(of)?,
        value: number(&of["value"][1])?,
    })
}

fn number(value: &Value) -> Result<f64> {
    let text = value.as_str().context("no number")?;
    text.parse().with_context(|| text.to_owned())
}

/// As it stands in a URL.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn an_expression_goes_into_a_url() {
        assert_eq!(encoded("a{b=\"c d\"}"), "a%7Bb%3D%22c%20d%22%7D");
    }
}
