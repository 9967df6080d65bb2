//! Prometheus metrics of a program in a namespace, read over HTTP.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::NetNs;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Samples as they were read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<(String, f64)>);

/// Reads `http://ADDRESS/metrics` from inside `ns`.
///
/// # Errors
/// Nothing listens there, or it does not answer 200.
pub fn scrape(ns: &NetNs, address: SocketAddr) -> Result<Samples> {
    let mut stream = ns.connect(address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(Samples::parse(body))
}

impl Samples {
    fn parse(text: &str) -> Samples {
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Samples(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(sample)
                .collect(),
        )
    }

    /// The sum of a family over all its labels; an error if there is no such family.
    ///
    /// # Errors
    /// No sample has that name.
    pub fn sum(&self, family: &str) -> Result<f64> {
        let values: Vec<f64> = self.of(family).map(|(_, value)| value).collect();
        ensure!(!values.is_empty(), "no metric {family}");
        Ok(values.iter().sum())
    }

    /// The samples of a family: labels as text, value.
    pub fn of<'a>(&'a self, family: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(name, value)| {
            let labels = name.strip_prefix(family)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn a_family_is_summed_and_its_namesake_is_not() {
        let samples = Samples::parse("# HELP x y\nx{a=\"1\"} 2\nx{a=\"2\"} 3\nx_more 100\n");
        assert_eq!(samples.sum("x").unwrap(), 5.0);
        assert!(samples.sum("y").is_err());
    }
}
